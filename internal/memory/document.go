package memory

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// examined is how many records are looked at, at most, to find one that can go.
const examined = 100

// document is what is kept under the identifier of a client that is the URL of a document.
type document struct {
	record  []byte // nil where an identifier is blocked and nothing is kept
	used    time.Time
	blocked bool
}

// documents are kept by their identifiers.
type documents struct {
	mu      sync.Mutex
	byID    map[string]*document
	records int
	// unused has those that are not blocked, by their last use, or by when they were last passed over since their client
	// holds a token: so nobody looks at the same ones again and again.
	unused Queue
}

// change has a function change what is kept under an identifier, which may be nothing yet. What is left without a record
// and is not blocked goes.
func (t *documents) change(ctx context.Context, id string, change func(d *document)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	t.set(id, change)
	return nil
}

func (t *documents) set(id string, change func(d *document)) {
	d := t.byID[id]
	if d == nil {
		d = &document{}
	}
	had := d.record != nil
	change(d)
	switch has := d.record != nil; {
	case has && !had:
		t.records++
	case had && !has:
		t.records--
		d.used = time.Time{}
	}
	if d.record == nil || d.blocked {
		t.unused.Drop(id)
	} else {
		t.unused.Set(id, d.used)
	}
	if t.byID == nil {
		t.byID = map[string]*document{}
	}
	if t.byID[id] = d; d.record == nil && !d.blocked {
		delete(t.byID, id)
	}
}

// evict removes the record that was not used for the longest of those whose client holds no token, and reports whether
// one could go.
func (t *documents) evict(now time.Time, holds func(id string) bool) bool {
	for range examined {
		id, _, ok := t.unused.First()
		if !ok {
			return false
		}
		if !holds(id) {
			t.set(id, func(d *document) { d.record = nil })
			return true
		}
		t.unused.Set(id, now)
	}
	return false
}

// FindDocument returns the record kept under a client identifier (nil: none), and whether the identifier is blocked.
func (s *Sessions) FindDocument(ctx context.Context, id string) (record []byte, blocked bool, err error) {
	s.documents.mu.Lock()
	defer s.documents.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	if d := s.documents.byID[id]; d != nil {
		return bytes.Clone(d.record), d.blocked, nil
	}
	return nil, false, nil
}

// SaveDocument keeps a record in place of an earlier one, and the time of its last use. Blocking stays as it is. Where
// there would be more than most, the one that was not used for the longest goes, but none that is blocked, and none whose
// client holds a live code, access token or refresh token; the use of one that was passed over for its tokens counts from
// then. Where none of a hundred can go, a new one is not kept, and kept is false.
func (s *Sessions) SaveDocument(ctx context.Context, id string, record []byte, used time.Time, most int) (kept bool, err error) {
	t := &s.documents
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if d := t.byID[id]; d == nil || d.record == nil {
		now := s.now()
		for gone := 0; t.records >= most && gone < examined; gone++ {
			if t.evict(now, func(id string) bool { return s.holdsToken(now, id) }) {
				continue
			}
			if gone == 0 {
				return false, nil
			}
			break
		}
	}
	t.set(id, func(d *document) { d.record, d.used = append([]byte{}, record...), later(d.used, used) })
	return true, nil
}

// holdsToken reports whether a client has a code, an access token or a refresh token that can be used.
func (s *Sessions) holdsToken(now time.Time, clientID string) bool {
	for _, t := range []*table{&s.refresh.table, &s.access, &s.codes, &s.machine} {
		if t.holds(now, clientID) {
			return true
		}
	}
	return false
}

// TouchDocument notes a use, only ever forward. Where no record is kept nothing happens.
func (s *Sessions) TouchDocument(ctx context.Context, id string, used time.Time) error {
	return s.documents.change(ctx, id, func(d *document) {
		if d.record != nil {
			d.used = later(d.used, used)
		}
	})
}

// DeleteDocument removes a record. Blocking stays as it is. Removing nothing is no error.
func (s *Sessions) DeleteDocument(ctx context.Context, id string) error {
	return s.documents.change(ctx, id, func(d *document) { d.record = nil })
}

// BlockDocument blocks an identifier, whether a record is kept or not, or ends that.
func (s *Sessions) BlockDocument(ctx context.Context, id string, blocked bool) error {
	return s.documents.change(ctx, id, func(d *document) { d.blocked = blocked })
}

// ListDocuments calls each with up to limit identifiers, in their order, that follow after ("" is the start). It walks over
// all of them.
func (s *Sessions) ListDocuments(ctx context.Context, after string, limit int, each func(id string, record []byte, used time.Time, blocked bool)) error {
	type listed struct {
		id string
		document
	}
	page, err := func() (page []listed, err error) {
		s.documents.mu.Lock()
		defer s.documents.mu.Unlock()
		ids := slices.Sorted(maps.Keys(s.documents.byID))
		first, found := slices.BinarySearch(ids, after)
		if found {
			first++
		}
		ids = ids[first:]
		for _, id := range ids[:min(len(ids), max(limit, 0))] {
			page = append(page, listed{id, *s.documents.byID[id]})
		}
		return page, ctx.Err()
	}()
	for _, d := range page {
		if err == nil {
			each(d.id, bytes.Clone(d.record), d.used, d.blocked)
		}
	}
	return err
}
