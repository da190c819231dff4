package admin

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// tokensPage is the list of initial access tokens, with the form for a new one.
type tokensPage struct {
	frame
	Done     string
	Problem  string // why no token was minted, or why there is no list
	Able     bool   // the storage supports initial access tokens
	Policies []string
	Form     url.Values
	Units    []unit
	Tokens   []token
	First    string // the address of the first part, where this is a later one
	More     string // the address of the next part, where there is one
}

// unit is one of the units of a lifetime in the form.
type unit struct {
	Name   string
	length time.Duration
}

var units = []unit{{"minutes", time.Minute}, {"hours", time.Hour}, {"days", 24 * time.Hour}}

// proposed are the values of an empty form.
var proposed = url.Values{"uses": {"1"}, "lifetime": {"7"}, "unit": {"days"}}

const tokensOnPage = 50

func (a *admin) showTokens(w http.ResponseWriter, r *http.Request) error {
	return a.tokensPage(w, r, proposed, nil)
}

// tokensPage shows the list and the form, and the problem of a form that was refused.
func (a *admin) tokensPage(w http.ResponseWriter, r *http.Request, form url.Values, problem *refusal) error {
	query := r.URL.Query()
	page := tokensPage{
		frame: frame{Title: "Initial access tokens", Here: "tokens"}, Done: done[query.Get("done")], Able: true,
		Policies: a.provider.NamedPolicies(), Form: form, Units: units,
	}
	if query.Get("after") != "" {
		page.First = a.path("tokens")
	}
	status := http.StatusOK
	if problem != nil {
		status, page.Problem = problem.status, problem.description
	}
	var next string
	var err error
	page.Tokens, next, err = a.tokenList(r.Context(), query.Get("after"), tokensOnPage)
	switch {
	case errors.Is(err, dcr.ErrNotSupported):
		status, page.Able, page.Problem = http.StatusNotImplemented, false, "The storage of this server does not support initial access tokens."
	case err != nil:
		return err
	case next != "":
		page.More = a.path("tokens") + "?" + url.Values{"after": {next}}.Encode()
	}
	return a.show(w, status, "tokens", page)
}

// mintedPage shows a new initial access token.
type mintedPage struct {
	frame
	Secret string
	Token  token
}

// mintOnPage reads the form, mints a token, and shows it. It is shown only once.
func (a *admin) mintOnPage(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return badBody(err)
	}
	m, err := readMinting(r.PostForm)
	if err != nil {
		return a.tokensPage(w, r, r.PostForm, refusalOf(err))
	}
	secret, record, err := a.mint(r.Context(), m)
	if err != nil {
		if answer := refusalOf(err); answer.status == http.StatusBadRequest {
			return a.tokensPage(w, r, r.PostForm, answer)
		}
		return err
	}
	return a.show(w, http.StatusCreated, "minted", mintedPage{frame{Title: "New initial access token", Here: "tokens"}, secret, record})
}

// readMinting reads the form. An empty number means no limit, as the form says.
func readMinting(form url.Values) (*minting, error) {
	m := &minting{Label: form.Get("label"), Subject: form.Get("subject"), Policy: form.Get("policy")}
	number := func(name string, most int) (int, error) {
		text := form.Get(name)
		if text == "" {
			return 0, nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > most {
			return 0, badRequest(name + " must be empty or a number from 1 to " + strconv.Itoa(most) + ".")
		}
		return n, nil
	}
	var err error
	if m.Uses, err = number("uses", 1_000_000); err != nil {
		return nil, err
	}
	lifetime, err := number("lifetime", 10_000)
	if err != nil {
		return nil, err
	}
	for _, u := range units {
		if u.Name == form.Get("unit") {
			m.LifetimeSeconds = int64(lifetime) * int64(u.length/time.Second)
			return m, nil
		}
	}
	return nil, badRequest("unit must be minutes, hours or days.")
}

// askRevoke asks before an initial access token is revoked.
func (a *admin) askRevoke(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	return a.show(w, http.StatusOK, "confirm", confirmPage{
		frame: frame{Title: "Revoke this initial access token?", Here: "tokens"}, Token: id, Action: a.path("tokens", id, "revoke"), Back: a.path("tokens"),
		Question: clientChange{Button: "Revoke this token", Warnings: []string{
			"Nobody can register clients with this token any more.",
			"Clients that were registered with this token stay registered.",
		}},
	})
}

func (a *admin) doRevoke(w http.ResponseWriter, r *http.Request) error {
	if err := a.provider.RevokeInitialAccessToken(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	http.Redirect(w, r, a.path("tokens")+"?done=token", http.StatusSeeOther)
	return nil
}

func (a *admin) askSweep(w http.ResponseWriter, _ *http.Request) error {
	return a.show(w, http.StatusOK, "confirm", confirmPage{
		frame: frame{Title: "Remove expired clients?"}, Action: a.path("sweep"), Back: a.path(""),
		Question: clientChange{Button: "Remove expired clients", Warnings: []string{
			"The server deletes the records of all expired clients, and all tokens that they still have.",
			"Expired clients cannot be used any more, also before this. Many servers remove them automatically from time to time.",
		}},
	})
}

func (a *admin) doSweep(w http.ResponseWriter, r *http.Request) error {
	if _, err := a.provider.Sweep(r.Context()); err != nil {
		return err
	}
	http.Redirect(w, r, a.path("")+"?done=swept", http.StatusSeeOther)
	return nil
}

// eventsPage is the list of the latest events.
type eventsPage struct {
	frame
	Kept   bool // the server keeps a history
	Listed bool // the storage can list clients, so registrations are shown
	Events []Entry
}

func (a *admin) showEvents(w http.ResponseWriter, r *http.Request) error {
	events, listed, err := a.latest(r.Context())
	if err != nil {
		return err
	}
	return a.show(w, http.StatusOK, "events", eventsPage{
		frame: frame{Title: "Events", Here: "events"}, Kept: a.options.History != nil, Listed: listed, Events: events,
	})
}
