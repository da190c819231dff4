package secrets_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// machine registers a client that authenticates with its key.
func (s *watchedServer) machine(t *testing.T) (dcrtest.Answer, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	keys := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public()}}}
	statement := s.sign(t, "software statement", key, map[string]any{"iss": "https://nobody.example", "software_id": "x"})
	return s.json(t, "POST", "/register", s.mint(t, 0), nil, map[string]any{
		"token_endpoint_auth_method": "private_key_jwt", "grant_types": []string{"client_credentials"}, "jwks": keys,
		"software_statement": statement, // of nobody whom the server trusts
	}), key
}

func (s *watchedServer) sign(t *testing.T, what string, key *ecdsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	require.NoError(t, err)
	payload, err := json.Marshal(claims)
	require.NoError(t, err)
	signed, err := signer.Sign(payload)
	require.NoError(t, err)
	compact, err := signed.CompactSerialize()
	require.NoError(t, err)
	s.secret(what, compact)
	return compact
}

// assertions authenticates a client with good assertions and with bad ones.
func (s *watchedServer) assertions(t *testing.T, machine dcrtest.Answer, key *ecdsa.PrivateKey, short bool) {
	t.Helper()
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	claims := func(changes ...any) map[string]any {
		claims := map[string]any{"iss": machine.ID(), "sub": machine.ID(), "aud": s.URL, "jti": rand.Text(), "exp": time.Now().Add(time.Minute).Unix()}
		for i := 0; i+1 < len(changes); i += 2 {
			claims[changes[i].(string)] = changes[i+1]
		}
		return claims
	}
	good := s.sign(t, "client assertion", key, claims())
	all := []string{
		good, good, // the second time it is known
		s.sign(t, "client assertion", stranger, claims()),
		s.sign(t, "client assertion", key, claims("exp", time.Now().Add(-time.Hour).Unix())),
		s.sign(t, "client assertion", key, claims("aud", "https://elsewhere.example")),
		s.sign(t, "client assertion", key, claims("sub", "somebody else")),
		good[:len(good)-8],
	}
	if short {
		all = all[:2]
	}
	for _, assertion := range all {
		for path, form := range map[string]url.Values{
			"/oauth2/token": {"grant_type": {"client_credentials"}}, "/oauth2/introspect": {"token": {machine.Token()}},
			"/oauth2/revoke": {"token": {machine.Token()[1:]}}, "/oauth2/par": dcrtest.AuthorizeQuery("", secretRedirect),
		} {
			form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
			form.Set("client_assertion", assertion)
			if path == "/oauth2/par" {
				form.Del("client_id")
			}
			s.form(t, path, form)
		}
	}
}

// sample returns a secret of each kind.
func (s *watchedServer) sample() []string {
	byKind := map[string]string{}
	for value, what := range s.known() {
		byKind[what] = value
	}
	return slices.Collect(maps.Values(byKind))
}

// misuse presents secrets of each kind where they do not belong.
func (s *watchedServer) misuse(t *testing.T, clients []dcrtest.Answer) {
	t.Helper()
	client, machine := clients[0], clients[1]
	door := s.mint(t, 0)
	for _, value := range s.sample() {
		s.misuseForms(t, client, value)
		s.misuseMetadata(t, door, machine, value)
		query := url.Values{"access_token": {value}, "client_secret": {value}, "token": {value}}.Encode()
		s.send(t, "POST", "/register?"+query, []byte(`{}`), nil, dcrtest.Header("Content-Type", "application/json"))
		s.send(t, "GET", "/register/"+client.ID()+"?"+query, nil, nil)
		s.send(t, "GET", "/register/"+url.PathEscape(value), nil, nil, dcrtest.Bearer(client.Token()))
		s.send(t, "GET", "/"+url.PathEscape(value), nil, nil)
		s.send(t, "GET", "/oauth2/auth?"+dcrtest.AuthorizeQuery(value, secretRedirect).Encode(), nil, nil)
		s.send(t, "GET", "/oauth2/auth?"+dcrtest.AuthorizeQuery(client.ID(), "https://evil.example/"+url.PathEscape(value)).Encode(), nil, nil)
		s.send(t, "GET", "/oauth2/auth?"+dcrtest.AuthorizeQuery(client.ID(), secretRedirect, "request_uri", value).Encode(), nil, nil)
		if !isHeaderValue(value) {
			continue // no HTTP client sends the bytes of a hash
		}
		for _, header := range []string{value, "Bearer " + value, "Bearer " + value + " " + value, "Basic " + value, "Basic " + value + ":"} {
			authorization := dcrtest.Header("Authorization", header)
			if value != client.Token() && value != machine.Token() {
				s.send(t, "GET", client.URI(), nil, nil, authorization)
				s.send(t, "PUT", machine.URI(), []byte(`{}`), nil, authorization, dcrtest.Header("Content-Type", "application/json"))
			}
			s.send(t, "POST", "/register", []byte(`{`), nil, authorization, dcrtest.Header("Content-Type", "application/json"))
			s.send(t, "POST", "/register", []byte(`{}`), nil, authorization, dcrtest.Header("Content-Type", value))
		}
	}
}

