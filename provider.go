package dcr

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ory/fosite"
	"golang.org/x/text/language"

	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// NewAuthorizeRequest is fosite's, with these differences: a request with PKCE and
// without state passes where Config.AllowMissingState says so; the redirect URI of a
// registered client may differ from the registered one in the port of a loopback
// address and in nothing else; what the registration rules out, such as a public client
// without PKCE, is refused before anybody is asked; resources (RFC 8707) are requested
// audiences; and a storage that fails is a server error.
func (p *Provider) NewAuthorizeRequest(ctx context.Context, r *http.Request) (fosite.AuthorizeRequester, error) {
	if err := boundForm(r, maxStoredForm); err != nil {
		return fosite.NewAuthorizeRequest(), err
	}
	p.keepPushed(ctx, r)
	lent := p.lendState(r)
	request, err := p.Fosite.NewAuthorizeRequest(ctx, r)
	takeBackState(r, request, lent)
	if refusal := p.checkRedirect(request); refusal != nil {
		err = refusal
	}
	if err == nil {
		err = firstOf(checkFormPost(request), p.registry.gate(request))
	}
	if err == nil {
		err = p.requestResources(request)
	}
	return request, translate(r, err)
}

// NewPushedAuthorizeRequest is fosite's, with the differences of NewAuthorizeRequest, and
// without the client's credentials in what is stored.
func (p *Provider) NewPushedAuthorizeRequest(ctx context.Context, r *http.Request) (fosite.AuthorizeRequester, error) {
	ctx = p.registry.atEndpoint(ctx, r)
	if err := boundForm(r, maxStoredForm); err != nil {
		return fosite.NewAuthorizeRequest(), err
	}
	lent := p.lendState(r)
	request, err := p.Fosite.NewPushedAuthorizeRequest(atPAREndpoint(ctx, r), r)
	takeBackState(r, request, lent)
	if refusal := p.checkRedirect(request); refusal != nil {
		err = refusal
	}
	if client, ok := request.GetClient().(*Client); ok && err == nil {
		err = firstOf(checkFormPost(request), p.registry.requirePKCE(client, request))
	}
	if err == nil && request.GetRequestedScopes().Has(p.registry.cfg.RegistrationToken.Scope) {
		err = errReservedScope
	}
	if err == nil {
		err = p.requestResources(request)
	}
	for _, credential := range pushedCredentials {
		request.GetRequestForm().Del(credential)
	}
	return request, p.answer(ctx, r, err)
}

// pushedCredentials are parameters of a pushed request that have done their work when the
// client is authenticated; fosite would hand them to the storage with the rest (T27).
var pushedCredentials = []string{"client_secret", "client_assertion", "client_assertion_type"}

// NewPushedAuthorizeResponse is fosite's; a storage that is down for a while is 503.
func (p *Provider) NewPushedAuthorizeResponse(ctx context.Context, request fosite.AuthorizeRequester, session fosite.Session) (fosite.PushedAuthorizeResponder, error) {
	response, err := p.Fosite.NewPushedAuthorizeResponse(ctx, request, session)
	return response, translate(nil, err)
}

// NewAuthorizeResponse is fosite's, with the issuer in the response (RFC 9207). What was
// asked is held against the registration as it is now: a client that was deleted, or gave
// up the redirect URI, while the user was asked gets no code.
func (p *Provider) NewAuthorizeResponse(ctx context.Context, request fosite.AuthorizeRequester, session fosite.Session) (fosite.AuthorizeResponder, error) {
	if err := p.RenewClient(ctx, request); err != nil {
		return nil, err
	}
	response, err := p.Fosite.NewAuthorizeResponse(ctx, request, session)
	if err != nil {
		return response, translate(nil, err)
	}
	if client, ok := request.GetClient().(*Client); ok && response.GetCode() != "" {
		p.registry.awaitCode(ctx, client)
	}
	response.AddParameter("iss", p.registry.issuerOf(ctx))
	if request.GetState() == "" {
		response.GetParameters().Del("state")
	}
	return response, nil
}

