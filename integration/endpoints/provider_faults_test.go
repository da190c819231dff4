package endpoints_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// serverFailed judges the answer of a server whose storage failed. cause may be nil.
func serverFailed(t *testing.T, a dcrtest.Answer, cause error) {
	t.Helper()
	require.Contains(t, []int{http.StatusInternalServerError, http.StatusServiceUnavailable}, a.Status, a.Body)
	require.Contains(t, []string{"server_error", "temporarily_unavailable"}, errorOf(a), a.Body)
	require.Empty(t, a.Header.Get("Location"))
	require.NotContains(t, a.Body, "invalid_client")
	require.NotContains(t, a.Body, "jti_known")
	require.NotContains(t, a.Body, "disk is on fire")
	if errors.Is(cause, dcr.ErrUnavailable) {
		require.Equal(t, http.StatusServiceUnavailable, a.Status, a.Body)
	}
}

// errorOf reads the error code of JSON and of the page of the authorization endpoint.
func errorOf(a dcrtest.Answer) string {
	if a.Members == nil {
		code, _, _ := strings.Cut(a.Body, ":")
		return code
	}
	return a.Text("error")
}

// outageRow is a request, and the methods of the storage that may fail during it.
type outageRow struct {
	name    string
	methods []string
	// prepare does what comes before the fault and returns the request.
	prepare func(t *testing.T, f *outageServer) func() dcrtest.Answer
}

type outageServer struct {
	*dcrtest.Server
	store       *dcrtest.OutageStore
	credentials dcrtest.Edit // of a resource server
}

func startForOutage(t *testing.T) *outageServer {
	t.Helper()
	rs, credentials := dcrtest.ResourceServer(t)
	store := &dcrtest.OutageStore{MemoryStore: dcr.NewMemoryStore()}
	store.AddClient(rs)
	return &outageServer{dcrtest.Start(t, dcrtest.Setup{Storage: store}), store, credentials}
}

// at returns the request of a client at one of the endpoints.
func at(endpoint dcrtest.AuthEndpoint, method string) func(*testing.T, *outageServer) func() dcrtest.Answer {
	return func(t *testing.T, f *outageServer) func() dcrtest.Answer {
		client := dcrtest.RegisterFor(t, f.Server, method)
		form := endpoint.Request(t, f.Server, client)
		return func() dcrtest.Answer { return client.Send(t, endpoint.Path, method, form) }
	}
}

func introspectAs(hint, kind string, as func(token string, f *outageServer) dcrtest.Edit) func(*testing.T, *outageServer) func() dcrtest.Answer {
	return func(t *testing.T, f *outageServer) func() dcrtest.Answer {
		client := dcrtest.RegisterFor(t, f.Server, "client_secret_basic")
		tokens := client.Tokens(t, f.Server)
		form := url.Values{"token": {tokens.Text(kind)}, "token_type_hint": {hint}}
		edit := as(tokens.Text("access_token"), f)
		if edit == nil {
			edit = dcrtest.Basic(client.ID(), client.Secret())
		}
		return func() dcrtest.Answer { return f.Form(t, "/oauth2/introspect", form, edit) }
	}
}

func byItself(string, *outageServer) dcrtest.Edit             { return nil }
func byBearer(token string, _ *outageServer) dcrtest.Edit     { return dcrtest.Bearer(token) }
func byResourceServer(_ string, f *outageServer) dcrtest.Edit { return f.credentials }

// outageRows are all requests at which AUTH-02 wants a failure to be told as one.
func outageRows() []outageRow {
	var rows []outageRow
	jti := []string{"ClientAssertionJWTValid", "SetClientAssertionJWT"}
	for _, endpoint := range dcrtest.AuthEndpoints {
		for _, method := range dcrtest.AuthMethods {
			if method == "none" && endpoint.Name == "introspection" {
				continue
			}
			rows = append(rows, outageRow{endpoint.Name + "/" + method, []string{"GetClient"}, at(endpoint, method)})
		}
		rows = append(rows, outageRow{endpoint.Name + "/assertion", jti, at(endpoint, "private_key_jwt")})
	}
	access := []string{"GetAccessTokenSession"}
	client := []string{"GetClient"}
	return append(rows,
		outageRow{"introspection/itself", access, introspectAs("", "access_token", byItself)},
		outageRow{"introspection/itself_refresh", []string{"GetRefreshTokenSession"}, introspectAs("", "refresh_token", byItself)},
		outageRow{"introspection/refresh_with_hint", []string{"GetRefreshTokenSession"}, introspectAs("refresh_token", "refresh_token", byResourceServer)},
		outageRow{"introspection/bearer", append(access, client...), introspectAs("", "access_token", byBearer)},
		outageRow{"introspection/resource_server", append(access, client...), introspectAs("", "access_token", byResourceServer)},
		outageRow{"introspection/resource_server_refresh", []string{"GetRefreshTokenSession"}, introspectAs("", "refresh_token", byResourceServer)},
		outageRow{"token/code", []string{
			"GetAuthorizeCodeSession", "InvalidateAuthorizeCodeSession", "GetPKCERequestSession",
			"CreateAccessTokenSession", "CreateRefreshTokenSession",
		}, at(dcrtest.AuthEndpoints[0], "none")},
		outageRow{"token/refresh", []string{
			"GetClient", "GetRefreshTokenSession", "RotateRefreshToken", "CreateAccessTokenSession", "CreateRefreshTokenSession",
		}, refreshRequest},
		outageRow{"par/storage", []string{"CreatePARSession"}, at(dcrtest.AuthEndpoints[1], "none")},
		outageRow{"revocation/storage", []string{"GetAccessTokenSession", "RevokeRefreshToken"}, at(dcrtest.AuthEndpoints[2], "client_secret_basic")},
		outageRow{"revocation/registration_token", []string{"DeleteAccessTokenSession"}, revokeRegistrationToken},
		outageRow{"authorization", client, authorizeRequest},
		outageRow{"authorization/pushed", []string{"GetClient", "GetPARSession"}, pushedRequest},
	)
}

