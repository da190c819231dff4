package dcr

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/capability"
	"github.com/fosite-contrib/fosite-dcr/internal/errorredirect"
	"github.com/fosite-contrib/fosite-dcr/internal/introspection"
	"github.com/fosite-contrib/fosite-dcr/internal/members"
	"github.com/fosite-contrib/fosite-dcr/internal/plaintext"
	"github.com/fosite-contrib/fosite-dcr/internal/request"
	"github.com/fosite-contrib/fosite-dcr/internal/resource"
)

// Provider is a fosite.OAuth2Provider with dynamic client registration. It is safe for many goroutines.
type Provider struct {
	// Fosite is the provider underneath, with the storage and the configuration of this package.
	*fosite.Fosite

	*registrar
	*manager
	*operator
	*initialTokens
	*discovery

	parts     parts
	config    Authorization
	gate      *gate
	clients   *clients
	admission *admission
	lifetimes *lifetimes
	journal   *journal
	location  *location
	can       *capability.Set

	introspection introspection.Endpoint
}

var _ fosite.OAuth2Provider = (*Provider)(nil)

// NewAuthorizeRequest is fosite's, with these differences: a request with PKCE and without state passes
// where Authorization.AllowMissingState says so; the redirect URI of a registered client may differ from the
// registered one in the port of a loopback address and in nothing else; what the registration rules out,
// such as a public client without PKCE, is refused before anybody is asked; resources (RFC 8707) are
// requested audiences; and a storage that fails is a server error.
func (p *Provider) NewAuthorizeRequest(ctx context.Context, r *http.Request) (fosite.AuthorizeRequester, error) {
	if err := formError(request.Form(r, request.StoredForm)); err != nil {
		return fosite.NewAuthorizeRequest(), err
	}
	p.keepPushed(ctx, r)
	lent := p.lendState(r)
	ar, err := p.Fosite.NewAuthorizeRequest(ctx, r)
	if errors.Is(err, fosite.ErrServerError) && errors.Is(err, fosite.ErrNotFound) { // a pushed request is used once
		ar, err = fosite.NewAuthorizeRequest(), fosite.ErrInvalidRequestURI.WithHint("Invalid PAR session")
	}
	request.TakeBackState(r, ar, lent)
	err = p.checkRedirect(ar, err)
	if err == nil {
		err = firstOf(formError(request.Lists(ar.GetRequestForm())), checkFormPost(ar), p.gate.check(ar))
	}
	if err == nil {
		p.requestScopes(ar)
		err = firstOf(p.checkNonce(ctx, ar), p.requestResources(ar))
	}
	return ar, translate(r, err)
}

// NewPushedAuthorizeRequest is fosite's, with the differences of NewAuthorizeRequest, and without the
// client's credentials in what is stored.
func (p *Provider) NewPushedAuthorizeRequest(ctx context.Context, r *http.Request) (fosite.AuthorizeRequester, error) {
	ctx = p.atEndpoint(ctx, r, r.URL.Path)
	if err := formError(request.Form(r, request.StoredForm)); err != nil {
		return fosite.NewAuthorizeRequest(), err
	}
	lent := p.lendState(r)
	ar, err := p.Fosite.NewPushedAuthorizeRequest(ctx, r)
	request.TakeBackState(r, ar, lent)
	err = p.checkRedirect(ar, err)
	if client, ok := RegisteredClient(ar.GetClient()); ok && err == nil {
		err = firstOf(formError(request.Lists(ar.GetRequestForm())), checkFormPost(ar), p.gate.requirePKCE(client, ar))
	}
	if err == nil {
		err = p.gate.checkScope(ar)
	}
	if err == nil {
		p.requestScopes(ar)
		err = firstOf(p.checkNonce(ctx, ar), p.requestResources(ar))
	}
	for _, credential := range pushedCredentials {
		ar.GetRequestForm().Del(credential)
	}
	ar.GetRequestForm().Del(pushedBy)
	if address := crossingOf(ctx).address; err == nil && address.IsValid() {
		ar.GetRequestForm().Set(pushedBy, address.String())
	}
	return ar, p.answer(ctx, r, err)
}

// pushedBy is a parameter of a pushed request until its response is made: the address of the caller, by which a
// MemoryStore shares out what is pushed in the name of public clients (T59).
const pushedBy = "dcr.pushed_by"

// pushedCredentials are parameters of a pushed request that have done their work when the client is
// authenticated; fosite would hand them to the storage with the rest (T27).
var pushedCredentials = []string{"client_secret", "client_assertion", "client_assertion_type", "password", "code_verifier", "access_token", "token"}

