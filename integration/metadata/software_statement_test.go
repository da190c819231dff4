package metadata_test

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/outbound"
)

func TestStatementTakesPrecedence(t *testing.T) {
	t.Parallel()
	d := dcrtest.NewDirectory(t, "1")
	s := dcrtest.Start(t, dcrtest.Setup{Config: d.Trusted()})
	raw := d.Sign(t, dcrtest.StatementClaims("client_name#fr", "Banque", "scope", "openid", "roles", []string{"admin"}, "client_id", "chosen"))

	client := s.Register(t, map[string]any{
		"client_name": "Something Else", "redirect_uris": []string{"https://evil.example/cb"}, "software_statement": raw,
		"client_uri": "https://bank.example/",
	})
	t.Run("7591-2.3-02/claims_over_members", func(t *testing.T) {
		require.Equal(t, "Bank App", client.Text("client_name"))
		require.Equal(t, "Banque", client.Text("client_name#fr"))
		require.Equal(t, []any{"https://bank.example/cb"}, client.Members["redirect_uris"])
		require.Equal(t, "openid", client.Text("scope"))
		require.Equal(t, "https://bank.example/", client.Text("client_uri"), "what the statement is silent about stands")
		require.NotContains(t, client.Body, "evil.example")
		require.NotContains(t, client.Body, "roles")
		require.NotEqual(t, "chosen", client.ID())
	})
	t.Run("7591-3.2.1-07/returned_unmodified", func(t *testing.T) {
		require.Equal(t, raw, client.Text("software_statement"))
		require.Equal(t, raw, s.Manage(t, http.MethodGet, client, nil).Text("software_statement"))
	})
	t.Run("7591-2.3-02/rules_hold_for_claims", func(t *testing.T) {
		answer := s.Post(t, map[string]any{"software_statement": d.Sign(t, dcrtest.StatementClaims("redirect_uris", []string{"http://bank.example/cb"}))})
		dcrtest.RequireMemberRefused(t, answer, "invalid_redirect_uri", "redirect_uris")
		answer = s.Post(t, map[string]any{"software_statement": d.Sign(t, dcrtest.StatementClaims("redirect_uris", "https://bank.example/cb"))})
		dcrtest.RequireMemberRefused(t, answer, "invalid_software_statement", "redirect_uris")
	})
}