// RenewClient puts the client as it is now into a request that has waited, for its user to
// sign in for example, and refuses what the registration rules out by now (T36, T38). A host
// calls it before it asks NeedsConsent or its own memory of consents; NewAuthorizeResponse
// does it in any case.
func (p *Provider) RenewClient(ctx context.Context, request fosite.AuthorizeRequester) error {
	return translate(nil, p.renewClient(ctx, request))
}

func (p *Provider) renewClient(ctx context.Context, request fosite.AuthorizeRequester) error {
	asked, ok := request.GetClient().(*Client)
	if !ok {
		return nil
	}
	found, err := p.Store.GetClient(withoutRequest(ctx), asked.ID)
	if err != nil {
		return fosite.ErrInvalidClient.WithHint("The client does not exist any more.").WithWrap(err)
	}
	client, ok := found.(*Client)
	uri := request.GetRedirectURI()
	if !ok || uri == nil || !p.registry.redirectMatches(client, uri.String()) {
		return fosite.ErrInvalidClient.WithHint("The client has given up the redirect URI of this request.")
	}
	client.view.pushed = asked.view.pushed
	p.registry.presentRedirect(client, uri.String())
	if ar, ok := request.(*fosite.AuthorizeRequest); ok {
		ar.Client = client
	}
	return p.registry.gateClient(client, request)
}

// WriteAuthorizeError sends an authorization error: as JSON where the redirect URI is
// not known to be the client's, and otherwise by a redirect, with the issuer (RFC
// 9207). Ask ShowsAuthorizeError before, which tells when a person should see a page
// instead.
func (p *Provider) WriteAuthorizeError(ctx context.Context, w http.ResponseWriter, request fosite.AuthorizeRequester, err error) {
	err = translate(nil, err)
	if !p.redirectURIValid(request) {
		// Not before a response mode of the host's, which would redirect (T57).
		p.WriteAccessError(ctx, w, nil, err)
		return
	}
	if p.ResponseModeHandler(ctx).ResponseModes().Has(request.GetResponseMode()) {
		p.Fosite.WriteAuthorizeError(ctx, w, request, err)
		return
	}
	noStore(w.Header())
	p.redirectError(ctx, w, request, p.errorValues(ctx, request, err))
}

// errorValues are the parameters of an error response (RFC 6749, section 4.1.2.1).
func (p *Provider) errorValues(ctx context.Context, request fosite.AuthorizeRequester, err error) url.Values {
	values := fosite.ErrorToRFC6749Error(err).
		WithLegacyFormat(p.Config.GetUseLegacyErrorFormat(ctx)).
		WithExposeDebug(p.Config.GetSendDebugMessagesToClients(ctx)).
		WithLocalizer(p.Config.GetMessageCatalog(ctx), languageOf(request)).ToValues()
	if state := request.GetState(); state != "" {
		values.Set("state", state)
	}
	values.Set("iss", p.registry.issuerOf(ctx))
	return values
}

func languageOf(request fosite.Requester) language.Tag {
	if g, ok := request.(fosite.G11NContext); ok {
		return g.GetLang()
	}
	return language.English
}

