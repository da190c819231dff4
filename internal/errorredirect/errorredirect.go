// Package errorredirect sends errors of the authorization endpoint to a client's redirect URI (RFC 6749, section 4.1.2.1).
package errorredirect

import (
	"context"
	"net/http"
	"net/url"

	"github.com/ory/fosite"
	"golang.org/x/text/language"
)

// Write sends the browser to the redirect URI of a request, in the response mode of the request, with the error and the issuer
// (RFC 9207). Parameters of the redirect URI itself stay, but for those that the error has.
func Write(ctx context.Context, w http.ResponseWriter, provider *fosite.Fosite, request fosite.AuthorizeRequester, issuer string, err error) {
	values := valuesOf(ctx, provider.Config, request, issuer, err)
	target := *request.GetRedirectURI()
	target.Fragment = ""
	switch request.GetResponseMode() {
	case fosite.ResponseModeFormPost:
		w.Header().Set("Content-Type", "text/html;charset=UTF-8")
		fosite.WriteAuthorizeFormPostResponse(target.String(), values, fosite.GetPostFormHTMLTemplate(ctx, provider), w)
		return
	case fosite.ResponseModeFragment:
		w.Header().Set("Location", target.String()+"#"+values.Encode())
	default:
		for name, registered := range target.Query() {
			if !values.Has(name) { // a redirect URI does not get to speak for the server
				values[name] = registered
			}
		}
		target.RawQuery = values.Encode()
		w.Header().Set("Location", target.String())
	}
	w.WriteHeader(http.StatusSeeOther)
}

// valuesOf are the parameters of an error response (RFC 6749, section 4.1.2.1).
func valuesOf(ctx context.Context, config fosite.Configurator, request fosite.AuthorizeRequester, issuer string, err error) url.Values {
	values := fosite.ErrorToRFC6749Error(err).
		WithLegacyFormat(config.GetUseLegacyErrorFormat(ctx)).
		WithExposeDebug(config.GetSendDebugMessagesToClients(ctx)).
		WithLocalizer(config.GetMessageCatalog(ctx), languageOf(request)).ToValues()
	if state := request.GetState(); state != "" {
		values.Set("state", state)
	}
	values.Set("iss", issuer)
	return values
}

func languageOf(request fosite.Requester) language.Tag {
	if g, ok := request.(fosite.G11NContext); ok {
		return g.GetLang()
	}
	return language.English
}
