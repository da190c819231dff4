package consent_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// agreedTo is the registration that a user agreed to. Its keys differ from call to call.
func agreedTo(t testing.TB) *dcr.Client {
	t.Helper()
	return &dcr.Client{
		ID: "a0b1c2d3e4f5a6b7c8d9", Issuer: "https://as.example", Version: 3, CreatedAt: time.Unix(1700000000, 0),
		Origin: dcr.Registrant{Kind: "signed_in", Subject: "alice"}, SecretHash: []byte("hash"), GrantsRevoked: 2,
		Metadata: dcr.ClientMetadata{
			RedirectURIs: []string{"https://a.example/cb", "https://b.example/cb"}, TokenEndpointAuthMethod: "private_key_jwt",
			ClientName: "App", Localized: map[string]string{"client_name#fr": "Appli", "client_name#de": "Anwendung", "client_uri#fr": "https://a.example/fr"},
			Scope: "openid profile", JWKSURI: "https://a.example/jwks", JWKS: keysOf(t, "1"),
			Contacts: []string{"me@a.example"}, LogoURI: "https://a.example/logo", GrantTypes: []string{"authorization_code"},
		},
	}
}

func keysOf(t testing.TB, kid string) *jose.JSONWebKeySet {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: kid}}}
}

// ofDocument makes a client one that comes from a document.
func ofDocument(c *dcr.Client) { c.ID = "https://app.example/client.json" }

type edit = func(*dcr.Client)

// TestKeyChanges: another registration, another key.
func TestKeyChanges(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]edit{
		"identifier": func(c *dcr.Client) { c.ID += "0" },
		"issuer":     func(c *dcr.Client) { c.Issuer = "https://other.example" },
		"redirect_uri_added": func(c *dcr.Client) {
			c.Metadata.RedirectURIs = append(c.Metadata.RedirectURIs, "https://evil.example/cb")
		},
		"redirect_uri_removed": func(c *dcr.Client) { c.Metadata.RedirectURIs = c.Metadata.RedirectURIs[:1] },
		"redirect_uri_other":   func(c *dcr.Client) { c.Metadata.RedirectURIs[1] = "https://b.example/CB" },
		"redirect_uris_none":   func(c *dcr.Client) { c.Metadata.RedirectURIs = nil },
		"client_name":          func(c *dcr.Client) { c.Metadata.ClientName = "Your Bank" },
		"client_name_case":     func(c *dcr.Client) { c.Metadata.ClientName = "APP" },
		"client_name_none":     func(c *dcr.Client) { c.Metadata.ClientName = "" },
		"client_name_tagged":   func(c *dcr.Client) { c.Metadata.Localized["client_name#fr"] = "Votre banque" },
		"client_name_added":    func(c *dcr.Client) { c.Metadata.Localized["client_name#es"] = "App" },
		"client_name_removed":  func(c *dcr.Client) { delete(c.Metadata.Localized, "client_name#de") },
		"client_name_other_tag": func(c *dcr.Client) {
			delete(c.Metadata.Localized, "client_name#de")
			c.Metadata.Localized["client_name#at"] = "Anwendung"
		},
		"scope_added":            func(c *dcr.Client) { c.Metadata.Scope += " email" },
		"scope_removed":          func(c *dcr.Client) { c.Metadata.Scope = "openid" },
		"scope_other":            func(c *dcr.Client) { c.Metadata.Scope = "openid email" },
		"auth_method":            func(c *dcr.Client) { c.Metadata.TokenEndpointAuthMethod = "none" },
		"jwks_uri":               func(c *dcr.Client) { c.Metadata.JWKSURI = "https://evil.example/jwks" },
		"jwks_uri_none":          func(c *dcr.Client) { c.Metadata.JWKSURI = "" },
		"removal_of_grants":      func(c *dcr.Client) { c.GrantsRevoked++ },
		"removal_of_grants_done": func(c *dcr.Client) { c.GrantsRevoked += 2 },
	} {
		t.Run("CONS-02/"+name, func(t *testing.T) {
			t.Parallel()
			before := agreedTo(t)
			after := before.Clone()
			change(after)
			require.NotEqual(t, consent.Key(before), consent.Key(after))
		})
	}
	for name, change := range map[string]edit{
		"other": func(c *dcr.Client) { c.Metadata.JWKS = keysOf(t, "1") },
		"kid":   func(c *dcr.Client) { c.Metadata.JWKS.Keys[0].KeyID = "2" },
		"none":  func(c *dcr.Client) { c.Metadata.JWKS = nil },
		"empty": func(c *dcr.Client) { c.Metadata.JWKS = new(jose.JSONWebKeySet) },
	} {
		t.Run("CONS-02/jwks_of_a_document_"+name, func(t *testing.T) {
			t.Parallel()
			before := agreedTo(t)
			ofDocument(before)
			after := before.Clone()
			change(after)
			require.NotEqual(t, consent.Key(before), consent.Key(after))
		})
	}
	t.Run("CONS-02/jwks_unreadable", func(t *testing.T) {
		t.Parallel()
		c := agreedTo(t)
		ofDocument(c)
		c.Metadata.JWKS = &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{}}}
		require.NotEqual(t, consent.Key(c), consent.Key(c), "keys that cannot be compared: the consent is not remembered")
	})
}

