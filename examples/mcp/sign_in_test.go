package main

import (
	"bytes"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// TestSignIn: no code leaves the page but for a user who knows the password and allows what the page has shown.
func TestSignIn(t *testing.T) {
	t.Parallel()
	w := startWorld(t, false)
	right := url.Values{"user": {w.user}, "password": {w.password}, "decision": {"allow"}}
	for name, test := range map[string]struct {
		change    url.Values
		meanwhile func(t *testing.T, client string)
		status    int
		landed    string // the error at the client; empty where the user sees a page
	}{
		"wrong_password":       {url.Values{"password": {"wrong"}}, nil, http.StatusForbidden, ""},
		"unknown_user":         {url.Values{"user": {"mallory"}, "password": {""}}, nil, http.StatusForbidden, ""},
		"denied":               {url.Values{"decision": {"deny"}}, nil, http.StatusSeeOther, "access_denied"},
		"denied_by_nobody":     {url.Values{"decision": {"deny"}, "password": {""}}, nil, http.StatusForbidden, ""},
		"CONS-02/changed":      {nil, w.rename, http.StatusConflict, ""},
		"AUTH-01/deleted":      {nil, w.delete, http.StatusUnauthorized, ""},
		"another_redirect_uri": {url.Values{"query": {"client_id=x&redirect_uri=https://other.example"}}, nil, http.StatusUnauthorized, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := w.register(t)
			b := &browser{requests: w.requests(browserName)}
			page, _, err := b.open(t.Context(), http.MethodGet, w.authorizeURL(client, readScope, w.mcp.resource(), oauth2.GenerateVerifier()), nil)
			require.NoError(t, err)
			form, action := readForm(page)
			for _, values := range []url.Values{right, test.change} {
				for field, value := range values {
					form[field] = value
				}
			}
			if test.meanwhile != nil {
				test.meanwhile(t, client)
			}
			got, status, err := b.open(t.Context(), http.MethodPost, w.server.issuer+action, form)
			require.NoError(t, err)
			require.Equal(t, test.status, status, got)
			require.Empty(t, codeOf(got))
			require.Equal(t, test.landed, queryOf(got).Get("error"))
		})
	}
}

// TestSignInFromElsewhere: a page of another origin can't send the form.
func TestSignInFromElsewhere(t *testing.T) {
	t.Parallel()
	w := startWorld(t, false)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.server.issuer+"/sign-in", bytes.NewReader(nil))
	require.NoError(t, err)
	request.Header.Set("Sec-Fetch-Site", "cross-site")
	response, err := http.DefaultClient.Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusForbidden, response.StatusCode)
}

func (w *world) rename(t *testing.T, client string) {
	t.Helper()
	found, err := w.server.store.GetClient(t.Context(), client)
	require.NoError(t, err)
	changed := found.(*dcr.Client).Clone()
	changed.Metadata.ClientName = "Another"
	require.NoError(t, w.server.store.UpdateClient(t.Context(), changed, changed.Version))
}

func (w *world) delete(t *testing.T, client string) {
	t.Helper()
	require.NoError(t, w.server.provider.DeleteClient(t.Context(), client))
}
