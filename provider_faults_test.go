package dcr_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

var (
	errOnFire      = errors.New("the disk is on fire")
	errFailingOver = fmt.Errorf("failing over: %w", dcr.ErrUnavailable)
)

// outageStore is a storage whose methods fail when they are told to.
type outageStore struct {
	*dcr.MemoryStore
	mu     sync.Mutex
	err    error
	broken []string
}

// breakDown lets methods fail from now on.
func (s *outageStore) breakDown(err error, methods ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.broken = err, methods
}

func (s *outageStore) fault(method string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.broken, method) {
		return s.err
	}
	return nil
}

func (s *outageStore) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	if err := s.fault("GetClient"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetClient(ctx, id)
}

func (s *outageStore) ClientAssertionJWTValid(ctx context.Context, jti string) error {
	if err := s.fault("ClientAssertionJWTValid"); err != nil {
		return err
	}
	return s.MemoryStore.ClientAssertionJWTValid(ctx, jti)
}

func (s *outageStore) SetClientAssertionJWT(ctx context.Context, jti string, exp time.Time) error {
	if err := s.fault("SetClientAssertionJWT"); err != nil {
		return err
	}
	return s.MemoryStore.SetClientAssertionJWT(ctx, jti, exp)
}

func (s *outageStore) CreateAccessTokenSession(ctx context.Context, signature string, request fosite.Requester) error {
	if err := s.fault("CreateAccessTokenSession"); err != nil {
		return err
	}
	return s.MemoryStore.CreateAccessTokenSession(ctx, signature, request)
}

func (s *outageStore) GetAccessTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	if err := s.fault("GetAccessTokenSession"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetAccessTokenSession(ctx, signature, session)
}

func (s *outageStore) CreateRefreshTokenSession(ctx context.Context, signature, access string, request fosite.Requester) error {
	if err := s.fault("CreateRefreshTokenSession"); err != nil {
		return err
	}
	return s.MemoryStore.CreateRefreshTokenSession(ctx, signature, access, request)
}

func (s *outageStore) GetRefreshTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	if err := s.fault("GetRefreshTokenSession"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetRefreshTokenSession(ctx, signature, session)
}

func (s *outageStore) RotateRefreshToken(ctx context.Context, requestID, signature string) error {
	if err := s.fault("RotateRefreshToken"); err != nil {
		return err
	}
	return s.MemoryStore.RotateRefreshToken(ctx, requestID, signature)
}

func (s *outageStore) RevokeRefreshToken(ctx context.Context, requestID string) error {
	if err := s.fault("RevokeRefreshToken"); err != nil {
		return err
	}
	return s.MemoryStore.RevokeRefreshToken(ctx, requestID)
}

func (s *outageStore) DeleteAccessTokenSession(ctx context.Context, signature string) error {
	if err := s.fault("DeleteAccessTokenSession"); err != nil {
		return err
	}
	return s.MemoryStore.DeleteAccessTokenSession(ctx, signature)
}

func (s *outageStore) CreateAuthorizeCodeSession(ctx context.Context, code string, request fosite.Requester) error {
	if err := s.fault("CreateAuthorizeCodeSession"); err != nil {
		return err
	}
	return s.MemoryStore.CreateAuthorizeCodeSession(ctx, code, request)
}

func (s *outageStore) GetAuthorizeCodeSession(ctx context.Context, code string, session fosite.Session) (fosite.Requester, error) {
	if err := s.fault("GetAuthorizeCodeSession"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetAuthorizeCodeSession(ctx, code, session)
}

func (s *outageStore) InvalidateAuthorizeCodeSession(ctx context.Context, code string) error {
	if err := s.fault("InvalidateAuthorizeCodeSession"); err != nil {
		return err
	}
	return s.MemoryStore.InvalidateAuthorizeCodeSession(ctx, code)
}

func (s *outageStore) GetPKCERequestSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	if err := s.fault("GetPKCERequestSession"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetPKCERequestSession(ctx, signature, session)
}

func (s *outageStore) CreatePARSession(ctx context.Context, uri string, request fosite.AuthorizeRequester) error {
	if err := s.fault("CreatePARSession"); err != nil {
		return err
	}
	return s.MemoryStore.CreatePARSession(ctx, uri, request)
}

func (s *outageStore) GetPARSession(ctx context.Context, uri string) (fosite.AuthorizeRequester, error) {
	if err := s.fault("GetPARSession"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetPARSession(ctx, uri)
}

func (s *outageStore) TouchClient(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
	if err := s.fault("TouchClient"); err != nil {
		return err
	}
	return s.MemoryStore.TouchClient(ctx, id, lastUsed, keepUntil)
}

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
	store       *outageStore
	credentials dcrtest.Edit // of a resource server
}

func startForOutage(t *testing.T) *outageServer {
	t.Helper()
	rs, credentials := resourceServer(t)
	store := &outageStore{MemoryStore: dcr.NewMemoryStore()}
	store.AddClient(rs)
	return &outageServer{dcrtest.Start(t, dcrtest.Setup{Storage: store}), store, credentials}
}

// at returns the request of a client at one of the endpoints.
func at(endpoint authEndpoint, method string) func(*testing.T, *outageServer) func() dcrtest.Answer {
	return func(t *testing.T, f *outageServer) func() dcrtest.Answer {
		client := registerFor(t, f.Server, method)
		form := endpoint.request(t, f.Server, client)
		return func() dcrtest.Answer { return client.send(t, endpoint.path, method, form) }
	}
}

func introspectAs(hint, kind string, as func(token string, f *outageServer) dcrtest.Edit) func(*testing.T, *outageServer) func() dcrtest.Answer {
	return func(t *testing.T, f *outageServer) func() dcrtest.Answer {
		client := registerFor(t, f.Server, "client_secret_basic")
		tokens := client.tokens(t, f.Server)
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
	for _, endpoint := range authEndpoints {
		for _, method := range authMethods {
			if method == "none" && endpoint.name == "introspection" {
				continue
			}
			rows = append(rows, outageRow{endpoint.name + "/" + method, []string{"GetClient"}, at(endpoint, method)})
		}
		rows = append(rows, outageRow{endpoint.name + "/assertion", jti, at(endpoint, "private_key_jwt")})
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
		}, at(authEndpoints[0], "none")},
		outageRow{"token/refresh", []string{
			"GetClient", "GetRefreshTokenSession", "RotateRefreshToken", "CreateAccessTokenSession", "CreateRefreshTokenSession",
		}, refreshRequest},
		outageRow{"par/storage", []string{"CreatePARSession"}, at(authEndpoints[1], "none")},
		outageRow{"revocation/storage", []string{"GetAccessTokenSession", "RevokeRefreshToken"}, at(authEndpoints[2], "client_secret_basic")},
		outageRow{"revocation/registration_token", []string{"DeleteAccessTokenSession"}, revokeRegistrationToken},
		outageRow{"authorization", client, authorizeRequest},
		outageRow{"authorization/pushed", []string{"GetClient", "GetPARSession"}, pushedRequest},
	)
}