// TestStatementsThatDeserveNoTrust: every attack of T29 by itself.
func TestStatementsThatDeserveNoTrust(t *testing.T) {
	t.Parallel()
	d, stranger := dcrtest.NewDirectory(t, "1"), dcrtest.NewDirectory(t, "1")
	s := dcrtest.Start(t, dcrtest.Setup{Config: d.Trusted()})
	good := d.Sign(t, dcrtest.StatementClaims())
	parts := strings.Split(good, ".")
	unsigned := func(header string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + parts[1] + "."
	}
	public, err := json.Marshal(d.Set().Keys[0])
	require.NoError(t, err)
	own := jose.JSONWebKey{Key: stranger.Key.Public(), KeyID: "1", Algorithm: "ES256"}
	day := int64(24 * 60 * 60)
	now := time.Now().Unix()

	for name, row := range map[string]struct{ raw, code string }{
		"none":              {unsigned(`{"alg":"none"}`), "invalid_software_statement"},
		"none_mixed_case":   {unsigned(`{"alg":"nOnE"}`), "invalid_software_statement"},
		"hmac_public_key":   {dcrtest.SignClaims(t, jose.HS256, public, nil, dcrtest.StatementClaims()), "invalid_software_statement"},
		"jku":               {dcrtest.SignClaims(t, jose.ES256, stranger.Key, map[jose.HeaderKey]any{"jku": "https://127.0.0.1:1/jwks"}, dcrtest.StatementClaims()), "invalid_software_statement"},
		"x5u":               {dcrtest.SignClaims(t, jose.ES256, stranger.Key, map[jose.HeaderKey]any{"x5u": "https://127.0.0.1:1/cert"}, dcrtest.StatementClaims()), "invalid_software_statement"},
		"jwk":               {dcrtest.SignClaims(t, jose.ES256, stranger.Key, map[jose.HeaderKey]any{"jwk": own}, dcrtest.StatementClaims()), "invalid_software_statement"},
		"kid_of_another":    {stranger.Sign(t, dcrtest.StatementClaims()), "invalid_software_statement"},
		"kid_injection":     {dcrtest.SignClaims(t, jose.ES256, jose.JSONWebKey{Key: stranger.Key, KeyID: "../../1"}, nil, dcrtest.StatementClaims()), "invalid_software_statement"},
		"expired":           {d.Sign(t, dcrtest.StatementClaims("exp", now-60)), "invalid_software_statement"},
		"not_before":        {d.Sign(t, dcrtest.StatementClaims("nbf", now+day)), "invalid_software_statement"},
		"issued_later":      {d.Sign(t, dcrtest.StatementClaims("iat", now+day)), "invalid_software_statement"},
		"exp_of_wrong_type": {d.Sign(t, dcrtest.StatementClaims("exp", "tomorrow")), "invalid_software_statement"},
		"no_issuer":         {d.Sign(t, dcrtest.StatementClaims("iss", nil)), "invalid_software_statement"},
		"wrong_issuer":      {d.Sign(t, dcrtest.StatementClaims("iss", "https://evil.example")), "unapproved_software_statement"},
		"other_audience":    {d.Sign(t, dcrtest.StatementClaims("aud", "https://other.example")), "invalid_software_statement"},
		"changed_claims":    {parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+dcrtest.DirectoryIssuer+`"}`)) + "." + parts[2], "invalid_software_statement"},
		"duplicate_claim":   {signRaw(t, d, `{"iss":"`+dcrtest.DirectoryIssuer+`","iss":"x"}`), "invalid_software_statement"},
		"huge":              {d.Sign(t, dcrtest.StatementClaims("padding", strings.Repeat("p", 64<<10))), "invalid_software_statement"},
		"garbage":           {"not.a.jwt", "invalid_software_statement"},
		"one_part":          {"abcdef", "invalid_software_statement"},
		"encrypted":         {"a.b.c.d.e", "invalid_software_statement"},
		"json_form":         {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, "invalid_software_statement"},
		"spaces":            {parts[0] + ". " + parts[1] + "." + parts[2], "invalid_software_statement"},
	} {
		t.Run("T29/7591-2.3-01/"+name, func(t *testing.T) {
			t.Parallel()
			answer := s.Post(t, map[string]any{"redirect_uris": []string{"https://bank.example/cb"}, "software_statement": row.raw})
			dcrtest.RequireMemberRefused(t, answer, row.code, "software_statement")
		})
	}
	t.Run("T29/other_software", func(t *testing.T) {
		t.Parallel()
		dcrtest.RequireMemberRefused(t, s.Post(t, map[string]any{"software_id": "other-app", "software_statement": good}), "invalid_software_statement", "software_id")
	})
	t.Run("7591-2.3-03/no_string", func(t *testing.T) {
		t.Parallel()
		dcrtest.RequireMemberRefused(t, s.Post(t, `{"redirect_uris":["https://bank.example/cb"],"software_statement":7}`), "invalid_client_metadata", "software_statement")
	})
	t.Run("AUTH-11/expired_5s_ago", func(t *testing.T) {
		t.Parallel()
		s.Register(t, map[string]any{"software_statement": d.Sign(t, dcrtest.StatementClaims("exp", time.Now().Unix()-5))})
	})
	t.Run("7591-2.3-01/good", func(t *testing.T) {
		t.Parallel()
		s.Register(t, map[string]any{"software_statement": d.Sign(t, dcrtest.StatementClaims("exp", now+day, "nbf", now-day, "aud", []string{"x", s.URL}))})
	})
}

func signRaw(t testing.TB, d dcrtest.Directory, payload string) string {
	t.Helper()
	return dcrtest.SignClaims(t, jose.ES256, jose.JSONWebKey{Key: d.Key, KeyID: d.KID}, nil, json.RawMessage(payload))
}

