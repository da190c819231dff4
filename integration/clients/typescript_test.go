package clients_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

const localCallback = "http://localhost:3118/callback"

// scriptMetadata is what clients on the TypeScript SDK register. Further pairs of name and
// value are added.
func scriptMetadata(method string, pairs ...string) map[string]any {
	metadata := map[string]any{
		"client_name": "TypeScript MCP client", "redirect_uris": []string{localCallback},
		"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
	}
	if method != "" {
		metadata["token_endpoint_auth_method"] = method
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		metadata[pairs[i]] = pairs[i+1]
	}
	return metadata
}

// A client registers, signs in, calls, refreshes, and is managed to its end.
func TestTypeScriptClient(t *testing.T) {
	t.Parallel()
	type row struct {
		method  string
		scopes  []string // that the MCP server wants
		own     string   // the scope that the client was configured with
		asked   string   // the scope that it asks for
		noState bool
		jwt     bool
	}
	tools, offline := []string{toolsScope}, []string{toolsScope, "openid", "offline_access"}
	for name, test := range map[string]row{
		"MCP-02,REAL-02,9207-01/none":         {method: "none", scopes: tools, asked: toolsScope},
		"MCP-02,REAL-02,9207-01/none/jwt":     {method: "none", scopes: tools, asked: toolsScope, jwt: true},
		"REAL-01/none/no_state":               {method: "none", scopes: tools, asked: toolsScope, noState: true},
		"AUTH-04,REAL-02/client_secret_basic": {method: "client_secret_basic", scopes: tools, asked: toolsScope},
		"AUTH-04,REAL-02/client_secret_post":  {method: "client_secret_post", scopes: tools, asked: toolsScope},
		"7591-2-03,REAL-02/no_method":         {scopes: tools, asked: toolsScope},
		// The scope of the challenge comes before the client's own.
		"REAL-02/scope_of_the_challenge": {method: "none", scopes: tools, own: "openid", asked: toolsScope},
		"REAL-02/offline_access":         {method: "none", scopes: offline, asked: strings.Join(offline, " ")},
		"REAL-02/own_scope":              {method: "none", own: toolsScope, asked: toolsScope},
		"7591-2-10,REAL-02/no_scope":     {method: "none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startToolsServer(t, test.scopes, func(setup *dcrtest.Setup) { setup.JWT = test.jwt })
			metadata := scriptMetadata(test.method)
			if test.own != "" {
				metadata["scope"] = test.own
			}
			c := newScriptClient(t, s, metadata, localCallback).with("withState", !test.noState)
			first := c.works(t, "use")
			requireScriptSent(t, s, first, test.asked, !test.noState)
			requireScriptMethod(t, first, first.registration(t).Text("token_endpoint_auth_method"))
			next := refreshScript(t, c, first)
			h := &holder{Server: s.Server, client: first.registration(t), token: next.token(), again: c.refresh(t)}
			h.manageToItsEnd(t)
		})
	}
}

// refreshScript lets the access token end: the client gets another one without its user.
func refreshScript(t testing.TB, c *scriptClient, first *scriptReport) *scriptReport {
	t.Helper()
	next := c.works(t, "expired")
	require.Empty(t, next.Registrations)
	require.Empty(t, next.Authorizations)
	require.Empty(t, next.Invalidated)
	require.Len(t, next.TokenRequests, 1)
	form := next.TokenRequests[0].Form
	require.Equal(t, "refresh_token", form["grant_type"])
	require.Equal(t, c.s.resource, form["resource"]) // AUD-01
	require.NotEqual(t, first.Kept.Tokens.RefreshToken, next.Kept.Tokens.RefreshToken)
	require.Equal(t, first.Kept.Tokens.Scope, next.Kept.Tokens.Scope)
	dcrtest.RequireInactive(t, c.s.Server, first.Kept.Tokens.AccessToken)
	return next
}

