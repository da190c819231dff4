package documents_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/cimd"
	"github.com/fosite-contrib/fosite-dcr/consent"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// with returns publicClient with changes in pairs of name and value; nil leaves a member out.
func with(changes ...any) map[string]any {
	document := publicClient()
	for i := 0; i < len(changes); i += 2 {
		document[changes[i].(string)] = changes[i+1]
	}
	return document
}

// signed is a form with an assertion of a client, and with pairs of name and value.
func signed(t *testing.T, key *dcrtest.SigningClient, id, audience string, pairs ...string) url.Values {
	t.Helper()
	client := *key
	client.ID, client.Audience = id, audience
	form, err := client.Assertion()
	require.NoError(t, err)
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return form
}

// TestRules: what differs from a registration, and what does not (CIMD-03, -04, -05, -19).
func TestRules(t *testing.T) {
	t.Parallel()
	host := dcrtest.StartDocumentHost(t)
	key := dcrtest.NewSigningClient(t, jose.ES256)
	keys := key.Metadata()["jwks"]
	lists := "token_endpoint_auth_methods_supported"
	for name, row := range map[string]struct {
		document map[string]any
		noKeys   bool // the server has no private_key_jwt
		refused  string
		method   string
	}{
		"CIMD-03/other_case":              {document: with("client_id", strings.ToUpper(host.URL)+"/case"), refused: "client_id is not the URL of the document"},
		"CIMD-03/trailing_slash":          {document: with("client_id", host.URL+"/slash/"), refused: "client_id is not the URL of the document"},
		"CIMD-03/other_host":              {document: with("client_id", "https://other.example/client"), refused: "client_id is not the URL of the document"},
		"CIMD-03/missing":                 {document: with("client_id", nil), refused: "client_id is missing"},
		"CIMD-03/number":                  {document: with("client_id", 1), refused: "client_id is not the URL of the document"},
		"CIMD-19/no_name":                 {document: with("client_name", nil), refused: "client_name is missing"},
		"CIMD-19/no_redirect_uris":        {document: with("redirect_uris", nil), refused: "redirect_uris"},
		"CIMD-04/secret":                  {document: with("client_secret", "s"), refused: "client_secret can not be in a document"},
		"CIMD-04/secret_expires_at":       {document: with("client_secret_expires_at", 0), refused: "client_secret_expires_at can not be in a document"},
		"CIMD-04/basic":                   {document: with("token_endpoint_auth_method", "client_secret_basic"), refused: "token_endpoint_auth_method is a shared secret"},
		"CIMD-04/post":                    {document: with("token_endpoint_auth_method", "client_secret_post"), refused: "token_endpoint_auth_method is a shared secret"},
		"CIMD-04/secret_jwt":              {document: with("token_endpoint_auth_method", "client_secret_jwt"), refused: "token_endpoint_auth_method is a shared secret"},
		"CIMD-04/list_of_a_secret":        {document: with("token_endpoint_auth_method", nil, lists, []string{"client_secret_basic"}), refused: lists + " has none of what this server supports: private_key_jwt, none"},
		"CIMD-04/outside_the_list":        {document: with(lists, []string{"private_key_jwt"}, "jwks", keys), refused: "token_endpoint_auth_method is not among " + lists},
		"CIMD-04/neither":                 {document: with("token_endpoint_auth_method", nil), method: "none"},
		"CIMD-04/secrets_passed_over":     {document: with("token_endpoint_auth_method", nil, lists, []string{"client_secret_basic", "none"}), method: "none"},
		"CIMD-04/strongest_of_both":       {document: with(lists, []string{"none", "private_key_jwt"}, "jwks", keys), method: "private_key_jwt"},
		"CIMD-04/what_the_server_has":     {document: with("token_endpoint_auth_method", "private_key_jwt", lists, []string{"none", "private_key_jwt"}, "jwks", keys), noKeys: true, method: "none"},
		"CIMD-04/without_keys":            {document: with(lists, []string{"none", "private_key_jwt"}), method: "none"},
		"CIMD-04/single_alone":            {document: with("token_endpoint_auth_method", "private_key_jwt", "jwks", keys), method: "private_key_jwt"},
		"CIMD-05/unsupported_is_left_out": {document: with("grant_types", []string{"authorization_code", "urn:ietf:params:oauth:grant-type:device_code"}, "scope", "profile beyond"), method: "none"},
		"CIMD-05/nothing_usable":          {document: with("grant_types", []string{"urn:ietf:params:oauth:grant-type:device_code"}), refused: "grant_types has none"},
		"CIMD-05/server_set":              {document: with("registration_access_token", "t", "registration_client_uri", "https://x.example/", "client_id_issued_at", "soon"), method: "none"},
		"CIMD-05/unknown_members":         {document: with("mascot", "gopher"), method: "none"},
		"CIMD-05/rule_of_a_member":        {document: with("redirect_uris", []string{callback, "http://app.example/"}), refused: "redirect_uris[1]"},
		"CIMD-05/rule_of_a_text":          {document: with("client_name", "a\u202eb"), refused: "client_name"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id := host.Publish(t, "/"+strings.ReplaceAll(name, "/", "-"), row.document)
			s := dcrtest.Start(t, dcrtest.Setup{
				Config: dcr.Config{
					Documents: dcrtest.NewDocuments(t, nil),
					Metadata:  dcr.Metadata{RefuseUnsupported: true, RefuseStatements: true},
				},
				Fosite: func(config *fosite.Config) {
					if row.noKeys {
						config.TokenURL = ""
					}
				},
			})
			answer := s.Authorize(t, dcrtest.AuthorizeQuery(id, callback, "scope", "profile"))
			if row.refused != "" {
				require.Equal(t, http.StatusUnauthorized, answer.Status, string(answer.Body))
				require.Contains(t, string(answer.Body), "invalid_client: ")
				require.Contains(t, string(answer.Body), "The document of the client is refused: "+row.refused)
				return
			}
			require.Equal(t, http.StatusSeeOther, answer.Status, string(answer.Body))
			require.NotEmpty(t, answer.Location(t).Query().Get("code"), answer.Location(t))
			client, err := s.Provider.Store.GetClient(t.Context(), id)
			require.NoError(t, err)
			registered, ok := dcr.RegisteredClient(client)
			require.True(t, ok)
			require.Equal(t, row.method, registered.Metadata.TokenEndpointAuthMethod)
			require.Equal(t, dcr.Registrant{Kind: dcr.KindDocument, ClientID: id, Anonymous: true}, registered.Origin)
		})
	}
}