func refreshRequest(t *testing.T, f *outageServer) func() dcrtest.Answer {
	client := dcrtest.RegisterFor(t, f.Server, "client_secret_basic")
	form := dcrtest.RefreshForm("", client.Tokens(t, f.Server).Text("refresh_token"))
	return func() dcrtest.Answer { return client.Send(t, "/oauth2/token", client.Method, form) }
}

func revokeRegistrationToken(t *testing.T, f *outageServer) func() dcrtest.Answer {
	client := dcrtest.RegisterFor(t, f.Server, "client_secret_basic")
	form := url.Values{"token": {client.Token()}}
	return func() dcrtest.Answer { return client.Send(t, "/oauth2/revoke", client.Method, form) }
}

func authorizeRequest(t *testing.T, f *outageServer) func() dcrtest.Answer {
	client := dcrtest.RegisterFor(t, f.Server, "none")
	return func() dcrtest.Answer { return f.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)) }
}

func pushedRequest(t *testing.T, f *outageServer) func() dcrtest.Answer {
	client := dcrtest.RegisterFor(t, f.Server, "none")
	uri := f.Form(t, "/oauth2/par", dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)).Text("request_uri")
	require.NotEmpty(t, uri)
	return func() dcrtest.Answer {
		return f.Authorize(t, url.Values{"client_id": {client.ID()}, "request_uri": {uri}})
	}
}

func TestStorageThatFails(t *testing.T) {
	t.Parallel()
	for _, row := range outageRows() {
		for _, method := range row.methods {
			for name, fault := range map[string]error{"error": dcrtest.ErrOnFire, "unavailable": dcrtest.ErrFailingOver, "timeout": context.DeadlineExceeded} {
				t.Run("AUTH-02/"+row.name+"/"+method+"/"+name, func(t *testing.T) {
					t.Parallel() // T52
					f := startForOutage(t)
					send := row.prepare(t, f)
					f.store.BreakDown(fault, method)
					answer := send()
					serverFailed(t, answer, fault)
				})
			}
		}
	}
}

func TestStorageThatRecovers(t *testing.T) {
	t.Parallel()
	f := startForOutage(t)
	for _, method := range dcrtest.AuthMethods {
		client := dcrtest.RegisterFor(t, f.Server, method)
		f.store.BreakDown(dcrtest.ErrOnFire, "GetClient")
		serverFailed(t, client.Send(t, "/oauth2/token", method, url.Values{"grant_type": {"refresh_token"}}), dcrtest.ErrOnFire)
		f.store.BreakDown(nil)
		require.NotEmpty(t, client.AccessToken(t, f.Server), "AUTH-02: the registration was good all the time")
	}
}

func TestFaultAfterTheRedirectIsKnown(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]error{"server_error": dcrtest.ErrOnFire, "temporarily_unavailable": dcrtest.ErrFailingOver} {
		t.Run("AUTH-02/authorization/code/"+name, func(t *testing.T) {
			t.Parallel()
			f := startForOutage(t)
			client := dcrtest.RegisterFor(t, f.Server, "none")
			f.store.BreakDown(fault, "CreateAuthorizeCodeSession")
			to := f.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)).Location(t)
			require.Equal(t, name, to.Query().Get("error"), "RFC 6749, section 4.1.2.1")
			require.Empty(t, to.Query().Get("code"))
		})
	}
}

func TestUseThatCannotBeNoted(t *testing.T) {
	t.Parallel()
	f := startForOutage(t)
	client := dcrtest.RegisterFor(t, f.Server, "none")
	f.store.BreakDown(dcrtest.ErrOnFire, "TouchClient")
	require.NotEmpty(t, client.AccessToken(t, f.Server), "the token was issued already")
}
