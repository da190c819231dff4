package main

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/consent"
)

// authorize is the authorization endpoint.
func (s *server) authorize(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		// A form on a page of the client comes without our cookie (SameSite). The redirect makes
		// it a link, with which the browser sends the cookie.
		s.repeatAsLink(w, r)
		return
	}
	pending, err := s.newPending(r)
	if err != nil {
		s.refuse(w, r, pending.request, err)
		return
	}
	s.proceed(w, r, pending)
}

func (s *server) repeatAsLink(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.refuse(w, r, nil, fosite.ErrInvalidRequest.WithWrap(err))
		return
	}
	http.Redirect(w, r, "/oauth2/auth?"+r.Form.Encode(), http.StatusSeeOther)
}

// proceed does what comes next for a pending request: sign in, ask, or answer.
func (s *server) proceed(w http.ResponseWriter, r *http.Request, pending *pendingRequest) {
	who := s.sessions.login(r)
	silent := slices.Contains(prompts(pending.request), "none") // the client wants an answer without a page
	switch {
	case needsSignIn(who, pending.request) && silent:
		s.refuse(w, r, pending.request, fosite.ErrLoginRequired)
	case needsSignIn(who, pending.request):
		s.pages.signIn(w, http.StatusOK, signInPage{Request: s.seal(pending, s.sessions.browser(w, r))})
	case s.needsConsent(who, pending.request) && silent:
		s.refuse(w, r, pending.request, fosite.ErrConsentRequired)
	case s.needsConsent(who, pending.request):
		pending.Asked, pending.Wanted = consentKey(who, pending.request), wanted(pending.request)
		s.pages.consent(w, s.newConsentPage(r, s.seal(pending, s.sessions.id(r)), who, pending.request))
	case !s.decided.put(who.user, pending.Nonce, true):
		s.pages.expired(w)
	default:
		s.allow(w, r, who, pending.request)
	}
}

func prompts(request fosite.AuthorizeRequester) []string {
	return strings.Fields(request.GetRequestForm().Get("prompt"))
}

// needsSignIn reports whether no user is signed in, or the client wants a newer sign-in (OpenID Connect Core 1.0, section 3.1.2.1: prompt and max_age).
func needsSignIn(who *login, request fosite.AuthorizeRequester) bool {
	if who == nil {
		return true
	}
	asked := request.GetRequestedAt()
	for _, prompt := range prompts(request) {
		if (prompt == "login" || prompt == "select_account") && who.at.Before(asked) {
			return true
		}
	}
	maxAge, err := strconv.Atoi(request.GetRequestForm().Get("max_age"))
	return err == nil && maxAge >= 0 && asked.Sub(who.at).Seconds() > float64(maxAge)
}

// needsConsent reports whether the user has to be asked. Only a confidential client that is
// answered over https may refer to an earlier consent, and for no more than was allowed then.
func (s *server) needsConsent(who *login, request fosite.AuthorizeRequester) bool {
	if consent.Needed(request) || !canProveItself(request) || slices.Contains(prompts(request), "consent") {
		return true
	}
	allowed, _ := s.consents.get(consentKey(who, request))
	return slices.ContainsFunc(wanted(request), func(what string) bool { return !slices.Contains(allowed, what) })
}

// canProveItself reports whether the client is confidential and the answer goes over https.
func canProveItself(request fosite.AuthorizeRequester) bool {
	return !request.GetClient().IsPublic() && request.GetRedirectURI().Scheme == "https"
}

// consentKey is what a consent is remembered under: the user, the client as it is registered
// now, and the redirect URI of the request. A registration that was changed since has to be allowed
// again (CONS-02): its token may have been stolen. Neither of the last two has a space in it.
func consentKey(who *login, request fosite.AuthorizeRequester) string {
	return who.user + " " + consent.Key(request.GetClient()) + " " + request.GetRedirectURI().String()
}

// wanted is what a consent is about. Its first element makes the consent to a request without
// scopes one that is remembered, too.
func wanted(request fosite.AuthorizeRequester) []string {
	return slices.Concat([]string{"sign-in"}, request.GetRequestedScopes(), request.GetRequestedAudience())
}