func refreshRequest(t *testing.T, f *outageServer) func() dcrtest.Answer {
	client := registerFor(t, f.Server, "client_secret_basic")
	form := dcrtest.RefreshForm("", client.tokens(t, f.Server).Text("refresh_token"))
	return func() dcrtest.Answer { return client.send(t, "/oauth2/token", client.method, form) }
}

func revokeRegistrationToken(t *testing.T, f *outageServer) func() dcrtest.Answer {
	client := registerFor(t, f.Server, "client_secret_basic")
	form := url.Values{"token": {client.Token()}}
	return func() dcrtest.Answer { return client.send(t, "/oauth2/revoke", client.method, form) }
}

func authorizeRequest(t *testing.T, f *outageServer) func() dcrtest.Answer {
	client := registerFor(t, f.Server, "none")
	return func() dcrtest.Answer { return f.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), authRedirect)) }
}

func pushedRequest(t *testing.T, f *outageServer) func() dcrtest.Answer {
	client := registerFor(t, f.Server, "none")
	uri := f.Form(t, "/oauth2/par", dcrtest.AuthorizeQuery(client.ID(), authRedirect)).Text("request_uri")
	require.NotEmpty(t, uri)
	return func() dcrtest.Answer {
		return f.Authorize(t, url.Values{"client_id": {client.ID()}, "request_uri": {uri}})
	}
}

func TestStorageThatFails(t *testing.T) {
	t.Parallel()
	for _, row := range outageRows() {
		for _, method := range row.methods {
			for name, fault := range map[string]error{"error": errOnFire, "unavailable": errFailingOver, "timeout": context.DeadlineExceeded} {
				t.Run("AUTH-02/"+row.name+"/"+method+"/"+name, func(t *testing.T) {
					t.Parallel() // T52
					f := startForOutage(t)
					send := row.prepare(t, f)
					f.store.breakDown(fault, method)
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
	for _, method := range authMethods {
		client := registerFor(t, f.Server, method)
		f.store.breakDown(errOnFire, "GetClient")
		serverFailed(t, client.send(t, "/oauth2/token", method, url.Values{"grant_type": {"refresh_token"}}), errOnFire)
		f.store.breakDown(nil)
		require.NotEmpty(t, client.accessToken(t, f.Server), "AUTH-02: the registration was good all the time")
	}
}

func TestFaultAfterTheRedirectIsKnown(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]error{"server_error": errOnFire, "temporarily_unavailable": errFailingOver} {
		t.Run("AUTH-02/authorization/code/"+name, func(t *testing.T) {
			t.Parallel()
			f := startForOutage(t)
			client := registerFor(t, f.Server, "none")
			f.store.breakDown(fault, "CreateAuthorizeCodeSession")
			to := f.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), authRedirect)).Location(t)
			require.Equal(t, name, to.Query().Get("error"), "RFC 6749, section 4.1.2.1")
			require.Empty(t, to.Query().Get("code"))
		})
	}
}

func TestUseThatCannotBeNoted(t *testing.T) {
	t.Parallel()
	f := startForOutage(t)
	client := registerFor(t, f.Server, "none")
	f.store.breakDown(errOnFire, "TouchClient")
	require.NotEmpty(t, client.accessToken(t, f.Server), "the token was issued already")
}
