// Package consent has what the consent page of an authorization server needs for clients that
// registered themselves: whether the user has to be asked (Needed), what a consent is
// remembered under (Key), and what the page shows (Describe). An authorization handler needs
// about ten lines of it, after NewAuthorizeRequest and with a signed-in user:
//
//	client := request.GetClient()
//	key := user + " " + consent.Key(client)
//	wants := slices.Concat([]string{"sign-in"}, request.GetRequestedScopes(), request.GetRequestedAudience())
//	if consent.Needed(request) || client.IsPublic() || !covers(remembered(key), wants) {
//		shown := page{Key: key, Host: consent.Host(request.GetRedirectURI()), Wants: wants}
//		if registered, ok := dcr.RegisteredClient(client); ok { // and a client of yours you know
//			shown.Client, err = consent.Describe(ctx, provider, registered, r.Header.Get("Accept-Language"))
//			// With an error, names were not counted, and everything else is there: log it.
//		}
//		show(w, shown)
//		return
//	}
//
// "sign-in" stands for the consent itself, so that a request without scopes and audiences is asked about, too. The
// safe rule is to ask every time, unless the client can prove itself (it is confidential) and is answered over https.
// When the user allows the request of such a client, the application stores what it wants under the key. This package
// stores nothing.
package consent

import (
	"net/url"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/plaintext"
	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// Needed reports whether the user has to be asked even if the same client was allowed the same
// before. That is so for a public client that is redirected to on loopback or by a private-use
// scheme, since another program on the user's machine may impersonate it (RFC 8252, section
// 8.6), and where a policy wants it (policy.AlwaysAskConsent).
//
// That it reports false does not mean that consent may be skipped: the application decides, and
// should skip it only for confidential clients.
func Needed(request fosite.AuthorizeRequester) bool {
	if isNone(request.GetClient()) {
		return true
	}
	if client, ok := dcr.RegisteredClient(request.GetClient()); ok && client.AlwaysAskConsent {
		return true
	}
	uri := request.GetRedirectURI()
	return request.GetClient().IsPublic() && (uri == nil || uri.Scheme != "https" || outbound.LoopbackHost(uri.Hostname()))
}

// Host returns what a consent page shows of a redirect URI: host and port of a web address,
// the scheme and a colon of any other, nothing where there is no URI. It says where the
// browser goes, not whose host that is.
//
// A host name with letters other than a to z is shown in its technical form, which begins with
// "xn--": in their own letters many names look alike.
func Host(uri *url.URL) string { return plaintext.RedirectHost(uri) }
