package admin

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/ory/fosite"
)

// documentsPage is the list of documents.
type documentsPage struct {
	frame
	Documents []*document
	First     string // the address of the first part, where this is a later one
	More      string // the address of the next part, where there is one
}

func (a *admin) showDocuments(w http.ResponseWriter, r *http.Request) error {
	after, limit, err := readPage(r)
	if err != nil {
		return err
	}
	page := documentsPage{frame: frame{Title: "Documents", Here: "documents"}}
	var next string
	if page.Documents, next, err = a.documents(r.Context(), after, limit); err != nil {
		return err
	}
	if after != "" {
		page.First = a.path("documents")
	}
	if next != "" {
		query := r.URL.Query()
		query.Set("after", next)
		page.More = a.path("documents") + "?" + query.Encode()
	}
	return a.show(w, http.StatusOK, "documents", page)
}

// documentPage is the page of one document, or of an identifier that has none.
type documentPage struct {
	frame
	Done, Problem string
	Document      *wholeDocument
	Rows          []row
}

func (a *admin) showDocument(w http.ResponseWriter, r *http.Request) error {
	id, err := documentID(r)
	if err != nil {
		return err
	}
	did := r.URL.Query().Get("done")
	page := documentPage{frame: frame{Title: "Document of " + hostOf(id), Here: "documents"}, Done: done[did]}
	if did == "not-refreshed" {
		page.Problem = "The document was not renewed."
	}
	status := http.StatusOK
	page.Document, err = a.findDocument(r.Context(), id)
	switch {
	case errors.Is(err, fosite.ErrNotFound):
		status, page.Document = http.StatusNotFound, &wholeDocument{document: &document{ClientID: id, Host: hostOf(id)}, HistoryKept: a.options.History != nil}
		if page.Document.History, err = a.documentHistory(r.Context(), id); err != nil {
			return err
		}
	case err != nil:
		return err
	case page.Document.Client != nil:
		page.Rows = rows(page.Document.Client.Metadata)
	}
	return a.show(w, status, "document", page)
}

// hostOf returns the host of an identifier that is a URL, and the beginning of any other.
func hostOf(id string) string {
	if u, err := url.Parse(id); err == nil && isURL(id) && u.Host != "" {
		return u.Host
	}
	return cut(id, 100)
}

// documentPath returns the path of the page of a document, or of a change of it.
func (a *admin) documentPath(id string, segments ...string) string {
	return a.path(append([]string{"document"}, segments...)...) + "?" + url.Values{"id": {id}}.Encode()
}

// clientPath returns the path of the page of a client, whatever it has: a registration or a document.
func (a *admin) clientPath(id string) string {
	if a.ofDocument(id) {
		return a.documentPath(id)
	}
	return a.path("clients", id)
}

// tail returns an identifier for lists: a long one is cut on the left. The host of a document stands before it.
func tail(id string) string {
	const most = 100
	if len(id) <= most {
		return id
	}
	return "…" + id[len(id)-most:]
}

// documentChanges are the changes of a document that an operator can make.
var documentChanges = map[string]clientChange{
	"refresh": {
		Title: "Fetch this document now?", Button: "Fetch now",
		Warnings: []string{"If the host of the document does not answer, the last copy stays in use for a limited time."},
	},
	"block": {
		Title: "Block this client?", Button: "Block this client",
		Warnings: []string{
			"The client cannot be used any more, whatever its document says.",
			"All its access tokens and refresh tokens are revoked. Exception: an access token that a resource server checks without asking this server (a JWT) works until it expires.",
			"If several processes share the storage, the others notice within ten seconds. Revoke the tokens again after that.",
			"You can unblock it. Its users must then sign in again.",
		},
	},
	"unblock": {
		Title: "Unblock this client?", Button: "Unblock this client",
		Warnings: []string{"The client can be used again, if the configuration of the server accepts it. Its users must sign in again."},
	},
	"revoke": {
		Title: "Revoke the tokens of this client?", Button: "Revoke all tokens",
		Warnings: []string{
			"All access tokens and refresh tokens of the client stop working. Exception: an access token that a resource server checks without asking this server (a JWT) works until it expires.",
			"The client can be used again at once. To prevent that, block it.",
		},
	},
}

// askDocument asks the operator to confirm a change of a document.
func (a *admin) askDocument(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("change")
	question, known := documentChanges[name]
	if !known {
		return fosite.ErrNotFound
	}
	id, err := documentID(r)
	if err != nil {
		return err
	}
	return a.show(w, http.StatusOK, "confirm", confirmPage{
		frame: frame{Title: question.Title, Here: "documents"}, Document: id, Question: question,
		Action: a.documentPath(id, name), Back: a.documentPath(id),
	})
}

// doDocument makes a change of a document that was confirmed.
func (a *admin) doDocument(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("change")
	if _, known := documentChanges[name]; !known {
		return fosite.ErrNotFound
	}
	id, err := documentID(r)
	if err != nil {
		return err
	}
	outcome := name
	if name == "refresh" {
		d, err := a.refresh(r.Context(), id)
		switch {
		case errors.Is(err, fosite.ErrNotFound), err == nil && d.Failure != nil:
			outcome = "not-refreshed"
		case err != nil:
			return err
		}
	} else if err := a.changeDocument(r.Context(), name, id); err != nil {
		return err
	}
	http.Redirect(w, r, a.documentPath(id)+"&done="+outcome, http.StatusSeeOther)
	return nil
}

// failed says in words why a document was not fetched, or that it broke a rule.
func failed(reason string) string {
	switch reason {
	case "lookup":
		return "host name not found"
	case "address":
		return "address not allowed"
	case "tls":
		return "no secure connection"
	case "timeout":
		return "no answer in time"
	case "connection":
		return "no connection"
	case "status":
		return "no document"
	case "media_type":
		return "not JSON"
	case "size":
		return "too large"
	case "json":
		return "not a JSON object"
	case "busy":
		return "limit of this server reached"
	case "error":
		return "the server failed"
	}
	return "breaks a rule: " + seen(reason)
}