// NewPushedAuthorizeResponse is fosite's; a storage that is down for a while is 503.
func (p *Provider) NewPushedAuthorizeResponse(ctx context.Context, request fosite.AuthorizeRequester, session fosite.Session) (fosite.PushedAuthorizeResponder, error) {
	address, _ := netip.ParseAddr(request.GetRequestForm().Get(pushedBy)) // not valid where there is none
	request.GetRequestForm().Del(pushedBy)
	rate := p.admission.limits.Rate
	ctx = withCrossing(ctx, &crossing{caller: caller{address: address, prefixes: [2]int{rate.IPv4Prefix, rate.IPv6Prefix}}})
	response, err := p.Fosite.NewPushedAuthorizeResponse(ctx, request, session)
	return response, translate(nil, err)
}

// NewAuthorizeResponse is fosite's, with the issuer in the response (RFC 9207). What was asked is held
// against the registration as it is now: a client that was deleted, or gave up the redirect URI, while the
// user was asked gets no code.
func (p *Provider) NewAuthorizeResponse(ctx context.Context, request fosite.AuthorizeRequester, session fosite.Session) (fosite.AuthorizeResponder, error) {
	if err := p.RenewClient(ctx, request); err != nil {
		return nil, err
	}
	response, err := p.Fosite.NewAuthorizeResponse(ctx, request, session)
	if err != nil {
		return response, translate(nil, err)
	}
	if client, ok := RegisteredClient(request.GetClient()); ok && response.GetCode() != "" {
		p.lifetimes.awaitCode(ctx, client, p.Config.GetAuthorizeCodeLifespan(ctx))
	}
	response.AddParameter("iss", p.location.issuerOrNone(ctx))
	if request.GetState() == "" {
		response.GetParameters().Del("state")
	}
	return response, nil
}

// RenewClient puts the client as it is now into a request that has waited, for its user to sign in for
// example, and refuses what the registration rules out by now (T36, T38). An application calls it before it looks
// at consent.Needed and at the consents that it remembers; NewAuthorizeResponse does it in any case.
func (p *Provider) RenewClient(ctx context.Context, request fosite.AuthorizeRequester) error {
	return translate(nil, p.renewClient(ctx, request))
}

func (p *Provider) renewClient(ctx context.Context, request fosite.AuthorizeRequester) error {
	asked, ok := RegisteredClient(request.GetClient())
	if !ok {
		return nil
	}
	found, err := p.Store.GetClient(withoutRequest(ctx), asked.ID)
	if err != nil {
		return fosite.ErrInvalidClient.WithHint("The client does not exist any more.").WithWrap(err)
	}
	client, ok := RegisteredClient(found)
	uri := request.GetRedirectURI()
	if !ok || uri == nil || !p.clients.redirectMatches(client, uri.String()) {
		return fosite.ErrInvalidClient.WithHint("The client has given up the redirect URI of this request.")
	}
	client.view.pushed = asked.view.pushed
	p.clients.presentRedirect(client, uri.String)
	if ar, ok := request.(*fosite.AuthorizeRequest); ok {
		ar.Client = client
	}
	return p.gate.checkClient(client, request)
}

// WriteAuthorizeError sends an authorization error: as JSON where the redirect URI is not known to be the
// client's, and otherwise by a redirect, with the issuer (RFC 9207). Ask ShowsAuthorizeError before, which
// says when a person should see a page instead.
func (p *Provider) WriteAuthorizeError(ctx context.Context, w http.ResponseWriter, request fosite.AuthorizeRequester, err error) {
	err = translate(nil, err)
	if !p.redirectURIValid(request) {
		// Not before a response mode of the application's, which would redirect (T57).
		p.writeError(ctx, w, nil, err)
		return
	}
	if p.ResponseModeHandler(ctx).ResponseModes().Has(request.GetResponseMode()) {
		p.Fosite.WriteAuthorizeError(ctx, w, request, err)
		return
	}
	noStore(w.Header())
	errorredirect.Write(ctx, w, p.Fosite, request, p.location.issuerOrNone(ctx), err)
}

// ShowsAuthorizeError reports whether an authorization error should be shown to the person as a page of
// status 4xx rather than redirected: where the redirect URI is not known to be the client's, and, for
// clients that registered themselves, as long as nobody is signed in, or anybody could use the server to
// redirect to wherever they like (RFC 9700, section 4.11.2). With prompt=none the client learns of
// login_required, interaction_required and consent_required all the same. A client that is unknown, or was deleted
// while the user was asked, is not redirected to.
func (p *Provider) ShowsAuthorizeError(request fosite.AuthorizeRequester, err error, signedIn bool) bool {
	if request == nil || !p.redirectURIValid(request) || errors.Is(err, fosite.ErrInvalidClient) {
		return true
	}
	if signedIn || !IsDynamic(request.GetClient()) {
		return false
	}
	awaited := errors.Is(err, fosite.ErrLoginRequired) || errors.Is(err, fosite.ErrInteractionRequired) || errors.Is(err, fosite.ErrConsentRequired)
	return !awaited || request.GetRequestForm().Get("prompt") != "none"
}