// TestKeyStays: what the user did not agree to, and did not see, changes no key.
func TestKeyStays(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]edit{
		"nothing":            func(*dcr.Client) {},
		"order_of_redirects": func(c *dcr.Client) { slices.Reverse(c.Metadata.RedirectURIs) },
		"order_of_scopes":    func(c *dcr.Client) { c.Metadata.Scope = "profile openid" },
		"jwks_registered":    func(c *dcr.Client) { c.Metadata.JWKS = nil },
		"version":            func(c *dcr.Client) { c.Version++; c.UpdatedAt = time.Now() },
		"use":                func(c *dcr.Client) { c.LastUsedAt, c.KeepUntil = time.Now(), time.Now() },
		"expiry":             func(c *dcr.Client) { c.ExpiresAt, c.UnusedUntil = time.Now(), time.Now() },
		"secret":             func(c *dcr.Client) { c.SecretHash, c.SecretExpiresAt = []byte("other"), time.Now() },
		"secrets_of_before":  func(c *dcr.Client) { c.RotatedSecrets = []dcr.RotatedSecret{{Hash: []byte("old")}} },
		"registration_token": func(c *dcr.Client) {
			c.RegistrationToken.Signature, c.PreviousRegistrationToken.Signature = "new", "old"
		},
		"contacts": func(c *dcr.Client) { c.Metadata.Contacts = []string{"you@a.example"} },
		"logo":     func(c *dcr.Client) { c.Metadata.LogoURI = "https://a.example/new" },
		"pages": func(c *dcr.Client) {
			c.Metadata.ClientURI, c.Metadata.TOSURI, c.Metadata.PolicyURI = "https://a.example/1", "https://a.example/2", "https://a.example/3"
		},
		"pages_tagged":        func(c *dcr.Client) { c.Metadata.Localized["client_uri#fr"] = "https://a.example/4" },
		"grant_types":         func(c *dcr.Client) { c.Metadata.GrantTypes = append(c.Metadata.GrantTypes, "refresh_token") },
		"software":            func(c *dcr.Client) { c.Metadata.SoftwareID, c.Metadata.SoftwareVersion = "id", "2" },
		"audience_and_policy": func(c *dcr.Client) { c.Audience, c.RequirePKCE, c.AlwaysAskConsent = []string{"x"}, true, true },
	} {
		t.Run("CONS-02/"+name, func(t *testing.T) {
			t.Parallel()
			before := agreedTo(t)
			after := before.Clone()
			change(after)
			require.Equal(t, consent.Key(before), consent.Key(after))
		})
	}
	t.Run("CONS-02/copy_of_a_document", func(t *testing.T) {
		t.Parallel()
		before := agreedTo(t)
		ofDocument(before)
		require.Equal(t, consent.Key(before), consent.Key(before.Clone()))
	})
}

