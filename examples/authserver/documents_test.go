package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// withDocuments lets documents lie on this machine.
func withDocuments(o *options) { o.insecureOutbound = true }

// TestDocuments: an app signs in with a document in place of a registration, from any port of localhost.
func TestDocuments(t *testing.T) {
	t.Parallel()
	host := dcrtest.StartDocumentHost(t)
	id := host.Publish(t, "/app.json", object{
		"client_name": "Editor", "redirect_uris": []string{"http://localhost/callback"}, "grant_types": []string{"authorization_code", "refresh_token"},
	})
	b := start(t, withDocuments, func(o *options) { o.registration, o.initialAccessToken = registrationToken, "initial" }).browser(t)
	app := object{"client_id": id}
	code := b.code(request(app, "http://localhost:49152/callback"))
	tokens := b.redeem(app, code, "http://localhost:49152/callback")
	tokens = b.tokens(b.refreshFields(app, tokens))
	require.NotEmpty(t, tokens["access_token"])
	require.Equal(t, 1, host.Asked("/app.json"))

	t.Run("CIMD-12", func(t *testing.T) {
		place := strings.TrimPrefix(host.URL, "https://")
		page := b.get("/oauth2/auth?" + request(app, "http://localhost:49152/callback").Encode())
		require.Contains(t, page.body, `<p class="host">`+place+`</p>`)
		require.Less(t, strings.Index(page.body, place), strings.Index(page.body, "<bdi>Editor</bdi>"), "the host comes first")
		require.Less(t, strings.Index(page.body, "<bdi>Editor</bdi>"), strings.Index(page.body, `<p class="host">localhost:49152</p>`))
		require.Contains(t, page.body, "nobody here checked its name or its logo")
		require.Contains(t, page.body, "The app has no address outside of this device.")
		require.NotContains(t, page.body, "registered")
		require.NotContains(t, page.body, "<img")
	})
	t.Run("CIMD-12/padded_name", func(t *testing.T) {
		padded := host.Publish(t, "/padded", object{
			"client_name": "Claude (claude.ai)" + strings.Repeat("\u2003", 200) + "is not this", "redirect_uris": []string{"https://app.example/cb"},
			"logo_uri": "https://app.example/logo.png",
		})
		page := b.get("/oauth2/auth?" + request(object{"client_id": padded}, "https://app.example/cb").Encode())
		require.Contains(t, page.body, `<p class="host">`+strings.TrimPrefix(host.URL, "https://")+`</p>`)
		require.Contains(t, page.body, "<bdi>Claude (claude.ai) is not this</bdi>")
		require.NotContains(t, page.body, "logo.png")
	})
	t.Run("CIMD-10/no_document", func(t *testing.T) {
		page := b.get("/oauth2/auth?" + request(object{"client_id": host.URL + "/nothing"}, "https://app.example/cb").Encode())
		require.Equal(t, http.StatusServiceUnavailable, page.status)
		require.Contains(t, page.body, "This app can not be looked up now")
		require.Contains(t, page.body, "Try again later. The document at the client_id can not be fetched.</p>", "CIMD-24: and no more")
	})
	t.Run("CIMD-24/refused_document", func(t *testing.T) {
		refused := host.Publish(t, "/refused", object{"redirect_uris": []string{"javascript:alert(1)"}})
		page := b.get("/oauth2/auth?" + request(object{"client_id": refused}, "https://app.example/cb").Encode())
		require.Equal(t, http.StatusBadRequest, page.status)
		require.Contains(t, page.body, "The document of the client is refused: redirect_uris[0]")
	})
}

// TestDocumentsOff: without the flag, and for a host that is not listed, such a client is unknown, and nothing is fetched.
func TestDocumentsOff(t *testing.T) {
	t.Parallel()
	host := dcrtest.StartDocumentHost(t)
	id := host.Publish(t, "/app.json", object{"redirect_uris": []string{"https://app.example/cb"}})
	for name, row := range map[string]struct {
		change     func(*options)
		advertised any
		status     int
	}{
		"CIMD-16/on":     {func(*options) {}, true, http.StatusOK},
		"CIMD-16/off":    {func(o *options) { o.documents = false }, nil, http.StatusBadRequest},
		"CIMD-13/others": {func(o *options) { o.documentsOf = []string{"claude.ai"} }, true, http.StatusBadRequest},
		"CIMD-13/listed": {func(o *options) { o.documentsOf = []string{"claude.ai", id} }, true, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, withDocuments, row.change).browser(t)
			for _, place := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
				require.Equal(t, row.advertised, b.get(place).json(t)["client_id_metadata_document_supported"])
			}
			page := b.get("/oauth2/auth?" + request(object{"client_id": id}, "https://app.example/cb").Encode())
			require.Equal(t, row.status, page.status, page.body)
		})
	}
}

// TestDocumentOptions: what makes no sense together is said at the start.
func TestDocumentOptions(t *testing.T) {
	t.Parallel()
	for line, text := range map[string]string{
		"-cimd=false -cimd-allow claude.ai": "-cimd-allow works with -cimd only",
		"-cimd-min-age 0s":                  "-cimd-min-age: want a duration above zero",
	} {
		_, err := parseOptions(strings.Fields(line), &strings.Builder{})
		require.ErrorContains(t, err, text)
	}
	o, err := parseOptions(strings.Fields("-cimd-allow claude.ai -cimd-allow https://vscode.dev/oauth/client-metadata.json -cimd-min-age 1s"), &strings.Builder{})
	require.NoError(t, err)
	require.Equal(t, []string{"claude.ai", "https://vscode.dev/oauth/client-metadata.json"}, o.documentsOf)
}
