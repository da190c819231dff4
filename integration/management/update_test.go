package management_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// serversOwn are the members of an answer that an update must not repeat (RFC 7592,
// section 2.2).
var serversOwn = []string{
	"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at",
}

// managedKeys is the jwks of a client with one key.
func managedKeys(t testing.TB) map[string]any {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	js, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "a", Algorithm: "ES256", Use: "sig"}}})
	require.NoError(t, err)
	var set map[string]any
	require.NoError(t, json.Unmarshal(js, &set))
	return set
}

// TestUpdateReplaces: what an update omits is reset (7592-2.2-01).
func TestUpdateReplaces(t *testing.T) {
	t.Parallel()
	full := dcrtest.Managed("client_name#fr", "Géré", "client_uri", "https://client.example/", "contacts", []string{"a@b.example"},
		"token_endpoint_auth_method", "client_secret_post", "application_type", "native", "software_id", "x", "software_version", "1",
		"tos_uri", "https://client.example/tos", "policy_uri", "https://client.example/policy", "logo_uri", "https://client.example/logo")
	minimal := dcrtest.Managed()
	maps.DeleteFunc(minimal, func(name string, _ any) bool { return name != "redirect_uris" })
	nulls := maps.Clone(full)
	for name := range nulls {
		nulls[name] = nil
	}
	nulls["redirect_uris"] = minimal["redirect_uris"]
	for name, body := range map[string]map[string]any{"omitted": minimal, "null": nulls} {
		t.Run("7592-2.2-01/"+name, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.Start(t, dcrtest.Setup{})
			client, fresh := s.Register(t, full), s.Register(t, minimal)
			body := maps.Clone(body)
			body["client_id"] = client.ID()
			answer := s.Manage(t, "PUT", client, body)
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
			require.Equal(t, "no-store", answer.Header.Get("Cache-Control"))
			require.Equal(t, "no-cache", answer.Header.Get("Pragma"))
			want := maps.Clone(fresh.Members) // as a registration with that body
			for _, own := range []string{"client_id", "client_secret", "registration_client_uri", "registration_access_token", "client_id_issued_at"} {
				delete(want, own)
			}
			want["client_id"], want["registration_client_uri"] = client.ID(), client.URI()
			want["registration_access_token"], want["client_id_issued_at"] = answer.Token(), client.Members["client_id_issued_at"]
			require.Equal(t, want, answer.Members)
			require.Equal(t, answer.Members, s.Manage(t, "GET", answer, nil).Members)
		})
	}
}

