package main

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"strings"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// The pages have no script. What clients chose, such as their name, passes html/template, which
// escapes it for its place.
var (
	//go:embed pages.html
	pagesHTML string
	//go:embed pages.css
	pagesCSS string
)

// pages writes what people see.
type pages struct {
	templates *template.Template
	policy    string
	log       *slog.Logger
}

func newPages(log *slog.Logger) *pages {
	style := sha256.Sum256([]byte(pagesCSS))
	return &pages{
		templates: template.Must(template.New("pages").
			Funcs(template.FuncMap{"style": func() template.CSS { return template.CSS(pagesCSS) }}).
			Parse(pagesHTML)),
		// Nothing but the one style sheet may be loaded, and no other page may show ours in
		// a frame and have the user press Allow unawares. There is no form-action:
		// browsers hold it against the redirect that answers a form as well, and the
		// consent form is answered by a redirect to the client, which may redirect once more
		// to any site.
		policy: "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src 'sha256-" +
			base64.StdEncoding.EncodeToString(style[:]) + "'",
		log: log,
	}
}

// show writes a page. It is made before anything is sent, so that a template that
// fails leaves no half of one.
func (p *pages) show(w http.ResponseWriter, status int, name string, data any) {
	var body bytes.Buffer
	if err := p.templates.ExecuteTemplate(&body, name, data); err != nil {
		p.log.Error("page failed", "page", name, "cause", err)
		http.Error(w, "Something went wrong.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", p.policy)
	h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w)
}

type homePage struct{ User, Metadata string }

func (p *pages) home(w http.ResponseWriter, page homePage) { p.show(w, http.StatusOK, "home", page) }

type signInPage struct {
	Request string // the pending request that goes on afterwards
	User    string
	Failed  bool
}

func (p *pages) signIn(w http.ResponseWriter, status int, page signInPage) {
	p.show(w, status, "sign-in", page)
}

type refusalPage struct {
	Title, Text       string
	Code, Description string // for the developer of the client
}

// refusal shows the user that an authorization request cannot go on. Its status is 400
// whatever OAuth has for the error: 401 would need a challenge.
func (p *pages) refusal(w http.ResponseWriter, err error) {
	status, page := refusalOf(err)
	p.show(w, status, "refusal", page)
}

// refusalOf says what a person can do.
func refusalOf(err error) (status int, page refusalPage) {
	answer := fosite.ErrorToRFC6749Error(err)
	page = refusalPage{
		Title: "This sign-in cannot go on",
		Text: "The app asked for something that this server does not accept. Go back to the app and try again. " +
			"If it happens again, ask the makers of the app for help.",
		Code: answer.ErrorField, Description: answer.GetDescription(),
	}
	status = http.StatusBadRequest
	switch {
	case errors.Is(err, dcr.ErrDocumentUnavailable):
		status = answer.CodeField
		page.Title = "This app can not be looked up now"
		page.Text = "The app describes itself on a website that does not answer. Wait a minute, then go back to the app and try again."
	case errors.Is(err, dcr.ErrInvalidClientMetadata), errors.Is(err, dcr.ErrInvalidRedirectURI):
		page.Title = "This app is not accepted here"
		page.Text = "The app describes itself on a website, and this server does not accept what it says there. Its makers have to change that."
	case answer.CodeField >= 500:
		status = answer.CodeField
		page.Title = "Something went wrong here"
		page.Text = "This is the fault of this server, not yours and not the app's. Wait a minute, then go back to the app and try again."
	case answer.ErrorField == fosite.ErrInvalidClient.ErrorField:
		page.Title = "This app is not known here"
		page.Text = "The app may have been connected a long time ago, and its registration may have expired. " +
			"Go back to the app, remove this server from it, and connect again."
	}
	return status, page
}

