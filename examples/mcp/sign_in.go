package main

import (
	"context"
	"crypto/subtle"
	"html/template"
	"net/http"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
)

// users are the passwords of the users, by their names. A real server has slow hashes of them, and counts failures.
type users map[string]string

func (u users) authenticate(name, password string) bool {
	known, ok := u[name]
	return ok && subtle.ConstantTimeCompare([]byte(known), []byte(password)) == 1
}

// page is one page for both questions: who are you, and do you allow it? The user types the password each time, so
// there is no session, and no cookie that another page could use. examples/authserver has sessions.
var page = template.Must(template.New("page").Parse(`<!doctype html>
<meta charset="utf-8">
<title>Sign in</title>
{{with .Problem}}<p role="alert">{{.}}</p>{{end}}
{{with .Client}}
<h1>Allow an app to use your notes?</h1>
{{with .IdentifierHost}}<p>The app is published by <strong>{{.}}</strong>.</p>{{end}}
<p>It calls itself <bdi>{{.Name}}</bdi>.{{if not .Verified}} Nobody has checked that name.{{end}}</p>
{{if .LoopbackOnly}}<p>It runs on your computer. Any program there can pose as it: go on only if you have just started it.</p>{{end}}
{{range .Suspicious}}<p>{{.}}</p>{{end}}
{{end}}
{{if .Query}}
<p>Then your browser goes to <bdi>{{.Goes}}</bdi>.</p>
<ul>{{range .Scopes}}<li>{{.}}</li>{{end}}</ul>
<form method="post" action="/sign-in">
<input type="hidden" name="query" value="{{.Query}}">
<input type="hidden" name="shown" value="{{.Shown}}">
<label>Name <input name="user" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button name="decision" value="allow">Sign in and allow</button>
<button name="decision" value="deny">Do not allow</button>
</form>
{{end}}
`))

// question is what the page says.
type question struct {
	Problem string
	Client  *consent.Description
	Query   string // of the authorization request, which waits in the page
	Shown   string // stands for the client as the page shows it
	Goes    string
	Scopes  []string
}

func (s *authorizationServer) show(w http.ResponseWriter, status int, q question) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = page.Execute(w, q) // fails only where the browser is gone
}

// authorize is the authorization endpoint.
func (s *authorizationServer) authorize(w http.ResponseWriter, r *http.Request) {
	request, err := s.provider.NewAuthorizeRequest(r.Context(), r)
	if err != nil {
		s.refuse(w, r, request, err, false)
		return
	}
	s.ask(w, r, http.StatusOK, request, r.URL.RawQuery, "")
}

// ask shows the page. What a registered client says about itself passes consent.Describe.
func (s *authorizationServer) ask(w http.ResponseWriter, r *http.Request, status int, request fosite.AuthorizeRequester, query, problem string) {
	client := request.GetClient()
	shown := consent.Description{Name: client.GetID(), Verified: true} // a static client: the operator knows it
	if registered, ok := dcr.RegisteredClient(client); ok {
		shown, _ = consent.Describe(r.Context(), s.provider, registered, r.Header.Get("Accept-Language"))
	}
	s.show(w, status, question{
		Problem: problem, Client: &shown, Query: query, Shown: consent.Key(client),
		Goes: consent.Host(request.GetRedirectURI()), Scopes: request.GetRequestedScopes(),
	})
}

// signIn handles the form. The client may have changed since the page was shown, so the request is read again.
func (s *authorizationServer) signIn(w http.ResponseWriter, r *http.Request) {
	ctx, query, user := r.Context(), r.PostFormValue("query"), r.PostFormValue("user")
	knows := s.users.authenticate(user, r.PostFormValue("password"))
	request, err := s.readAgain(ctx, query)
	switch {
	case err != nil:
		s.refuse(w, r, request, err, knows)
	case r.PostFormValue("decision") != "allow":
		s.refuse(w, r, request, fosite.ErrAccessDenied, knows)
	case !knows:
		s.ask(w, r, http.StatusForbidden, request, query, "The name or the password is wrong.")
	case r.PostFormValue("shown") != consent.Key(request.GetClient()):
		s.ask(w, r, http.StatusConflict, request, query, "The app has changed. Look again.")
	default:
		s.allow(w, r, user, request)
	}
}

func (s *authorizationServer) readAgain(ctx context.Context, query string) (fosite.AuthorizeRequester, error) {
	again, err := http.NewRequestWithContext(ctx, http.MethodGet, "/authorize?"+query, nil)
	if err != nil {
		return nil, fosite.ErrInvalidRequest.WithWrap(err)
	}
	return s.provider.NewAuthorizeRequest(ctx, again)
}

// allow answers the client with a code for what the page has shown.
func (s *authorizationServer) allow(w http.ResponseWriter, r *http.Request, user string, request fosite.AuthorizeRequester) {
	for _, scope := range request.GetRequestedScopes() {
		request.GrantScope(scope)
	}
	for _, resource := range request.GetRequestedAudience() {
		request.GrantAudience(resource)
	}
	response, err := s.provider.NewAuthorizeResponse(r.Context(), request, &fosite.DefaultSession{Subject: user})
	if err != nil {
		s.refuse(w, r, request, err, true)
		return
	}
	s.provider.WriteAuthorizeResponse(r.Context(), w, request, response)
}

// refuse tells the client by a redirect, or the user where that would be unsafe.
func (s *authorizationServer) refuse(w http.ResponseWriter, r *http.Request, request fosite.AuthorizeRequester, err error, signedIn bool) {
	if !s.provider.ShowsAuthorizeError(request, err, signedIn) {
		s.provider.WriteAuthorizeError(r.Context(), w, request, err)
		return
	}
	problem := fosite.ErrorToRFC6749Error(err)
	s.show(w, problem.CodeField, question{Problem: problem.GetDescription()})
}
