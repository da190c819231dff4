package clients_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// Clients that register alike share a client: the answer without a registration access
// token is enough for the SDK. What one of them gets does not end what others have.
func TestTypeScriptClientsShare(t *testing.T) {
	t.Parallel()
	t.Run("7591-3.2.1-02/shared", func(t *testing.T) {
		t.Parallel()
		s, c := startScript(t, "none", func(setup *dcrtest.Setup) { setup.Config.Registration.ShareIdentical = true })
		first := c.works(t, "use")
		answer := first.registration(t)
		require.Equal(t, http.StatusCreated, answer.Status)
		require.NotContains(t, answer.Members, "registration_access_token")
		require.NotContains(t, answer.Members, "registration_client_uri")

		other := newScriptClient(t, s, scriptMetadata("none"), localCallback)
		second := other.works(t, "use")
		require.Equal(t, first.id(), second.registration(t).ID())
		require.Len(t, second.Authorizations, 1)
		require.NotEqual(t, first.Kept.Tokens.AccessToken, second.Kept.Tokens.AccessToken)
		for _, c := range []*scriptClient{c, other} {
			require.Empty(t, c.works(t, "use").TokenRequests)
			require.Empty(t, c.works(t, "expired").Registrations)
		}

		third := newScriptClient(t, s, scriptMetadata("client_secret_basic"), localCallback).works(t, "use")
		require.NotEqual(t, first.id(), third.id())
		require.NotEmpty(t, third.registration(t).Token())
	})
}

// The SDK reads of a limit what the JSON says: Retry-After it does not tell.
func TestTypeScriptClientIsLimited(t *testing.T) {
	t.Parallel()
	t.Run("7591-3-05,LIFE-06", func(t *testing.T) {
		t.Parallel()
		s, c := startScript(t, "none", func(setup *dcrtest.Setup) {
			setup.Config.Limits.Rate.PerCaller = dcr.Rate{Count: 1, Per: 24 * time.Hour}
		})
		c.works(t, "use")
		late := newScriptClient(t, s, scriptMetadata("none"), localCallback).fails(t, "use")
		require.Equal(t, "TemporarilyUnavailableError", late.Error.Name)
		require.Equal(t, dcr.ErrTooManyRequests.DescriptionField, late.Error.Message)
		require.Equal(t, http.StatusTooManyRequests, late.registration(t).Status)
		require.NotEmpty(t, late.Registrations[0].RetryAfter)
		require.Empty(t, late.Kept.Client)
		require.Empty(t, late.Invalidated)
		require.Empty(t, c.works(t, "expired").Registrations, "who is registered is not limited")
	})
}

// What the server answers fits the SDK's schema, which drops what it does not know.
func TestTypeScriptRegister(t *testing.T) {
	t.Parallel()
	full := map[string]any{
		"client_uri": "https://client.example.com/", "logo_uri": "https://client.example.com/logo.png", "tos_uri": "https://client.example.com/tos",
		"policy_uri": "https://client.example.com/policy", "contacts": []string{"alice@example.com"},
		"software_id": "4NRB1-0XZABZI9E6-5SM3R", "software_version": "1.0", "application_type": "native",
	}
	for name, test := range map[string]struct {
		method string
		more   map[string]any
	}{
		"7591-3.2.1-03/none":        {"none", nil},
		"7591-3.2.1-03/basic":       {"client_secret_basic", nil},
		"7591-3.2.1-06/all_members": {"none", full},
		"MCP-02/native":             {"none", map[string]any{"application_type": "native"}},
		"7591-2-13/private_key_jwt": {"private_key_jwt", map[string]any{"jwks_uri": "https://client.example.com/jwks"}},
		// The SDK's type has no client without redirect URIs.
		"7591-2-02/service": {"client_secret_basic", map[string]any{
			"redirect_uris": []string{}, "grant_types": []string{"client_credentials"}, "response_types": []string{},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startToolsServer(t, []string{toolsScope}, withServices)
			metadata := scriptMetadata(test.method)
			for name, value := range test.more {
				metadata[name] = value
			}
			report := newScriptClient(t, s, metadata, "").run(t, "register")
			require.Nil(t, report.Error, "%+v", report)
			answer := report.registration(t)
			require.Equal(t, http.StatusCreated, answer.Status)
			var got map[string]any
			require.NoError(t, json.Unmarshal(report.Result, &got))
			require.Equal(t, answer.ID(), got["client_id"])
			require.Equal(t, answer.Secret() != "", got["client_secret"] != nil)
			require.Equal(t, test.method, got["token_endpoint_auth_method"])
			require.NotContains(t, got, "registration_access_token", "the SDK drops it")
			for name := range metadata {
				sent, err := json.Marshal(metadata[name])
				require.NoError(t, err)
				answered, err := json.Marshal(answer.Members[name])
				require.NoError(t, err)
				require.JSONEq(t, string(sent), string(answered), name)
			}
		})
	}
}

// A service need not send redirect URIs, and is registered without them. The SDK refuses
// the answer, and the registration is lost: a service sends an empty list.
func TestTypeScriptRegisterService(t *testing.T) {
	t.Parallel()
	t.Run("7591-2-02/no_redirect_uris", func(t *testing.T) {
		t.Parallel()
		s := startToolsServer(t, []string{toolsScope}, withServices)
		report := newScriptClient(t, s, serviceMetadata("client_secret_basic"), "").fails(t, "register")
		require.Equal(t, "ZodError", report.Error.Name)
		require.Contains(t, report.Error.Message, "redirect_uris")
		require.Equal(t, http.StatusCreated, report.registration(t).Status)
	})
}