// TestPolicies: a policy sees a document as it sees a registration, and is told the source.
func TestPolicies(t *testing.T) {
	t.Parallel()
	host := dcrtest.StartDocumentHost(t)
	policy := dcr.PolicyFunc(func(_ context.Context, p *dcr.Proposal) error {
		if p.Registrant.Kind != dcr.KindDocument || p.Registrant.ClientID != host.URL+"/ruled" {
			return nil
		}
		if p.Metadata.ClientName == "Unwanted" {
			return dcr.ErrAccessDenied.WithDescription("Not this one.")
		}
		p.Metadata.Scope = "profile"
		return nil
	})
	clock := &dcrtest.Clock{}
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Documents: dcrtest.NewDocuments(t, clock.Now), Policies: []dcr.Policy{policy}, Now: clock.Now}})
	id := host.Publish(t, "/ruled", with("scope", "profile email"))
	require.Equal(t, "invalid_scope", s.Authorize(t, dcrtest.AuthorizeQuery(id, callback, "scope", "email")).Location(t).Query().Get("error"))
	require.NotEmpty(t, s.Code(t, dcrtest.AuthorizeQuery(id, callback, "scope", "profile")))

	other := host.Publish(t, "/other", with("scope", "profile email"))
	require.NotEmpty(t, s.Code(t, dcrtest.AuthorizeQuery(other, callback, "scope", "email")))
}