// TestUpdateRefused: a refused update changes nothing and says which member is wrong
// (7592-2.2-02 to -05).
func TestUpdateRefused(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Management: dcr.Management{Token: dcr.RegistrationToken{KeepOnUpdate: true}}}})
	other := s.Register(t, dcrtest.Managed())
	rows := []struct {
		name  string
		pairs []any
		code  string
		named string
	}{
		{"7592-2.2-02/other", []any{"client_id", other.ID()}, "invalid_client_metadata", "client_id"},
		{"7592-2.2-02/null", []any{"client_id", nil}, "invalid_client_metadata", "client_id"},
		{"7592-2.2-02/empty", []any{"client_id", ""}, "invalid_client_metadata", "client_id"},
		{"7592-2.2-02/number", []any{"client_id", 7}, "invalid_client_metadata", "client_id"},
		{"7592-2.2-03/chosen", []any{"client_secret", "dcrs_chosen-by-the-client"}, "invalid_client_metadata", "client_secret"},
		{"7592-2.2-03/others", []any{"client_secret", other.Secret()}, "invalid_client_metadata", "client_secret"},
		{"7592-2.2-03/empty", []any{"client_secret", ""}, "invalid_client_metadata", "client_secret"},
		{"7592-2.2-03/number", []any{"client_secret", 7}, "invalid_client_metadata", "client_secret"},
		{"7592-2.2-04/token", []any{"registration_access_token", "x"}, "invalid_client_metadata", "registration_access_token"},
		{"7592-2.2-04/uri", []any{"registration_client_uri", "https://x.example/"}, "invalid_client_metadata", "registration_client_uri"},
		{"7592-2.2-04/secret_expires_at", []any{"client_secret_expires_at", 0}, "invalid_client_metadata", "client_secret_expires_at"},
		{"7592-2.2-04/issued_at", []any{"client_id_issued_at", 1}, "invalid_client_metadata", "client_id_issued_at can not be set by the client (RFC 7592, section 2.2): leave it out."},
		{"7592-2.2-05/redirect", []any{"redirect_uris", []string{"javascript:alert(1)"}}, "invalid_redirect_uri", "redirect_uris"},
		{"7592-2.2-05/no_redirect", []any{"redirect_uris", nil}, "invalid_redirect_uri", "redirect_uris"},
		{"7592-2.2-05/name", []any{"client_name", "a\u202eb"}, "invalid_client_metadata", "client_name"},
		{"7592-2.2-05/type", []any{"contacts", "a@b.example"}, "invalid_client_metadata", "contacts"},
		{"7592-2.2-05/method", []any{"token_endpoint_auth_method", "client_secret_jwt"}, "invalid_client_metadata", "token_endpoint_auth_method"},
		{"T08/grants", []any{"grant_types", []string{"client_credentials"}}, "invalid_client_metadata", "grant_types"},
		{"T08/scope", []any{"scope", "*"}, "invalid_client_metadata", "scope"},
	}
	for _, row := range rows {
		t.Run(row.name+"/get_equals_before", func(t *testing.T) {
			t.Parallel()
			client := s.Register(t, dcrtest.Managed())
			before := s.Manage(t, "GET", client, nil)
			answer := s.Manage(t, "PUT", client, dcrtest.Replacing(client, append([]any{"client_name", "Changed"}, row.pairs...)...))
			dcrtest.RequireError(t, answer, http.StatusBadRequest, row.code, row.named)
			require.Equal(t, before.Body, s.Manage(t, "GET", client, nil).Body)
			dcrtest.SignIn(t, s, client) // the secret is as before
		})
	}
	t.Run("7592-2.2-02/missing/get_equals_before", func(t *testing.T) {
		t.Parallel()
		client := s.Register(t, dcrtest.Managed())
		before := s.Manage(t, "GET", client, nil)
		dcrtest.RequireError(t, s.Manage(t, "PUT", client, dcrtest.Managed("client_name", "Changed")), http.StatusBadRequest, "invalid_client_metadata", "client_id")
		require.Equal(t, before.Body, s.Manage(t, "GET", client, nil).Body)
	})
}

