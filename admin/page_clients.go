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

type clientsPage struct {
	frame
	Done     string
	Problem  string     // why there is no list
	Summary  *summary   // on the first page of all clients
	Asked    url.Values // what the form was sent with
	Filtered bool
	Detailed bool // a field is in use that the form hides at first
	Clients  []*record
	Older    string
	First    string // where this is a later part of the list
	Quick    []link
}

type link struct {
	Text, Href string
	Here       bool
}

// showClients is the list. What is wrong with the form, or with the storage, is told above
// the form, so that it can be sent again.
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
		page.Detailed = page.Detailed || !empty && name != "cursor" && name != "limit" && name != "search" && name != "never_used"
	}
	status := http.StatusOK
	if err := a.fillClients(r.Context(), page); err != nil {
		answer := refusalOf(err)
		if answer.status != http.StatusBadRequest && answer.status != http.StatusNotImplemented {
			return err
		}
		status, page.Problem = answer.status, answer.description
		if status == http.StatusNotImplemented {
			page.Problem = "The storage of this server can not list clients. One whose identifier you know can still be opened below."
		}
	}
	page.Quick = a.quick(values)
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

// listing returns where the list is, with one parameter changed and no empty ones.
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

// quick are lists that operators want often.
func (a *admin) quick(asked url.Values) []link {
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
		links = append(links, link{text, a.listing(nil, name, value), here})
	}
	add("All", "", "")
	add("Never used", "never_used", "true")
	add("Ended, or ending within an hour unless used", "expiring_before", now.Add(time.Hour).Format(formTime))
	add("Registered within a day", "created_from", now.Add(-24*time.Hour).Format(formTime))
	return links
}

// openClient leads to a client by its identifier.
func (a *admin) openClient(w http.ResponseWriter, r *http.Request) error {
	id := strings.TrimSpace(r.URL.Query().Get("id"))
	if id == "" {
		return badRequest("id is missing.")
	}
	http.Redirect(w, r, a.path("clients", id), http.StatusSeeOther)
	return nil
}

type clientPage struct {
	frame
	Done   string
	Client *whole
	Rows   []row
	Alike  int    // how many other clients have the name
	Same   string // where clients of the same name are listed
	Issued string // where clients of the same initial access token are listed
	User   string // where clients of the same subject are listed
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
		Client: client, Rows: rows(client.Metadata), Alike: *client.Display.SameName,
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

type gonePage struct {
	frame
	ID      string
	History []Entry
}

// showGone tells what is known of a client that is not registered, or not any more.
func (a *admin) showGone(w http.ResponseWriter, r *http.Request, id string) error {
	history, err := a.pastOf(r.Context(), id)
	if err != nil {
		return err
	}
	return a.show(w, http.StatusNotFound, "gone", gonePage{frame{Title: "Not found"}, id, history})
}

// clientChange is what can be done to a client.
type clientChange struct {
	Title, Button string
	Warnings      []string
	do            func(p *dcr.Provider, ctx context.Context, id string) error
}

var changes = map[string]clientChange{
	"revoke": {
		Title: "Revoke the tokens of this client?", Button: "Revoke all tokens", do: (*dcr.Provider).RevokeTokens,
		Warnings: []string{
			"Its access and refresh tokens stop working, except access tokens that resource servers check by themselves, which work until they expire.",
			"Its registration access token stops working, so that nobody can change the client any more.",
			"The client stays registered. Its users have to allow it again.",
		},
	},
	"expire": {
		Title: "End this client now?", Button: "End it now", do: (*dcr.Provider).ExpireClient,
		Warnings: []string{
			"The client can not be used any more, and what it has been given stops working with it.",
			"Its record can be seen here until the next sweep.",
			"This can not be undone: the client has to register again.",
		},
	},
	"delete": {
		Title: "Delete this client?", Button: "Delete it", do: (*dcr.Provider).DeleteClient,
		Warnings: []string{
			"The client and all its tokens are removed at once.",
			"Nothing remains but its history, where one is kept.",
			"This can not be undone: the client has to register again.",
		},
	},
}

// done is what a page says after a change: words of ours, whatever the address says.
var done = map[string]string{
	"revoke": "The tokens of the client are revoked.",
	"expire": "The client has ended.",
	"delete": "The client is deleted.",
	"swept":  "The records of clients that have ended are removed.",
	"token":  "The initial access token is revoked.",
}

type confirmPage struct {
	frame
	Client   *record // nil where it is not about one
	Token    string
	Question clientChange
	Action   string
	Back     string
}

// askChange asks before a change.
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
