package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOutboundLoopback: a URL that names this machine is registered where the flag opens
// the guard, with a warning, and nowhere else (OUT-01).
func TestOutboundLoopback(t *testing.T) {
	t.Parallel()
	body := `{"redirect_uris":["https://app.example/cb"],"token_endpoint_auth_method":"private_key_jwt","jwks_uri":"https://127.0.0.1:1/jwks"}`
	post := func(b *browser) int {
		return b.send(http.MethodPost, "/register", strings.NewReader(body), "Content-Type", "application/json").status
	}
	guarded := start(t)
	require.Equal(t, http.StatusBadRequest, post(guarded.browser(t)))
	open := start(t, func(o *options) { o.insecureOutbound = true })
	require.Equal(t, http.StatusCreated, post(open.browser(t)))

	var notice strings.Builder
	printNotice(&notice, guarded.server)
	require.NotContains(t, notice.String(), "WARNING")
	printNotice(&notice, open.server)
	require.Contains(t, notice.String(), "WARNING: -insecure-outbound-loopback")
}