// TestUpdateBody: the body is judged as that of a registration (7592-2.2-10,
// 7591-3.1-01, 7591-3.1-03, T18).
func TestUpdateBody(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Management: dcr.Management{Token: dcr.RegistrationToken{KeepOnUpdate: true}}}})
	client := s.Register(t, dcrtest.Managed())
	before := s.Manage(t, "GET", client, nil)
	id := `"client_id":"` + client.ID() + `","redirect_uris":["` + dcrtest.RedirectURI + `"]`
	large := `{` + id + `,"x":"` + strings.Repeat("x", 2<<20) + `"}`
	rows := []struct {
		name, media, body string
		status            int
		code              string
	}{
		{"form", "application/x-www-form-urlencoded", url.Values{"client_id": {client.ID()}}.Encode(), 415, "invalid_request"},
		{"text", "text/plain", `{` + id + `}`, 415, "invalid_request"},
		{"no_media_type", "", `{` + id + `}`, 415, "invalid_request"},
		{"two_megabytes", "application/json", large, 413, "invalid_request"},
		{"array", "application/json", `[{` + id + `}]`, 400, "invalid_client_metadata"},
		{"null", "application/json", `null`, 400, "invalid_client_metadata"},
		{"empty", "application/json", ``, 400, "invalid_client_metadata"},
		{"truncated", "application/json", `{` + id, 400, "invalid_client_metadata"},
		{"trailing", "application/json", `{` + id + `}{}`, 400, "invalid_client_metadata"},
		{"duplicate", "application/json", `{` + id + `,"client_id":"x"}`, 400, "invalid_client_metadata"},
		{"case", "application/json", `{"Client_ID":"` + client.ID() + `","redirect_uris":["` + dcrtest.RedirectURI + `"]}`, 400, "invalid_client_metadata"},
	}
	for _, row := range rows {
		t.Run("7592-2.2-10/"+row.name, func(t *testing.T) {
			t.Parallel()
			answer := s.Do(t, "PUT", client.URI(), []byte(row.body), dcrtest.Bearer(client.Token()), dcrtest.Header("Content-Type", row.media))
			dcrtest.RequireError(t, answer, row.status, row.code)
			require.Equal(t, before.Body, s.Manage(t, "GET", client, nil).Body)
		})
	}
	t.Run("7592-2.2-10/endless", func(t *testing.T) {
		t.Parallel()
		endless := func(r *http.Request) { // no length is told
			r.ContentLength, r.Body = -1, http.NoBody
			r.Body = readCloser{bytes.NewReader([]byte(large))}
		}
		answer := s.Manage(t, "PUT", client, nil, endless)
		dcrtest.RequireError(t, answer, http.StatusRequestEntityTooLarge, "invalid_request")
	})
	t.Run("7592-2.2-10/charset", func(t *testing.T) {
		t.Parallel()
		client := s.Register(t, dcrtest.Managed())
		answer := s.Manage(t, "PUT", client, dcrtest.Replacing(client), dcrtest.Header("Content-Type", "application/json; charset=utf-8"))
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	})
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

// TestUpdateWithWhatWasAnswered: what a read answered is accepted in an update, but for
// the members that are the server's own, and changes nothing (7592-2.2-10).
func TestUpdateWithWhatWasAnswered(t *testing.T) {
	t.Parallel()
	kinds := map[string]map[string]any{
		"confidential": dcrtest.Managed(),
		"public":       dcrtest.Managed("token_endpoint_auth_method", "none"),
		"post":         dcrtest.Managed("token_endpoint_auth_method", "client_secret_post"),
		"keys":         dcrtest.Managed("token_endpoint_auth_method", "private_key_jwt", "jwks", managedKeys(t), "token_endpoint_auth_signing_alg", "ES256"),
		"keys_by_uri":  dcrtest.Managed("token_endpoint_auth_method", "private_key_jwt", "jwks_uri", "https://client.example/jwks"),
		"minimal":      {"redirect_uris": []string{dcrtest.RedirectURI}},
		"service":      {"grant_types": []string{"client_credentials"}, "scope": "profile"},
		"native": dcrtest.Managed("application_type", "native", "token_endpoint_auth_method", "none",
			"redirect_uris", []string{"http://127.0.0.1/cb", "http://localhost:33418/", "com.example.app:/cb"}),
		"asks_for_more": dcrtest.Managed("scope", "openid mcp:tools", "grant_types",
			[]string{"authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"}, "frontchannel_logout_uri", "https://client.example/out"),
		"openid": dcrtest.Managed("default_max_age", 3600, "require_auth_time", true, "subject_type", "public",
			"id_token_signed_response_alg", "RS256", "require_pushed_authorization_requests", true),
		"text": dcrtest.Managed("client_name", "Ünïcode 👨‍👩‍👧 \"quoted\" <&>", "client_name#ja", "名前", "contacts", []string{"a@b.example"},
			"client_uri", "https://client.example/#about", "software_id", "4NRB1", "software_version", "2.1"),
	}
	for name, metadata := range kinds {
		t.Run("7592-2.2-10/"+name, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
				Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}}, Management: dcr.Management{Token: dcr.RegistrationToken{KeepOnUpdate: true}},
			}})
			client := s.Register(t, metadata)
			read := s.Manage(t, "GET", client, nil)
			body := maps.Clone(read.Members)
			for _, own := range serversOwn {
				delete(body, own)
			}
			answer := s.Manage(t, "PUT", client, body)
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
			require.Equal(t, read.Body, answer.Body)
			if client.Secret() != "" { // as RFC 7592, section 2.2, shows it
				body["client_secret"] = client.Secret()
				answer = s.Manage(t, "PUT", client, body)
				require.Equal(t, http.StatusOK, answer.Status, answer.Body)
				require.Equal(t, read.Body, answer.Body)
			}
		})
	}
}

