package cimd

import (
	"container/list"
	"time"

	"github.com/fosite-contrib/fosite-dcr/outbound"
)

const (
	// between is the least time between two fetches of a document that is known, where the first failed or somebody asks
	// for a new one.
	between = time.Minute
	// trusted is how long a copy is used before the storage is asked again whether another process knows better.
	trusted = 10 * time.Second
	// coarse is how exactly a storage knows when a document was used last.
	coarse = time.Hour
)

// entry is what is known of one identifier, guarded by Documents.mu but for id and site.
type entry struct {
	id, site string
	element  *list.Element // its place among those that are kept; nil while there is nothing to keep
	known    *document     // nil: none
	value    any           // what read made of it
	flight   *flight       // the fetch under way
	checking chan struct{} // closed when the look into the storage that is under way is over

	blocked   bool
	overdue   bool      // nobody may be answered before the next fetch is over
	attempted time.Time // when the last fetch ended
	failure   error     // of the last fetch; nil where it brought a document
	used      time.Time

	checked time.Time // when the storage was asked last
	fault   error     // what it said then
	stored  bool      // it has a record
	touched time.Time // the last use that it knows of
	ignored time.Time // records that were fetched up to then are of no use
}

// flight is a fetch, with what it brought for all who wait for it.
type flight struct {
	done  chan struct{}
	anew  bool // also where the copy is within its lifetime
	first bool // no document was known, and Options.Allow does not name it
	value any
	err   error
}

// next says how a request is answered.
type next int

const (
	serve next = iota // with the copy
	renew             // with the copy, which is renewed beside
	await             // with what a fetch brings
)

// next decides for a request that goes as far as effort says.
func (e *entry) next(effort int, now time.Time, staleFor time.Duration) next {
	switch failing := e.failure != nil && now.Sub(e.attempted) < between; {
	case !e.usable(now, staleFor), e.overdue:
		return await
	case effort >= 2 && now.Sub(e.attempted) >= between:
		return await
	case now.Before(e.known.expires), failing:
		return serve
	case effort == 1:
		return await
	case effort >= 2: // which waited for a fetch less than a minute ago
		return serve
	}
	return renew
}

// usable reports whether there is a copy that may serve, however old within the limit.
func (e *entry) usable(now time.Time, staleFor time.Duration) bool {
	return e.known != nil && now.Before(e.known.expires.Add(staleFor))
}

// unchecked reports whether the storage is to be asked first.
func (e *entry) unchecked(now time.Time) bool { return now.Sub(e.checked) >= trusted }

// entry returns what is known of an identifier, if only that it was asked for.
func (d *Documents) entry(id, host string) *entry {
	e := d.entries[id]
	if e == nil {
		e = &entry{id: id, site: outbound.Site(host)}
		d.entries[id] = e
	}
	return e
}

// keep makes an entry stay, and forgets those that were not used for the longest where there are too many.
func (d *Documents) keep(e *entry) {
	if d.entries[e.id] != e {
		return // it was forgotten meanwhile
	}
	if e.element == nil {
		e.element = d.order.PushFront(e)
	}
	for d.order.Len() > d.options.MaxDocuments {
		last := d.order.Back().Value.(*entry)
		d.forget(last)
	}
}

// drop forgets an entry of which there is nothing to keep, and that nobody works on.
func (d *Documents) drop(e *entry) {
	if e.element == nil && e.flight == nil && e.checking == nil && d.entries[e.id] == e {
		delete(d.entries, e.id)
	}
}

func (d *Documents) forget(e *entry) {
	if e.element != nil {
		d.order.Remove(e.element)
		e.element = nil
	}
	delete(d.entries, e.id)
}

// note records a use.
func (d *Documents) note(e *entry, now time.Time) {
	e.used = now
	if e.element != nil {
		d.order.MoveToFront(e.element)
	}
}