// TestEntrances: any endpoint may be the first (CIMD-17), registered and static clients stay what they are (CIMD-18), and
// no document is a registration (CIMD-15).
func TestEntrances(t *testing.T) {
	t.Parallel()
	host := dcrtest.StartDocumentHost(t)
	key := dcrtest.NewSigningClient(t, jose.ES256)
	confidential := func(path string) string {
		return host.Publish(t, path, map[string]any{
			"redirect_uris": []string{callback}, "token_endpoint_auth_method": "private_key_jwt", "jwks": key.Metadata()["jwks"],
			"grant_types": []string{"client_credentials", "authorization_code"},
		})
	}
	static := &fosite.DefaultClient{ID: host.URL + "/static", Public: true, RedirectURIs: []string{callback}, ResponseTypes: []string{"code"}, GrantTypes: []string{"authorization_code"}}
	s := dcrtest.Start(t, dcrtest.Setup{
		Static: []fosite.Client{static, dcrtest.Introspector(t)},
		Config: dcr.Config{Documents: dcrtest.NewDocuments(t, nil), Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}}},
	})
	t.Run("CIMD-17/token", func(t *testing.T) {
		t.Parallel()
		id := confidential("/token")
		answer := s.Form(t, "/oauth2/token", signed(t, key, id, s.URL, "grant_type", "client_credentials"))
		require.Equal(t, http.StatusOK, answer.Status, string(answer.Body))
		dcrtest.RequireActive(t, s, answer.Text("access_token"), id)
		require.Equal(t, http.StatusOK, s.Form(t, "/oauth2/revoke", signed(t, key, id, s.URL, "token", answer.Text("access_token"))).Status)
		dcrtest.RequireInactive(t, s, answer.Text("access_token"))
	})
	t.Run("CIMD-17/par", func(t *testing.T) {
		t.Parallel()
		id := confidential("/par")
		form := signed(t, key, id, s.URL)
		for name, values := range dcrtest.AuthorizeQuery(id, callback) {
			form[name] = values
		}
		answer := s.Form(t, "/oauth2/par", form)
		require.Equal(t, http.StatusCreated, answer.Status, string(answer.Body))
		code := s.Code(t, url.Values{"client_id": {id}, "request_uri": {answer.Text("request_uri")}})
		require.NotEmpty(t, code)
	})
	t.Run("CIMD-17/introspection", func(t *testing.T) {
		t.Parallel()
		answer := s.Form(t, "/oauth2/introspect", signed(t, key, confidential("/introspect"), s.URL, "token", "unknown"))
		require.Equal(t, http.StatusOK, answer.Status, string(answer.Body))
		require.Equal(t, dcrtest.Inactive, answer.Members)
	})
	t.Run("CIMD-18", func(t *testing.T) {
		t.Parallel()
		host.Publish(t, "/static", with("redirect_uris", []string{"https://elsewhere.example/"}))
		require.NotEmpty(t, s.Code(t, dcrtest.AuthorizeQuery(static.ID, callback)))
		require.Zero(t, host.Asked("/static"))
	})
	t.Run("CIMD-15", func(t *testing.T) {
		t.Parallel()
		id := host.Publish(t, "/managed", publicClient())
		tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm(id, s.Code(t, dcrtest.AuthorizeQuery(id, callback)), callback))
		dcrtest.RequireActive(t, s, tokens.Text("access_token"), id)
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			answer := s.Do(t, method, "/register/"+url.PathEscape(id), nil, dcrtest.Bearer(tokens.Text("access_token")))
			require.Equal(t, http.StatusUnauthorized, answer.Status, method)
			require.Equal(t, "invalid_token", answer.Text("error"), method)
		}
		require.NotEmpty(t, s.Code(t, dcrtest.AuthorizeQuery(id, callback)), "nothing was deleted")
		_, err := s.Store.GetDynamicClient(t.Context(), id)
		require.ErrorIs(t, err, fosite.ErrNotFound)
		_, err = s.Provider.FindClient(t.Context(), id)
		require.ErrorIs(t, err, fosite.ErrNotFound)
	})
	t.Run("CIMD-21", func(t *testing.T) {
		t.Parallel()
		id := host.Publish(t, "/pkce", publicClient())
		query := dcrtest.AuthorizeQuery(id, callback)
		query.Del("code_challenge")
		query.Del("code_challenge_method")
		require.Equal(t, "invalid_request", s.Authorize(t, query).Location(t).Query().Get("error"))
		require.Equal(t, "invalid_request", s.Authorize(t, dcrtest.AuthorizeQuery(id, callback, "code_challenge_method", "plain")).Location(t).Query().Get("error"))
	})
}

