package endpoints_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
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

// brokenIntrospector is an application's introspection handler whose database is down.
type brokenIntrospector struct{}

func (brokenIntrospector) IntrospectToken(context.Context, string, fosite.TokenUse, fosite.AccessRequester, []string) (fosite.TokenUse, error) {
	return "", dcrtest.ErrBroken
}

func TestIntrospectionHandlerThatFails(t *testing.T) {
	t.Parallel()
	rs, credentials := dcrtest.ResourceServer(t)
	factories := slices.Clone(dcrtest.DefaultFactories)
	factories[5] = func(fosite.Configurator, any, any) any { return brokenIntrospector{} }
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{rs}, Factories: factories})
	client := dcrtest.RegisterFor(t, s, "client_secret_basic")
	for name, edit := range map[string]dcrtest.Edit{"static": credentials, "registered": dcrtest.Basic(client.ID(), client.Secret()), "bearer": dcrtest.Bearer("x")} {
		t.Run("ERR-01/introspection_handler/"+name, func(t *testing.T) {
			t.Parallel()
			answer := introspect(t, s, "x", edit)
			dcrtest.RequireTokenError(t, answer, http.StatusInternalServerError, "server_error")
			require.NotContains(t, answer.Body, "10.0.0.7")
		})
	}
}

// errorRow is a request, and the answer that RFC 6749, RFC 7009 or RFC 7662 wants.
type errorRow struct {
	name, path string
	form       url.Values
	edits      []dcrtest.Edit
	status     int
	code       string
	challenge  string
}

