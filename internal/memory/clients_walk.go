package memory

import (
	"context"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Filter says which records are meant: those that fit both, where both are there.
type Filter[T any] struct {
	Head  func(*T) bool // Head may read what ClientOptions.Head reads, and keep nothing of it
	Whole func(*T) bool // Whole is asked after Head, which costs less
}

// each calls do with every record that fits, until it returns false or ctx is done. It locks one shard after the other,
// for as long as it takes to note what is there.
func (s *Clients[T, B]) each(ctx context.Context, f Filter[T], do func(at stored[B]) bool) error {
	head := new(T)
	var list []stored[B]
	for i := range s.shards {
		list = s.shards[i].all(list[:0])
		runtime.Gosched()
		for _, at := range list {
			if err := ctx.Err(); err != nil {
				return err
			}
			s.options.Head(at.data, head)
			if (f.Head == nil || f.Head(head)) && (f.Whole == nil || f.Whole(s.unpack(at))) && !do(at) {
				return nil
			}
		}
	}
	return ctx.Err()
}

// CountWalking counts records up to a number. It walks over all of them.
func CountWalking[T, B any](ctx context.Context, s *Clients[T, B], f Filter[T], most int) (number int, err error) {
	if most <= 0 {
		return 0, ctx.Err()
	}
	err = s.each(ctx, f, func(stored[B]) bool { number++; return number < most })
	return number, err
}

// listed is a record in a list.
type listed[B any] struct {
	id      string
	created time.Time
	at      stored[B]
}

// ListClients returns the records that were created last, up to a number: the latest first, and of those of one time the
// one with the greater identifier. It walks over all of them.
func ListClients[T, B any](ctx context.Context, s *Clients[T, B], f Filter[T], limit int) ([]*T, error) {
	var page []listed[B]
	err := s.each(ctx, f, func(at stored[B]) bool {
		brief := s.options.Brief(at.data)
		page = append(page, listed[B]{brief.ID, brief.CreatedAt, at})
		if len(page) >= 2*min(limit, 1<<20)+1024 && limit < len(page) {
			page = newest(page, limit)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	var records []*T
	for _, found := range newest(page, limit) {
		records = append(records, s.unpack(found.at))
	}
	return records, nil
}

// newest returns the first of a list in its order.
func newest[B any](page []listed[B], limit int) []listed[B] {
	slices.SortFunc(page, func(a, b listed[B]) int {
		if order := b.created.Compare(a.created); order != 0 {
			return order
		}
		return strings.Compare(b.id, a.id)
	})
	return page[:min(len(page), max(limit, 0))]
}

// sweep is what the last walk of RemoveClients has found and nobody has removed yet.
type sweep struct {
	mu    sync.Mutex
	of    any
	found []string
}

// RemoveClients removes up to limit records that fit, and returns them. It walks over all records once for a sweep, and the
// calls that follow for the same one, a value that can be compared, go on with what the walk has found. Beside an error it
// may return records.
func RemoveClients[T, B any](ctx context.Context, s *Clients[T, B], of any, f Filter[T], limit int) (removed []*T, err error) {
	if err := ctx.Err(); err != nil || limit <= 0 {
		return nil, err
	}
	w := &s.sweep
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.found) == 0 || w.of != of {
		w.of, w.found = of, nil
		_ = s.each(ctx, f, func(at stored[B]) bool {
			w.found = append(w.found, strings.Clone(s.options.Brief(at.data).ID))
			return true
		})
	}
	for len(w.found) > 0 && len(removed) < limit && ctx.Err() == nil {
		last := len(w.found) - 1
		if gone := s.removeIf(w.found[last], f); gone != nil {
			removed = append(removed, gone)
			runtime.Gosched() // requests come first
		}
		w.found = w.found[:last]
	}
	return removed, ctx.Err()
}

// removeIf removes a record that fits now, and returns it; nil where it does not.
func (s *Clients[T, B]) removeIf(id string, f Filter[T]) *T {
	at, _ := s.shard(id).find(id)
	if at.data == "" {
		return nil
	}
	record := s.unpack(at)
	if f.Head != nil && !f.Head(record) || f.Whole != nil && !f.Whole(record) || !s.remove(id, at) {
		return nil
	}
	return record
}

// count counts one record instead of another; either may be empty.
func (s *Clients[T, B]) count(old, next string) {
	before, after := s.counted(old), s.counted(next)
	if before != after {
		from, to := before.keys(), after.keys()
		s.counts.Replace(from[:], to[:])
	}
}

// counted is what a record is counted by. It shares the memory of the record.
type counted struct {
	issuer string
	values [3]string
}

func (s *Clients[T, B]) counted(data string) (c counted) {
	if data != "" {
		c.issuer, c.values = s.options.Counted(data)
	}
	return c
}

func (c counted) keys() (keys [3]string) {
	for i, value := range c.values {
		if c.issuer != "" && value != "" {
			keys[i] = countKey(i, c.issuer, value)
		}
	}
	return keys
}

// countKey has memory of its own, and is that of no other issuer and value.
func countKey(i int, issuer, value string) string {
	return strconv.Itoa(i) + " " + strconv.Itoa(len(issuer)) + " " + issuer + value
}

// CountClients returns how many records of an issuer have a value (ClientOptions.Counted). It returns false where not
// exactly one is given: a walk has to count these.
func CountClients[T, B any](s *Clients[T, B], issuer string, values [3]string) (number int, ok bool) {
	for i, value := range values {
		if rest := values; value != "" && issuer != "" {
			rest[i] = ""
			return s.counts.Of(countKey(i, issuer, value)), rest == [3]string{}
		}
	}
	return 0, false
}