// misuseForms presents a secret at the endpoints of fosite.
func (s *watchedServer) misuseForms(t *testing.T, client dcrtest.Answer, value string) {
	t.Helper()
	for _, path := range []string{"/oauth2/token", "/oauth2/introspect", "/oauth2/revoke", "/oauth2/par"} {
		for _, form := range []url.Values{
			{"client_id": {value}}, {"client_id": {value}, "client_secret": {value}}, {"client_id": {client.ID(), value}},
			{"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {value}},
		} {
			form.Set("grant_type", "authorization_code")
			form.Set("token", value)
			form.Set("code", value)
			form.Set("refresh_token", value)
			s.form(t, path, form)
		}
		form := url.Values{"grant_type": {"authorization_code"}, "token": {value}}
		s.form(t, path, form, dcrtest.Basic(value, value))
		s.form(t, path+"?"+url.Values{"client_secret": {value}, "access_token": {value}}.Encode(), form)
		if isHeaderValue(value) {
			s.form(t, path, form, dcrtest.Bearer(value))
		}
	}
	// The right client with the wrong code, token and verifier.
	credentials := dcrtest.Basic(client.ID(), client.Secret())
	form := s.code(t, client.ID(), credentials, false)
	form.Set("code_verifier", value)
	s.form(t, "/oauth2/token", form, credentials)
	form.Set("code", value+"x")
	s.form(t, "/oauth2/token", form, credentials)
	s.form(t, "/oauth2/token", dcrtest.RefreshForm("", value+"x"), credentials)
}

// misuseMetadata presents a secret in the body of registrations and updates.
func (s *watchedServer) misuseMetadata(t *testing.T, door string, machine dcrtest.Answer, value string) {
	t.Helper()
	written, err := json.Marshal(value)
	require.NoError(t, err)
	quoted := string(written)
	for _, body := range []string{
		quoted, "[" + quoted + "]", "[" + quoted, `{"client_name":` + quoted + `,"client_name":` + quoted + `}`, value,
		`{"redirect_uris":` + quoted + `}`, `{"redirect_uris":["` + secretRedirect + `"],"contacts":` + quoted + `}`,
		`{"redirect_uris":["` + secretRedirect + `"],"jwks":` + quoted + `}`, `{"redirect_uris":["` + secretRedirect + `"],"jwks":{"keys":[` + quoted + `]}}`,
		`{"redirect_uris":["` + secretRedirect + `"],"token_endpoint_auth_method":` + quoted + `}`,
		`{"redirect_uris":["` + secretRedirect + `"],"client_uri":"https://u:` + url.PathEscape(value) + `@app.example/"}`,
		`{"redirect_uris":["http://` + url.PathEscape(value) + `.example/"]}`, `{"redirect_uris":[` + quoted + `]}`,
		`{"redirect_uris":["` + secretRedirect + `"],"client_secret":` + quoted + `,"registration_access_token":` + quoted + `,"x":` + quoted + `}`,
		`{"redirect_uris":["` + secretRedirect + `"],"grant_types":[` + quoted + `],"response_types":[` + quoted + `]}`,
	} {
		s.json(t, "POST", "/register", door, nil, body)
	}
	if machine.ID() == "" {
		return
	}
	for _, name := range []string{"client_id", "client_secret", "registration_access_token"} {
		body := map[string]any{"client_id": machine.ID(), "grant_types": []string{"client_credentials"}, "token_endpoint_auth_method": "client_secret_basic"}
		body[name] = value
		answer := s.json(t, "PUT", machine.URI(), machine.Token(), nil, body)
		require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
	}
}

// isHeaderValue reports whether an HTTP client would send it.
func isHeaderValue(value string) bool {
	for _, c := range []byte(value) {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

// faults lives the whole life once for each call of the storage, which fails.
func (s *watchedServer) faults(t *testing.T) {
	t.Helper()
	s.store.failAt(0)
	s.end(t, s.life(t, true))
	calls := s.store.made()
	require.Greater(t, calls, 40)
	for n := 1; n <= calls; n++ {
		s.store.failAt(n)
		s.end(t, s.life(t, true))
	}
	s.store.failAt(0)
	require.Greater(t, len(s.store.names), 20, "%v", s.store.names)
}