// TestUpdateSecret: what becomes of the secret when the method changes (7592-2.2-03,
// 7592-2.2-07, T38).
func TestUpdateSecret(t *testing.T) {
	t.Parallel()
	keys := managedKeys(t)
	rows := []struct {
		name, from, to string
		secret         string // "issued", "kept" or "removed"
	}{
		{"none_to_basic", "none", "client_secret_basic", "issued"},
		{"none_to_post", "none", "client_secret_post", "issued"},
		{"keys_to_basic", "private_key_jwt", "client_secret_basic", "issued"},
		{"basic_to_none", "client_secret_basic", "none", "removed"},
		{"post_to_none", "client_secret_post", "none", "removed"},
		{"basic_to_keys", "client_secret_basic", "private_key_jwt", "removed"},
		{"basic_to_post", "client_secret_basic", "client_secret_post", "kept"},
		{"basic_to_basic", "client_secret_basic", "client_secret_basic", "kept"},
		{"none_to_keys", "none", "private_key_jwt", "removed"},
	}
	for _, row := range rows {
		t.Run("7592-2.2-07/"+row.name, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.Start(t, dcrtest.Setup{})
			metadata := func(method string) []any {
				pairs := []any{"token_endpoint_auth_method", method}
				if method == "private_key_jwt" {
					pairs = append(pairs, "jwks", keys)
				}
				return pairs
			}
			client := s.Register(t, dcrtest.Managed(metadata(row.from)...))
			answer := s.Manage(t, "PUT", client, dcrtest.Replacing(client, metadata(row.to)...))
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
			require.Equal(t, row.to, answer.Text("token_endpoint_auth_method"))
			record, err := s.Store.GetDynamicClient(t.Context(), client.ID())
			require.NoError(t, err)
			switch row.secret {
			case "issued":
				require.NotEmpty(t, answer.Secret())
				require.NotEqual(t, client.Secret(), answer.Secret())
				require.EqualValues(t, 0, answer.Members["client_secret_expires_at"])
				requireSecret(t, s, answer, row.to, answer.Secret(), true)
			case "kept":
				require.NotContains(t, answer.Members, "client_secret")
				require.EqualValues(t, 0, answer.Members["client_secret_expires_at"])
				requireSecret(t, s, client, row.to, client.Secret(), true)
			case "removed":
				require.NotContains(t, answer.Members, "client_secret")
				require.NotContains(t, answer.Members, "client_secret_expires_at")
				require.Empty(t, record.SecretHash)
				requireSecret(t, s, client, row.from, client.Secret(), false)
			}
		})
	}
}

// requireSecret asks the token endpoint whether a secret authenticates a client: a
// grant that is nobody's is refused later than a client that is not who it says.
func requireSecret(t *testing.T, s *dcrtest.Server, client dcrtest.Answer, method, secret string, right bool) {
	t.Helper()
	form := dcrtest.RefreshForm("", "nobody's")
	var edits []dcrtest.Edit
	if method == "client_secret_post" {
		form.Set("client_id", client.ID())
		form.Set("client_secret", secret)
	} else {
		edits = append(edits, dcrtest.Basic(client.ID(), secret))
	}
	answer := s.Form(t, "/oauth2/token", form, edits...)
	if right {
		dcrtest.RequireTokenError(t, answer, http.StatusBadRequest, "invalid_grant")
		return
	}
	dcrtest.RequireTokenError(t, answer, http.StatusUnauthorized, "invalid_client")
}