func (p *Provider) redirectError(ctx context.Context, w http.ResponseWriter, request fosite.AuthorizeRequester, values url.Values) {
	target := *request.GetRedirectURI()
	target.Fragment = ""
	switch request.GetResponseMode() {
	case fosite.ResponseModeFormPost:
		w.Header().Set("Content-Type", "text/html;charset=UTF-8")
		fosite.WriteAuthorizeFormPostResponse(target.String(), values, fosite.GetPostFormHTMLTemplate(ctx, p.Fosite), w)
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

// ShowsAuthorizeError reports whether an authorization error should be shown to the
// person as a page of status 4xx rather than redirected: where the redirect URI is
// not known to be the client's, and, for clients that registered themselves, as long
// as nobody is signed in, or anybody could use the server to redirect to wherever
// they like (RFC 9700, section 4.11.2). A request with prompt=none is answered to the
// client all the same. A client that is unknown, or was deleted while the user was asked,
// is not redirected to.
func (p *Provider) ShowsAuthorizeError(request fosite.AuthorizeRequester, err error, signedIn bool) bool {
	if request == nil || !p.redirectURIValid(request) || errors.Is(err, fosite.ErrInvalidClient) {
		return true
	}
	return IsDynamic(request.GetClient()) && !signedIn && request.GetRequestForm().Get("prompt") != "none"
}

// NeedsConsent reports whether the user has to be asked even if the same client was
// allowed the same before: a public client that is redirected to on loopback or by a
// private-use scheme may be impersonated by another program of the user's machine
// (RFC 8252, section 8.6), and a policy may want it (AlwaysAskConsent). That it reports false does not mean that consent may be
// skipped: that is the host's to decide, and wise only for confidential clients.
func NeedsConsent(request fosite.AuthorizeRequester) bool {
	if client, ok := request.GetClient().(*Client); ok && client.AlwaysAskConsent {
		return true
	}
	uri := request.GetRedirectURI()
	return request.GetClient().IsPublic() && (uri == nil || uri.Scheme != "https" || outbound.LoopbackHost(uri.Hostname()))
}

// WritePushedAuthorizeError is fosite's, with the challenge of RFC 6749, section 5.2.
func (p *Provider) WritePushedAuthorizeError(ctx context.Context, w http.ResponseWriter, request fosite.AuthorizeRequester, err error) {
	err = translate(nil, err)
	errorHeaders(w, err)
	p.Fosite.WritePushedAuthorizeError(ctx, w, request, err)
}

// Bounds of the parameters of a request, in bytes: tight where storages keep what fosite
// parses (T15), and fosite's own elsewhere. maxParameters bounds their number.
const (
	maxStoredForm = 32 << 10
	maxForm       = 1 << 20
	maxParameters = 128
)

// boundForm parses the parameters of a request, before fosite does without a bound.
func boundForm(r *http.Request, limit int) error {
	if len(r.URL.RawQuery) > limit {
		return ErrBodyTooLarge
	}
	if r.Body != nil {
		r.Body = http.MaxBytesReader(nil, r.Body, int64(limit))
	}
	err := r.ParseForm()
	if err == nil {
		// This one forgets an error of the other, and has none at a second try.
		err = r.ParseMultipartForm(int64(limit))
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return ErrBodyTooLarge
	case err != nil && !errors.Is(err, http.ErrNotMultipart):
		return fosite.ErrInvalidRequest.WithHint("Unable to parse the query or the body of the request.").WithWrap(err)
	}
	size, count := 0, 0
	for name, values := range r.Form {
		for _, value := range values {
			size += len(name) + len(value)
			count++
		}
	}
	if size > 2*limit || count > maxParameters {
		return ErrBodyTooLarge
	}
	return nil
}

// keepPushed leaves of a request that was pushed nothing but its reference: parameters
// beside it were not pushed (RFC 9126, section 4), and fosite would mix them in.
func (p *Provider) keepPushed(ctx context.Context, r *http.Request) {
	config, ok := p.Config.(fosite.PushedAuthorizeRequestConfigProvider)
	uri := r.Form.Get("request_uri")
	if ok && uri != "" && strings.HasPrefix(uri, config.GetPushedAuthorizeRequestURIPrefix(ctx)) {
		r.Form = url.Values{"client_id": r.Form["client_id"], "request_uri": {uri}}
	}
}

// lendState gives a request without state, which fosite insists on, one of its own,
// where PKCE does what state is for. It returns what it lent.
func (p *Provider) lendState(r *http.Request) string {
	if !p.registry.cfg.AllowMissingState {
		return ""
	}
	if r.Form.Get("state") != "" || r.Form.Get("code_challenge") == "" {
		return ""
	}
	lent := rand.Text()
	r.Form.Set("state", lent)
	return lent
}

// firstOf returns the first error.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func takeBackState(r *http.Request, request fosite.AuthorizeRequester, lent string) {
	if lent == "" {
		return
	}
	r.Form.Del("state")
	if ar, ok := request.(*fosite.AuthorizeRequest); ok && ar.State == lent {
		ar.State = ""
		ar.Form.Del("state")
	}
}

// checkRedirect refuses a redirect URI that fosite's matching lets pass and this
// package's does not.
func (p *Provider) checkRedirect(request fosite.AuthorizeRequester) error {
	ar, ok := request.(*fosite.AuthorizeRequest)
	if !ok || ar.RedirectURI == nil {
		return nil
	}
	client, ok := ar.GetClient().(*Client)
	if !ok {
		return nil
	}
	asked := ar.Form.Get("redirect_uri")
	if p.redirectURIValid(ar) && (asked == "" || asked == ar.RedirectURI.String() && p.registry.redirectMatches(client, asked)) {
		return nil
	}
	ar.RedirectURI = nil
	return fosite.ErrInvalidRequest.WithHint("The 'redirect_uri' parameter does not match any of the OAuth 2.0 Client's pre-registered redirect urls.")
}

// checkFormPost refuses a form that would be posted to an app: no browser hands a form
// to a private-use scheme, and fosite's page would post the code to the server itself.
func checkFormPost(request fosite.AuthorizeRequester) error {
	ar, ok := request.(*fosite.AuthorizeRequest)
	if !ok || ar.ResponseMode != fosite.ResponseModeFormPost || ar.RedirectURI == nil || !IsDynamic(ar.GetClient()) {
		return nil
	}
	if ar.RedirectURI.Scheme == "https" || ar.RedirectURI.Scheme == "http" {
		return nil
	}
	ar.ResponseMode = fosite.ResponseModeQuery // so that the app learns of it
	return fosite.ErrUnsupportedResponseMode.WithHint("The response_mode form_post needs a redirect_uri with http or https.")
}

func (p *Provider) redirectURIValid(request fosite.AuthorizeRequester) bool {
	if request.GetRedirectURI() == nil {
		return false
	}
	client, ok := request.GetClient().(*Client)
	if !ok {
		return request.IsRedirectURIValid()
	}
	return p.registry.redirectMatches(client, request.GetRedirectURI().String())
}

// answer is translate at an endpoint where a client authenticates, and tells of one that
// did not.
func (p *Provider) answer(ctx context.Context, r *http.Request, err error) error {
	if err == nil {
		return nil
	}
	err = translate(r, err)
	p.registry.unauthenticated(ctx, err)
	return err
}

// translate turns an error that fosite made of a fault back into one, and notes that
// a request with an Authorization header needs a challenge.
func translate(r *http.Request, err error) error {
	if err == nil {
		return nil
	}
	if f := asFault(err); f != nil {
		return f
	}
	if errors.Is(err, ErrUnavailable) {
		return failure(err)
	}
	if r != nil && r.Header.Get("Authorization") != "" && fosite.ErrorToRFC6749Error(err).CodeField == http.StatusUnauthorized {
		return &challenged{err, challengeFor(r)}
	}
	return err
}

// challengeFor answers in the scheme that the client used (RFC 6749, section 5.2).
func challengeFor(r *http.Request) string {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return `Bearer error="invalid_token"`
	}
	return "Basic"
}

// challenged is an error whose answer carries a challenge.
type challenged struct {
	error
	challenge string
}

func (c *challenged) Unwrap() error { return c.error }

// errorHeaders sets the headers that fosite's writers don't.
func errorHeaders(w http.ResponseWriter, err error) {
	var c *challenged
	if errors.As(err, &c) {
		w.Header().Set("WWW-Authenticate", c.challenge)
	}
	if err != nil && fosite.ErrorToRFC6749Error(err).CodeField == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
}
