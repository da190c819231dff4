package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// consentFor registers a client, signs a user in and returns the consent page.
func (b *browser) consentFor(metadata object, uri string, headers ...string) reply {
	b.t.Helper()
	metadata["token_endpoint_auth_method"] = "none"
	client := b.register(metadata)
	page := b.get("/oauth2/auth?"+request(client, uri).Encode(), headers...)
	if strings.Contains(page.body, "<h1>Sign in</h1>") {
		page = b.signIn(page)
	}
	require.Contains(b.t, page.body, "<h1>Allow this app?</h1>")
	return page
}

// isPunycode is the remark on an internationalised host, after the host.
const isPunycode = " is the technical form of a name with letters other than a to z, which can look like another name"

func TestConsentPageOfAnonymousClients(t *testing.T) {
	t.Parallel()
	s := start(t)
	t.Run("T20/T21/claim", func(t *testing.T) {
		t.Parallel()
		page := s.browser(t).consentFor(object{
			"client_name": strings.Repeat("ä", 500), "redirect_uris": []string{"https://app.example/cb"},
			"client_uri": "https://brand.example/", "policy_uri": "https://app.example/privacy", "logo_uri": "https://brand.example/logo.png",
		}, "https://app.example/cb")
		require.Contains(t, page.body, "An app that calls itself <b><bdi>"+strings.Repeat("ä", 80)+"…</bdi></b>")
		require.Contains(t, page.body, "This app is not verified.")
		require.Contains(t, page.body, `<p class="host">app.example</p>`)
		require.Contains(t, page.body, `href="https://app.example/privacy"`)
		require.NotContains(t, page.body, "brand.example", "its pages and logo are not those of the app's host")
		require.NotContains(t, page.body, "Be careful")
	})
	t.Run("T20/no_name", func(t *testing.T) {
		t.Parallel()
		page := s.browser(t).consentFor(object{"redirect_uris": []string{"https://app.example/cb"}}, "https://app.example/cb")
		require.Contains(t, page.body, "An app without a name")
	})
	t.Run("RU-11/homograph", func(t *testing.T) {
		t.Parallel()
		page := s.browser(t).consentFor(object{"redirect_uris": []string{"https://xn--80ak6aa92e.com/cb"}}, "https://xn--80ak6aa92e.com/cb")
		require.Contains(t, page.body, `<p class="host">xn--80ak6aa92e.com</p>`)
		require.Contains(t, page.body, "Be careful with this app")
		require.Contains(t, page.body, "<bdi>xn--80ak6aa92e.com"+isPunycode+"</bdi>")
		require.NotContains(t, page.body, "аррӏе")
	})
	t.Run("RU-11/private_address", func(t *testing.T) {
		t.Parallel()
		page := s.browser(t).consentFor(object{"redirect_uris": []string{"https://10.0.0.1/cb"}}, "https://10.0.0.1/cb")
		require.Contains(t, page.body, "10.0.0.1 is an address that is not on the public internet")
	})
	t.Run("RU-11/own_letters", func(t *testing.T) {
		t.Parallel()
		page := s.browser(t).consentFor(object{"redirect_uris": []string{"https://xn--mnchen-3ya.example/cb"}}, "https://xn--mnchen-3ya.example/cb")
		require.Contains(t, page.body, `<p class="host">xn--mnchen-3ya.example</p>`)
		require.Contains(t, page.body, "Be careful with this app")
		require.Contains(t, page.body, "<bdi>xn--mnchen-3ya.example"+isPunycode+"</bdi>")
		require.NotContains(t, page.body, "münchen")
	})
	t.Run("CIMD-12/T50/loopback_only", func(t *testing.T) {
		t.Parallel()
		b := s.browser(t)
		only := b.consentFor(object{"redirect_uris": []string{loopbackURI}}, loopbackURI)
		require.Contains(t, only.body, "The app has no address outside of this device. Allow only")
		too := b.consentFor(object{"redirect_uris": []string{loopbackURI, "https://app.example/cb"}}, loopbackURI)
		require.Contains(t, too.body, "could pretend to be this app.\nAllow only")
	})
	t.Run("7591-2-18/language", func(t *testing.T) {
		t.Parallel()
		b := s.browser(t)
		b.signIn(b.get("/sign-in"))
		metadata := object{"client_name": "Weather", "client_name#fr": "Météo", "client_name#de": "Wetter", "redirect_uris": []string{loopbackURI}}
		page := b.consentFor(metadata, loopbackURI, "Accept-Language", "fr-CH, fr;q=0.9")
		require.Contains(t, page.body, `<bdi lang="fr">Météo</bdi>`)
		client := b.register(metadata)
		page = b.get("/oauth2/auth?"+request(client, loopbackURI, "ui_locales", "xx de fr").Encode(), "Accept-Language", "fr")
		require.Contains(t, page.body, `<bdi lang="de">Wetter</bdi>`)
	})
}

func TestConsentPageOfVerifiedClients(t *testing.T) {
	t.Parallel()
	t.Run("T21/by_a_token", func(t *testing.T) {
		t.Parallel()
		b := start(t, func(o *options) { o.registration, o.initialAccessToken = registrationToken, "initial" }).browser(t)
		client := b.register(object{
			"client_name": "Partner", "redirect_uris": []string{"https://app.example/cb"}, "client_uri": "https://brand.example/",
		}, "Authorization", bearer("initial"))
		page := b.signIn(b.get("/oauth2/auth?" + request(client, "https://app.example/cb").Encode()))
		require.NotContains(t, page.body, "not verified")
		require.Contains(t, page.body, "Somebody with an account or a token of this server registered the app")
		require.Contains(t, page.body, `href="https://brand.example/"`)
	})
	t.Run("T21/by_the_user", func(t *testing.T) {
		t.Parallel()
		b := start(t, func(o *options) { o.registration = registrationUser }).browser(t)
		b.signIn(b.get("/sign-in"))
		page := b.consentFor(object{"redirect_uris": []string{loopbackURI}}, loopbackURI)
		require.Contains(t, page.body, "You registered this app yourself")
		require.NotContains(t, page.body, "not verified")
	})
	t.Run("T21/static_client", func(t *testing.T) {
		t.Parallel()
		s := start(t)
		page := consentPage{User: demoUser, Static: true, Kind: "web", Host: "own.example"}
		page.Client.Name, page.Client.Named, page.Client.Verified = "own", true, true
		recorder := httptest.NewRecorder()
		s.pages.consent(recorder, page)
		require.Equal(t, http.StatusOK, recorder.Code)
		require.NotContains(t, recorder.Body.String(), "registered")
	})
}
