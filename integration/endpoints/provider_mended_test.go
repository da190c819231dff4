package endpoints_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// expiredIntrospector is a host's own introspector, which says in fosite's way that it does
// not take a token.
type expiredIntrospector struct{}

func (expiredIntrospector) IntrospectToken(context.Context, string, fosite.TokenUse, fosite.AccessRequester, []string) (fosite.TokenUse, error) {
	return "", fosite.ErrRequestUnauthorized.WithWrap(errors.New("the token has expired"))
}

// busyTokens is a storage that says in fosite's way that it is busy.
type busyTokens struct{ *dcr.MemoryStore }

func (busyTokens) GetAccessTokenSession(context.Context, string, fosite.Session) (fosite.Requester, error) {
	return nil, fosite.ErrTemporarilyUnavailable.WithWrap(errors.New("too many connections"))
}

// TestWhoseFaultIsIt: a failing storage is the server's fault, whatever type its error has,
// and a token that is refused is not (AUTH-02).
func TestWhoseFaultIsIt(t *testing.T) {
	t.Parallel()
	introspect := func(s *dcrtest.Server) error {
		_, _, err := s.Provider.IntrospectToken(context.Background(), "ory_at_a.b", fosite.AccessToken, dcrtest.NewSession(""))
		return err
	}
	refusing := dcrtest.Start(t, dcrtest.Setup{Factories: []compose.Factory{
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2PKCEFactory,
		func(fosite.Configurator, any, any) any { return expiredIntrospector{} },
	}})
	require.Equal(t, http.StatusUnauthorized, fosite.ErrorToRFC6749Error(introspect(refusing)).CodeField)
	busy := dcrtest.Start(t, dcrtest.Setup{Storage: busyTokens{dcr.NewMemoryStore()}})
	require.Equal(t, http.StatusServiceUnavailable, fosite.ErrorToRFC6749Error(introspect(busy)).CodeField)
}

// TestRulesInsideARule: a rule of the host's may ask the built-in ones.
func TestRulesInsideARule(t *testing.T) {
	t.Parallel()
	wrap := func(rule dcr.Access) dcr.Access {
		return dcr.AccessFunc(func(ctx context.Context, r *http.Request) (*dcr.Registrant, error) { return rule.Authorize(ctx, r) })
	}
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Access: dcr.AnyOf(wrap(dcr.InitialAccessTokens()), wrap(dcr.AccessToken()))}})
	token, _ := dcrtest.Mint(t, s, dcr.InitialAccessTokenRequest{})
	s.Register(t, dcrtest.ScopedRegistration, dcrtest.Bearer(token))
	require.Equal(t, http.StatusUnauthorized, s.Post(t, dcrtest.ScopedRegistration, dcrtest.Bearer("wrong")).Status)
	r, err := http.NewRequest(http.MethodPost, s.URL, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer x")
	_, err = dcr.AccessToken().Authorize(context.Background(), r)
	require.Error(t, err, "outside of a registration there is nobody to ask")
}

// TestConfigIsCopied: what the caller changes afterwards changes nothing, and the next
// mistakes are said by Extend.
func TestConfigIsCopied(t *testing.T) {
	t.Parallel()
	cfg := dcr.Config{Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"urn:example:none"}, TokenEndpointAuthMethods: []string{"none", "client_secret_basic"}, Supports: map[string][]string{"subject_type": {"public"}}}}
	s := dcrtest.Start(t, dcrtest.Setup{Config: cfg})
	cfg.Metadata.AnonymousGrantTypes[0], cfg.Metadata.TokenEndpointAuthMethods[0] = "client_credentials", "client_secret_post"
	cfg.Metadata.Supports["dpop_bound_access_tokens"] = nil
	dcrtest.RequireMemberRefused(t, s.Post(t, `{"grant_types":["client_credentials"]}`), "invalid_client_metadata", "grant_types")
	dcrtest.RequireMemberRefused(t, s.Post(t, `{"redirect_uris":["https://a.example/cb"],"dpop_bound_access_tokens":true}`), "invalid_client_metadata", "dpop")
	s.Register(t, `{"redirect_uris":["https://a.example/cb"],"token_endpoint_auth_method":"none"}`)

	_, err := (&dcrtest.Server{URL: "http://127.0.0.1"}).Compose(dcrtest.Setup{Config: dcr.Config{Policies: []dcr.Policy{nil}}})
	require.ErrorContains(t, err, "nil policy")
}

