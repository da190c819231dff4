package cimd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http/httptrace"
	"slices"
	"time"
)

// errNothing is the error of a fetch that ended without any other.
var errNothing = errors.New("cimd: the document could not be fetched")

// launch begins a fetch, unless one is under way, and returns it. It does not end with the request that happens to be the
// first: that one could be cancelled by whoever sent it. So there is a bound for those of documents that are not known, which
// anybody can order; who comes then is refused. The caller holds the lock.
func (d *Documents) launch(ctx context.Context, e *entry, anew bool, read read) *flight {
	if e.flight != nil {
		return e.flight
	}
	f := &flight{done: make(chan struct{}), anew: anew, first: e.known == nil && !d.lists(e.id)}
	if f.first {
		if d.waiting >= queue*d.options.Fetches {
			f.err = &Failure{reason: "busy", cause: errQueue}
			close(f.done)
			d.drop(e)
			return f
		}
		d.waiting++
	}
	e.flight = f
	go d.fly(context.WithoutCancel(ctx), e, f, read)
	return f
}

// queue is how many fetches wait for each that is under way, at most.
const queue = 16

var errQueue = errors.New("too many fetches wait")

// lists reports whether the options name an identifier exactly.
func (d *Documents) lists(id string) bool {
	_, own := d.options.Own[id]
	return own || slices.Contains(d.options.Allow, id)
}

// fly fetches on behalf of all who wait.
func (d *Documents) fly(ctx context.Context, e *entry, f *flight, read read) {
	err := errNothing
	defer func() { d.land(e, f, err) }() // also after a panic: others wait
	if body, own := d.options.Own[e.id]; own {
		forever := d.options.Now().AddDate(100, 0, 0)
		err = d.accept(ctx, e, &document{body: body, fetched: d.options.Now(), expires: forever}, read)
		return
	}
	var done bool
	if done, err = d.spared(ctx, e, f, read); done {
		return
	}
	d.mu.Lock()
	known, previous := e.known, e.value
	d.mu.Unlock()
	since := time.Now()
	turn := &httptrace.ClientTrace{GetConn: func(string) { since = time.Now() }} // until then others had theirs
	fresh, failure := d.fetch(httptrace.WithClientTrace(ctx, turn), e.id, e.site, known)
	if failure != nil {
		err = d.failed(ctx, e, failure, previous, read)
	} else if err = d.accept(ctx, e, fresh, read); err == nil {
		d.save(ctx, e)
		return
	}
	private := d.options.AllowPrivate.Has(e.id, false)
	if private {
		err = hidden(err, failure, known != nil)
	}
	if private || d.options.Proxy != nil || failure.hides() {
		d.hold(since)
	}
}

// hidden returns the error of a host that may lie inside: by it nobody can tell what is there (CIMD, security
// considerations), unless a document was known.
func hidden(err error, failure *Failure, known bool) error {
	switch {
	case failure == nil:
		return fmt.Errorf("cimd: the document from inside is refused: %s", err) // without what errors.As could find
	case failure.gone() && !known:
		return failure
	}
	return err
}

// spared reports whether there is no need for a fetch, or no right to one: another process has fetched the document, or
// its identifier is blocked, or nobody knows whether it is.
func (d *Documents) spared(ctx context.Context, e *entry, f *flight, read read) (bool, error) {
	if d.options.Storage == nil {
		return false, nil
	}
	d.mu.Lock()
	asked := e.fault == nil && d.options.Now().Sub(e.checked) < time.Second // by the request that launched this
	d.mu.Unlock()
	if !asked {
		d.consult(ctx, e, read)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.options.Now()
	switch usable := e.usable(now, d.options.StaleFor); {
	case e.blocked:
		return true, errBlocked
	case e.fault != nil && !usable:
		return true, fmt.Errorf("cimd: the storage of documents: %w", e.fault)
	case !usable, e.overdue:
		return false, nil
	case f.anew:
		return now.Sub(e.attempted) < between, nil
	default:
		return now.Before(e.known.expires), nil
	}
}

// accept has a document read, and makes it the known one.
func (d *Documents) accept(ctx context.Context, e *entry, fresh *document, read read) error {
	d.mu.Lock()
	previous := e.value
	d.mu.Unlock()
	value, err := d.call(ctx, read, previous, fresh.body, nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	e.attempted, e.failure = d.options.Now(), err
	if err == nil {
		e.known, e.value = fresh, value
	}
	return err
}

// failed has a failure read, and takes the document away where its host says that it is gone.
func (d *Documents) failed(ctx context.Context, e *entry, failure *Failure, previous any, read read) error {
	var err error = failure
	if failure.reason != "busy" {
		if _, refusal := d.call(ctx, read, previous, nil, failure); refusal != nil {
			err = refusal
		}
	}
	if failure.gone() {
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, failure)
		d.withdraw(ctx, e)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e.attempted, e.failure = d.options.Now(), failure
	return err
}

// land ends a fetch. Where it failed, the copy that there was serves.
func (d *Documents) land(e *entry, f *flight, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	e.flight, e.overdue = nil, false
	if f.first {
		d.waiting--
	}
	f.value, f.err = e.value, err
	switch {
	case errors.Is(err, errBlocked):
		f.value = nil
	case e.usable(d.options.Now(), d.options.StaleFor):
		f.err = nil
	case err != nil:
		f.value = nil
	}
	if e.known != nil || e.blocked || !e.ignored.IsZero() {
		d.keep(e)
	}
	d.drop(e)
	close(f.done)
}