func TestStatementWithoutIssuers(t *testing.T) {
	t.Parallel()
	d := dcrtest.NewDirectory(t, "1")
	metadata := map[string]any{"client_name": "Plain", "redirect_uris": []string{"https://plain.example/cb"}, "software_statement": d.Sign(t, dcrtest.StatementClaims())}
	t.Run("7591-2.3-03/ignored", func(t *testing.T) {
		t.Parallel()
		client := dcrtest.Start(t, dcrtest.Setup{}).Register(t, metadata)
		require.Equal(t, "Plain", client.Text("client_name"))
		require.NotContains(t, client.Members, "software_statement")
		require.NotContains(t, client.Body, "bank")
	})
	t.Run("7591-2.3-03/refused_by_option", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Metadata: dcr.Metadata{RefuseStatements: true}}})
		answer := s.Post(t, metadata)
		require.Equal(t, http.StatusBadRequest, answer.Status)
		require.Equal(t, "unapproved_software_statement", answer.Text("error"))
		s.Register(t, `{"redirect_uris":["https://plain.example/cb"]}`)
	})
}

// TestStatementBindsUpdates: what a statement vouched for can't be changed without
// another one (7591-2.3-05).
func TestStatementBindsUpdates(t *testing.T) {
	t.Parallel()
	d := dcrtest.NewDirectory(t, "1")
	setup := dcrtest.Setup{Config: d.Trusted()}
	setup.Config.Management.Token.KeepOnUpdate = true
	clock := new(dcrtest.Clock)
	setup.Config.Now = clock.Now
	s := dcrtest.Start(t, setup)
	// One claim is more than the server has: what is registered is less than the claim.
	first := d.Sign(t, dcrtest.StatementClaims("grant_types", []string{"authorization_code", "urn:example:more"}, "exp", time.Now().Unix()+60))
	client := s.Register(t, map[string]any{"software_statement": first, "client_uri": "https://bank.example/"})
	clock.Forward(2 * time.Minute) // the statement has expired, and binds the client all the same
	put := func(changes map[string]any) dcrtest.Answer {
		body := map[string]any{"client_id": client.ID()}
		maps.Copy(body, changes)
		return s.Manage(t, http.MethodPut, client, body)
	}
	t.Run("dropped", func(t *testing.T) {
		answer := put(nil)
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		require.Equal(t, "Bank App", answer.Text("client_name"))
		require.Equal(t, first, answer.Text("software_statement"))
		require.NotContains(t, answer.Members, "client_uri", "what nobody vouched for is reset")
	})
	t.Run("another_value", func(t *testing.T) {
		dcrtest.RequireMemberRefused(t, put(map[string]any{"client_name": "Other"}), "invalid_client_metadata", "client_name")
		dcrtest.RequireMemberRefused(t, put(map[string]any{"redirect_uris": []string{"https://evil.example/cb"}}), "invalid_redirect_uri", "redirect_uris")
		require.Equal(t, "Bank App", s.Manage(t, http.MethodGet, client, nil).Text("client_name"))
	})
	t.Run("7592-2.2-10/sent_back", func(t *testing.T) {
		read := s.Manage(t, http.MethodGet, client, nil)
		for _, name := range []string{"registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"} {
			delete(read.Members, name)
		}
		answer := put(read.Members)
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	})
	t.Run("a_newer_one", func(t *testing.T) {
		newer := d.Sign(t, dcrtest.StatementClaims("client_name", "Bank App 2"))
		answer := put(map[string]any{"software_statement": newer})
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		require.Equal(t, "Bank App 2", answer.Text("client_name"))
	})
	t.Run("T29/of_other_software", func(t *testing.T) {
		other := d.Sign(t, dcrtest.StatementClaims("software_id", "another-app"))
		dcrtest.RequireMemberRefused(t, put(map[string]any{"software_statement": other}), "invalid_software_statement", "software")
	})
}