func TestErrorsAsTheyAreDefined(t *testing.T) {
	t.Parallel()
	rs, credentials := dcrtest.ResourceServer(t)
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{rs}})
	client, other := dcrtest.RegisterFor(t, s, "client_secret_basic"), dcrtest.RegisterFor(t, s, "client_secret_basic")
	basic, scope := dcrtest.Basic(client.ID(), client.Secret()), []string{"scope", "openid"}
	tokens, others := client.Tokens(t, s, scope...), other.Tokens(t, s, scope...)
	wrong := dcrtest.Basic(client.ID(), client.Secret()+"x")
	rows := []errorRow{
		{"unknown_grant_type", "token", url.Values{"grant_type": {"urn:nobody:knows"}}, []dcrtest.Edit{basic}, 400, "unsupported_grant_type", ""},
		{"password_grant", "token", url.Values{"grant_type": {"password"}, "username": {"a"}}, []dcrtest.Edit{basic}, 400, "unsupported_grant_type", ""},
		{"no_grant_type", "token", url.Values{"scope": {"openid"}}, []dcrtest.Edit{basic}, 400, "invalid_request", ""},
		{"wrong_secret_at_token", "token", dcrtest.RefreshForm("", "x"), []dcrtest.Edit{wrong}, 401, "invalid_client", "Basic"},
		{"wrong_secret_at_introspection", "introspect", url.Values{"token": {"x"}}, []dcrtest.Edit{wrong}, 401, "invalid_client", "Basic"},
		{"wrong_static_secret_at_introspection", "introspect", url.Values{"token": {"x"}}, []dcrtest.Edit{dcrtest.Basic("resource-server", "x")}, 401, "invalid_client", "Basic"},
		{"wrong_bearer_at_introspection", "introspect", url.Values{"token": {"x"}}, []dcrtest.Edit{dcrtest.Bearer("y")}, 401, "invalid_token", `Bearer error="invalid_token"`},
		{"revocation_without_token", "revoke", url.Values{"token_type_hint": {"access_token"}}, []dcrtest.Edit{basic}, 400, "invalid_request", ""},
		{"revocation_of_anothers_access_token", "revoke", url.Values{"token": {others.Text("access_token")}}, []dcrtest.Edit{basic}, 400, "unauthorized_client", ""},
		{"revocation_of_anothers_refresh_token", "revoke", url.Values{"token": {others.Text("refresh_token")}}, []dcrtest.Edit{basic}, 400, "unauthorized_client", ""},
		{"revocation_of_anothers_registration_token", "revoke", url.Values{"token": {other.Token()}}, []dcrtest.Edit{basic}, 400, "unauthorized_client", ""},
		{"revocation_of_a_registration_token_by_a_static_client", "revoke", url.Values{"token": {other.Token()}}, []dcrtest.Edit{credentials}, 400, "unauthorized_client", ""},
		{"refresh_with_scope_beyond_the_grant", "token", refreshWith(tokens, "openid email"), []dcrtest.Edit{basic}, 400, "invalid_scope", ""},
		{"twice_at_token", "token", twice(dcrtest.RefreshForm("", "x"), "scope"), []dcrtest.Edit{basic}, 400, "invalid_request", ""},
		{"twice_at_par", "par", twice(dcrtest.AuthorizeQuery("", dcrtest.RedirectURI), "nonce"), []dcrtest.Edit{basic}, 400, "invalid_request", ""},
		{"twice_at_revocation", "revoke", twice(url.Values{"token": {"x"}}, "token"), []dcrtest.Edit{basic}, 400, "invalid_request", ""},
		{"twice_at_introspection", "introspect", twice(url.Values{"token": {"x"}}, "token"), []dcrtest.Edit{credentials}, 400, "invalid_request", ""},
		{"in_query_and_body", "token?scope=openid", refreshWith(tokens, "openid"), []dcrtest.Edit{basic}, 400, "invalid_request", ""},
	}
	for _, row := range rows {
		t.Run("ERR-01/"+row.name, func(t *testing.T) {
			answer := s.Form(t, "/oauth2/"+row.path, row.form, row.edits...)
			dcrtest.RequireTokenError(t, answer, row.status, row.code)
			require.Equal(t, row.challenge, answer.Header.Get("WWW-Authenticate"))
			require.Equal(t, "no-store", answer.Header.Get("Cache-Control"))
			require.Equal(t, "application/json;charset=UTF-8", answer.Header.Get("Content-Type"))
		})
	}
	t.Run("ERR-01/nothing_was_revoked_or_spent", func(t *testing.T) {
		require.Equal(t, http.StatusOK, s.Manage(t, http.MethodGet, other.Answer, nil).Status)
		for owner, had := range map[*dcrtest.AuthClient]dcrtest.Answer{&client: tokens, &other: others} {
			sees(t, introspect(t, s, had.Text("access_token"), credentials), owner.ID())
			answer := owner.Send(t, "/oauth2/token", owner.Method, refreshWith(had, "openid"))
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		}
	})
	t.Run("ERR-01/twice_at_authorization", func(t *testing.T) {
		page := s.Authorize(t, twice(dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI), "state"))
		require.Equal(t, http.StatusBadRequest, page.Status, page.Body)
		require.Equal(t, "invalid_request", errorOf(page))
		require.Empty(t, page.Header.Get("Location"))
	})
	t.Run("ERR-01/resources_may_be_many", func(t *testing.T) {
		query := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI)
		query["resource"] = []string{"https://a.example", "https://b.example"}
		require.NotEmpty(t, s.Code(t, query))
	})
	t.Run("ERR-01/revocation_of_its_own_registration_token", func(t *testing.T) {
		require.Equal(t, http.StatusOK, s.Form(t, "/oauth2/revoke", url.Values{"token": {client.Token()}}, basic).Status)
		dcrtest.RequireUniformRefusal(t, s.Manage(t, http.MethodGet, client.Answer, nil))
	})
}

func TestReplayedAssertion(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	for _, endpoint := range dcrtest.AuthEndpoints {
		t.Run("ERR-01/replayed_assertion/"+endpoint.Name, func(t *testing.T) {
			t.Parallel()
			client := dcrtest.RegisterFor(t, s, "private_key_jwt")
			form := dcrtest.WithAssertion(endpoint.Request(t, s, client), dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), s.URL)))
			endpoint.RequireSuccess(t, s.Form(t, endpoint.Path, form))
			endpoint.RequireRefused(t, s.Form(t, endpoint.Path, form))
		})
	}
}

// twice returns a form that has one parameter twice.
func twice(form url.Values, name string) url.Values {
	form[name] = []string{"a", "a"}
	return form
}

func refreshWith(tokens dcrtest.Answer, scope string) url.Values {
	form := dcrtest.RefreshForm("", tokens.Text("refresh_token"))
	form.Set("scope", scope)
	return form
}
