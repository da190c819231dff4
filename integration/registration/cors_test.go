package registration_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

func TestBrowsers(t *testing.T) {
	t.Parallel()
	const inspector, evil = "https://inspector.example", "https://evil.example"
	listed := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Endpoints: dcr.Endpoints{AllowedOrigins: []string{inspector}}}})
	all := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Endpoints: dcr.Endpoints{AllowedOrigins: []string{"*"}}}})
	none := dcrtest.Start(t, dcrtest.Setup{})
	preflight := func(s *dcrtest.Server, path, method, origin string) dcrtest.Answer {
		return s.Do(t, http.MethodOptions, path, nil, dcrtest.Header("Origin", origin),
			dcrtest.Header("Access-Control-Request-Method", method), dcrtest.Header("Access-Control-Request-Headers", "authorization,content-type"))
	}
	requireAllowed := func(answer dcrtest.Answer, origin string) {
		t.Helper()
		require.Less(t, answer.Status, 300, answer.Body)
		require.Equal(t, origin, answer.Header.Get("Access-Control-Allow-Origin"))
		require.Empty(t, answer.Header.Get("Access-Control-Allow-Credentials"), "T23")
	}
	t.Run("HTTP-02/preflight", func(t *testing.T) {
		requireAllowed(preflight(listed, "/register", http.MethodPost, inspector), inspector)
		requireAllowed(preflight(all, "/register", http.MethodPost, evil), "*")
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			requireAllowed(preflight(listed, "/register/x", method, inspector), inspector)
		}
	})
	t.Run("HTTP-02/T23/refused", func(t *testing.T) {
		for _, answer := range []dcrtest.Answer{
			preflight(listed, "/register", http.MethodPost, evil),
			preflight(listed, "/register", http.MethodDelete, inspector),
			preflight(none, "/register", http.MethodPost, inspector),
			listed.Post(t, `{"redirect_uris":["https://a.example/cb"]}`, dcrtest.Header("Origin", evil)),
			none.Post(t, `{"redirect_uris":["https://a.example/cb"]}`, dcrtest.Header("Origin", inspector)),
		} {
			require.Empty(t, answer.Header.Get("Access-Control-Allow-Origin"))
		}
		require.Equal(t, http.StatusMethodNotAllowed, preflight(none, "/register", http.MethodPost, inspector).Status)
		require.Equal(t, http.StatusMethodNotAllowed, all.Do(t, http.MethodOptions, "/register", nil).Status, "no preflight, no answer to one")
	})
	t.Run("HTTP-02/request", func(t *testing.T) {
		answer := listed.Register(t, `{"redirect_uris":["https://a.example/cb"]}`, dcrtest.Header("Origin", inspector))
		requireAllowed(answer, inspector)
		refused := listed.Do(t, http.MethodGet, "/register/x", nil, dcrtest.Header("Origin", inspector))
		require.Equal(t, inspector, refused.Header.Get("Access-Control-Allow-Origin"), "a page may read why it was refused")
		require.Contains(t, refused.Header.Get("Access-Control-Expose-Headers"), http.CanonicalHeaderKey("WWW-Authenticate"))
	})
}