// requireScriptSent demands that the client asked for what it should, and that the browser
// came back with a code, the state and iss.
func requireScriptSent(t testing.TB, s *mcpServer, report *scriptReport, scope string, state bool) {
	t.Helper()
	sent, hasScope := report.Registrations[0].Sent["scope"]
	require.Equal(t, scope != "", hasScope)
	if hasScope {
		require.Equal(t, scope, sent)
	}
	require.Len(t, report.Authorizations, 1)
	visit := report.Authorizations[0]
	require.Equal(t, scope, visit.Asked["scope"])
	require.Equal(t, s.resource, visit.Asked["resource"])
	require.Equal(t, "S256", visit.Asked["code_challenge_method"])
	require.Equal(t, strings.Contains(scope, "offline_access"), visit.Asked["prompt"] == "consent")

	require.Equal(t, localCallback, visit.Landed)
	require.NotEmpty(t, visit.Brought["code"])
	require.Equal(t, s.URL, visit.Brought["iss"])
	require.Equal(t, state, visit.Brought["state"] != "")
	require.Equal(t, visit.Asked["state"], visit.Brought["state"])
}

// requireScriptMethod demands that the client authenticated as it had registered.
func requireScriptMethod(t testing.TB, report *scriptReport, method string) {
	t.Helper()
	require.Len(t, report.TokenRequests, 1)
	request := report.TokenRequests[0]
	require.Equal(t, http.StatusOK, request.Status)
	require.Equal(t, method == "client_secret_basic", request.Basic)
	require.Equal(t, method == "client_secret_post", request.Form["client_secret"] != "")
	require.Equal(t, method != "client_secret_basic", request.Form["client_id"] != "")
	require.Equal(t, method != "none", report.Kept.Client["client_secret"] != nil)
}

func TestTypeScriptDiscovery(t *testing.T) {
	t.Parallel()
	t.Run("MCP-01,MCP-03,9207-01,8414-01", func(t *testing.T) {
		t.Parallel()
		s := startToolsServer(t, []string{toolsScope})
		report := newScriptClient(t, s, nil, "").run(t, "discover")
		require.Nil(t, report.Error, "%+v", report.Error)
		type metadata struct {
			Issuer       string
			Registration string   `json:"registration_endpoint"`
			PKCE         []string `json:"code_challenge_methods_supported"`
			Methods      []string `json:"token_endpoint_auth_methods_supported"`
			Iss          bool     `json:"authorization_response_iss_parameter_supported"`
		}
		var found struct {
			URL                          string   `json:"authorizationServerUrl"`
			Found                        metadata `json:"authorizationServerMetadata"`
			Direct, Deprecated, Resource metadata
		}
		require.NoError(t, json.Unmarshal(report.Result, &found))
		require.Equal(t, s.URL, found.URL)
		for _, m := range []metadata{found.Found, found.Direct, found.Deprecated} {
			require.Equal(t, s.URL, m.Issuer)
			require.Equal(t, s.URL+"/register", m.Registration)
			require.Equal(t, []string{"S256"}, m.PKCE)
			require.Subset(t, m.Methods, []string{"none", "client_secret_basic", "client_secret_post"})
			require.True(t, m.Iss)
		}
	})
}

// A client that registered a loopback redirect listens on whatever port is free.
func TestTypeScriptPorts(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ registered, used string }{
		"RU-08/localhost_and_no_port": {"http://localhost/callback", "http://localhost:49152/callback"},
		"RU-08/localhost":             {localCallback, "http://localhost:49152/callback"},
		"RU-07/address":               {"http://127.0.0.1/callback", "http://127.0.0.1:49152/callback"},
		"RU-06/private_use_scheme":    {"com.example.client:/callback", "com.example.client:/callback"},
		"RU-06/editor":                {"cursor://host/callback", "cursor://host/callback"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			metadata := scriptMetadata("none")
			metadata["redirect_uris"] = []string{test.registered}
			report := newScriptClient(t, startToolsServer(t, []string{toolsScope}), metadata, test.used).works(t, "use")
			require.Equal(t, test.used, report.Authorizations[0].Landed)
		})
	}
}
