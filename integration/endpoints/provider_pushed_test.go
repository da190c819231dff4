package endpoints_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

func TestRequiredPush(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	for _, method := range []string{"none", "client_secret_basic"} {
		t.Run("COMP-01/"+method, func(t *testing.T) {
			t.Parallel()
			client := registerAt(t, s, method, dcrtest.RedirectURI, "require_pushed_authorization_requests", true)
			require.Equal(t, true, client.Members["require_pushed_authorization_requests"])
			dcrtest.RequireRedirectError(t, s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)), "invalid_request")
			query := pushedQuery(t, client, dcrtest.AuthorizeQuery("", dcrtest.RedirectURI))
			token := client.Send(t, "/oauth2/token", method, dcrtest.CodeForm("", s.Code(t, query), dcrtest.RedirectURI))
			require.Equal(t, http.StatusOK, token.Status, token.Body)
			require.NotEqual(t, http.StatusSeeOther, s.Authorize(t, query).Status, "a pushed request is good for once")

			bogus := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "request_uri", "urn:ietf:params:oauth:request_uri:bogus")
			shown(t, s.Authorize(t, bogus))
			dcrtest.RequireRedirectError(t, s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "request_uri", "https://client.example/")), "invalid_request")
		})
		t.Run("COMP-01/not_required/"+method, func(t *testing.T) {
			t.Parallel()
			client := registerAt(t, s, method, dcrtest.RedirectURI, "require_pushed_authorization_requests", false)
			require.NotEmpty(t, s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)))
			require.NotEmpty(t, s.Code(t, pushedQuery(t, client, dcrtest.AuthorizeQuery("", dcrtest.RedirectURI))))
		})
	}
}

func TestRequestObjectThatLooksLikeAPush(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	for name, uri := range map[string]string{
		"prefix": "urn:ietf:params:oauth:request_uri:forged", "empty": "", "https": "https://client.example/request",
	} {
		t.Run("COMP-01/forged/"+name, func(t *testing.T) {
			t.Parallel() // T58
			keys := dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "", "", ""))
			client := registerAt(t, s, "private_key_jwt", dcrtest.RedirectURI, "require_pushed_authorization_requests", true, "jwks", keys)
			free := registerAt(t, s, "private_key_jwt", dcrtest.RedirectURI, "jwks", keys)
			forged := byHand(t, map[string]any{"alg": "none"}, map[string]any{"request_uri": uri}, func(string) []byte { return nil })
			signed := dcrtest.SignES256(t, map[string]any{"request_uri": uri})
			for _, object := range []string{forged, signed} {
				query := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "scope", "openid", "request", object)
				dcrtest.RequireRedirectError(t, s.Authorize(t, query), "invalid_request")
				query.Set("client_id", free.ID())
				require.NotEmpty(t, s.Code(t, query), "nothing else is wrong with the request")
			}
		})
	}
	t.Run("COMP-01/forged/pushed_of_another", func(t *testing.T) {
		t.Parallel()
		victim := registerAt(t, s, "none", dcrtest.RedirectURI, "require_pushed_authorization_requests", true)
		attacker := dcrtest.RegisterFor(t, s, "none")
		query := pushedQuery(t, attacker, dcrtest.AuthorizeQuery("", dcrtest.RedirectURI))
		query.Set("client_id", victim.ID())
		refusal := dcrtest.RequireRedirectError(t, s.Authorize(t, query), "invalid_request")
		require.Contains(t, refusal.Get("error_description"), "The 'client_id' must match the one sent in the pushed authorization request.")
		own := pushedQuery(t, attacker, dcrtest.AuthorizeQuery("", dcrtest.RedirectURI))
		require.NotEmpty(t, s.Code(t, own), "nothing else is wrong with the request")
	})
}

func TestRequiredPushWithoutPAR(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{Factories: dcrtest.DefaultFactories[:8]})
	answer := s.Post(t, map[string]any{"redirect_uris": []string{dcrtest.RedirectURI}, "require_pushed_authorization_requests": true})
	require.Equal(t, http.StatusBadRequest, answer.Status, "COMP-01: %s", answer.Body)
	require.Equal(t, "invalid_client_metadata", answer.Text("error"))
	require.Contains(t, answer.Text("error_description"), "require_pushed_authorization_requests")
}

// tenant is the key of the tenant in the context of a request.
type tenant struct{}

// tenants are two issuers on one provider, told apart by the path of the request.
type tenants struct {
	*dcrtest.Server
	a, b *dcrtest.Server // as their clients see them
}

