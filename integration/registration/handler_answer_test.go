package registration_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

func TestRegistrationAnswer(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_900_000_000, 987_654_321)
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Now: func() time.Time { return now }}})
	answer := s.Register(t, dcrtest.PlainRegistration)
	t.Run("7591-3.2.1-01/T25", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, http.StatusCreated, answer.Status)
		require.Equal(t, "application/json", answer.Header.Get("Content-Type"))
		dcrtest.RequireJSONNoStore(t, answer)
		require.NotNil(t, answer.Members)
	})
	t.Run("7591-3.2.1-05", func(t *testing.T) {
		t.Parallel()
		var exact struct {
			IssuedAt json.Number `json:"client_id_issued_at"`
		}
		require.NoError(t, json.Unmarshal([]byte(answer.Body), &exact))
		require.Equal(t, "1900000000", exact.IssuedAt.String())
	})
	t.Run("7591-3.2.1-08", func(t *testing.T) {
		t.Parallel()
		require.Empty(t, answer.Header.Get("Location"))
		read := s.Manage(t, http.MethodGet, answer, nil)
		require.Equal(t, http.StatusOK, read.Status)
		require.Equal(t, answer.ID(), read.ID())
	})
	t.Run("7591-3.2.1-06/defaults", func(t *testing.T) {
		t.Parallel()
		got := maps.Clone(answer.Members)
		for _, name := range []string{"client_id", "client_secret", "client_secret_expires_at", "client_id_issued_at",
			"registration_access_token", "registration_client_uri"} {
			require.Contains(t, got, name)
			delete(got, name)
		}
		require.Equal(t, dcrtest.ViaJSON(t, map[string]any{
			"redirect_uris": []string{dcrtest.RedirectURI}, "grant_types": []string{"authorization_code"},
			"response_types": []string{"code"}, "token_endpoint_auth_method": "client_secret_basic",
			"application_type": "web", "scope": "openid profile email offline_access",
		}), any(got))
	})
}

func TestRegistrationAnswersAllMetadata(t *testing.T) {
	t.Parallel()
	sent := map[string]any{
		"redirect_uris":              []string{"https://client.example/cb?a=b&c=%2F", "http://127.0.0.1/", "com.example.app:/cb"},
		"token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256",
		"grant_types": []string{"authorization_code", "refresh_token", "client_credentials"}, "response_types": []string{"code"},
		"application_type": "native", "client_name": `Client <b>"&'\/</b> ü`, "client_name#fr": "Le client", "client_name#ja-Hira-JP": "クライアント",
		"client_uri": "https://client.example/#about", "logo_uri": "http://client.example/logo.png?v=2", "tos_uri": "https://client.example/tos",
		"policy_uri": "https://client.example/policy", "policy_uri#de": "https://client.example/datenschutz",
		"scope": "email openid", "contacts": []string{"ops@client.example", "Ömer"}, "software_id": "4NRB1-0XZABZI9E6-5SM3R", "software_version": "2.2.1",
		"jwks": map[string]any{"keys": []any{dcrtest.ECJWK(t, "one")}}, "response_modes": []string{"form_post", "query"},
		"require_pushed_authorization_requests": true, "default_max_age": 3600, "request_object_signing_alg": "ES256",
		"subject_type": "public", "id_token_signed_response_alg": "RS256",
	}
	setup := dcrtest.Setup{}
	dcrtest.Vouched(&setup)
	s := dcrtest.Start(t, setup)
	answer := s.Register(t, sent)
	for _, row := range []struct {
		name   string
		answer dcrtest.Answer
	}{
		{"7591-3.2.1-06/registered", answer},
		{"7591-3.2.1-06/read", s.Manage(t, http.MethodGet, answer, nil)},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got := maps.Clone(row.answer.Members)
			for _, name := range []string{"client_id", "client_id_issued_at", "registration_access_token", "registration_client_uri"} {
				require.Contains(t, got, name)
				delete(got, name)
			}
			require.Equal(t, dcrtest.ViaJSON(t, sent), any(got))
		})
	}
}