// WritePushedAuthorizeError is fosite's, with the challenge of RFC 6749, section 5.2.
func (p *Provider) WritePushedAuthorizeError(ctx context.Context, w http.ResponseWriter, request fosite.AuthorizeRequester, err error) {
	err = translate(nil, err)
	errorHeaders(w, err)
	p.Fosite.WritePushedAuthorizeError(ctx, w, request, err)
}

// formError is the protocol error for parameters that could not be read.
func formError(err error) error {
	list, tooLong := errors.AsType[request.ListError](err)
	switch {
	case tooLong:
		return fosite.ErrInvalidRequest.WithHint(list.Error())
	case err == nil || errors.Is(err, request.ErrTooLarge):
		return readingError(err)
	case errors.Is(err, request.ErrRepeated):
		return fosite.ErrInvalidRequest.WithHint("A parameter was sent more than once.")
	}
	return fosite.ErrInvalidRequest.WithHint("Unable to parse the query or the body of the request.").WithWrap(err)
}

// keepPushed leaves of a request that was pushed nothing but its reference: parameters beside it were not
// pushed (RFC 9126, section 4), and fosite would mix them in.
func (p *Provider) keepPushed(ctx context.Context, r *http.Request) {
	config, ok := p.Config.(fosite.PushedAuthorizeRequestConfigProvider)
	uri := r.Form.Get("request_uri")
	if ok && uri != "" && strings.HasPrefix(uri, config.GetPushedAuthorizeRequestURIPrefix(ctx)) {
		r.Form = url.Values{"client_id": r.Form["client_id"], "request_uri": {uri}}
	}
}

// lendState lends a request a state where Authorization.AllowMissingState says so.
func (p *Provider) lendState(r *http.Request) string {
	if !p.config.AllowMissingState {
		return ""
	}
	return request.LendState(r)
}

// checkRedirect refuses a redirect URI that fosite's matching lets pass and this package's does not. Of a client with a
// document, which was written for other servers too, it says which one is refused.
func (p *Provider) checkRedirect(request fosite.AuthorizeRequester, err error) error {
	ar, ok := request.(*fosite.AuthorizeRequest)
	if !ok {
		return err
	}
	client, ok := RegisteredClient(ar.GetClient())
	if !ok {
		return err
	}
	asked := ar.Form.Get("redirect_uri")
	if ar.RedirectURI != nil && (!p.redirectURIValid(ar) || asked != "" && (asked != ar.RedirectURI.String() || !p.clients.redirectMatches(client, asked))) {
		ar.RedirectURI, err = nil, errRedirectMismatch
	}
	if client.isDocument() && asked != "" && err != nil && fosite.ErrorToRFC6749Error(err).HintField == errRedirectMismatch.HintField {
		return errRedirectMismatch.WithHintf("%s It is '%s'.", errRedirectMismatch.HintField, plaintext.Clip(plaintext.Description(asked), 200))
	}
	return err
}

// errRedirectMismatch is what fosite says.
var errRedirectMismatch = fosite.ErrInvalidRequest.WithHint("The 'redirect_uri' parameter does not match any of the OAuth 2.0 Client's pre-registered redirect urls.")

// checkNonce refuses a nonce that fosite refuses at the token endpoint, after the user has agreed.
func (p *Provider) checkNonce(ctx context.Context, request fosite.Requester) error {
	nonce, least := request.GetRequestForm().Get("nonce"), p.Config.GetMinParameterEntropy(ctx)
	if nonce == "" || len(nonce) >= least || !request.GetRequestedScopes().Has("openid") {
		return nil
	}
	return fosite.ErrInvalidRequest.WithHintf("Parameter 'nonce' must have at least %d characters.", least)
}

// checkFormPost refuses a form that would be posted to an app: no browser hands a form to a private-use
// scheme, and fosite's page would post the code to the server itself.
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
	client, ok := RegisteredClient(request.GetClient())
	if !ok {
		return request.IsRedirectURIValid()
	}
	return p.clients.redirectMatches(client, request.GetRedirectURI().String())
}

