package endpoints_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/go-jose/go-jose/v3"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// tellsNothing judges a text of an answer: no address, no name that was looked up, no error of a system.
func tellsNothing(t *testing.T, body string) {
	t.Helper()
	for _, word := range []string{"dial", "lookup", "refused", "no such host", "tcp", "127.0.0.1", "10.0.0.7", "internal.example", "giving up", "status code", "404", "EOF", "x509", "disk", "relation"} {
		require.NotContains(t, body, word)
	}
}

func TestRequestObjectThatIsNotThere(t *testing.T) {
	t.Parallel()
	missing := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(missing.Close)
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "100") }))
	t.Cleanup(cut.Close)
	closed := httptest.NewServer(nil)
	closed.Close()
	static := &fosite.DefaultOpenIDConnectClient{
		DefaultClient: dcrtest.StaticClient(t, "static", "openid"), JSONWebKeysURI: "http://keys.internal.example/",
		RequestURIs: []string{missing.URL, cut.URL, closed.URL, "http://ro.internal.example/"},
	}
	client := retryablehttp.NewClient()
	client.RetryMax, client.Logger = 0, nil
	s := dcrtest.Start(t, dcrtest.Setup{Static: []fosite.Client{static}, Fosite: func(config *fosite.Config) { config.HTTPClient = client }})
	for i, uri := range static.RequestURIs {
		t.Run("ERR-03/request_uri/"+[]string{"missing", "cut_off", "closed", "unknown_name"}[i], func(t *testing.T) {
			t.Parallel() // T62
			page := s.Authorize(t, dcrtest.AuthorizeQuery("static", dcrtest.RedirectURI, "scope", "openid", "request_uri", uri))
			require.Equal(t, http.StatusBadRequest, page.Status, page.Body)
			require.Equal(t, "invalid_request_uri: The request_uri in the Authorization Request returns an error or contains invalid data. "+
				"What the request points at could not be fetched.\n", page.Body)
		})
	}
}

func TestRequestObjectWhoseKeysAreNotThere(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	keys := dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().RSA, "", "", ""))
	for name, row := range map[string]struct {
		member string
		value  any
		object string
		codes  []string
	}{
		"keys":      {"jwks_uri", "https://keys.internal.example/", dcrtest.SignToken(t, jose.RS256, dcrtest.Keys().RSA, "", map[string]any{"state": "12345678"}), list{"invalid_request_object", "temporarily_unavailable"}},
		"signature": {"jwks", keys, dcrtest.SignToken(t, jose.PS256, s.Key, "", map[string]any{"state": "12345678"}), list{"invalid_request_object"}},
		"garbage":   {"jwks", keys, "x.y.z", list{"invalid_request_object"}},
	} {
		t.Run("ERR-03/request_object/"+name, func(t *testing.T) {
			t.Parallel()
			client := s.Register(t, dcrtest.Managed(row.member, row.value))
			page := s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "scope", "openid", "request", row.object))
			require.Contains(t, row.codes, errorOf(page), page.Body)
			require.Empty(t, page.Header.Get("Location"))
			tellsNothing(t, page.Body)
		})
	}
}

func TestTextsOfWhatCanNotBeFetched(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	t.Run("ERR-03/jwks_uri", func(t *testing.T) {
		t.Parallel()
		client := s.Register(t, map[string]any{"token_endpoint_auth_method": "private_key_jwt", "redirect_uris": list{dcrtest.RedirectURI}, "jwks_uri": "https://keys.internal.example/"})
		form := dcrtest.WithAssertion(dcrtest.RefreshForm("", "x"), dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), s.URL)))
		answer := s.Form(t, "/oauth2/token", form)
		require.Contains(t, list{"invalid_client", "temporarily_unavailable"}, answer.Text("error"), answer.Body)
		tellsNothing(t, answer.Body)
	})
	t.Run("ERR-03/sector_identifier_uri", func(t *testing.T) {
		t.Parallel()
		answer := s.Post(t, dcrtest.Registration(map[string]any{"subject_type": "pairwise", "sector_identifier_uri": "https://sector.internal.example/"}))
		require.NotEqual(t, http.StatusInternalServerError, answer.Status, answer.Body)
		tellsNothing(t, answer.Text("error_description"))
	})
	t.Run("ERR-03/storage", func(t *testing.T) {
		t.Parallel()
		for _, cause := range []error{dcrtest.ErrBroken, dcrtest.ErrDatabase} {
			f := startForOutage(t)
			client := dcrtest.RegisterFor(t, f.Server, "client_secret_basic")
			f.store.BreakDown(cause, "GetClient", "CreateAccessTokenSession", "GetRefreshTokenSession", "CreatePARSession")
			for _, path := range []string{"token", "par", "revoke", "introspect"} {
				answer := client.Send(t, "/oauth2/"+path, client.Method, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}, "token": {"x"}})
				dcrtest.RequireTokenError(t, answer, http.StatusInternalServerError, "server_error")
				tellsNothing(t, answer.Body)
			}
		}
	})
}
