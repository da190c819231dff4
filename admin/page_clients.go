package admin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// clientsPage is the list of clients.
type clientsPage struct {
	frame
	Done     string
	Problem  string     // why there is no list
	Summary  *summary   // set on the first page of all clients
	Asked    url.Values // the parameters of the request
	Filtered bool
	Detailed bool // a field is used that the form hides at first
	Clients  []*record
	Older    string // the address of the next part, where there is one
	First    string // the address of the first part, where this is a later one
	Quick    []link
}

// link leads to a list.
type link struct {
	Text, Href string
	Count      string // how many clients the list has; empty where they were not counted
	Here       bool
}

// showClients shows the list. A problem with the form, or with the storage, is shown above the
// form, so that it can be sent again.
func (a *admin) showClients(w http.ResponseWriter, r *http.Request) error {
	values, err := parameterValues(r)
	if err != nil {
		return err
	}
	page := &clientsPage{frame: frame{Title: "Clients", Here: "clients"}, Asked: values, Done: done[values.Get("done")]}
	values.Del("done")
	for name, given := range values {
		empty := len(given) == 1 && given[0] == ""
		page.Filtered = page.Filtered || name != "cursor" && name != "limit" && !empty
		page.Detailed = page.Detailed || !empty && name != "cursor" && name != "limit" && name != "search"
	}
	status := http.StatusOK
	if err := a.fillClients(r.Context(), page); err != nil {
		answer := refusalOf(err)
		if answer.status != http.StatusBadRequest && answer.status != http.StatusNotImplemented {
			return err
		}
		status, page.Problem = answer.status, answer.description
		if status == http.StatusNotImplemented {
			page.Problem = "The storage of this server cannot list clients. You can still open a client by its identifier below."
		}
	}
	page.Quick = a.quick(values, page.Summary)
	return a.show(w, status, "clients", page)
}

func (a *admin) fillClients(ctx context.Context, page *clientsPage) error {
	q, err := readQuery(page.Asked)
	if err != nil {
		return err
	}
	var next string
	if page.Clients, next, err = a.list(ctx, q); err != nil {
		return err
	}
	if next != "" {
		page.Older = a.listing(page.Asked, "cursor", next)
	}
	if q.cursor != "" {
		page.First = a.listing(page.Asked, "cursor", "")
	}
	if !page.Filtered && q.cursor == "" {
		page.Summary, err = a.summary(ctx)
	}
	return err
}

// listing returns the address of a list, with one parameter changed and without empty ones.
func (a *admin) listing(asked url.Values, name, value string) string {
	values := url.Values{}
	for name, given := range asked {
		if len(given) == 1 && given[0] != "" {
			values.Set(name, given[0])
		}
	}
	if values.Set(name, value); value == "" {
		values.Del(name)
	}
	if len(values) == 0 {
		return a.options.Prefix + "/"
	}
	return a.options.Prefix + "/?" + values.Encode()
}

// quick returns links to lists that operators often need. A nil summary means that nothing was
// counted.
func (a *admin) quick(asked url.Values, s *summary) []link {
	now := a.options.Now().UTC()
	var links []link
	used := 0
	for name, given := range asked {
		if name != "cursor" && name != "limit" && given[0] != "" {
			used++
		}
	}
	add := func(text, name, value string) {
		here := name == "" && used == 0 || used == 1 && asked.Get(name) != ""
		links = append(links, link{Text: text, Href: a.listing(nil, name, value), Here: here})
	}
	add("All", "", "")
	add("Never used", "never_used", "true")
	add("Expired or expiring within one hour", "expiring_before", now.Add(time.Hour).Format(formTime))
	add("Registered in the last 24 hours", "created_from", now.Add(-24*time.Hour).Format(formTime))
	if s != nil {
		for i, n := range []int{s.Clients, s.NeverUsed, s.Expiring} {
			links[i].Count = counts(n, s.CountedUpTo)
		}
	}
	return links
}

// openClient redirects to the page of a client, whatever it has: a registration or a document.
func (a *admin) openClient(w http.ResponseWriter, r *http.Request) error {
	id := strings.TrimSpace(r.URL.Query().Get("id"))
	if id == "" {
		return badRequest("The identifier is missing.")
	}
	http.Redirect(w, r, a.clientPath(id), http.StatusSeeOther)
	return nil
}

// clientPage is the page of one client.
type clientPage struct {
	frame
	Done   string
	Client *whole
	// Complete says that the history goes back to the registration.
	Complete bool
	Rows     []row
	Alike    int    // how many other clients have the same name
	Same     string // the list of clients with the same name
	Issued   string // the list of clients of the same initial access token
	User     string // the list of clients of the same user
}