// TestUpdateSecretInBody: the secret may be repeated and not chosen (7592-2.2-03).
func TestUpdateSecretInBody(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	for name, change := range map[string]func(dcrtest.Answer) any{
		"right": func(client dcrtest.Answer) any { return client.Secret() },
		"null":  func(dcrtest.Answer) any { return nil },
	} {
		t.Run("7592-2.2-03/"+name, func(t *testing.T) {
			t.Parallel()
			client := s.Register(t, dcrtest.Managed())
			answer := s.Manage(t, "PUT", client, dcrtest.Replacing(client, "client_secret", change(client)))
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
			require.NotContains(t, answer.Members, "client_secret")
			requireSecret(t, s, client, "client_secret_basic", client.Secret(), true)
		})
	}
	for _, secret := range []string{"chosen", ""} {
		t.Run("7592-2.2-03/public/"+secret, func(t *testing.T) {
			t.Parallel()
			client := s.Register(t, dcrtest.Managed("token_endpoint_auth_method", "none"))
			for _, method := range []string{"none", "client_secret_basic"} {
				answer := s.Manage(t, "PUT", client, dcrtest.Replacing(client, "client_secret", secret, "token_endpoint_auth_method", method))
				dcrtest.RequireError(t, answer, http.StatusBadRequest, "invalid_client_metadata", "client_secret")
			}
			require.Equal(t, "none", s.Manage(t, "GET", client, nil).Text("token_endpoint_auth_method"))
		})
	}
}

// TestUpdateBounds: an update is bounded as the registration was (T08), and can't reach
// the operator's own clients or what a client can't say (T05, T07).
func TestUpdateBounds(t *testing.T) {
	t.Parallel()
	t.Run("T08/scope_and_grants", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{})
		client := s.Register(t, dcrtest.Managed("scope", "openid"))
		answer := s.Manage(t, "PUT", client, dcrtest.Replacing(client, "scope", "openid admin dcr:manage dcr:register",
			"grant_types", []string{"authorization_code", "client_credentials", "password"},
			"skip_consent", true, "audience", []string{"https://api.example"}, "trusted", true))
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		require.Equal(t, "openid", answer.Text("scope"))
		require.Equal(t, []any{"authorization_code"}, answer.Members["grant_types"])
		for _, unknown := range []string{"skip_consent", "audience", "trusted"} {
			require.NotContains(t, answer.Members, unknown, "T07")
		}
		dcrtest.RequireTokenError(t, s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}},
			dcrtest.Basic(client.ID(), client.Secret())), http.StatusBadRequest, "unauthorized_client")
	})
	t.Run("T08/registrant", func(t *testing.T) {
		t.Parallel()
		access := dcr.AccessFunc(func(context.Context, *http.Request) (*dcr.Registrant, error) {
			return &dcr.Registrant{Kind: "bounded", GrantTypes: []string{"authorization_code"}}, nil
		})
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Access: access}})
		client := s.Register(t, dcrtest.Managed())
		require.Equal(t, []any{"authorization_code"}, client.Members["grant_types"])
		answer := s.Manage(t, "PUT", client, dcrtest.Replacing(client))
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		require.Equal(t, []any{"authorization_code"}, answer.Members["grant_types"])
		dcrtest.RequireError(t, s.Manage(t, "PUT", answer, dcrtest.Replacing(client, "grant_types", []string{"client_credentials"})),
			http.StatusBadRequest, "invalid_client_metadata", "grant_types")
	})
	t.Run("7592-2-05/static", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{dcrtest.Introspector(t)}})
		client := s.Register(t, dcrtest.Managed())
		body := dcrtest.Managed("client_id", dcrtest.IntrospectorID, "redirect_uris", []string{"https://evil.example/cb"})
		dcrtest.RequireUniformRefusal(t, s.Do(t, "PUT", "/register/"+dcrtest.IntrospectorID, dcrtest.JSONBody(t, body),
			dcrtest.Bearer(client.Token()), dcrtest.Header("Content-Type", "application/json")))
		dcrtest.RequireError(t, s.Manage(t, "PUT", client, body), http.StatusBadRequest, "invalid_client_metadata", "client_id")
		stored, err := s.Store.GetClient(t.Context(), dcrtest.IntrospectorID)
		require.NoError(t, err)
		require.Equal(t, []string{dcrtest.RedirectURI}, stored.GetRedirectURIs(), "T05")
	})
}
