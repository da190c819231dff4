package endpoints_test

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// errSuspended is what an application's GetClient says of a client that it will not serve.
var errSuspended = fmt.Errorf("suspended for spam: %w", fosite.ErrInvalidClient)

func TestClientThatTheApplicationRefuses(t *testing.T) {
	t.Parallel()
	for _, endpoint := range dcrtest.AuthEndpoints {
		for _, method := range dcrtest.AuthMethods {
			t.Run("AUTH-14/"+endpoint.Name+"/"+method, func(t *testing.T) {
				t.Parallel()
				f := startForOutage(t)
				send := at(endpoint, method)(t, f)
				f.store.BreakDown(errSuspended, "GetClient")
				endpoint.RequireRefused(t, send())
			})
		}
	}
	t.Run("AUTH-14/authorization", func(t *testing.T) {
		t.Parallel()
		f := startForOutage(t)
		send := authorizeRequest(t, f)
		f.store.BreakDown(errSuspended, "GetClient")
		page := send()
		require.Equal(t, http.StatusUnauthorized, page.Status, page.Body)
		require.Equal(t, "invalid_client", errorOf(page), page.Body)
		require.Empty(t, page.Header.Get("Location"))
	})
	t.Run("AUTH-14/its_tokens", func(t *testing.T) {
		t.Parallel()
		f := startForOutage(t)
		access := dcrtest.RegisterFor(t, f.Server, "none").AccessToken(t, f.Server)
		f.store.BreakDown(errSuspended, "GetClient")
		_, _, err := f.Provider.IntrospectToken(t.Context(), access, fosite.AccessToken, dcrtest.NewSession(""))
		require.ErrorIs(t, err, fosite.ErrInactiveToken)
	})
	t.Run("AUTH-14/unavailable", func(t *testing.T) {
		t.Parallel()
		f := startForOutage(t)
		send := authorizeRequest(t, f)
		f.store.BreakDown(fmt.Errorf("%w: %w", fosite.ErrInvalidClient, dcr.ErrUnavailable), "GetClient")
		serverFailed(t, send(), dcr.ErrUnavailable)
	})
}

func TestErrorThatTheProtocolDoesNotKnow(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		cause  error
		status int
		code   string
	}{
		"ERR-01/unknown_error":       {dcrtest.ErrBroken, http.StatusInternalServerError, "server_error"},
		"ERR-01/conflict":            {fosite.ErrSerializationFailure, http.StatusInternalServerError, "server_error"},
		"ERR-01/will_be_back":        {dcrtest.ErrFailingOver, http.StatusServiceUnavailable, "temporarily_unavailable"},
		"ERR-01/will_be_back_inside": {fmt.Errorf("%w: %w", fosite.ErrServerError, dcr.ErrUnavailable), http.StatusServiceUnavailable, "temporarily_unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := &dcrtest.OutageStore{MemoryStore: dcr.NewMemoryStore()}
			store.AddClient(dcrtest.StaticClient(t, "service"))
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
			store.BreakDown(row.cause, "CreateAccessTokenSession")
			answer := s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, dcrtest.Basic("service", "a static secret"))
			dcrtest.RequireTokenError(t, answer, row.status, row.code)
			require.NotContains(t, answer.Body, "10.0.0.7")
		})
	}
}