func (a *admin) showClient(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	client, err := a.find(r.Context(), id)
	if errors.Is(err, fosite.ErrNotFound) {
		return a.showGone(w, r, id)
	} else if err != nil {
		return err
	}
	page := clientPage{
		frame: frame{Title: "Client " + client.Display.Name}, Done: done[r.URL.Query().Get("done")],
		Client: client, Complete: client.Complete, Rows: rows(client.Metadata), Alike: *client.Display.SameName,
	}
	if names := valuesOf(client.Metadata["client_name"]); len(names) == 1 && dcr.NameKey(names[0]) != "" {
		page.Same = a.listing(nil, "name", names[0])
	}
	if token := client.Origin.InitialAccessToken; token != "" {
		page.Issued = a.listing(nil, "initial_access_token", token)
	}
	if client.Origin.Subject != "" {
		page.User = a.listing(nil, "subject", client.Origin.Subject)
	}
	return a.show(w, http.StatusOK, "client", page)
}

// gonePage is the page of an identifier that no client has.
type gonePage struct {
	frame
	ID      string
	History []Entry
}

// showGone shows the history of a client that was removed, or that the client is unknown.
func (a *admin) showGone(w http.ResponseWriter, r *http.Request, id string) error {
	history, err := a.pastOf(r.Context(), id)
	if err != nil {
		return err
	}
	return a.show(w, http.StatusNotFound, "gone", gonePage{frame{Title: "Client not found"}, id, history})
}

// clientChange is a change of a client that an operator can make.
type clientChange struct {
	Title, Button string
	Warnings      []string
	do            func(p *dcr.Provider, ctx context.Context, id string) error
}

var changes = map[string]clientChange{
	"revoke": {
		Title: "Revoke the tokens of this client?", Button: "Revoke all tokens", do: (*dcr.Provider).RevokeTokens,
		Warnings: []string{
			"All access tokens and refresh tokens of the client stop working. Exception: an access token that a resource server checks without asking this server (a JWT) works until it expires.",
			"The registration access token stops working. After that, only operators can change or delete the client.",
			"The client stays registered. Its users must give their consent again.",
		},
	},
	"expire": {
		Title: "Expire this client now?", Button: "Expire this client now", do: (*dcr.Provider).ExpireClient,
		Warnings: []string{
			"The client cannot be used any more, and its tokens stop working.",
			"You can still see its record here, until expired clients are removed.",
			"You cannot undo this. The client must register again.",
		},
	},
	"delete": {
		Title: "Delete this client?", Button: "Delete this client", do: (*dcr.Provider).DeleteClient,
		Warnings: []string{
			"The client and all its tokens are removed immediately.",
			"Only its history remains, if this server keeps one.",
			"You cannot undo this. The client must register again.",
		},
	},
}

// done has the texts that a page shows after a change. The address only chooses one of them.
var done = map[string]string{
	"revoke": "All tokens of the client were revoked.",
	"expire": "The client was expired.",
	"delete": "The client was deleted.",
	"swept":  "The expired clients were removed.",
	"token":  "The initial access token was revoked.",

	"refresh": "The document was fetched.",
	"block":   "The client was blocked, and its tokens were revoked.",
	"unblock": "The client was unblocked.",
}

// confirmPage asks the operator to confirm a change.
type confirmPage struct {
	frame
	Client   *record // nil where the change is not about a registered client
	Token    string
	Document string // the identifier of a client with a document
	Question clientChange
	Action   string
	Back     string
}

// askChange asks the operator to confirm a change of a client.
func (a *admin) askChange(w http.ResponseWriter, r *http.Request) error {
	id, name := r.PathValue("id"), r.PathValue("change")
	question, known := changes[name]
	if !known {
		return fosite.ErrNotFound
	}
	client, err := a.provider.FindClient(r.Context(), id)
	if err != nil {
		return err
	}
	return a.show(w, http.StatusOK, "confirm", confirmPage{
		frame: frame{Title: question.Title}, Client: a.record(r.Context(), client), Question: question,
		Action: a.path("clients", id, name), Back: a.path("clients", id),
	})
}

// doChange makes a change of a client that was confirmed.
func (a *admin) doChange(w http.ResponseWriter, r *http.Request) error {
	id, name := r.PathValue("id"), r.PathValue("change")
	change, known := changes[name]
	if !known {
		return fosite.ErrNotFound
	}
	if err := change.do(a.provider, r.Context(), id); err != nil {
		return err
	}
	back := a.path("clients", id)
	if name == "delete" {
		back = a.options.Prefix + "/"
	}
	http.Redirect(w, r, back+"?done="+name, http.StatusSeeOther)
	return nil
}