// TestKeyIsUnambiguous: what moves from one part into another makes another key, and so do
// values that look like two, or like none (CONS-02).
func TestKeyIsUnambiguous(t *testing.T) {
	t.Parallel()
	with := func(edits ...edit) *dcr.Client {
		c := &dcr.Client{ID: "c", Issuer: "i", Metadata: dcr.ClientMetadata{Localized: map[string]string{}}}
		for _, e := range edits {
			e(c)
		}
		return c
	}
	redirects := func(uris ...string) edit { return func(c *dcr.Client) { c.Metadata.RedirectURIs = uris } }
	scope := func(s string) edit { return func(c *dcr.Client) { c.Metadata.Scope = s } }
	called := func(name string, tagged ...string) edit {
		return func(c *dcr.Client) {
			c.Metadata.ClientName = name
			for i := 0; i < len(tagged); i += 2 {
				c.Metadata.Localized["client_name#"+tagged[i]] = tagged[i+1]
			}
		}
	}
	long := strings.Repeat("x", 200)
	clients := map[string]*dcr.Client{
		"empty":                  with(),
		"identifier_and_issuer":  with(func(c *dcr.Client) { c.ID, c.Issuer = "ci", "" }),
		"issuer_and_identifier":  with(func(c *dcr.Client) { c.ID, c.Issuer = "", "ci" }),
		"scope":                  with(scope("a")),
		"scope_as_redirect":      with(redirects("a")),
		"scope_as_name":          with(called("a")),
		"scope_as_method":        with(func(c *dcr.Client) { c.Metadata.TokenEndpointAuthMethod = "a" }),
		"scope_as_jwks_uri":      with(func(c *dcr.Client) { c.Metadata.JWKSURI = "a" }),
		"scope_as_issuer":        with(func(c *dcr.Client) { c.Issuer = "ia" }),
		"two_scopes":             with(scope("a b")),
		"scopes_in_one":          with(scope("ab")),
		"scope_in_name":          with(called("a"), scope("b")),
		"name_in_scope":          with(called("b"), scope("a")),
		"two_redirects":          with(redirects("a", "b")),
		"redirects_in_one":       with(redirects("ab")),
		"redirects_with_a_space": with(redirects("a b")),
		"redirects_with_a_comma": with(redirects("a,b")),
		"redirects_as_json":      with(redirects(`a","b`)),
		"redirect_is_empty":      with(redirects("")),
		"redirect_with_a_zero":   with(redirects("a\x00b")),
		"redirect_of_bad_utf8":   with(redirects("a\xff")),
		"redirect_of_other_utf8": with(redirects("a\xfe")),
		"redirect_of_mark":       with(redirects("a\ufffd")),
		"redirect_with_length":   with(redirects("a\x01b")),
		"name_with_tag":          with(called("a", "fr", "b")),
		"name_with_tag_in_it":    with(called("aclient_name#frb")),
		"names_the_other_way":    with(called("b", "fr", "a")),
		"two_tags":               with(called("", "a", "b", "c", "d")),
		"two_tags_in_one":        with(called("", "a", "bclient_name#cd")),
		"tag_is_empty":           with(called("", "fr", "")),
		"long_name":              with(called(long)),
		"long_name_and_scope":    with(called(long[1:]), scope("x")),
		"revoked":                with(func(c *dcr.Client) { c.GrantsRevoked = 1 }),
		"revoked_in_jwks_uri":    with(func(c *dcr.Client) { c.Metadata.JWKSURI = "1" }),
	}
	seen := map[string]string{}
	for name, c := range clients {
		key := consent.Key(c)
		require.Regexp(t, regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`), key)
		require.NotContains(t, seen, key, "%s has the key of %s", name, seen[key])
		seen[key] = name
	}
}

// TestKeyOfStaticClient: its identifier, in a form that no registered client has and that joins
// with a user's name without doubt.
func TestKeyOfStaticClient(t *testing.T) {
	t.Parallel()
	static := func(id string) string { return consent.Key(&fosite.DefaultClient{ID: id}) }
	require.Equal(t, "static:operators-own", static("operators-own"))
	require.Equal(t, "static:operators-own", consent.Key(&fosite.DefaultClient{ID: "operators-own", RedirectURIs: []string{"https://new.example/"}}))
	registered := agreedTo(t)
	require.NotEqual(t, consent.Key(registered), static(registered.ID))
	require.NotEqual(t, consent.Key(registered), static(consent.Key(registered)), "an identifier that looks like a key")
	require.NotEqual(t, static("a"), static("static:a"))
	require.NotEqual(t, "u static:a "+static("b"), "u "+static("a static:b"), "CONS-02: the space behind the user is the last one")
	for _, id := range []string{"a b", "a\x00b", "a\nb", "ä", "a+b", "a%20b", ""} {
		require.NotContains(t, static(id), " ")
		require.NotEqual(t, static("other"), static(id))
	}
	require.NotEqual(t, static("a b"), static("a+b"))
	require.NotEqual(t, static("a b"), static("a%20b"))
}

// TestKeyOverHTTP: what a client does at the endpoints, and what the operator does, changes the
// key where the user has to be asked again, and nowhere else (CONS-02).
func TestKeyOverHTTP(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) (*dcrtest.Server, dcrtest.Answer, func() string) {
		t.Helper()
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Management: dcr.Management{Token: dcr.RegistrationToken{KeepOnUpdate: true}}}})
		client := s.Register(t, dcrtest.Managed("redirect_uris", []string{dcrtest.RedirectURI, "https://client.example/other"}))
		return s, client, func() string { return consent.Key(dcrtest.RecordOf(t, s.Store, client.ID())) }
	}
	update := func(t *testing.T, s *dcrtest.Server, client dcrtest.Answer, pairs ...any) {
		t.Helper()
		uris := []any{"redirect_uris", []string{dcrtest.RedirectURI, "https://client.example/other"}}
		answer := s.Manage(t, http.MethodPut, client, dcrtest.Replacing(client, append(uris, pairs...)...))
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	}
	t.Run("redirect_uri", func(t *testing.T) {
		t.Parallel()
		s, client, key := start(t)
		agreed := key()
		update(t, s, client, "redirect_uris", []string{"https://evil.example/cb"})
		require.NotEqual(t, agreed, key())
	})
	t.Run("name_and_back", func(t *testing.T) {
		t.Parallel()
		s, client, key := start(t)
		agreed := key()
		update(t, s, client, "client_name#fr", "Votre banque")
		require.NotEqual(t, agreed, key())
		update(t, s, client)
		require.Equal(t, agreed, key(), "the registration that the user agreed to")
	})
	t.Run("removal_of_grants", func(t *testing.T) {
		t.Parallel()
		s, client, key := start(t)
		agreed := key()
		require.NoError(t, s.Provider.RevokeTokens(t.Context(), client.ID()))
		require.NotEqual(t, agreed, key())
	})
	t.Run("same_metadata", func(t *testing.T) {
		t.Parallel()
		s, client, key := start(t)
		agreed := key()
		require.Equal(t, http.StatusOK, s.Manage(t, http.MethodGet, client, nil).Status)
		require.Equal(t, agreed, key(), "a read")
		update(t, s, client, "contacts", []string{"me@client.example"}, "logo_uri", "https://client.example/logo")
		require.Equal(t, agreed, key(), "an update of what is not in the key")
	})
	t.Run("tokens", func(t *testing.T) {
		t.Parallel()
		s, client, key := start(t)
		agreed := key()
		basic := dcrtest.Basic(client.ID(), client.Secret())
		code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "scope", "openid"))
		tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, dcrtest.RedirectURI), basic)
		require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
		refreshed := s.Form(t, "/oauth2/token", dcrtest.RefreshForm("", tokens.Text("refresh_token")), basic)
		require.Equal(t, http.StatusOK, refreshed.Status, refreshed.Body)
		require.Equal(t, agreed, key())
	})
	t.Run("secret_rotation", func(t *testing.T) {
		t.Parallel()
		rotate := dcr.PolicyFunc(func(_ context.Context, p *dcr.Proposal) error {
			p.RotateSecret = true
			return nil
		})
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Policies: []dcr.Policy{rotate}}})
		client := s.Register(t, dcrtest.Managed())
		agreed := consent.Key(dcrtest.RecordOf(t, s.Store, client.ID()))
		answer := s.Manage(t, http.MethodPut, client, dcrtest.Replacing(client))
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		require.NotEmpty(t, answer.Secret())
		require.NotEqual(t, client.Secret(), answer.Secret())
		require.Equal(t, agreed, consent.Key(dcrtest.RecordOf(t, s.Store, client.ID())))
	})
	t.Run("client_of_a_request", func(t *testing.T) {
		t.Parallel()
		s, client, key := start(t)
		for _, redirect := range []string{dcrtest.RedirectURI, "https://client.example/other"} {
			query := dcrtest.AuthorizeQuery(client.ID(), redirect)
			request, err := s.Provider.NewAuthorizeRequest(t.Context(), httptest.NewRequest(http.MethodGet, s.URL+"/oauth2/auth?"+query.Encode(), nil))
			require.NoError(t, err)
			require.Equal(t, key(), consent.Key(request.GetClient()))
		}
	})
}