func startTenants(t *testing.T) tenants {
	t.Helper()
	s := &dcrtest.Server{}
	listener := httptest.NewUnstartedServer(nil)
	s.URL = "http://" + listener.Listener.Addr().String()
	rs, _ := dcrtest.ResourceServer(t)
	provider, err := s.Compose(dcrtest.Setup{Static: []fosite.Client{rs}, Config: dcr.Config{
		Endpoints: dcr.Endpoints{Issuer: func(ctx context.Context) string {
			name, _ := ctx.Value(tenant{}).(string)
			return s.URL + "/" + name
		}},
	}})
	require.NoError(t, err)
	routes := endpointsOf(provider)
	both := http.NewServeMux()
	for _, name := range []string{"a", "b"} {
		both.Handle("/"+name+"/", http.StripPrefix("/"+name, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			routes.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), tenant{}, name)))
		})))
	}
	listener.Config.Handler = both
	listener.Start()
	t.Cleanup(listener.Close)
	return tenants{s, &dcrtest.Server{URL: s.URL + "/a"}, &dcrtest.Server{URL: s.URL + "/b"}}
}

// endpointsOf are the endpoints of a host that writes its own handlers.
func endpointsOf(provider *dcr.Provider) http.Handler {
	routes := http.NewServeMux()
	routes.Handle("/register", provider.RegistrationHandler())
	routes.Handle("/register/{client_id}", provider.ManagementHandler())
	routes.HandleFunc("/oauth2/token", func(w http.ResponseWriter, r *http.Request) {
		request, err := provider.NewAccessRequest(r.Context(), r, dcrtest.NewSession(""))
		if err != nil {
			provider.WriteAccessError(r.Context(), w, request, err)
			return
		}
		response, err := provider.NewAccessResponse(r.Context(), request)
		if err != nil {
			provider.WriteAccessError(r.Context(), w, request, err)
			return
		}
		provider.WriteAccessResponse(r.Context(), w, request, response)
	})
	routes.HandleFunc("/oauth2/auth", func(w http.ResponseWriter, r *http.Request) {
		request, err := provider.NewAuthorizeRequest(r.Context(), r)
		if err != nil {
			provider.WriteAuthorizeError(r.Context(), w, request, err)
			return
		}
		response, err := provider.NewAuthorizeResponse(r.Context(), request, dcrtest.NewSession("alice"))
		if err != nil {
			provider.WriteAuthorizeError(r.Context(), w, request, err)
			return
		}
		provider.WriteAuthorizeResponse(r.Context(), w, request, response)
	})
	routes.HandleFunc("/oauth2/introspect", func(w http.ResponseWriter, r *http.Request) {
		response, err := provider.NewIntrospectionRequest(r.Context(), r, dcrtest.NewSession(""))
		if err != nil {
			provider.WriteIntrospectionError(r.Context(), w, err)
			return
		}
		provider.WriteIntrospectionResponse(r.Context(), w, response)
	})
	return routes
}

func TestTenants(t *testing.T) {
	t.Parallel()
	both := startTenants(t)
	for _, method := range dcrtest.AuthMethods {
		t.Run("T41/"+method, func(t *testing.T) {
			t.Parallel()
			client := dcrtest.RegisterFor(t, both.a, method)
			require.Equal(t, both.a.URL+"/register/"+client.ID(), client.URI())
			abroad := client
			abroad.Server = both.b
			tokens := client.Tokens(t, both.a)
			code := both.a.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI))
			_, credentials := dcrtest.ResourceServer(t)

			refresh := dcrtest.RefreshForm("", tokens.Text("refresh_token"))
			for _, form := range []url.Values{refresh, dcrtest.CodeForm("", code, dcrtest.RedirectURI)} {
				answer := abroad.Send(t, "/oauth2/token", method, form)
				dcrtest.AuthEndpoints[0].RequireRefused(t, answer)
			}
			shown(t, both.b.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)))
			seesNothing(t, introspect(t, both.b, tokens.Text("access_token"), credentials))
			sees(t, introspect(t, both.a, tokens.Text("access_token"), credentials), client.ID())

			for _, verb := range []string{http.MethodGet, http.MethodDelete, http.MethodPut} {
				answer := both.b.Do(t, verb, "/register/"+client.ID(), []byte(`{}`), dcrtest.Bearer(client.Token()), dcrtest.Header("Content-Type", "application/json"))
				require.Equal(t, http.StatusUnauthorized, answer.Status, verb)
				require.Contains(t, answer.Header.Get("WWW-Authenticate"), `error="invalid_token"`)
			}
			require.Equal(t, http.StatusOK, both.a.Manage(t, http.MethodGet, client.Answer, nil).Status)
			require.NotEmpty(t, client.AccessToken(t, both.a), "the client is as it was")
			at := both.a.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)).Location(t)
			require.Equal(t, both.a.URL, at.Query().Get("iss"), "9207-01")
		})
	}
}