// showConsent is where a browser arrives after signing in.
func (s *server) showConsent(w http.ResponseWriter, r *http.Request) {
	pending, ok := s.open(r.URL.Query().Get("request"), s.sessions.id(r))
	if !ok {
		s.pages.expired(w)
		return
	}
	if err := s.readAgain(r, pending); err != nil {
		s.refuse(w, r, pending.request, err)
		return
	}
	s.proceed(w, r, pending)
}

// decide handles the answer of the consent page. It accepts the answer only from the browser that the page
// was shown to, as long as the same user is signed in.
func (s *server) decide(w http.ResponseWriter, r *http.Request) {
	who := s.sessions.login(r)
	pending, ok := s.open(r.PostFormValue("request"), s.sessions.id(r))
	if !ok || who == nil || pending.Asked == "" {
		s.pages.expired(w)
		return
	}
	if err := s.readAgain(r, pending); err != nil {
		s.refuse(w, r, pending.request, err)
		return
	}
	shown := pending.Asked == consentKey(who, pending.request) && slices.Equal(pending.Wanted, wanted(pending.request))
	switch {
	case needsSignIn(who, pending.request):
		s.pages.expired(w)
	case !shown && r.PostFormValue("decision") == "allow":
		s.proceed(w, r, pending) // the client has changed while the page was open: what is granted was shown
	case !s.decided.put(who.user, pending.Nonce, true):
		s.pages.expired(w) // pressed twice
	case r.PostFormValue("decision") == "allow":
		if canProveItself(pending.request) {
			s.consents.put(who.user, pending.Asked, wanted(pending.request)) // the client as the page showed it
		}
		s.allow(w, r, who, pending.request)
	default:
		s.refuse(w, r, pending.request, fosite.ErrAccessDenied.WithHint("The user did not allow the request."))
	}
}

// allow answers the client with a code.
func (s *server) allow(w http.ResponseWriter, r *http.Request, who *login, request fosite.AuthorizeRequester) {
	ctx := r.Context()
	s.grantAll(request)
	response, err := s.provider.NewAuthorizeResponse(ctx, request, newUserSession(who, request))
	if err != nil {
		s.refuse(w, r, request, err)
		return
	}
	s.provider.WriteAuthorizeResponse(ctx, w, request, response)
}

// refuse answers an authorization error: by a redirect to the client, or by a page where a
// redirect would be unsafe.
func (s *server) refuse(w http.ResponseWriter, r *http.Request, request fosite.AuthorizeRequester, err error) {
	s.refused(r, err)
	if s.provider.ShowsAuthorizeError(request, err, s.sessions.login(r) != nil) {
		if wantsJSON(r) {
			refusalJSON(w, err, s.url("/register"))
			return
		}
		s.pages.refusal(w, err)
		return
	}
	s.provider.WriteAuthorizeError(r.Context(), w, request, err)
}

// showSignIn is the sign-in page for users who come without a client, or want to be another user.
func (s *server) showSignIn(w http.ResponseWriter, r *http.Request) {
	s.pages.signIn(w, http.StatusOK, signInPage{Request: r.URL.Query().Get("request")})
}

// signIn handles the form of the sign-in page, and goes on with the request that was waiting.
func (s *server) signIn(w http.ResponseWriter, r *http.Request) {
	key, user := r.PostFormValue("request"), r.PostFormValue("user")
	if !s.users.authenticate(user, r.PostFormValue("password")) {
		s.log.InfoContext(r.Context(), "sign-in failed")
		s.pages.signIn(w, http.StatusForbidden, signInPage{Request: key, User: user, Failed: true})
		return
	}
	pending, ok := s.open(key, s.sessions.all(r)...)
	now := s.sessions.signIn(w, r, user)
	switch {
	case key == "":
		http.Redirect(w, r, "/", http.StatusSeeOther)
	case !ok:
		s.pages.expired(w)
	default:
		pending.Asked = "" // another user, perhaps
		http.Redirect(w, r, "/consent?"+url.Values{"request": {s.seal(pending, now)}}.Encode(), http.StatusSeeOther)
	}
}

func (s *server) signOut(w http.ResponseWriter, r *http.Request) {
	s.sessions.signOut(w, r)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// showHome is the page that says who is signed in.
func (s *server) showHome(w http.ResponseWriter, r *http.Request) {
	page := homePage{Metadata: s.url("/.well-known/oauth-authorization-server")}
	if who := s.sessions.login(r); who != nil {
		page.User = who.user
	}
	s.pages.home(w, page)
}