func TestClientIdentifiers(t *testing.T) {
	t.Parallel()
	const goroutines, each = 8, 1250
	s := &dcrtest.Server{URL: "https://as.example"}
	provider, err := s.Compose(dcrtest.Setup{})
	require.NoError(t, err)
	handler := provider.RegistrationHandler()
	answers := make([][]dcrtest.Answer, goroutines)
	var group sync.WaitGroup
	for g := range goroutines {
		group.Go(func() {
			for range each {
				recorder := httptest.NewRecorder()
				handler.ServeHTTP(recorder, dcrtest.JSONPost(context.Background(), dcrtest.PlainRegistration))
				answer := dcrtest.Answer{Status: recorder.Code, Body: recorder.Body.String()}
				_ = json.Unmarshal(recorder.Body.Bytes(), &answer.Members)
				answers[g] = append(answers[g], answer)
			}
		})
	}
	group.Wait()
	ids, secrets, tokens := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, some := range answers {
		for _, answer := range some {
			require.Equal(t, http.StatusCreated, answer.Status, answer.Body)
			ids[answer.ID()], secrets[answer.Secret()], tokens[answer.Token()] = true, true, true
		}
	}
	t.Run("7591-3.2.1-02/10000_concurrent", func(t *testing.T) {
		t.Parallel()
		require.Len(t, ids, goroutines*each)
		for id := range ids {
			require.GreaterOrEqual(t, len(id), 22, "128 bits need 22 characters of base64")
			require.Equal(t, url.QueryEscape(id), id)
			_, err := s.Store.GetDynamicClient(context.Background(), id)
			require.NoError(t, err)
		}
	})
	t.Run("7591-3.2.1-03/unique_secrets_and_tokens", func(t *testing.T) {
		t.Parallel()
		require.Len(t, secrets, goroutines*each)
		require.Len(t, tokens, goroutines*each)
		for secret := range secrets {
			_, random, _ := strings.Cut(secret, "_")
			require.GreaterOrEqual(t, len(random), 43, "256 bits need 43 characters of base64")
			require.Less(t, len(secret), 72, "T14")
			require.Equal(t, url.QueryEscape(secret), secret, "fosite decodes Basic credentials as a form")
		}
	})
}

func TestClientSecrets(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_900_000_000, 0)
	for _, lifetime := range []time.Duration{0, time.Hour} {
		setup := dcrtest.Setup{Config: dcr.Config{Secrets: dcr.Secrets{Lifetime: lifetime}, Now: func() time.Time { return now }}}
		s := dcrtest.Start(t, setup)
		expires := 0
		if lifetime > 0 {
			expires = int(now.Add(lifetime).Unix())
		}
		for _, method := range []string{"client_secret_basic", "client_secret_post"} {
			t.Run(fmt.Sprintf("7591-3.2.1-03/7591-3.2.1-04/%s/%s", method, lifetime), func(t *testing.T) {
				t.Parallel()
				answer := s.Register(t, dcrtest.Registration(map[string]any{"token_endpoint_auth_method": method}))
				require.NotEmpty(t, answer.Secret())
				dcrtest.RequireMembers(t, answer, map[string]any{"client_secret_expires_at": expires})
			})
		}
		for method, keys := range map[string]map[string]any{
			"none":            {},
			"private_key_jwt": {"jwks_uri": "https://client.example/jwks"},
		} {
			t.Run(fmt.Sprintf("7591-3.2.1-03/7591-3.2.1-04/%s/%s", method, lifetime), func(t *testing.T) {
				t.Parallel()
				body := dcrtest.Registration(keys)
				body["token_endpoint_auth_method"] = method
				dcrtest.RequireMembers(t, s.Register(t, body), map[string]any{
					"client_secret": dcrtest.Missing{}, "client_secret_expires_at": dcrtest.Missing{},
				})
			})
		}
	}
}

func TestSoftwareStatementWithoutIssuers(t *testing.T) {
	t.Parallel()
	// {"alg":"none"} and {"client_name":"Claimed","software_id":"claimed","scope":"profile"}
	const statement = "eyJhbGciOiJub25lIn0.eyJjbGllbnRfbmFtZSI6IkNsYWltZWQiLCJzb2Z0d2FyZV9pZCI6ImNsYWltZWQiLCJzY29wZSI6InByb2ZpbGUifQ."
	ignored := map[string]any{"software_statement": dcrtest.Missing{}, "client_name": "Plain", "software_id": dcrtest.Missing{}}
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		{Name: "7591-3.2.1-07/7591-2.3-03/ignored", Send: map[string]any{"software_statement": statement, "client_name": "Plain"}, Back: ignored},
		{Name: "7591-3.2.1-07/7591-2.3-03/nonsense", Send: map[string]any{"software_statement": "no JWT", "client_name": "Plain"}, Back: ignored},
		{Name: "7591-2.3-03/no_string", Send: map[string]any{"software_statement": map[string]any{"client_name": "Claimed"}},
			Code: dcrtest.BadMetadata, Names: []string{"software_statement"}},
	})
}

