package cimd

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Known is what an operator sees of a document that is kept, or of an identifier that is blocked.
type Known struct {
	// ID is the client identifier, which is the URL of the document.
	ID string
	// Host is the host of the identifier, with the port where it has one.
	Host string
	// Fetched is when the document was fetched, or the host last said that it is still good. Zero where none is kept.
	Fetched time.Time
	// Expires is when the lifetime of the document ends. It is then renewed by the next use.
	Expires time.Time
	// Used is when the document was last used, exact to an hour.
	Used time.Time
	// Failure is why the last fetch of this process brought nothing, or why its document was refused: a *Failure, or what
	// read returned. Nil where it brought a document.
	Failure error
	// Failed is when that was.
	Failed time.Time
	// Blocked is whether an operator blocked the identifier.
	Blocked bool
}

// List returns up to limit of what is known, ordered by identifier, after one ("" is the start). Documents of Options.Own
// are not among them.
func (d *Documents) List(ctx context.Context, after string, limit int) ([]Known, error) {
	var page []Known
	if d.options.Storage == nil {
		return d.inMemory(after, limit), nil
	}
	err := d.options.Storage.ListDocuments(ctx, after, limit, func(id string, record []byte, used time.Time, blocked bool) {
		page = append(page, newKnown(id, fromRecord(record), used, blocked))
	})
	if err != nil {
		return nil, fmt.Errorf("cimd: the storage of documents: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range page {
		if e := d.entries[page[i].ID]; e != nil {
			page[i].failedAs(e)
		}
	}
	return page, nil
}

func (d *Documents) inMemory(after string, limit int) []Known {
	d.mu.Lock()
	defer d.mu.Unlock()
	var page []Known
	for id, e := range d.entries {
		if _, own := d.options.Own[id]; id > after && e.known != nil && !own {
			known := newKnown(id, e.known, e.used, d.blocked[id])
			known.failedAs(e)
			page = append(page, known)
		}
	}
	for id := range d.blocked {
		_, own := d.options.Own[id]
		if e := d.entries[id]; id > after && (own || e == nil || e.known == nil) {
			page = append(page, newKnown(id, nil, time.Time{}, true))
		}
	}
	slices.SortFunc(page, func(a, b Known) int { return strings.Compare(a.ID, b.ID) })
	return page[:min(len(page), max(0, limit))]
}

func newKnown(id string, doc *document, used time.Time, blocked bool) Known {
	known := Known{ID: id, Used: used, Blocked: blocked}
	if parsed, err := url.Parse(id); err == nil {
		known.Host = parsed.Host
	}
	if doc != nil {
		known.Fetched, known.Expires = doc.fetched, doc.expires
	}
	return known
}

func (k *Known) failedAs(e *entry) {
	if k.Failure = e.failure; k.Failure != nil {
		k.Failed = e.attempted
	}
}

// Find returns what is known of one identifier. The error is fs.ErrNotExist where no document is kept and the identifier is
// not blocked.
func (d *Documents) Find(ctx context.Context, id string) (Known, error) {
	if _, _, ok := documentURL(id); !ok {
		return Known{}, errNoURL
	}
	// No identifier has a byte beyond '~', so nothing lies between this place and the identifier.
	last := len(id) - 1
	page, err := d.List(ctx, id[:last]+string(id[last]-1)+"\x7f", 1)
	switch {
	case err != nil:
		return Known{}, err
	case len(page) == 0 || page[0].ID != id:
		return Known{}, errUnknown
	}
	return page[0], nil
}

type lookKey struct{}

// Look returns a context for an operator's look at a document: Document takes the copy that is kept, however old, also where
// its identifier is blocked. Nothing is fetched, and the look counts as no use. Where no copy is kept, the error is
// fs.ErrNotExist.
func Look(ctx context.Context) context.Context { return context.WithValue(ctx, lookKey{}, true) }

func looks(ctx context.Context) bool { return ctx.Value(lookKey{}) != nil }

// Refresh ends the lifetime of a known document, so that its next use fetches it: a request that may wait for a fetch
// waits, and any other has it renewed beside. The document stays, within Options.StaleFor, until a newer one is there.
// Other processes notice within ten seconds. The error is fs.ErrNotExist where no document is known.
func (d *Documents) Refresh(ctx context.Context, id string) error {
	now := d.options.Now()
	d.mu.Lock()
	var known *document
	if e := d.entries[id]; e != nil && e.known != nil {
		e.known, e.failure = e.known.expired(now), nil
		known = e.known
	}
	d.mu.Unlock()
	if d.options.Storage != nil {
		record, _, err := d.options.Storage.FindDocument(ctx, id)
		if err != nil {
			return fmt.Errorf("cimd: the storage of documents: %w", err)
		}
		if stored := fromRecord(record); stored != nil {
			known = stored.expired(now)
			if record, err = known.record(); err == nil {
				_, err = d.options.Storage.SaveDocument(ctx, id, record, now, d.options.MaxDocuments)
			}
			if err != nil {
				return fmt.Errorf("cimd: the storage of documents: %w", err)
			}
		}
	}
	if known == nil {
		return errUnknown
	}
	return nil
}

// Block refuses an identifier from now on, whether a document is known or not, or ends that. It revokes nothing: access
// tokens live on until they expire, or Provider.RevokeTokens of package dcr ends them. Other processes notice
// within ten seconds. Without Options.Storage it is forgotten with the process: Options.Deny is not. What can be no
// document's URL can't be blocked: the error is fs.ErrNotExist.
func (d *Documents) Block(ctx context.Context, id string, blocked bool) error {
	if _, _, ok := documentURL(id); blocked && !ok {
		return errNoURL
	}
	if d.options.Storage != nil {
		if err := d.options.Storage.BlockDocument(ctx, id, blocked); err != nil {
			return fmt.Errorf("cimd: the storage of documents: %w", err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.options.Storage != nil:
		if e := d.entries[id]; e != nil {
			e.blocked = blocked
		}
	case blocked:
		d.blocked[id] = true
	default:
		delete(d.blocked, id)
	}
	return nil
}
