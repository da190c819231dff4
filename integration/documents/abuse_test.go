package documents_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/cimd"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/outbound"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// TestSeveralIssuers: grants of a client with a document say nothing of the issuer, so they would be good under each (T41).
func TestSeveralIssuers(t *testing.T) {
	t.Parallel()
	_, err := new(dcrtest.Server).Compose(dcrtest.Setup{Config: dcr.Config{
		Documents: dcrtest.NewDocuments(t, nil),
		Endpoints: dcr.Endpoints{Issuer: func(context.Context) string { return "https://as.example" }},
	}})
	require.ErrorContains(t, err, "Config.Documents does not go with Config.Endpoints.Issuer")
}

// TestPushedByManyDocuments: documents are free, so what many of them push counts for their caller (T59).
func TestPushedByManyDocuments(t *testing.T) {
	t.Parallel()
	host, key := dcrtest.StartDocumentHost(t), dcrtest.NewSigningClient(t, jose.ES256)
	store := dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Codes: 1000, Assertions: 100_000}))
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Documents: dcrtest.NewDocuments(t, nil)}})
	good := host.Publish(t, "/good", publicClient())
	for i := range 11 {
		id := host.Publish(t, "/evil"+strconv.Itoa(i), with("token_endpoint_auth_method", "private_key_jwt", "jwks", key.Metadata()["jwks"]))
		for range 100 {
			form := signed(t, key, id, s.URL)
			for name, values := range dcrtest.AuthorizeQuery(id, callback) {
				form[name] = values
			}
			s.Form(t, "/oauth2/par", form)
		}
	}
	answer := s.Form(t, "/oauth2/par", dcrtest.AuthorizeQuery(good, callback))
	require.Equal(t, http.StatusCreated, answer.Status, string(answer.Body))
}

// TestAssertionsOfManyDocuments: documents are free, so the assertions of all of them have half of the room, and a client
// that the operator knows has the other half (T59).
func TestAssertionsOfManyDocuments(t *testing.T) {
	t.Parallel()
	host, key := dcrtest.StartDocumentHost(t), dcrtest.NewSigningClient(t, jose.ES256)
	store := dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Assertions: 400}))
	store.AddClient(&fosite.DefaultOpenIDConnectClient{
		DefaultClient:           dcrtest.StaticClient(t, "static"),
		TokenEndpointAuthMethod: "private_key_jwt", TokenEndpointAuthSigningAlgorithm: "ES256",
		JSONWebKeys: &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Key.Public(), Use: "sig"}}},
	})
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Documents: dcrtest.NewDocuments(t, nil)}})
	registered := s.Register(t, key.Metadata()).ID()
	ask := func(id string, status int) {
		t.Helper()
		answer := s.Form(t, "/oauth2/token", signed(t, key, id, s.URL, "grant_type", "refresh_token", "refresh_token", "none"))
		require.Equal(t, status, answer.Status, string(answer.Body))
		dcrtest.RequireRetryAfter(t, answer)
	}
	var ids [3]string
	for i := range ids {
		ids[i] = host.Publish(t, "/evil"+strconv.Itoa(i), with("token_endpoint_auth_method", "private_key_jwt", "jwks", key.Metadata()["jwks"]))
	}
	for range 100 {
		ask(ids[0], http.StatusBadRequest) // it is authenticated, and has no such token
		ask(ids[1], http.StatusBadRequest)
	}
	ask(ids[2], http.StatusServiceUnavailable)
	_, err := s.Provider.ClientAuthentication(t.Context(), httptest.NewRequest(http.MethodPost, "/own", nil), signed(t, key, ids[2], s.URL))
	require.ErrorIs(t, err, dcr.ErrFull, "at an endpoint of the application's own")
	ask(registered, http.StatusBadRequest)
	ask("static", http.StatusBadRequest)
}

// TestSectorThatFails: a client that is known elsewhere is not told that it does not exist, because the host of its
// sector_identifier_uri is down (AUTH-02).
func TestSectorThatFails(t *testing.T) {
	t.Parallel()
	host := dcrtest.StartDocumentHost(t)
	sector := dcrtest.StartDocumentHost(t)
	id := host.Publish(t, "/client", with("subject_type", "pairwise", "sector_identifier_uri", sector.URL+"/sector"))
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
		Documents: dcrtest.NewDocuments(t, nil, func(o *cimd.Options) { o.MaxBytes = 10_000 }),
		Metadata:  dcr.Metadata{Supports: map[string][]string{"subject_type": {"pairwise"}, "sector_identifier_uri": nil}},
		Outbound:  dcr.Outbound{Options: outbound.Options{InsecureAllowLoopback: true}},
	}})
	require.Equal(t, http.StatusServiceUnavailable, s.Authorize(t, dcrtest.AuthorizeQuery(id, callback)).Status)
	sector.PublishBytes("/sector", []byte(`["`+callback+`"]`))
	require.NotEmpty(t, s.Code(t, dcrtest.AuthorizeQuery(id, callback)))
}

// TestForeignRedirect: one foreign redirect URI among good ones, under policy.BindRedirects (CIMD-13).
func TestForeignRedirect(t *testing.T) {
	t.Parallel()
	host := dcrtest.StartDocumentHost(t)
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
		Documents: dcrtest.NewDocuments(t, nil), Policies: []dcr.Policy{policy.BindRedirects("localhost")},
	}})
	own := []string{host.URL + "/cb", "http://localhost/cb"}
	good := host.Publish(t, "/good", with("redirect_uris", own))
	require.NotEmpty(t, s.Code(t, dcrtest.AuthorizeQuery(good, own[0])))
	bad := host.Publish(t, "/bad", with("redirect_uris", append(own, "https://evil.example/cb")))
	answer := s.Authorize(t, dcrtest.AuthorizeQuery(bad, own[0]))
	require.Equal(t, http.StatusUnauthorized, answer.Status)
	require.Contains(t, string(answer.Body), "redirect_uris is on another origin than the document")
	require.NotEmpty(t, s.Register(t, with("redirect_uris", []string{"https://anywhere.example/cb"})).ID(), "registrations are not bound")
}
