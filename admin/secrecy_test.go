package admin_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/admin"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// secrets are what no answer may hold, by what they are.
type secrets map[string]string

// add adds a secret, and the part behind its identifier or key.
func (s secrets) add(what, secret string) {
	s[what] = secret
	if i := strings.LastIndexAny(secret, "._"); i >= 0 && len(secret)-i-1 > 16 {
		s[what+" (part)"] = secret[i+1:]
	}
}

// addBytes adds each spelling of a hash.
func (s secrets) addBytes(what string, hash []byte) {
	s[what+" (raw)"], s[what+" (hex)"] = string(hash), hex.EncodeToString(hash)
	s[what+" (base64)"] = strings.TrimRight(base64.StdEncoding.EncodeToString(hash), "=")
	s[what+" (base64url)"] = base64.RawURLEncoding.EncodeToString(hash)
}

// foundIn names the secrets in a text.
func (s secrets) foundIn(text string) []string {
	var found []string
	for what, secret := range s {
		if strings.Contains(text, secret) || strings.Contains(html.UnescapeString(text), secret) {
			found = append(found, what)
		}
	}
	return found
}

// live has a client do everything, with an initial access token of the operator's, and
// notes each secret.
func (s *server) live(t *testing.T, hidden secrets) (client, token string) {
	t.Helper()
	minted := s.post(t, "/api/initial-access-tokens", `{"label":"Partner","uses":5}`)
	hidden.add("initial access token", minted.Text("token"))
	token = minted.Members["initial_access_token"].(object)["id"].(string)

	registered := s.Register(t, service("App"), dcrtest.Bearer(minted.Text("token")))
	hidden.add("client secret", registered.Secret())
	hidden.add("registration access token", registered.Token())
	code := s.Code(t, dcrtest.AuthorizeQuery(registered.ID(), "https://app.example/cb"))
	hidden.add("code", code)
	tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm("", code, "https://app.example/cb"), dcrtest.Basic(registered.ID(), registered.Secret()))
	hidden.add("access token", tokens.Text("access_token"))
	hidden.add("refresh token", tokens.Text("refresh_token"))
	renewed := s.Manage(t, http.MethodPut, registered, named("App", "client_id", registered.ID(), "grant_types", []string{"authorization_code", "client_credentials"}))
	require.Equal(t, http.StatusOK, renewed.Status, renewed.Body)
	hidden.add("second client secret", renewed.Secret())
	hidden.add("second registration access token", renewed.Token())

	s.beRefused(t, hidden, renewed)

	record, err := s.Store.GetDynamicClient(t.Context(), registered.ID())
	require.NoError(t, err)
	require.Len(t, record.RotatedSecrets, 1)
	hidden.addBytes("hash of the secret", record.SecretHash)
	hidden.addBytes("hash of the earlier secret", record.RotatedSecrets[0].Hash)
	hidden.addBytes("signature", []byte(record.RegistrationToken.Signature))
	hidden.addBytes("earlier signature", []byte(record.PreviousRegistrationToken.Signature))
	stored, err := s.Store.GetInitialAccessToken(t.Context(), token)
	require.NoError(t, err)
	hidden.addBytes("hash of the initial access token", stored.Hash)
	for what, secret := range hidden {
		require.Greater(t, len(secret), 16, what)
	}
	return registered.ID(), token
}

