package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/cimd"
	"github.com/fosite-contrib/fosite-dcr/consent"
)

// document is what an operator sees of a client metadata document, or of an identifier that is blocked.
type document struct {
	ClientID  string    `json:"client_id"`
	Host      string    `json:"host"`
	FetchedAt time.Time `json:"fetched_at,omitzero"`
	// FreshUntil is when the copy is renewed by the next use.
	FreshUntil time.Time `json:"fresh_until,omitzero"`
	LastUsedAt time.Time `json:"last_used_at,omitzero"`
	Blocked    bool      `json:"blocked"`
	// Failure says why the last fetch of this process brought nothing; nil where it brought a document.
	Failure *fetchFailure `json:"failure,omitempty"`
}

// fetchFailure says why a fetch brought nothing.
type fetchFailure struct {
	At          time.Time `json:"at"`
	Reason      string    `json:"reason"`
	Status      int       `json:"status,omitempty"`
	MediaType   string    `json:"media_type,omitempty"`
	Description string    `json:"description,omitempty"`
}

// Stored reports whether a copy is kept.
func (d *document) Stored() bool { return !d.FetchedAt.IsZero() }

func newDocument(k cimd.Known) *document {
	d := &document{
		ClientID: k.ID, Host: k.Host, FetchedAt: k.Fetched, FreshUntil: k.Expires, LastUsedAt: k.Used, Blocked: k.Blocked,
	}
	if k.Failure == nil {
		return d
	}
	d.Failure = &fetchFailure{At: k.Failed}
	d.Failure.Reason, d.Failure.Description = reasonOf(k.Failure, true)
	var failure *cimd.Failure
	if errors.As(k.Failure, &failure) {
		d.Failure.Status, d.Failure.MediaType = failure.Status(), cut(failure.MediaType(), 100)
		d.Failure.Description = causeOfFetch(failure)
	}
	return d
}

// causeOfFetch says why there was no answer, without the identifier, which may be long. It is empty where there was one.
func causeOfFetch(f *cimd.Failure) string {
	if f.Status() != 0 {
		return ""
	}
	cause := f.Unwrap()
	if request := new(url.Error); errors.As(cause, &request) {
		cause = request.Err
	}
	return cut(cause.Error(), 300)
}

// isURL reports whether an identifier can be the URL of a document.
func isURL(id string) bool {
	return strings.HasPrefix(id, "https://") || strings.HasPrefix(id, "http://")
}

// ofDocument reports whether an identifier is that of a document, where operators see documents.
func (a *admin) ofDocument(id string) bool { return a.options.Documents != nil && isURL(id) }

// documents returns up to limit documents that follow after, and the next value of after if there are more.
func (a *admin) documents(ctx context.Context, after string, limit int) (page []*document, next string, err error) {
	known, err := a.options.Documents.List(ctx, after, limit+1)
	if err != nil {
		return nil, "", err
	}
	page = []*document{}
	for _, k := range known[:min(len(known), limit)] {
		page = append(page, newDocument(k))
	}
	if len(known) > limit {
		next = known[limit-1].ID
	}
	return page, next, nil
}

// readDocument returns what is known of one identifier.
func (a *admin) readDocument(ctx context.Context, id string) (*document, error) {
	known, err := a.options.Documents.Find(ctx, id)
	if err != nil {
		return nil, unknownDocument(err)
	}
	return newDocument(known), nil
}

// unknownDocument returns fosite.ErrNotFound for the error of package cimd that means it.
func unknownDocument(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fosite.ErrNotFound
	}
	return err
}

// resolved is what the server made of a document.
type resolved struct {
	Metadata map[string]json.RawMessage `json:"metadata"`
	Keys     []key                      `json:"keys,omitempty"`
	Display  display                    `json:"display"`
}

// wholeDocument is one document with its client and its history.
type wholeDocument struct {
	*document
	Client *resolved `json:"client,omitempty"` // nil where no copy is kept that this server accepts
	// HistoryKept says whether the server keeps a history.
	HistoryKept bool    `json:"history_kept"`
	History     []Entry `json:"history"`
}

// findDocument returns one document with its client and its history.
func (a *admin) findDocument(ctx context.Context, id string) (*wholeDocument, error) {
	d, err := a.readDocument(ctx, id)
	if err != nil {
		return nil, err
	}
	history, err := a.documentHistory(ctx, id)
	if err != nil {
		return nil, err
	}
	w := &wholeDocument{document: d, HistoryKept: a.options.History != nil, History: history}
	if d.Stored() {
		w.Client, err = a.resolve(ctx, id)
	}
	return w, err
}

