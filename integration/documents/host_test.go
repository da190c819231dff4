package documents_test

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/go-jose/go-jose/v3/jwt"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// signedIn is a server with a client that has a document and tokens, and whose document is no longer fresh.
type signedIn struct {
	*dcrtest.Server
	host   *dcrtest.DocumentHost
	clock  *dcrtest.Clock
	events *dcrtest.Events
	id     string
	tokens dcrtest.Answer
}

func signIn(t *testing.T) *signedIn {
	t.Helper()
	s := &signedIn{host: dcrtest.StartDocumentHost(t), clock: &dcrtest.Clock{}, events: &dcrtest.Events{}}
	s.Server = dcrtest.Start(t, dcrtest.Setup{
		Static: []fosite.Client{dcrtest.Introspector(t)},
		Config: dcr.Config{Documents: dcrtest.NewDocuments(t, s.clock.Now), Now: s.clock.Now, Events: s.events},
		Fosite: func(config *fosite.Config) { config.RefreshTokenLifespan = 1000 * time.Hour },
	})
	s.id = s.host.Publish(t, "/client", publicClient())
	code := s.Code(t, dcrtest.AuthorizeQuery(s.id, callback, "scope", "profile offline_access"))
	s.tokens = s.Form(t, "/oauth2/token", dcrtest.CodeForm(s.id, code, callback))
	s.clock.Forward(6 * time.Minute)
	return s
}

// refresh refreshes, and returns the answer.
func (s *signedIn) refresh(t *testing.T) dcrtest.Answer {
	t.Helper()
	answer := s.Form(t, "/oauth2/token", dcrtest.RefreshForm(s.id, s.tokens.Text("refresh_token")))
	if answer.Status == http.StatusOK {
		s.tokens = answer
	}
	return answer
}

// renewed waits until a fetch beside a request was answered by the host and read.
func (s *signedIn) renewed(t *testing.T, asked int, kind dcr.EventKind) {
	t.Helper()
	require.Eventually(t, func() bool {
		kinds := s.events.Kinds()
		return s.host.Asked("/client") >= asked && len(kinds) > 0 && kinds[len(kinds)-1] == kind
	}, 10*time.Second, time.Millisecond)
}

func says(status int, mediaType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// TestHostThatFails: a client that is known does not depend on its host, until the host says that the document is gone, or
// for a day (CIMD-10).
func TestHostThatFails(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"403_challenge": says(http.StatusForbidden, "text/html", "<html>"),
		"404":           says(http.StatusNotFound, "text/plain", "not found"),
		"429":           says(http.StatusTooManyRequests, "application/json", "{}"),
		"500":           says(http.StatusInternalServerError, "application/json", "{}"),
		"html":          says(http.StatusOK, "text/html", "<html>"),
		"no_json":       says(http.StatusOK, "application/json", "hello"),
		"other_client":  says(http.StatusOK, "application/json", `{"client_id":"https://other.example/","client_name":"Other"}`),
	} {
		t.Run("CIMD-10/"+name, func(t *testing.T) {
			t.Parallel()
			s := signIn(t)
			s.host.Handle("/client", answer)
			require.Equal(t, http.StatusOK, s.refresh(t).Status)
			s.renewed(t, 2, dcr.EventDocumentFailed)
			require.NotEmpty(t, s.Code(t, dcrtest.AuthorizeQuery(s.id, callback)), "a new sign-in takes the copy, too")
			s.clock.Forward(23 * time.Hour)
			require.Equal(t, http.StatusOK, s.refresh(t).Status)

			s.clock.Forward(2 * time.Hour)
			refused := s.refresh(t)
			if name == "other_client" {
				require.Equal(t, "invalid_client", refused.Text("error"), "the document breaks a rule")
			} else {
				require.Equal(t, http.StatusServiceUnavailable, refused.Status, "AUTH-02")
			}

			s.host.Publish(t, "/client", publicClient())
			s.clock.Forward(2 * time.Minute)
			require.Equal(t, http.StatusOK, s.refresh(t).Status, "it came back")
		})
	}
	t.Run("CIMD-10/410", func(t *testing.T) {
		t.Parallel()
		s := signIn(t)
		s.host.Handle("/client", says(http.StatusGone, "text/plain", "gone"))
		require.Equal(t, http.StatusOK, s.refresh(t).Status, "nobody knows yet")
		s.renewed(t, 2, dcr.EventDocumentFailed)
		require.Eventually(t, func() bool { return s.refresh(t).Text("error") == "invalid_client" }, 10*time.Second, time.Millisecond)
	})
}