// TestAudienceOfTheConfiguration comes and goes with it; what a host gave one client stays.
func TestAudienceOfTheConfiguration(t *testing.T) {
	t.Parallel()
	store := dcr.NewMemoryStore()
	before := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Authorization: dcr.Authorization{Audience: []string{"https://old.example"}}, Endpoints: dcr.Endpoints{Issuer: func(context.Context) string { return "https://as.example" }}}})
	client := before.Register(t, `{"redirect_uris":["https://a.example/cb"]}`)
	after := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Authorization: dcr.Authorization{Audience: []string{"https://new.example"}}, Endpoints: dcr.Endpoints{Issuer: func(context.Context) string { return "https://as.example" }}}})
	found, err := after.Provider.Store.GetClient(context.Background(), client.ID())
	require.NoError(t, err)
	require.Equal(t, fosite.Arguments{"https://new.example"}, found.GetAudience(), "AUD-01")
}

// TestEditsOfTheHostSurvive: what a host changes between the steps is registered or refused,
// and never replaced by what the client said (7592-2.2-08).
func TestEditsOfTheHostSurvive(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Management: dcr.Management{Token: dcr.RegistrationToken{KeepOnUpdate: true}}}})
	client := s.Register(t, `{"redirect_uris":["https://a.example/cb"]}`)
	body := `{"client_id":"` + client.ID() + `","redirect_uris":["https://a.example/cb"],"client_name":"client says"}`
	r, err := http.NewRequest(http.MethodPut, client.URI(), strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+client.Token())
	r.Header.Set("Content-Type", "application/json")
	request, err := s.Provider.NewManagementRequest(context.Background(), r)
	require.NoError(t, err)
	request.Metadata.ClientName = "host says"
	require.Equal(t, http.StatusOK, s.Manage(t, http.MethodPut, client, body).Status)
	_, err = s.Provider.NewManagementResponse(context.Background(), request)
	require.ErrorIs(t, err, dcr.ErrConflict)
	require.Equal(t, "client says", s.Manage(t, http.MethodGet, client, nil).Text("client_name"))
}

// TestStalledBodyOnTheWire: the answer arrives when the request's time is up, though the
// body does not (HTTP-04, T43).
func TestStalledBodyOnTheWire(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	s.Extra.Handle("/bounded", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 50*time.Millisecond)
		defer cancel()
		s.Provider.RegistrationHandler().ServeHTTP(w, r.WithContext(ctx))
	}))
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	require.NoError(t, err)
	defer func() { _ = conn.Close() }()
	_, err = conn.Write([]byte("POST /bounded HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"))
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(30*time.Second)))
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	require.NoError(t, err)
	require.Contains(t, string(answer[:n]), "HTTP/1.1 408 ")
}

// TestUnvouchedLanguages: a name in another language is another name (7591-2.3-02), and the
// word of an issuer binds even when it is trusted no longer (7591-2.3-05).
func TestUnvouchedLanguages(t *testing.T) {
	t.Parallel()
	d := dcrtest.NewDirectory(t, "1")
	store := dcr.NewMemoryStore()
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: d.Trusted()})
	client := s.Register(t, map[string]any{"client_name#en": "Another Brand", "tos_uri#en": "https://bank.example/tos", "software_statement": d.Sign(t, dcrtest.StatementClaims())})
	require.NotContains(t, client.Members, "client_name#en")
	require.Contains(t, client.Members, "tos_uri#en", "nobody vouches for this member in any language")

	bound, err := store.GetDynamicClient(context.Background(), client.ID())
	require.NoError(t, err)
	require.Equal(t, dcrtest.DirectoryIssuer, bound.StatementIssuer)
	distrusting := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Endpoints: dcr.Endpoints{Issuer: func(context.Context) string { return bound.Issuer }}}})
	put := distrusting.Do(t, http.MethodPut, "/register/"+client.ID(),
		[]byte(`{"client_id":"`+client.ID()+`","redirect_uris":["https://evil.example/cb"]}`), dcrtest.Bearer(client.Token()), dcrtest.Header("Content-Type", "application/json"))
	dcrtest.RequireMemberRefused(t, put, "invalid_redirect_uri", "redirect_uris")
}
