package main

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// operator are the headers of the one who knows the password.
func (s testServer) operator(more ...string) []string {
	password := base64.StdEncoding.EncodeToString([]byte(adminUser + ":" + s.operators.password))
	return append([]string{"Authorization", "Basic " + password}, more...)
}

func TestAdmin(t *testing.T) {
	t.Parallel()
	s := start(t)
	b := s.browser(t)
	client := b.register(object{"client_name": "Precious", "redirect_uris": []string{loopbackURI}, "token_endpoint_auth_method": "none"})
	page := "/admin/clients/" + text(client, "client_id")

	wrong := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	for name, authorization := range map[string]string{
		"nothing": "", "no_password": wrong(adminUser, ""), "wrong_password": wrong(adminUser, s.users.password),
		"other_user": wrong(demoUser, s.operators.password), "bearer": "Bearer " + s.operators.password,
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/admin", "/admin/", page, "/admin/api/clients", "/admin/nowhere"} {
				answer := b.get(path, "Authorization", authorization)
				require.Equal(t, http.StatusUnauthorized, answer.status, path)
				require.Contains(t, answer.header.Get("WWW-Authenticate"), "Basic ")
				require.NotContains(t, answer.body, "Precious")
			}
			require.Equal(t, http.StatusUnauthorized, b.post(page+"/delete", nil, "Authorization", authorization).status)
		})
	}
	// A browser adds the password to what the pages of other sites send here.
	for name, headers := range map[string][]string{
		"cross_site": {"Sec-Fetch-Site", "cross-site"}, "same_site": {"Sec-Fetch-Site", "same-site"}, "origin": {"Origin", "https://evil.example"},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, http.StatusForbidden, b.post(page+"/delete", nil, s.operator(headers...)...).status)
			require.Equal(t, http.StatusForbidden, b.send(http.MethodDelete, "/admin/api/clients/"+text(client, "client_id"), nil, s.operator(headers...)...).status)
			require.Equal(t, http.StatusForbidden, b.post("/admin/tokens", map[string][]string{"unit": {"days"}}, s.operator(headers...)...).status)
		})
	}
	require.Contains(t, b.get("/admin/", s.operator()...).body, "Precious")
	require.Contains(t, b.get(page, s.operator()...).body, "<b>registered</b>", "the history is a sink of events")
	require.Equal(t, http.StatusSeeOther, b.post(page+"/delete", nil, s.operator("Sec-Fetch-Site", "same-origin", "Origin", "null")...).status)
	require.Equal(t, http.StatusNotFound, b.get(page, s.operator()...).status)
	require.Contains(t, b.get(page, s.operator()...).body, "by operator <bdi>admin</bdi>")
	require.Equal(t, http.StatusNotFound, b.get("/administration", s.operator()...).status)
}

func TestAdminOption(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]bool{
		"": true, "-admin=false": false, "-addr localhost:0": true, "-demo": false, "-demo -admin": false,
		"-addr 0.0.0.0:443 -issuer https://as.example -registration user":              false,
		"-addr 0.0.0.0:443 -issuer https://as.example -registration user -admin":       true,
		"-addr 0.0.0.0:443 -issuer https://as.example -registration user -admin=false": false,
	} {
		o, err := parseOptions(strings.Fields(args), io.Discard)
		require.NoError(t, err, args)
		require.Equal(t, want, o.admin, args)
	}
	t.Run("off", func(t *testing.T) {
		t.Parallel()
		s := start(t, func(o *options) { o.admin = false })
		require.Equal(t, http.StatusNotFound, s.browser(t).get("/admin/", s.operator()...).status)
		require.NotContains(t, notice(s), s.operators.password)
	})
	t.Run("notice", func(t *testing.T) {
		t.Parallel()
		s := start(t)
		require.Contains(t, notice(s), s.url("/admin/")+" as admin, password "+s.operators.password)
		require.NotContains(t, notice(s), "plain http")
		s.options.addr = "0.0.0.0:80"
		require.Contains(t, notice(s), "0.0.0.0:80 is plain http")
		require.NotEqual(t, s.operators.password, start(t).operators.password, "new at every start")
	})
}

func notice(s testServer) string {
	var out bytes.Buffer
	printNotice(&out, s.server)
	return out.String()
}

// TestConsentPageCountsNames: a name that others have does not say which app it is (T21).
func TestConsentPageCountsNames(t *testing.T) {
	t.Parallel()
	s := start(t)
	consent := func(name string) string {
		return s.browser(t).consentFor(object{"client_name": name, "redirect_uris": []string{"https://app.example/cb"}}, "https://app.example/cb").body
	}
	first := consent("Common")
	require.NotContains(t, first, "the same name")
	require.Contains(t, first, "This app is not verified.")
	require.Contains(t, consent("COMMON"), "One other registration here has the same name")
	require.Contains(t, consent("Ｃommon"), "2 other registrations here have the same name")
	require.NotContains(t, consent("Rare"), "the same name")
}