// requestResources takes the resources that a request names (RFC 8707) for audiences, which fosite knows by
// another parameter, where they are among the client's (Authorization.Audience), byte by byte but for a
// slash at the end; what is requested then is the audience as it stands there. Others are left out, as
// fosite ignores them all, or refused by Authorization.RefuseUnknownResources. fosite's own parameter goes
// by its AudienceMatchingStrategy, whose default lets everything below an audience pass.
//
// The application grants what was requested, as with fosite's own parameter. A registered client that names none asks
// for Authorization.DefaultResource.
func (p *Provider) requestResources(request fosite.Requester) error {
	audience := request.GetRequestedAudience()
	named := fosite.RemoveEmpty(request.GetRequestForm()["resource"])
	for _, name := range named {
		known, ok := resource.Find(request.GetClient().GetAudience(), name)
		switch {
		case ok:
			audience = append(audience, known)
		case p.config.RefuseUnknownResources:
			return ErrInvalidTarget
		}
	}
	if len(named)+len(audience) == 0 && p.config.DefaultResource != "" && IsDynamic(request.GetClient()) {
		audience = fosite.Arguments{p.config.DefaultResource}
	}
	request.SetRequestedAudience(members.WithoutRepeats(slices.Clone(audience)))
	return nil
}

// requestScopes has a registered client that names no scope ask for its default ones (RFC 6749, section 3.3). fosite has
// read the request by then: with openid among them it would want a redirect_uri. A request object says all by itself.
func (p *Provider) requestScopes(request fosite.Requester) {
	client, ok := RegisteredClient(request.GetClient())
	form := request.GetRequestForm()
	if !ok || len(request.GetRequestedScopes()) > 0 || form.Get("request") != "" || form.Get("request_uri") != "" {
		return
	}
	registered := client.GetScopes()
	scopes := members.Keep(p.parts.cfg.Metadata.DefaultScopes, func(scope string) bool { return slices.Contains(registered, scope) })
	if len(scopes) == 0 {
		scopes = slices.Clone([]string(registered))
	}
	if _, authorizes := request.(fosite.AuthorizeRequester); authorizes && form.Get("redirect_uri") == "" {
		scopes = slices.DeleteFunc(scopes, func(scope string) bool { return scope == "openid" }) // fosite would refuse the request
	}
	request.SetRequestedScopes(scopes)
}

// atEndpoint returns a context for one of fosite's endpoints, at which a client authenticates. parPath is
// the path of the request at the PAR endpoint, and empty elsewhere.
func (p *Provider) atEndpoint(ctx context.Context, r *http.Request, parPath string) context.Context {
	return withCrossing(ctx, &crossing{caller: p.admission.callerOf(r), authenticates: true, parPath: parPath})
}

// answer is translate at an endpoint where a client authenticates, and records one that did not.
func (p *Provider) answer(ctx context.Context, r *http.Request, err error) error {
	if err == nil {
		return nil
	}
	err = translate(r, err)
	p.journal.unauthenticated(ctx, err)
	return err
}

// errUnknown is what fosite makes of an error that is none of the protocol.
var errUnknown = fosite.ErrorToRFC6749Error(errors.New("unknown"))

// translate turns an error that fosite made of a fault back into one, makes one of an error that the protocol
// does not know, and notes that a request with an Authorization header needs a challenge.
func translate(r *http.Request, err error) error {
	if err == nil {
		return nil
	}
	if fault := asFault(err); fault != nil {
		return fault
	}
	var document *refusedDocument
	if errors.As(err, &document) {
		err = document.RFC6749Error
	}
	var known *fosite.RFC6749Error
	unknown := !errors.As(err, &known) || known.ErrorField == errUnknown.ErrorField || errors.Is(err, errUnknown)
	if errors.Is(err, ErrUnavailable) || unknown {
		return failure(err)
	}
	if strings.Contains(known.HintField, "Unable to fetch") { // fosite says what it met (T62)
		err = known.WithHint("What the request points at could not be fetched.")
		known = fosite.ErrorToRFC6749Error(err)
	}
	refused := known.CodeField == http.StatusUnauthorized && known.ErrorField != fosite.ErrInactiveToken.ErrorField
	if r != nil && r.Header.Get("Authorization") != "" && refused {
		return &problem{answer: known, cause: err, challenge: request.Challenge(r)}
	}
	return err
}

// writeError sends an error as JSON, with the headers that fosite's writer does not set.
func (p *Provider) writeError(ctx context.Context, w http.ResponseWriter, request fosite.AccessRequester, err error) {
	err = translate(nil, err)
	errorHeaders(w, err)
	p.Fosite.WriteAccessError(ctx, w, request, err)
}

// errorHeaders sets the headers that fosite's writers don't.
func errorHeaders(w http.ResponseWriter, err error) {
	if err == nil {
		return
	}
	p := problemOf(err)
	if p.challenge != "" {
		w.Header().Set("WWW-Authenticate", p.challenge)
	}
	if p.answer.CodeField == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", p.retryAfter())
	}
}
