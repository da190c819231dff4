// Package cimd fetches and keeps client metadata documents: what stands behind a client identifier that is a URL
// (draft-ietf-oauth-client-id-metadata-document, which the Model Context Protocol prefers to registration).
//
//	documents, err := cimd.New(cimd.Options{Storage: store})
//	if err != nil {
//		return err // it says everything that is wrong with the options
//	}
//	config.Documents = documents // of dcr.Config, which reads the documents by the rules of registration
//
// Identifiers. An identifier that names a document begins with https:// and has a path. It has no fragment, no user
// information, no dot segments and nothing that two readers could read in two ways; it is compared and fetched byte for
// byte. Options.Allow and Options.Deny are judged before anything is looked up.
//
// Fetches go through package outbound: public addresses only, judged when a connection is made, no redirects, 5 KiB,
// 5 seconds. Status 200 and a media type of JSON are asked for before the body is read. Options.AllowPrivate opens exact
// identifiers or hosts of an intranet, Options.Own holds documents that need no network, and behind Options.Proxy it is
// the proxy that guards the addresses.
//
// Times. A document is used as HTTP caching says, five minutes at least and a day at most. Requests for a token take a
// copy past that time and have it renewed beside; those of a user who signs in wait for the renewal. While the host is
// unavailable (no answer, any status but 200, 304 and 410, another media type, no JSON, or a document that is refused)
// the last valid one serves for another day, with one attempt a minute. 410 takes it away at once. Errors are not kept:
// where nothing is known, the next request tries again.
//
// Floods. All who wait for a URL share one fetch, which goes on when they leave. One registrable domain sees four fetches
// at once and sixty a minute, all hosts together 64 at once; what is more is refused before its name is looked up. Documents
// that are known, or that Options.Allow names exactly, have limits of their own. Memory holds Options.MaxDocuments.
//
// Several processes. With Options.Storage documents outlive the process, and processes share them: one fetches, and the
// others notice within ten seconds, as they do when an operator blocks an identifier. A storage that fails keeps no known
// document from serving; an unknown one is not fetched then, since nobody knows whether it is blocked.
//
// What is shown. A Failure is for the operator. Whether a name exists inside, and what listens there, shows in no answer:
// no address inside is connected to, and such a failure takes a second, whether the name has an address or not. So do
// failures of hosts of Options.AllowPrivate and those behind a proxy; what is wrong with a document inside is told to read
// alone.
// Documents.List, Refresh and Block are for operators.
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
	named    *http.Client // for documents that are known, or that Options.Allow names exactly
	pace     *outbound.Pace
	held     time.Duration // how long each failure takes that could show what lies inside
	patience time.Duration // how long a storage may take: a known document does not wait longer for it

	mu      sync.Mutex
	entries map[string]*entry
	order   *list.List      // of the entries that are kept, the last used first
	blocked map[string]bool // without a storage
	waiting int             // fetches under way of documents that are not known
}

// New returns Documents that know nothing yet. Its error says everything that is wrong with the options.
func New(o Options) (*Documents, error) {
	o, err := o.checked()
	if err != nil {
		return nil, err
	}
	return &Documents{
		options: o, client: newClient(o, nil), named: newClient(o, nil), pace: &outbound.Pace{Most: o.HostFetchesPerMinute},
		held: time.Second, patience: time.Second,
		entries: map[string]*entry{}, order: list.New(), blocked: map[string]bool{},
	}, nil
}

// Document returns what read made of the document that id names. effort: 0 takes a known copy, however old within the
// limit, and has one past its lifetime renewed beside; 1 waits for a fetch where the copy is past its lifetime; 2 fetches
// anew (an unknown kid), at most once a minute for each id; then the copy is returned. Where nothing is known, each waits
// for a fetch. A copy whose renewal failed serves for a minute before the next attempt.
//
// read is called once for each fetch, with what it returned for the copy before (nil: none in this process), and once for a
// copy from the storage, with nil: it gets the document or what failed, which is a *Failure. What it returns is kept
// in memory with the copy and returned for it until the next. Its error says that the document is refused: a copy that
// was valid stays. Its context is not the caller's: it has the values of one who waits, and Options.Timeout. read is not
// called where a limit of this server prevented a fetch.
//
// An error that is fs.ErrNotExist says that there is no such client: id is no document's URL, it is not allowed, blocked,
// or gone (410). Any other says that the document can't be had now, or what read returned.
func (d *Documents) Document(
	ctx context.Context, id string, effort int,
	read func(ctx context.Context, previous any, document []byte, failure error) (any, error),
) (any, error) {
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