// Of the codes of RFC 7591 the SDK knows one, and takes the others for a failure of the
// server. It keeps the description, which says what is wrong.
func TestTypeScriptRegisterRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		member string
		value  any
		sent   string // the code that the server sends
		name   string // of the error that the SDK throws
	}{
		"7591-3.2.2-02/metadata":  {"token_endpoint_auth_method", "tls_client_auth", "invalid_client_metadata", "InvalidClientMetadataError"},
		"7591-3.2.2-02/redirect":  {"redirect_uris", []string{"http://client.example.com/callback"}, "invalid_redirect_uri", "ServerError"},
		"7591-3.2.2-02/statement": {"software_statement", "a.b.c", "invalid_software_statement", "ServerError"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startToolsServer(t, []string{toolsScope}, func(setup *dcrtest.Setup) {
				setup.Config.Metadata.StatementIssuers = []dcr.StatementIssuer{{Issuer: "https://issuer.example.com", JWKSURI: "https://issuer.example.com/jwks"}}
			})
			metadata := scriptMetadata("none")
			metadata[test.member] = test.value
			report := newScriptClient(t, s, metadata, localCallback).fails(t, "use")
			answer := report.registration(t)
			require.Equal(t, http.StatusBadRequest, answer.Status)
			require.Equal(t, test.sent, answer.Text("error"))
			require.Equal(t, test.name, report.Error.Name)
			require.Equal(t, answer.Text("error_description"), report.Error.Message)
			require.Empty(t, report.Kept.Client)
		})
	}
}

// The SDK registers the scope of the first challenge, and has no way to register a wider
// one when the resource asks for more: the host gives clients all that they may come to
// need.
func TestTypeScriptScopeGrows(t *testing.T) {
	t.Parallel()
	const wide = toolsScope + " mcp:more"
	for name, baseline := range map[string][]string{"registered_only": nil, "baseline": {"mcp:more"}} {
		t.Run("7591-2-09/"+name, func(t *testing.T) {
			t.Parallel()
			s := startToolsServer(t, nil, func(setup *dcrtest.Setup) { setup.Config.Metadata.BaselineScopes = baseline })
			c := newScriptClient(t, s, scriptMetadata("none", "scope", toolsScope), localCallback)
			first := c.run(t, "begin")
			require.Equal(t, toolsScope, first.Registrations[0].Sent["scope"])
			c = c.with("metadata", scriptMetadata("none", "scope", wide))
			if baseline != nil {
				next := c.works(t, "use")
				require.Empty(t, next.Registrations)
				require.Equal(t, wide, next.Kept.Tokens.Scope)
				return
			}
			next := c.fails(t, "use")
			require.Len(t, next.Authorizations, 1)
			require.Equal(t, "invalid_scope", next.Authorizations[0].Brought["error"])
			require.Equal(t, first.id(), next.id())
		})
	}
}

func withServices(setup *dcrtest.Setup) {
	setup.Config.Metadata.AnonymousGrantTypes = []string{"client_credentials"}
}

// The SDK's providers for services send the secret in the header, whatever the client has
// registered, and sign for the issuer.
func TestTypeScriptService(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T, metadata map[string]any, edits ...func(*dcrtest.Setup)) (*mcpServer, dcrtest.Answer) {
		s := startToolsServer(t, []string{toolsScope}, append(edits, withServices)...)
		metadata["scope"] = toolsScope
		return s, s.Register(t, metadata)
	}
	run := func(t *testing.T, s *mcpServer, client dcrtest.Answer, more map[string]any) *scriptReport {
		more["clientId"], more["expectedIssuer"], more["scope"] = client.ID(), s.URL, toolsScope
		return newScriptClient(t, s, nil, "").with("service", more).run(t, "service")
	}
	for name, row := range map[string]struct {
		method  string
		refused bool // as without MCPConfig
	}{
		"AUTH-04/client_secret_basic": {method: "client_secret_basic"},
		"AUTH-13/client_secret_post":  {method: "client_secret_post"},
		"AUTH-04/client_secret_post":  {method: "client_secret_post", refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, client := start(t, serviceMetadata(row.method), func(setup *dcrtest.Setup) { setup.Config.Authorization.AllowOtherSecretMethod = !row.refused })
			report := run(t, s, client, map[string]any{"clientSecret": client.Secret()})
			if row.refused {
				require.NotNil(t, report.Error)
				require.Equal(t, "InvalidClientError", report.Error.Name)
				return
			}
			require.Nil(t, report.Error, "%+v", report)
			require.Equal(t, " by "+client.ID(), report.text(t))
			require.True(t, report.TokenRequests[0].Basic)
		})
	}
	for _, alg := range []jose.SignatureAlgorithm{jose.ES256, jose.RS256} {
		t.Run("AUTH-04/private_key_jwt/"+string(alg), func(t *testing.T) {
			t.Parallel()
			signing := dcrtest.NewSigningClient(t, alg)
			s, client := start(t, signing.Metadata())
			report := run(t, s, client, map[string]any{"privateKey": jose.JSONWebKey{Key: signing.Key}, "algorithm": string(alg)})
			require.Nil(t, report.Error, "%+v", report)
			require.Equal(t, " by "+client.ID(), report.text(t))
		})
	}
}