// TestSlowHost: a refresh is answered before the document's host has answered, and others do not wait at all (CIMD-23).
func TestSlowHost(t *testing.T) {
	t.Parallel()
	s := signIn(t)
	hang := make(chan struct{})
	s.host.Handle("/client", func(w http.ResponseWriter, r *http.Request) {
		<-hang
		http.NotFound(w, r)
	})
	require.Equal(t, http.StatusOK, s.refresh(t).Status, "CIMD-23")
	require.Eventually(t, func() bool { return s.host.Asked("/client") == 2 }, 10*time.Second, time.Millisecond, "it is renewed beside")
	dcrtest.RequireActive(t, s.Server, s.tokens.Text("access_token"), s.id)
	require.Equal(t, http.StatusOK, s.Form(t, "/oauth2/revoke", map[string][]string{"client_id": {s.id}, "token": {s.tokens.Text("access_token")}}).Status)
	other := s.host.Publish(t, "/other", publicClient())
	require.NotEmpty(t, s.Code(t, dcrtest.AuthorizeQuery(other, callback)))
	close(hang)
}

// TestAlternatingDocument: each change is one event, and the tokens go on (T49).
func TestAlternatingDocument(t *testing.T) {
	t.Parallel()
	s := signIn(t)
	for i := range 6 {
		s.host.Publish(t, "/client", with("client_name", "Version "+strconv.Itoa(i%2)))
		s.clock.Forward(6 * time.Minute)
		require.NotEmpty(t, s.Code(t, dcrtest.AuthorizeQuery(s.id, callback)))
		require.Equal(t, http.StatusOK, s.refresh(t).Status)
	}
	require.Equal(t, []dcr.EventKind{
		dcr.EventDocumentChanged, dcr.EventDocumentChanged, dcr.EventDocumentChanged, dcr.EventDocumentChanged, dcr.EventDocumentChanged, dcr.EventDocumentChanged,
	}, s.events.Kinds())
}

// TestKeyRotation: a new key in a document is found at once, however many unknown keys another client of the same host sends
// (CIMD-14).
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	host, clock := dcrtest.StartDocumentHost(t), &dcrtest.Clock{}
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
		Documents: dcrtest.NewDocuments(t, clock.Now), Now: clock.Now, Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}},
	}})
	key, next := dcrtest.NewSigningClient(t, jose.ES256).Key, dcrtest.NewSigningClient(t, jose.ES256).Key
	publish := func(path string, key jose.JSONWebKey) string {
		return host.Publish(t, path, map[string]any{
			"token_endpoint_auth_method": "private_key_jwt", "grant_types": []string{"client_credentials"}, "response_types": []string{},
			"jwks": dcrtest.KeySet(key),
		})
	}
	token := func(id, kid string, key any, jti string) dcrtest.Answer {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: kid}}, nil)
		require.NoError(t, err)
		now := clock.Now()
		assertion, err := jwt.Signed(signer).Claims(map[string]any{
			"iss": id, "sub": id, "aud": s.URL, "jti": jti, "exp": now.Add(time.Minute).Unix(),
		}).CompactSerialize()
		require.NoError(t, err)
		return s.Form(t, "/oauth2/token", map[string][]string{
			"grant_type": {"client_credentials"}, "client_assertion_type": {dcrtest.AssertionType}, "client_assertion": {assertion},
		})
	}
	first, second := publish("/first", dcrtest.PublicKey(key, "one", "", "")), publish("/second", dcrtest.PublicKey(key, "one", "", ""))
	for _, id := range []string{first, second} {
		require.Equal(t, http.StatusOK, token(id, "one", key, "first").Status)
	}
	clock.Forward(2 * time.Minute)
	for i := range 1000 {
		require.Equal(t, "invalid_client", token(first, "junk"+strconv.Itoa(i), key, "junk"+strconv.Itoa(i)).Text("error"))
	}
	require.Equal(t, 2, host.Asked("/first"), "CIMD-14: once per interval")
	publish("/second", dcrtest.PublicKey(next, "two", "", ""))
	answer := token(second, "two", next, "rotated")
	require.Equal(t, http.StatusOK, answer.Status, string(answer.Body))
	require.Equal(t, "invalid_client", token(second, "one", key, "old").Text("error"), "the old key is gone")
}
