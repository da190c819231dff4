package admin

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

type tokensPage struct {
	frame
	Done     string
	Problem  string // why a token was not minted, or there are none
	Able     bool   // the storage has initial access tokens
	Policies []string
	Form     url.Values
	Units    []unit
	Tokens   []token
	More     string
}

// unit is one of the units of a lifetime in the form.
type unit struct {
	Name   string
	length time.Duration
}

var units = []unit{{"minutes", time.Minute}, {"hours", time.Hour}, {"days", 24 * time.Hour}}

// careful is what the form proposes.
var careful = url.Values{"uses": {"1"}, "lifetime": {"7"}, "unit": {"days"}}

const tokensOnPage = 50

func (a *admin) showTokens(w http.ResponseWriter, r *http.Request) error {
	return a.tokensPage(w, r, careful, nil)
}

// tokensPage shows the list and the form, with what is wrong with the form.
func (a *admin) tokensPage(w http.ResponseWriter, r *http.Request, form url.Values, problem *refusal) error {
	query := r.URL.Query()
	page := tokensPage{
		frame: frame{Title: "Initial access tokens", Here: "tokens"}, Done: done[query.Get("done")], Able: true,
		Policies: a.provider.NamedPolicies(), Form: form, Units: units,
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
		status, page.Able, page.Problem = http.StatusNotImplemented, false, "The storage of this server keeps no initial access tokens."
	case err != nil:
		return err
	case next != "":
		page.More = a.path("tokens") + "?" + url.Values{"after": {next}}.Encode()
	}
	return a.show(w, status, "tokens", page)
}

type mintedPage struct {
	frame
	Secret string
	Token  token
}

// mintOnPage takes the form, and shows the token this once.
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
	return a.show(w, http.StatusCreated, "minted", mintedPage{frame{Title: "A new initial access token", Here: "tokens"}, secret, record})
}

// readMinting reads the form. An empty field means no bound, as its label says.
func readMinting(form url.Values) (*minting, error) {
	m := &minting{Label: form.Get("label"), Subject: form.Get("subject"), Policy: form.Get("policy")}
	number := func(name string, most int) (int, error) {
		text := form.Get(name)
		if text == "" {
			return 0, nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > most {
			return 0, badRequest(name + " is no number from 1 to " + strconv.Itoa(most) + ", nor empty.")
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
	return nil, badRequest("unit is not minutes, hours or days.")
}

// askRevoke asks before an initial access token is revoked.
func (a *admin) askRevoke(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	return a.show(w, http.StatusOK, "confirm", confirmPage{
		frame: frame{Title: "Revoke this initial access token?", Here: "tokens"}, Token: id, Action: a.path("tokens", id, "revoke"), Back: a.path("tokens"),
		Question: clientChange{Button: "Revoke it", Warnings: []string{
			"Nobody can register a client with it any more.",
			"Clients that were registered with it stay.",
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
		frame: frame{Title: "Sweep now?"}, Action: a.path("sweep"), Back: a.path(""),
		Question: clientChange{Button: "Sweep now", Warnings: []string{
			"The records of all clients that have ended are removed, with what they leave behind.",
			"Those clients can not be used as it is. A server that sweeps by itself need not be told.",
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

type eventsPage struct {
	frame
	Kept   bool
	Events []Entry
}

func (a *admin) showEvents(w http.ResponseWriter, r *http.Request) error {
	events, err := a.others(r.Context())
	if err != nil {
		return err
	}
	return a.show(w, http.StatusOK, "events", eventsPage{frame{Title: "Events without a client", Here: "events"}, a.options.History != nil, events})
}
