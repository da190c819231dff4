package cimd

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// check asks the storage about an entry, or waits for who does. The caller holds the lock, and gets it back released.
func (d *Documents) check(ctx context.Context, e *entry, read read) error {
	if checking := e.checking; checking != nil {
		d.mu.Unlock()
		select {
		case <-checking:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("cimd: the storage of documents did not answer in time: %w", context.Cause(ctx))
		}
	}
	checking := make(chan struct{})
	e.checking = checking
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		e.checking = nil
		close(checking)
	}()
	d.consult(context.WithoutCancel(ctx), e, read)
	return nil
}

// consult asks the storage whether an identifier is blocked, and whether another process has fetched its document. A
// storage that fails changes nothing.
func (d *Documents) consult(ctx context.Context, e *entry, read read) {
	asked, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	d.mu.Lock()
	before := e.blocked
	d.mu.Unlock()
	record, blocked, err := d.options.Storage.FindDocument(asked, e.id)
	d.mu.Lock()
	e.checked, e.fault = d.options.Now(), err
	if err == nil && e.blocked == before { // else Block knows better
		e.blocked = blocked
	}
	if e.blocked {
		d.keep(e)
	}
	d.mu.Unlock()
	if _, own := d.options.Own[e.id]; own || err != nil {
		return
	}
	d.adopt(ctx, e, fromRecord(record), read)
	d.touch(asked, e)
}

// adopt takes over what the storage has. A record that is not there any more was withdrawn by another process, or made
// room: the host is asked.
func (d *Documents) adopt(ctx context.Context, e *entry, stored *document, read read) {
	if stored != nil {
		stored = stored.bounded(d.options)
	}
	d.mu.Lock()
	known, previous := e.known, e.value
	e.overdue = e.overdue || stored == nil && e.stored
	e.stored = stored != nil
	switch {
	case stored == nil, !stored.fetched.After(e.ignored), known != nil && stored.fetched.Before(known.fetched):
		d.mu.Unlock()
		return
	case known != nil && bytes.Equal(known.body, stored.body):
		if stored.fetched.After(known.fetched) || stored.expires.Before(known.expires) {
			e.settle(stored, previous)
		}
		d.mu.Unlock()
		return
	}
	d.mu.Unlock()
	// Another process has fetched it, and has told of the change.
	value, err := d.call(ctx, read, nil, stored.body, nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		e.ignored = stored.fetched
		return
	}
	if e.known == nil || stored.fetched.After(e.known.fetched) {
		e.settle(stored, value)
		d.keep(e)
	}
}

// settle makes a document that another process fetched the known one.
func (e *entry) settle(stored *document, value any) {
	e.known, e.value, e.attempted, e.failure = stored, value, stored.fetched, nil
}

// touch notes in the storage that a document is in use, now and then.
func (d *Documents) touch(ctx context.Context, e *entry) {
	d.mu.Lock()
	now := d.options.Now()
	due := e.stored && now.Sub(e.touched) >= coarse && !looks(ctx)
	if due {
		e.touched = now
	}
	d.mu.Unlock()
	if due {
		_ = d.options.Storage.TouchDocument(ctx, e.id, now) // the next hour brings the next use
	}
}

// save keeps a document that was fetched. Where that fails, this process has it in memory.
func (d *Documents) save(ctx context.Context, e *entry) {
	if d.options.Storage == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	d.mu.Lock()
	known, now := e.known, d.options.Now()
	d.mu.Unlock()
	record, err := known.record()
	if err != nil {
		return
	}
	kept, err := d.options.Storage.SaveDocument(ctx, e.id, record, now, d.options.MaxDocuments)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		e.stored, e.touched = kept, now
	}
}

// withdraw takes a document away. Where the storage fails, what it has is ignored from now on.
func (d *Documents) withdraw(ctx context.Context, e *entry) {
	var err error
	if d.options.Storage != nil {
		ctx, cancel := context.WithTimeout(ctx, d.patience)
		defer cancel()
		err = d.options.Storage.DeleteDocument(ctx, e.id)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e.known, e.value, e.stored, e.ignored = nil, nil, false, time.Time{}
	if err != nil {
		e.ignored = d.options.Now()
	}
}
