package admin_test

import (
	"html"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// plant stores a record that no registration would let through.
func (s *server) plant(t *testing.T, id string, edit func(*dcr.Client)) {
	t.Helper()
	client := &dcr.Client{
		ID: id, Issuer: s.URL, Version: 1, CreatedAt: time.Now(), Origin: dcr.Registrant{Kind: "open", Anonymous: true},
		Metadata: dcr.ClientMetadata{RedirectURIs: []string{"https://app.example/cb"}, TokenEndpointAuthMethod: "none"},
	}
	edit(client)
	require.NoError(t, s.Store.CreateClient(t.Context(), client))
}

var (
	linkOf = regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)
	tagIn  = regexp.MustCompile(`<[^>]*>`)
)

// TestHostileClients: what callers chose is text, wherever it stands (T21).
func TestHostileClients(t *testing.T) {
	t.Parallel()
	s := start(t)
	hostile := []string{
		"<script>alert(1)</script>", `"><img src=x onerror=alert(1)>`, "Bank\u202egnp.exe\u202c", "two\r\nSet-Cookie: x=1\r\n\r\nlines",
		"javascript:alert(1)", "{{.}}", "\u200b\u2066", "\xff\xfe", strings.Repeat("wide ", 200),
	}
	for i, text := range hostile {
		s.plant(t, "hostile"+string(rune('a'+i)), func(c *dcr.Client) {
			c.Metadata.ClientName, c.Metadata.SoftwareID, c.Metadata.Scope = text, text, text
			c.Metadata.RedirectURIs = []string{"https://app.example/" + text, text}
			c.Metadata.ClientURI, c.Metadata.LogoURI, c.Metadata.TOSURI = text, "https://evil.example/logo.png", "https://evil.example/tos"
			c.Metadata.Contacts = []string{text}
			c.Metadata.Localized = map[string]string{"client_name#" + text: text}
			c.Origin = dcr.Registrant{Kind: text, Subject: text, ClientID: text, InitialAccessToken: text, Policy: text, GrantTypes: []string{text}}
			c.StatementIssuer, c.Audience = text, []string{text}
		})
	}
	odd := "a/b?c#d\"<x>\u202e"
	s.plant(t, odd, func(*dcr.Client) {})

	check := func(path string) {
		page := s.get(t, path)
		require.Less(t, page.Status, 500, path)
		for _, bad := range []string{"<script", "<img", "<x>", "onerror=alert(1)>", "\u202e", "\u2066", "\u200b", "\r"} {
			require.NotContains(t, page.Body, bad, path)
		}
		require.Empty(t, page.Header.Get("Set-Cookie"))
		for _, found := range linkOf.FindAllStringSubmatch(page.Body, -1) {
			require.True(t, strings.HasPrefix(found[1], "/admin/") || found[1] == "#main" || found[1] == "/admin/style.css", "%s leads to %s", path, found[1])
		}
		require.NotRegexp(t, `(?i)<[^>]* (style|on[a-z]+)=`, page.Body, "%s: nothing inline", path)
	}
	check("/")
	for i := range hostile {
		id := "hostile" + string(rune('a'+i))
		check("/clients/" + id)
		check("/clients/" + id + "/delete")
	}
	require.Contains(t, html.UnescapeString(s.get(t, "/clients/hostilec").Body), "Bank[U+202E]gnp.exe", "what can't be seen is named")
	opened := s.get(t, "/clients/a%2Fb%3Fc%23d%22%3Cx%3E%E2%80%AE")
	require.Equal(t, 200, opened.Status)
	require.Contains(t, opened.Body, "a/b?c#d&#34;&lt;x&gt;[U&#43;202E]")
	require.Contains(t, opened.Body, `href="/admin/clients/a%2Fb%3Fc%23d%22%3Cx%3E%E2%80%AE/delete"`)
	check("/?search=%3Cscript%3E&name=%22%3E%3Cimg+src%3Dx%3E")
	check("/?%3Cscript%3E=1")
	check("/clients/%3Cscript%3E%E2%80%AE")
	check("/tokens/%3Cscript%3E%E2%80%AE/revoke")
	check("/?done=%3Cscript%3E")
}

// TestPagesAreUsable: each field has a label, and each page one heading and a language.
func TestPagesAreUsable(t *testing.T) {
	t.Parallel()
	s := start(t)
	client := s.Register(t, named("App"))
	_, token, err := s.Provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{Label: "L"})
	require.NoError(t, err)
	id, _ := s.signInByDocument(t)
	for _, r := range append(routes(client.ID(), token.ID), documentRoutes(id)...) {
		page := r.send(t, s, as("olga"))
		if !strings.HasPrefix(page.Header.Get("Content-Type"), "text/html") || r.path == "" || page.Status == 303 {
			continue
		}
		require.Contains(t, page.Body, `<html lang="en">`, r.path)
		require.Equal(t, 1, strings.Count(page.Body, "<h1"), r.path)
		for _, field := range regexp.MustCompile(`<(?:input|select)[^>]*>`).FindAllString(page.Body, -1) {
			id := regexp.MustCompile(` id="([^"]*)"`).FindStringSubmatch(field)
			if id == nil {
				require.Contains(t, field, "aria-label=", r.path)
				continue
			}
			require.Contains(t, page.Body, `<label for="`+id[1]+`"`, r.path)
		}
	}
}