// TestAdvertised: CIMD-16, in both documents.
func TestAdvertised(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		documents dcr.Documents
		methods   []string
		want      any
	}{
		"CIMD-16/none":           {nil, nil, nil},
		"CIMD-16/strangers":      {dcrtest.NewDocuments(t, nil), nil, true},
		"CIMD-16/listed":         {dcrtest.NewDocuments(t, nil, func(o *cimd.Options) { o.Allow = []string{"claude.ai"} }), nil, true},
		"CIMD-16/empty_list":     {dcrtest.NewDocuments(t, nil, func(o *cimd.Options) { o.Allow = []string{} }), nil, nil},
		"CIMD-16/no_such_method": {dcrtest.NewDocuments(t, nil), []string{"client_secret_basic"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Documents: row.documents, Metadata: dcr.Metadata{TokenEndpointAuthMethods: row.methods}}})
			for _, place := range []string{"oauth-authorization-server", "openid-configuration"} {
				document := s.Do(t, "GET", "/.well-known/"+place, nil)
				require.Equal(t, row.want, document.Members["client_id_metadata_document_supported"])
				if row.want == true {
					require.Subset(t, document.Members["token_endpoint_auth_methods_supported"], []any{"none", "private_key_jwt"})
				}
			}
		})
	}
}

// TestChange: a document that changed is an event, and consent is asked for again (CIMD-11, T49).
func TestChange(t *testing.T) {
	t.Parallel()
	host, clock, events := dcrtest.StartDocumentHost(t), &dcrtest.Clock{}, &dcrtest.Events{}
	s := dcrtest.Start(t, dcrtest.Setup{
		Static: []fosite.Client{dcrtest.Introspector(t)},
		Config: dcr.Config{Documents: dcrtest.NewDocuments(t, clock.Now), Now: clock.Now, Events: events},
	})
	id := host.Publish(t, "/client", publicClient())
	key := func() string {
		t.Helper()
		require.NotEmpty(t, s.Code(t, dcrtest.AuthorizeQuery(id, callback)))
		client, err := s.Provider.Store.GetClient(t.Context(), id)
		require.NoError(t, err)
		return consent.Key(client)
	}
	first := key()
	code := s.Code(t, dcrtest.AuthorizeQuery(id, callback, "scope", "profile offline_access"))
	tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm(id, code, callback))
	clock.Forward(6 * time.Minute)
	require.Equal(t, first, key(), "it was fetched again and says the same")
	require.Equal(t, 2, host.Asked("/client"))
	require.NotContains(t, events.Kinds(), dcr.EventDocumentChanged)

	host.Publish(t, "/client", with("redirect_uris", []string{callback, "https://evil.example/"}))
	clock.Forward(6 * time.Minute)
	require.NotEqual(t, first, key(), "CIMD-11/consent: asked %d, %v", host.Asked("/client"), events.All())
	var changed []dcr.Event
	for _, event := range events.All() {
		if event.Kind == dcr.EventDocumentChanged {
			changed = append(changed, event)
		}
	}
	require.Len(t, changed, 1, "CIMD-11/event")
	require.Equal(t, id, changed[0].ClientID)
	require.Equal(t, []string{callback}, changed[0].Before.Metadata.RedirectURIs)
	require.Equal(t, []string{callback, "https://evil.example/"}, changed[0].After.Metadata.RedirectURIs)

	// An application may end what was granted.
	dcrtest.RequireActive(t, s, tokens.Text("access_token"), id)
	require.NoError(t, s.Provider.RevokeTokens(t.Context(), id))
	dcrtest.RequireInactive(t, s, tokens.Text("access_token"))
	require.Equal(t, "invalid_grant", s.Form(t, "/oauth2/token", dcrtest.RefreshForm(id, tokens.Text("refresh_token"))).Text("error"))
	require.Equal(t, dcr.EventGrantsRevoked, events.All()[len(events.All())-1].Kind)
}