// refusalJSON is the same for a program that asked for JSON: what happened, and where to register anew.
func refusalJSON(w http.ResponseWriter, err error, registrationEndpoint string) {
	status, page := refusalOf(err)
	answer := map[string]string{"error": page.Code, "error_description": page.Description, "message": page.Title + ". " + page.Text}
	if page.Code == fosite.ErrInvalidClient.ErrorField {
		answer["registration_endpoint"] = registrationEndpoint
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer)
}

// wantsJSON reports whether a request comes from a program: it accepts JSON and no page.
func wantsJSON(r *http.Request) bool {
	accept := r.Header.Get("Accept")
	return strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html")
}

// expired shows the user that a form came too late, twice, or from another browser.
func (p *pages) expired(w http.ResponseWriter) {
	p.show(w, http.StatusBadRequest, "refusal", refusalPage{
		Title: "This page is too old",
		Text:  "It was already answered, or you were signed in or out since it was shown. Go back to the app and start again.",
	})
}

// consentPage is what a user is asked, and what is known of the client that asks.
type consentPage struct {
	Request   string
	User      string
	Client    consent.Description
	Static    bool   // a static client: it has a name, and was not registered
	ByUser    bool   // this user registered the client
	Kind      string // of the redirect URI: web, loopback or app
	Host      string // where the browser goes afterwards
	Scopes    []string
	Resources []string
	Stays     bool // the client gets refresh tokens
}

func (p *pages) consent(w http.ResponseWriter, page consentPage) {
	p.show(w, http.StatusOK, "consent", page)
}

// newConsentPage collects what the page says. What a registered client says about itself
// passes consent.Describe, which leaves out what could deceive.
func (s *server) newConsentPage(r *http.Request, key string, who *login, request fosite.AuthorizeRequester) consentPage {
	page := consentPage{
		Request:   key,
		User:      who.user,
		Scopes:    describe(request.GetRequestedScopes()),
		Resources: request.GetRequestedAudience(),
		Stays:     request.GetClient().GetGrantTypes().Has("refresh_token"),
	}
	page.Kind, page.Host = redirectOf(request)
	if client, ok := request.GetClient().(*dcr.Client); ok {
		var err error
		page.Client, err = consent.Describe(r.Context(), s.provider, client, localesOf(r, request)...)
		if err != nil { // only SameName is unknown then
			s.log.ErrorContext(r.Context(), "names not counted", "cause", err)
		}
		page.ByUser = page.Client.VouchedHow == "signed_in" && page.Client.VouchedBy == who.user
	} else {
		page.Static = true
		page.Client = consent.Description{Name: request.GetClient().GetID(), Named: true, Verified: true}
	}
	return page
}

// redirectOf returns where the browser goes after the decision. A client may have several
// redirect URIs; this is the one of the request.
func redirectOf(request fosite.AuthorizeRequester) (kind, host string) {
	uri := request.GetRedirectURI()
	switch {
	case uri.Scheme != "https" && uri.Scheme != "http":
		kind = "app"
	case outbound.LoopbackHost(uri.Hostname()):
		kind = "loopback"
	default:
		kind = "web"
	}
	return kind, consent.Host(uri)
}

// localesOf returns the languages that the user reads: those that the client names (OpenID
// Connect Core 1.0, section 3.1.2.1), then those of the browser.
func localesOf(r *http.Request, request fosite.AuthorizeRequester) []string {
	return append(strings.Fields(request.GetRequestForm().Get("ui_locales")), r.Header.Get("Accept-Language"))
}

// describe says in plain words what scopes allow. A scope without words is shown as
// it is, never left out.
func describe(scopes []string) []string {
	words := map[string]string{
		"openid":  "know who you are at this server",
		"profile": "see your name",
		"email":   "see your email address",
		"mcp":     "use the MCP tools of this server in your name",
	}
	var lines []string
	for _, scope := range scopes {
		switch line := words[scope]; {
		case scope == "offline_access": // said by Stays, which is what happens
		case line != "":
			lines = append(lines, line)
		default:
			lines = append(lines, scope)
		}
	}
	return lines
}