// resolve returns the client of a copy that is kept. Nothing is fetched.
func (a *admin) resolve(ctx context.Context, id string) (*resolved, error) {
	found, err := a.provider.Store.GetClient(cimd.Look(ctx), id)
	if errors.Is(err, fosite.ErrNotFound) || errors.Is(err, fosite.ErrInvalidClient) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	client, ok := dcr.RegisteredClient(found)
	if !ok {
		return nil, nil // a static client has the identifier
	}
	d, _ := consent.Describe(ctx, uncounted{a.provider}, client) // nothing is counted, so nothing fails
	r := &resolved{Display: newDisplay(d)}
	r.Metadata, r.Keys = shown(client)
	return r, nil
}

// documentHistory returns the events of a document, the oldest first. Those that anybody can cause are among the events
// without a client until the document has changed once.
func (a *admin) documentHistory(ctx context.Context, id string) ([]Entry, error) {
	if a.options.History == nil {
		return []Entry{}, nil
	}
	kept, err := a.options.History.ClientEvents(ctx, id)
	if err != nil {
		return nil, err
	}
	others, err := a.options.History.OtherEvents(ctx, mostOthers)
	if err != nil {
		return nil, err
	}
	all := slices.Clone(kept)
	for _, entry := range slices.Backward(others) {
		if entry.ClientID == id {
			all = append(all, entry)
		}
	}
	slices.SortStableFunc(all, func(a, b Entry) int { return a.Time.Compare(b.Time) })
	return append([]Entry{}, all...), nil
}

// changeDocument makes one of documentChanges.
func (a *admin) changeDocument(ctx context.Context, name, id string) error {
	switch name {
	case "block":
		return a.block(ctx, id)
	case "unblock":
		return a.options.Documents.Block(ctx, id, false)
	}
	return a.revokeDocument(ctx, id)
}

// block refuses a client, and then removes its tokens: an access token would live on where a resource server does not
// ask for the client. The other order would leave it the tokens that it gets in between.
func (a *admin) block(ctx context.Context, id string) error {
	err := a.options.Documents.Block(ctx, id, true)
	if errors.Is(err, fs.ErrNotExist) {
		return badRequest("The identifier cannot be the URL of a document.")
	} else if err != nil {
		return err
	}
	if err = a.revokeDocument(ctx, id); err != nil {
		answer := *refusalOf(err)
		answer.description = "The client is blocked, but its tokens were not revoked. " + answer.description
		return &failure{&answer, err}
	}
	return nil
}

// revokeDocument removes the tokens and grants of a client. The provider finds no record of it where the storage can't
// remove grants.
func (a *admin) revokeDocument(ctx context.Context, id string) error {
	if !isURL(id) {
		return fosite.ErrNotFound
	}
	err := a.provider.RevokeTokens(ctx, id)
	if errors.Is(err, fosite.ErrNotFound) {
		return dcr.ErrNotSupported
	}
	return err
}

// refresh fetches a document now, and returns what is known of it then.
func (a *admin) refresh(ctx context.Context, id string) (*document, error) {
	d, err := a.readDocument(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case d.Blocked:
		return nil, badRequest("The client is blocked. Unblock it before its document is fetched.")
	}
	if err := a.options.Documents.Refresh(ctx, id); err != nil {
		return nil, unknownDocument(err)
	}
	// What a document says is not the operator's doing. With fosite's key, the provider waits as it does for a sign-in.
	waiting := context.WithValue(dcr.AsOperator(ctx, ""), fosite.AuthorizeRequestContextKey, fosite.NewAuthorizeRequest())
	_, lookup := a.provider.Store.GetClient(waiting, id)
	d, err = a.readDocument(ctx, id)
	if err == nil && d.Failure == nil && lookup != nil && !errors.Is(lookup, fosite.ErrNotFound) {
		return nil, hidden(lookup)
	}
	return d, err
}

// documentID returns the identifier that a request names.
func documentID(r *http.Request) (string, error) {
	values, err := parameterValues(r)
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(values.Get("id"))
	if id == "" {
		return "", badRequest("id is missing.")
	}
	return id, nil
}

func (a *admin) listDocuments(w http.ResponseWriter, r *http.Request) error {
	after, limit, err := readPage(r)
	if err != nil {
		return err
	}
	page, next, err := a.documents(r.Context(), after, limit)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		Documents []*document `json:"documents"`
		Next      string      `json:"next,omitempty"`
	}{page, next})
	return nil
}

func (a *admin) getDocument(w http.ResponseWriter, r *http.Request) error {
	id, err := documentID(r)
	if err != nil {
		return err
	}
	d, err := a.findDocument(r.Context(), id)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, d)
	return nil
}

func (a *admin) refreshNow(w http.ResponseWriter, r *http.Request) error {
	id, err := documentID(r)
	if err != nil {
		return err
	}
	d, err := a.refresh(r.Context(), id)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, d)
	return nil
}

// changeNow is an action of the API that changes one document.
func (a *admin) changeNow(name string) action {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := documentID(r)
		if err != nil {
			return err
		}
		if err := a.changeDocument(r.Context(), name, id); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}