// beRefused sends secrets where they do not belong, or do not fit, so that refusals are
// about them: their texts are in the history.
func (s *server) beRefused(t *testing.T, hidden secrets, client dcrtest.Answer) {
	t.Helper()
	hidden.add("wrong secret", "dcrs_wrong-secret-that-somebody-mistyped")
	hidden.add("wrong token", "dcri_wrong_token-that-somebody-mistyped")
	hidden.add("private key", "cHJpdmF0ZS1rZXktdGhhdC1kb2VzLW5vdC1iZWxvbmctaGVyZQ")
	hidden.add("own secret", "chosen-by-the-client-itself-and-refused")
	refused := []dcrtest.Answer{
		s.Post(t, named("App"), dcrtest.Bearer(hidden["wrong token"])),
		s.Post(t, named("App", "jwks", object{"keys": []object{{"kty": "oct", "k": hidden["private key"]}}})),
		s.Post(t, named("App", "redirect_uris", []string{"https://user:" + hidden["own secret"] + "@app.example/cb"})),
		s.Manage(t, http.MethodPut, client, named("App", "client_id", client.ID(), "client_secret", hidden["wrong secret"])),
		s.Manage(t, http.MethodPut, client, named("App", "client_id", client.ID(), "registration_access_token", hidden["wrong token"])),
		s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, dcrtest.Basic(client.ID(), hidden["wrong secret"])),
	}
	for _, answer := range refused {
		require.GreaterOrEqual(t, answer.Status, 400, answer.Body)
		require.Less(t, answer.Status, 500, answer.Body)
	}
	entries, err := s.history.ClientEvents(t.Context(), client.ID())
	require.NoError(t, err)
	others, err := s.history.OtherEvents(t.Context(), 1000)
	require.NoError(t, err)
	described := 0
	for _, entry := range append(entries, others...) {
		if entry.Reason != "" {
			require.NotEmpty(t, entry.Description, entry.Reason)
			described++
		}
	}
	require.Equal(t, len(refused), described)
}

// TestSecrets: no answer and no history holds a secret, a hash or a signature (T26).
func TestSecrets(t *testing.T) {
	t.Parallel()
	s := start(t, func(setup *dcrtest.Setup, _ *admin.Options) {
		setup.Config.Access = dcr.AnyOf(dcr.InitialAccessTokens(), dcr.Open())
		setup.Config.Secrets.Grace = time.Hour
		setup.Config.Management.Token.Grace = time.Hour
		setup.Config.Policies = []dcr.Policy{dcr.PolicyFunc(func(_ context.Context, a *dcr.Proposal) error {
			a.RotateSecret = a.Previous != nil
			return nil
		})}
	})
	hidden, all := secrets{}, &strings.Builder{}
	client, token := s.live(t, hidden)
	keep := func(answer dcrtest.Answer) dcrtest.Answer {
		all.WriteString(answer.Body)
		for name, values := range answer.Header {
			all.WriteString(name + strings.Join(values, ""))
		}
		return answer
	}
	hidden.add("software statement", "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJhIn0.c2lnbmF0dXJlLW9mLXRoZS1zdGF0ZW1lbnQ")
	s.plant(t, "stated", func(c *dcr.Client) {
		c.StatementIssuer, c.Metadata.SoftwareStatement = "https://vouches.example", hidden["software statement"]
	})
	for _, path := range []string{"/clients/stated", "/api/clients/stated", "/api/clients"} {
		require.Contains(t, keep(s.get(t, path)).Body, "https://vouches.example")
	}

	id, tokens := s.signInByDocument(t)
	hidden.add("access token of a document", tokens.Text("access_token"))
	hidden.add("refresh token of a document", tokens.Text("refresh_token"))

	form := s.form(t, "/tokens", url.Values{"uses": {"1"}, "lifetime": {"1"}, "unit": {"hours"}})
	require.Equal(t, http.StatusCreated, form.Status)
	require.Contains(t, form.Body, "dcri_", "shown this once")
	require.Empty(t, hidden.foundIn(form.Body), "the tokens of others")
	start := strings.Index(form.Body, "dcri_")
	hidden.add("token of the page", form.Body[start:start+strings.IndexByte(form.Body[start:], '<')])
	for _, change := range []bool{false, true, false} {
		for _, r := range append(routes(client, token), documentRoutes(id)...) {
			if r.changes() == change && !strings.HasSuffix(r.path, "tokens") {
				keep(r.send(t, s, as("olga")))
			}
		}
		keep(s.get(t, "/tokens"))
		keep(s.get(t, "/api/initial-access-tokens"))
		entries, err := s.history.ClientEvents(t.Context(), client)
		require.NoError(t, err)
		others, err := s.history.OtherEvents(t.Context(), 1000)
		require.NoError(t, err)
		told, err := json.Marshal([]any{entries, others})
		require.NoError(t, err)
		all.Write(told)
	}
	require.Contains(t, all.String(), "Partner")
	require.Contains(t, all.String(), "token_rotated")
	require.Empty(t, hidden.foundIn(all.String()), "T26")
	for what, secret := range hidden {
		require.Contains(t, hidden.foundIn(all.String()+html.EscapeString(secret)), what, "the search finds what is there")
	}
}
