package clients_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// startScript runs a server, and the client on it that the tests of this file take its
// registration from.
func startScript(t testing.TB, method string, edits ...func(*dcrtest.Setup)) (*mcpServer, *scriptClient) {
	t.Helper()
	s := startToolsServer(t, []string{toolsScope}, edits...)
	return s, newScriptClient(t, s, scriptMetadata(method), localCallback)
}

// tokenError is what the first token request of a run was answered.
func (r *scriptReport) tokenError(t testing.TB) string {
	t.Helper()
	require.NotEmpty(t, r.TokenRequests)
	return r.TokenRequests[0].Error
}

// requireAnew demands that the SDK was told invalid_client, threw everything away,
// registered again and signed in, all in one run.
func requireAnew(t testing.TB, report *scriptReport, oldID string) {
	t.Helper()
	require.Equal(t, []string{"all"}, report.Invalidated)
	require.Len(t, report.TokenRequests, 2)
	require.Equal(t, http.StatusUnauthorized, report.TokenRequests[0].Status)
	require.Equal(t, "invalid_client", report.TokenRequests[0].Error)
	require.Equal(t, http.StatusCreated, report.registration(t).Status)
	require.Len(t, report.Authorizations, 1)
	require.NotEqual(t, oldID, report.id())
}

func (s *mcpServer) remove(t testing.TB, client dcrtest.Answer) {
	t.Helper()
	require.Equal(t, http.StatusNoContent, s.Manage(t, http.MethodDelete, client, nil).Status)
}

// A client whose registration is gone registers again where it hears of it at the token
// endpoint.
func TestTypeScriptClientRegistersAgain(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"none", "client_secret_basic", "client_secret_post"} {
		t.Run("7592-2.3-03,AUTH-01/"+method, func(t *testing.T) {
			t.Parallel()
			s, c := startScript(t, method)
			first := c.works(t, "use")
			s.remove(t, first.registration(t))
			requireAnew(t, c.works(t, "use"), first.id())
		})
	}
	t.Run("AUTH-01/while_the_user_signs_in", func(t *testing.T) {
		t.Parallel()
		s, c := startScript(t, "none")
		begun := c.run(t, "begin")
		require.Equal(t, "REDIRECT", begun.text(t))
		s.remove(t, begun.registration(t))
		// The code is lost: the SDK says so, and the next try begins from the start.
		lost := c.fails(t, "finish")
		require.Equal(t, "invalid_client", lost.tokenError(t))
		require.Equal(t, []string{"all"}, lost.Invalidated)
		require.Contains(t, lost.Error.Message, "Existing OAuth client information is required")
		require.Empty(t, lost.id())
		require.NotEqual(t, begun.id(), c.works(t, "use").id())
	})
}

// A client does not hear of it at the authorization endpoint, where only its user reads the
// page; and one without the optional invalidateCredentials keeps what is no good. A program
// on the SDK has to throw its registration away by itself.
func TestTypeScriptClientIsStuck(t *testing.T) {
	t.Parallel()
	t.Run("AUTH-01/before_the_user_signs_in", func(t *testing.T) {
		t.Parallel()
		s, c := startScript(t, "none")
		begun := c.run(t, "begin")
		s.remove(t, begun.registration(t))
		for range 2 {
			report := c.fails(t, "use")
			require.Equal(t, "the browser brought no code", report.Error.Message)
			require.Equal(t, begun.id(), report.id())
			require.Empty(t, report.Registrations)
			require.Len(t, report.Authorizations, 1)
			visit := report.Authorizations[0]
			require.Equal(t, http.StatusUnauthorized, visit.Status)
			require.Contains(t, visit.Page, "invalid_client")
			require.Empty(t, visit.Landed)
		}
	})
	t.Run("AUTH-01/never_forgets", func(t *testing.T) {
		t.Parallel()
		s, c := startScript(t, "none")
		c = c.with("neverForgets", true)
		first := c.works(t, "use")
		s.remove(t, first.registration(t))
		report := c.fails(t, "use")
		require.Equal(t, "invalid_client", report.Error.Code)
		require.Equal(t, first.id(), report.id())
		require.Len(t, report.TokenRequests, 2, "the SDK tries twice")
	})
}

var errNoDatabase = errors.New("no route to the database")

