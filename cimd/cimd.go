// Package cimd fetches and keeps client metadata documents: what stands behind a client identifier that is a URL
// (draft-ietf-oauth-client-id-metadata-document).
package cimd

import (
	"container/list"
	"context"
	"fmt"
	"io/fs"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// read is what the caller makes of a document, or of a failure to get it. See Documents.Document.
type read = func(ctx context.Context, previous any, document []byte, failure error) (any, error)

// Documents fetches and keeps documents. It is the dcr.Documents of dcr.Config. It is safe for concurrent use.
type Documents struct {
	options  Options
	client   *http.Client
	pace     *pace
	held     time.Duration // how long each failure takes that could show what lies inside
	patience time.Duration // how long a storage may take: a known document does not wait longer for it

	mu      sync.Mutex
	entries map[string]*entry
	order   *list.List      // of the entries that are kept, the last used first
	blocked map[string]bool // without a storage
}

// New returns Documents that know nothing yet. Its error says everything that is wrong with the options.
func New(o Options) (*Documents, error) {
	o, err := o.checked()
	if err != nil {
		return nil, err
	}
	return &Documents{
		options: o, client: newClient(o, nil), pace: &pace{most: o.HostFetchesPerMinute}, held: time.Second, patience: time.Second,
		entries: map[string]*entry{}, order: list.New(), blocked: map[string]bool{},
	}, nil
}

// Document returns what read made of the document that id names. effort: 0 takes a known copy, however old within the
// limit, and has one past its lifetime renewed beside; 1 waits for a fetch where the copy is past its lifetime; 2 fetches
// anew (an unknown kid), at most once a minute for each id; then the copy is returned. Where nothing is known, each waits
// for a fetch. A copy whose renewal failed serves for a minute before the next attempt.
//
// read is called once for each fetch, and once for a copy restored from storage: with what read returned for the copy
// before (nil: none in this process), and with the document or what failed, which is a *Failure. What it returns is kept
// in memory with the copy and returned for it until the next. Its error says that the document is refused: a copy that
// was valid stays. Its context is not the caller's: it has the values of one who waits, and Options.Timeout. read is not
// called where a limit of this server prevented a fetch.
//
// An error that is fs.ErrNotExist says that there is no such client: id is no document's URL, it is not allowed, blocked,
// or gone (410). Any other says that the document can't be had now, or what read returned.
func (d *Documents) Document(ctx context.Context, id string, effort int, read read) (any, error) {
	host := ""
	for {
		d.mu.Lock()
		e := d.entries[id]
		if e == nil && host == "" {
			d.mu.Unlock()
			var err error
			if host, err = d.admit(id); err != nil {
				return nil, err
			}
			continue
		}
		if e == nil {
			e = d.entry(id, host)
		}
		now := d.options.Now()
		if d.options.Storage != nil && e.unchecked(now) {
			if err := d.check(ctx, e, read); err != nil {
				return nil, err
			}
			continue
		}
		if looks(ctx) {
			defer d.mu.Unlock()
			d.drop(e)
			if e.known == nil {
				return nil, errUnknown
			}
			return e.value, nil
		}
		if e.blocked || d.blocked[id] {
			d.drop(e)
			d.mu.Unlock()
			return nil, errBlocked
		}
		d.note(e, now)
		switch value := e.value; e.next(effort, now, d.options.StaleFor) {
		case renew:
			d.launch(ctx, e, false, read)
			fallthrough
		case serve:
			d.mu.Unlock()
			return value, nil
		default:
			f := d.launch(ctx, e, effort >= 2, read)
			d.mu.Unlock()
			return f.wait(ctx)
		}
	}
}

// AcceptsStrangers reports whether a document that is not one of Options.Own could be accepted: so it does unless
// Options.Allow is empty and not nil.
func (d *Documents) AcceptsStrangers() bool {
	return d.options.Allow == nil || len(d.options.Allow) > 0
}

var (
	errNoURL      = fmt.Errorf("cimd: the identifier is no URL of a document: %w", fs.ErrNotExist)
	errNotAllowed = fmt.Errorf("cimd: the identifier is not allowed: %w", fs.ErrNotExist)
	errBlocked    = fmt.Errorf("cimd: the identifier is blocked: %w", fs.ErrNotExist)
	errUnknown    = fmt.Errorf("cimd: no document of this identifier is known: %w", fs.ErrNotExist)
)

// admit judges an identifier by its form and by the lists, before anything is looked up, and returns its host.
func (d *Documents) admit(id string) (host string, err error) {
	scheme, host, ok := documentURL(id)
	_, own := d.options.Own[id]
	loopback := d.options.InsecureAllowLoopback && outbound.LoopbackHost(host)
	switch {
	case !ok, scheme != "https" && !own && !loopback:
		return "", errNoURL
	case own:
		return host, nil
	case d.options.Deny.Has(id, true), d.options.Allow != nil && !d.options.Allow.Has(id, false):
		return "", errNotAllowed
	}
	return host, nil
}

// wait returns what a fetch brought. Who goes before takes nothing from the others.
func (f *flight) wait(ctx context.Context) (any, error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return nil, fmt.Errorf("cimd: the document was not there in time: %w", context.Cause(ctx))
	}
}

// call calls read with a context and a deadline of its own. A panic of what the application does there is an error: read
// runs beside the requests, where it would end the process.
func (d *Documents) call(ctx context.Context, read read, previous any, document []byte, failure error) (value any, err error) {
	ctx, cancel := context.WithTimeout(ctx, d.options.Timeout)
	defer cancel()
	defer func() {
		if cause := recover(); cause != nil {
			value, err = nil, fmt.Errorf("cimd: reading the document: panic: %v\n%s", cause, debug.Stack())
		}
	}()
	return read(ctx, previous, document, failure)
}