// TestGeneratedIdentifiers: no registration gets an identifier that could be that of a document (CIMD-01).
func TestGeneratedIdentifiers(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	for range 100 {
		require.Regexp(t, `^[A-Za-z0-9_-]{16,}$`, s.Register(t, publicClient()).ID())
	}
}

// TestWhyUnknown: the application's log says why there is no such client; the answer does not.
func TestWhyUnknown(t *testing.T) {
	t.Parallel()
	host := dcrtest.StartDocumentHost(t)
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
		Documents: dcrtest.NewDocuments(t, nil, func(o *cimd.Options) { o.Deny = []string{host.URL + "/denied"} }),
	}})
	broken := host.Publish(t, "/broken", with("redirect_uris", []string{"http://app.example/"}))
	for id, cause := range map[string]string{
		host.URL + "/denied": "the identifier is not allowed", host.URL: "the identifier is no URL of a document", broken: "redirect_uris[0]",
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/oauth2/auth?"+dcrtest.AuthorizeQuery(id, callback).Encode(), nil)
		_, err := s.Provider.NewAuthorizeRequest(t.Context(), r)
		require.ErrorIs(t, err, fosite.ErrInvalidClient, "CIMD-13")
		answer := fosite.ErrorToRFC6749Error(err)
		require.Contains(t, answer.DebugField, cause)
		require.Equal(t, id == broken, strings.Contains(answer.GetDescription(), cause), "CIMD-24")
	}
	require.Zero(t, host.Asked("/denied"))
}

// TestRevokeOnRedirectChange: what holds for an update holds for a document that names other redirect URIs (CIMD-11, T49).
func TestRevokeOnRedirectChange(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		revoke bool
		change map[string]any
		status int
	}{
		"T49/redirect":      {true, with("redirect_uris", []string{callback, "https://evil.example/"}), http.StatusBadRequest},
		"T49/only_a_name":   {true, with("client_name", "Renamed"), http.StatusOK},
		"T49/not_asked_for": {false, with("redirect_uris", []string{callback, "https://evil.example/"}), http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host, clock := dcrtest.StartDocumentHost(t), &dcrtest.Clock{}
			s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
				Documents: dcrtest.NewDocuments(t, clock.Now), Now: clock.Now, Management: dcr.Management{RevokeOnRedirectChange: row.revoke},
			}})
			id := host.Publish(t, "/client", publicClient())
			code := s.Code(t, dcrtest.AuthorizeQuery(id, callback, "scope", "profile offline_access"))
			tokens := s.Form(t, "/oauth2/token", dcrtest.CodeForm(id, code, callback))
			host.Publish(t, "/client", row.change)
			clock.Forward(6 * time.Minute)
			require.NotEmpty(t, s.Code(t, dcrtest.AuthorizeQuery(id, callback)))
			require.Equal(t, row.status, s.Form(t, "/oauth2/token", dcrtest.RefreshForm(id, tokens.Text("refresh_token"))).Status)
		})
	}
}