func TestSoftwareStatementComesBack(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "directory"}}, nil)
	require.NoError(t, err)
	// Spaces and the order of members are the issuer's.
	signed, err := signer.Sign([]byte(`{ "software_id" : "4NRB1", "iss":"https://directory.example",  "client_name":"Claimed" }`))
	require.NoError(t, err)
	statement, err := signed.CompactSerialize()
	require.NoError(t, err)
	trusting := dcrtest.Configured(func(cfg *dcr.Config) {
		cfg.Metadata.StatementIssuers = []dcr.StatementIssuer{{Issuer: "https://directory.example",
			Keys: &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "directory"}}}}}
	})
	dcrtest.RunOutcomes(t, trusting, []dcrtest.Outcome{{
		Name: "7591-3.2.1-07/verified", Send: map[string]any{"software_statement": statement, "client_name": "Plain"},
		Back: map[string]any{"software_statement": statement, "client_name": "Claimed", "software_id": "4NRB1"},
	}})
}

func TestErrorCodes(t *testing.T) {
	t.Parallel()
	refusing := dcrtest.Configured(func(cfg *dcr.Config) { cfg.Metadata.RefuseStatements = true })
	trusting := dcrtest.Configured(func(cfg *dcr.Config) {
		cfg.Metadata.StatementIssuers = []dcr.StatementIssuer{{Issuer: "https://directory.example", JWKSURI: "https://directory.example/jwks"}}
	})
	// {"alg":"none"} and {"iss":"https://evil.example","software_id":"x"}
	const unsigned = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2V2aWwuZXhhbXBsZSIsInNvZnR3YXJlX2lkIjoieCJ9."
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		{Name: "7591-3.2.2-01/7591-3.2.2-02/invalid_software_statement", Setup: trusting, Send: map[string]any{"software_statement": "no JWT"},
			Code: "invalid_software_statement", Names: []string{"software_statement"}},
		{Name: "7591-3.2.2-01/7591-3.2.2-02/unapproved_software_statement", Setup: refusing, Send: map[string]any{"software_statement": unsigned},
			Code: "unapproved_software_statement"},
		{Name: "7591-3.2.2-01/7591-3.2.2-02/invalid_redirect_uri", Send: map[string]any{"redirect_uris": []string{dcrtest.RedirectURI, "http://client.example/cb"}},
			Code: dcrtest.BadRedirect, Names: []string{"redirect_uris[1]"}},
		{Name: "7591-3.2.2-01/7591-3.2.2-02/invalid_client_metadata", Send: map[string]any{"logo_uri": "ftp://client.example/logo"},
			Code: dcrtest.BadMetadata, Names: []string{"logo_uri"}},
	})
}