// TestStatementWithoutSoftware: nothing says that another statement is for the same software.
func TestStatementWithoutSoftware(t *testing.T) {
	t.Parallel()
	d := dcrtest.NewDirectory(t, "1")
	s := dcrtest.Start(t, dcrtest.Setup{Config: d.Trusted()})
	bare := func(changes ...any) string {
		return d.Sign(t, dcrtest.StatementClaims(append([]any{"software_id", nil}, changes...)...))
	}
	for name, row := range map[string]struct {
		next   string
		status int
	}{
		"another":               {bare("client_name", "Other Bank"), http.StatusBadRequest},
		"another_that_names_it": {d.Sign(t, dcrtest.StatementClaims()), http.StatusBadRequest},
		"none":                  {"", http.StatusOK},
	} {
		t.Run("TRUST-01/without_software_id/"+name, func(t *testing.T) {
			t.Parallel()
			first := bare()
			client := s.Register(t, map[string]any{"software_statement": first})
			body := map[string]any{"client_id": client.ID()}
			if row.next != "" {
				body["software_statement"] = row.next
			}
			answer := s.Manage(t, http.MethodPut, client, body)
			if row.status != http.StatusOK {
				dcrtest.RequireMemberRefused(t, answer, "invalid_software_statement", "software")
				record := dcrtest.RecordOf(t, s.Store, client.ID())
				require.Equal(t, first, record.Metadata.SoftwareStatement)
				return
			}
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
			require.Equal(t, first, answer.Text("software_statement"))
		})
	}
	t.Run("TRUST-01/without_software_id/the_same", func(t *testing.T) {
		t.Parallel()
		first := bare()
		client := s.Register(t, map[string]any{"software_statement": first})
		answer := s.Manage(t, http.MethodPut, client, map[string]any{"client_id": client.ID(), "software_statement": first})
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	})
	t.Run("TRUST-01/members_of_a_newer_one", func(t *testing.T) {
		t.Parallel()
		client := s.Register(t, map[string]any{"software_statement": d.Sign(t, dcrtest.StatementClaims("logo_uri", "https://bank.example/logo.png"))})
		require.Contains(t, dcrtest.RecordOf(t, s.Store, client.ID()).StatementMembers, "logo_uri")
		newer := d.Sign(t, dcrtest.StatementClaims("redirect_uris", nil))
		answer := s.Manage(t, http.MethodPut, client, map[string]any{
			"client_id": client.ID(), "software_statement": newer, "redirect_uris": []string{"https://evil.example/cb"},
		})
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		require.Equal(t, []string{"client_name", "grant_types", "software_id"}, dcrtest.RecordOf(t, s.Store, client.ID()).StatementMembers)
	})
}

// TestStatementKeysAtAURI: keys of an issuer are fetched by the guarded client, and again
// when a key identifier is unknown (7591-2.3-04).
func TestStatementKeysAtAURI(t *testing.T) {
	t.Parallel()
	old, rolled := dcrtest.NewDirectory(t, "1"), dcrtest.NewDirectory(t, "2")
	keys, fetched := atomic.Pointer[jose.JSONWebKeySet]{}, atomic.Int32{}
	keys.Store(old.Set())
	host := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(keys.Load())
	}))
	t.Cleanup(host.Close)
	now := atomic.Int64{}
	clock := func() time.Time { return time.Now().Add(time.Duration(now.Load())) }
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
		Metadata: dcr.Metadata{StatementIssuers: []dcr.StatementIssuer{{Issuer: dcrtest.DirectoryIssuer, JWKSURI: host.URL}}},
		Outbound: dcr.Outbound{Options: outbound.Options{InsecureAllowLoopback: true, Now: clock}},
	}})
	s.Register(t, map[string]any{"software_statement": old.Sign(t, dcrtest.StatementClaims())})
	s.Register(t, map[string]any{"software_statement": old.Sign(t, dcrtest.StatementClaims())})
	require.EqualValues(t, 1, fetched.Load(), "the keys are kept")

	keys.Store(rolled.Set())
	now.Store(int64(2 * time.Minute))
	s.Register(t, map[string]any{"software_statement": rolled.Sign(t, dcrtest.StatementClaims())})
	require.EqualValues(t, 2, fetched.Load(), "an unknown key is looked for once more")

	host.Close()
	now.Store(int64(24 * time.Hour)) // less than a day after the last fetch (T68)
	s.Register(t, map[string]any{"software_statement": rolled.Sign(t, dcrtest.StatementClaims())})
	now.Store(int64(25 * time.Hour))
	answer := s.Post(t, map[string]any{"software_statement": rolled.Sign(t, dcrtest.StatementClaims())})
	require.Equal(t, http.StatusServiceUnavailable, answer.Status, "a host that is down says nothing about the statement: %s", answer.Body)
}