// A storage that fails costs a client nothing but time: afterwards it goes on with the
// registration that it has.
func TestTypeScriptClientThroughOutage(t *testing.T) {
	t.Parallel()
	for code, cause := range map[string]error{
		"server_error": errNoDatabase, "temporarily_unavailable": fmt.Errorf("%w: %w", dcr.ErrUnavailable, errNoDatabase),
	} {
		for _, method := range []string{"none", "client_secret_basic"} {
			start := func(t *testing.T) (*clientOutage, *scriptClient) {
				store := &clientOutage{MemoryStore: dcr.NewMemoryStore()}
				_, c := startScript(t, method, func(setup *dcrtest.Setup) { setup.Storage = store })
				return store, c
			}
			t.Run("AUTH-02,T52/refresh/"+code+"/"+method, func(t *testing.T) {
				t.Parallel()
				store, c := start(t)
				first := c.works(t, "use")
				store.cause.Store(&cause)
				report := c.fails(t, "expired")
				requireKept(t, report, first, code)
				// After server_error the SDK sends the user to sign in again, who gets a page.
				require.Equal(t, code == "server_error", len(report.Authorizations) == 1)
				store.cause.Store(nil)
				next := c.works(t, "use")
				require.Equal(t, first.id(), next.id())
				require.Empty(t, next.Registrations)
				require.Empty(t, next.Authorizations)
			})
			t.Run("AUTH-02,T52/code/"+code+"/"+method, func(t *testing.T) {
				t.Parallel()
				store, c := start(t)
				begun := c.run(t, "begin")
				store.cause.Store(&cause)
				report := c.fails(t, "finish")
				requireKept(t, report, begun, code)
				require.Equal(t, code, report.Error.Code)
				store.cause.Store(nil)
				next := c.works(t, "use")
				require.Equal(t, begun.id(), next.id())
				require.Empty(t, next.Registrations)
			})
		}
	}
}

// requireKept demands that the token endpoint said what is wrong, and that the client threw
// nothing away.
func requireKept(t testing.TB, report, before *scriptReport, code string) {
	t.Helper()
	require.Len(t, report.TokenRequests, 1)
	require.Equal(t, code, report.TokenRequests[0].Error)
	require.Equal(t, map[string]int{"server_error": 500, "temporarily_unavailable": 503}[code], report.TokenRequests[0].Status)
	require.Empty(t, report.Invalidated)
	require.Empty(t, report.Registrations)
	require.Equal(t, before.Kept.Client, report.Kept.Client)
	require.Equal(t, before.Kept.Tokens == nil, report.Kept.Tokens == nil)
}

// A refresh token that was used already costs the client its tokens, and not its
// registration.
func TestTypeScriptClientReplays(t *testing.T) {
	t.Parallel()
	t.Run("REAL-02/refresh_token_used_twice", func(t *testing.T) {
		t.Parallel()
		_, c := startScript(t, "none")
		first := c.works(t, "use")
		next := c.works(t, "expired")
		report := c.with("refreshToken", first.Kept.Tokens.RefreshToken).works(t, "expired")
		require.Equal(t, []string{"tokens"}, report.Invalidated)
		require.Equal(t, "invalid_grant", report.tokenError(t))
		require.Len(t, report.Authorizations, 1)
		require.Empty(t, report.Registrations)
		require.Equal(t, next.id(), report.id())
	})
}

// A client on the SDK knows nothing of management: it goes on with the secret that it has,
// and what an update takes from it, it registers anew.
func TestTypeScriptClientIsUpdated(t *testing.T) {
	t.Parallel()
	rotating := dcr.PolicyFunc(func(_ context.Context, a *dcr.Proposal) error {
		a.RotateSecret = a.Previous != nil
		return nil
	})
	update := func(t *testing.T, s *mcpServer, first *scriptReport, grants ...string) {
		metadata := scriptMetadata(first.registration(t).Text("token_endpoint_auth_method"), "client_id", first.id())
		metadata["grant_types"], metadata["scope"] = grants, toolsScope
		answer := s.Manage(t, http.MethodPut, first.registration(t), metadata)
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	}
	for name, grace := range map[string]time.Duration{"grace": time.Hour, "at_once": 0} {
		t.Run("7592-2.2-09/"+name, func(t *testing.T) {
			t.Parallel()
			s, c := startScript(t, "client_secret_basic", func(setup *dcrtest.Setup) {
				setup.Config.Policies, setup.Config.Secrets.Grace = []dcr.Policy{rotating}, grace
			})
			first := c.works(t, "use")
			update(t, s, first, "authorization_code", "refresh_token")
			next := c.works(t, "expired")
			if grace == 0 {
				requireAnew(t, next, first.id())
				return
			}
			require.Equal(t, first.id(), next.id())
			require.Empty(t, next.Invalidated)
		})
	}
	// Where a refresh token has a scope that the client may not have any more, the SDK has to
	// sign in again. With fosite's own invalid_scope it would be stuck.
	t.Run("7592-2.2-06/narrower_scope", func(t *testing.T) {
		t.Parallel()
		s := startToolsServer(t, nil)
		c := newScriptClient(t, s, scriptMetadata("none", "scope", toolsScope+" mcp:more"), localCallback)
		first := c.works(t, "use")
		update(t, s, first, "authorization_code", "refresh_token")
		c = c.with("metadata", scriptMetadata("none", "scope", toolsScope))
		next := c.works(t, "expired")
		require.Equal(t, "invalid_grant", next.tokenError(t))
		require.NotEmpty(t, next.Authorizations)
	})
	// The SDK takes unauthorized_client, which speaks of one grant, for invalid_client.
	t.Run("7592-2.2-06/without_refresh_token", func(t *testing.T) {
		t.Parallel()
		s, c := startScript(t, "none")
		first := c.works(t, "use")
		update(t, s, first, "authorization_code")
		next := c.works(t, "expired")
		require.Equal(t, fosite.ErrUnauthorizedClient.ErrorField, next.tokenError(t))
		require.Equal(t, []string{"all"}, next.Invalidated)
		require.NotEqual(t, first.id(), next.id())
	})
}