// hostileTexts are values that must not come back in an error, each with a part that would betray it.
var hostileTexts = map[string]struct{ value, part string }{
	"markup":   {`<script>alert("x")</script>`, "alert"},
	"quotes":   {`"},"error":"forged","x":"\`, "forged"},
	"newlines": {"a\r\nSet-Cookie: a=b\r\n\r\n", "Cookie"},
	"controls": {"a\x00\x07\x1b[31m\x7f", "31m"},
	"unicode":  {"a\u202eb\u2028c😀", "😀"},
	"long":     {strings.Repeat("long-value-", 1000), "long-value"},
	"format":   {"%s%d%n%!v(MISSING)", "MISSING"},
}

func TestErrorDescriptions(t *testing.T) {
	t.Parallel()
	const secret = "a-secret-that-nobody-must-see"
	s := dcrtest.Start(t, dcrtest.Setup{})
	places := map[string]func(value string) map[string]any{
		"logo_uri":                   func(v string) map[string]any { return map[string]any{"logo_uri": v} },
		"jwks_uri":                   func(v string) map[string]any { return map[string]any{"jwks_uri": v} },
		"redirect_uris":              func(v string) map[string]any { return map[string]any{"redirect_uris": []string{v}} },
		"token_endpoint_auth_method": func(v string) map[string]any { return map[string]any{"token_endpoint_auth_method": v} },
		"grant_types":                func(v string) map[string]any { return map[string]any{"grant_types": []string{v}} },
		"response_types":             func(v string) map[string]any { return map[string]any{"response_types": []string{v}} },
		"application_type":           func(v string) map[string]any { return map[string]any{"application_type": v} },
		"subject_type":               func(v string) map[string]any { return map[string]any{"subject_type": v} },
		"jwks": func(v string) map[string]any {
			return map[string]any{"jwks": map[string]any{"keys": []any{map[string]any{"kty": "EC", "crv": "P-256", "x": v, "y": v, "kid": v}}}}
		},
	}
	for member, place := range places {
		for kind, text := range hostileTexts {
			t.Run(fmt.Sprintf("7591-3.2.2-03/%s/%s", member, kind), func(t *testing.T) {
				t.Parallel()
				code := dcrtest.BadMetadata
				if member == "redirect_uris" {
					code = dcrtest.BadRedirect
				}
				body := dcrtest.Registration(place(text.value))
				body["client_secret"] = secret
				answer := s.Post(t, body)
				dcrtest.RequireRefusal(t, answer, http.StatusBadRequest, code, member)
				require.NotContains(t, answer.Body, secret)
				require.NotContains(t, answer.Text("error_description"), text.part)
			})
		}
	}
	t.Run("7591-3.2.2-03/names", func(t *testing.T) {
		t.Parallel()
		for kind, text := range hostileTexts {
			name, err := json.Marshal("client_name#" + text.value)
			require.NoError(t, err)
			body := fmt.Sprintf(`{"redirect_uris":["https://client.example/cb"],%s:1,%[1]s:2}`, name)
			answer := s.Post(t, body)
			dcrtest.RequireRefusal(t, answer, http.StatusBadRequest, dcrtest.BadMetadata)
			require.NotContains(t, answer.Text("error_description"), text.part, kind)
		}
	})
}

func TestEveryRefusalIsJSON(t *testing.T) {
	t.Parallel()
	access := func(err error) dcrtest.Setup {
		return dcrtest.Setup{Config: dcr.Config{Access: dcr.AccessFunc(func(context.Context, *http.Request) (*dcr.Registrant, error) {
			return nil, err
		})}}
	}
	tooMany := &fosite.RFC6749Error{ErrorField: "temporarily_unavailable", DescriptionField: "Too many registrations.", CodeField: http.StatusTooManyRequests}
	rows := []struct {
		name         string
		setup        dcrtest.Setup
		method, body string
		edit         dcrtest.Edit
		status       int
		code, header string
	}{
		{"400", dcrtest.Setup{}, "POST", "{}", nil, 400, dcrtest.BadRedirect, ""},
		{"401", dcrtest.Setup{Closed: true}, "POST", dcrtest.PlainRegistration, nil, 401, "invalid_token", "WWW-Authenticate"},
		{"403", access(dcr.ErrAccessDenied), "POST", dcrtest.PlainRegistration, nil, 403, "access_denied", ""},
		{"405", dcrtest.Setup{}, "PATCH", dcrtest.PlainRegistration, nil, 405, "invalid_request", "Allow"},
		{"413", dcrtest.Setup{}, "POST", strings.Repeat(" ", 2<<20), nil, 413, "invalid_request", ""},
		{"415", dcrtest.Setup{}, "POST", dcrtest.PlainRegistration, dcrtest.Header("Content-Type", "text/html"), 415, "invalid_request", ""},
		{"429", access(tooMany), "POST", dcrtest.PlainRegistration, nil, 429, "temporarily_unavailable", "Retry-After"},
		{"500", access(errors.New("disk on fire")), "POST", dcrtest.PlainRegistration, nil, 500, "server_error", ""},
		{"503", access(dcr.ErrUnavailable), "POST", dcrtest.PlainRegistration, nil, 503, "temporarily_unavailable", "Retry-After"},
	}
	for _, row := range rows {
		for kind, accept := range map[string]string{"no_accept": "", "html": "text/html", "nothing": "image/png;q=1, */*;q=0"} {
			t.Run(fmt.Sprintf("7591-3.2.2-05/T25/%s/%s", row.name, kind), func(t *testing.T) {
				t.Parallel()
				edits := []dcrtest.Edit{dcrtest.Header("Content-Type", "application/json")}
				if accept != "" {
					edits = append(edits, dcrtest.Header("Accept", accept))
				}
				if row.edit != nil {
					edits = append(edits, row.edit)
				}
				answer := dcrtest.Start(t, row.setup).Do(t, row.method, "/register", []byte(row.body), edits...)
				dcrtest.RequireRefusal(t, answer, row.status, row.code)
				if row.header != "" {
					require.NotEmpty(t, answer.Header.Get(row.header), "%s in %v", row.header, answer.Header)
				}
				require.NotContains(t, answer.Body, "fire")
			})
		}
	}
}
