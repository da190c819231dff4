package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const (
	saysEvicts = "CreateClientEvicting removes the registered client that was never used and whose UpdatedAt lies furthest back, " +
		"if that is before the given time, stores the new record, and returns the one that it removed."
	saysNone = "Where no client can be evicted CreateClientEvicting returns an error that wraps dcr.ErrFull, and changes nothing."
	saysStay = "A client that is used or updated meanwhile stays."
)

// evictionRows are about dcr.ClientEvicter.
func evictionRows(o Options) []Row {
	evicting := o.evicting
	return based("dcr.ClientEvicter and Options.Bounded", "full/create", []Row{
		{Name: "eviction/oldest", Check: evicting(evictOldest), Says: saysEvicts,
			Why: "At the bound a client is evicted whose consent page is open, and one stays that nobody ever comes back to."},
		{Name: "eviction/creates", Check: evicting(evictCreates), Says: saysEvicts,
			Why: "A client is evicted, and the registration for which it was is refused or lost all the same."},
		{Name: "eviction/exists", Check: evicting(evictExists),
			Says: "Where the identifier is taken CreateClientEvicting returns dcr.ErrClientExists, and changes nothing.",
			Why:  "A registration that could share a client, or has to choose another identifier, evicts an unknown user's client."},
		{Name: "eviction/copied_in", Check: evicting(evictCopiedIn), Says: saysCopied,
			Why: "What the server does to its own copy afterwards changes what is registered."},
		{Name: "eviction/used", Check: evicting(evictUsed), Says: saysEvicts,
			Why: "A client that is used is thrown away for an unknown one, and its users have to consent again."},
		{Name: "eviction/updated", Check: evicting(evictUpdated), Says: saysEvicts,
			Why: "A client that has just been updated is thrown away, although somebody works with it."},
		{Name: "eviction/none", Check: evicting(evictNone), Says: saysNone,
			Why: "A server that is full answers with a failure of its own, or throws away what it should not."},
		{Name: "eviction/before", Check: evicting(evictBefore), Says: saysEvicts,
			Why: "A client is evicted in its eviction grace, and whoever registered it a moment ago finds it gone."},
		{Name: "race/eviction", Check: repeated(evicting(raceEviction)),
			Says: "Of several calls of CreateClientEvicting at once each evicts another client, if there are enough.",
			Why:  "Of two registrations at once one is refused, though two clients could be evicted."},
		{Name: "race/eviction_create", Check: repeated(evicting(raceEvictionCreate)),
			Says: "CreateClientEvicting makes room and creates in one step, so that no other client takes the room.",
			Why:  "A client is evicted for one registration, another one takes its room, and the first is refused."},
		{Name: "race/eviction_update", Check: repeated(evicting(raceEvictionUpdate)), Says: saysStay,
			Why: "A client whose update was confirmed is gone."},
		{Name: "race/eviction_touch", Check: repeated(evicting(raceEvictionTouch)), Says: saysStay,
			Needs: "dcr.ClientEvicter, dcr.UseRecorder and Options.Bounded", Why: "A client that has just got a token is gone."},
		{Name: "context/eviction", Check: evicting(contextEviction), Says: saysContext, Why: whyContext},
		{Name: "eviction/static", Check: evicting(func(e *eviction) error { return o.onStatic(&e.bench, e.static) }), Says: saysStatic,
			Needs: "dcr.ClientEvicter, Options.Bounded and Options.AddStatic", Why: "A static client is evicted for an unknown one."},
	})
}

// evictTime is what these rows look back from.
var evictTime = sweepTime

// eviction evicts clients of one storage.
type eviction struct {
	bench
	evicter dcr.ClientEvicter
	n       int // clients that are there
}

// evicting makes a check of one that gets an empty storage with a bound.
func (o Options) evicting(do func(e *eviction) error) check {
	return needing(func(b *bench, _ dcr.ClientEvicter) error {
		return o.bounded(func(b *bench) error {
			evicter, ok := b.s.(dcr.ClientEvicter)
			if !ok {
				return fmt.Errorf("the option Bounded returned a %T, which does not implement dcr.ClientEvicter", b.s)
			}
			return do(&eviction{bench: *b, evicter: evicter})
		})(b.ctx, b.s)
	})
}

// waiting stores a client that was never used and waits since so many days before evictTime.
func (e *eviction) waiting(days int, edits ...func(*dcr.Client)) (*dcr.Client, error) {
	e.n++
	return e.add(resting(func(c *dcr.Client) {
		c.CreatedAt = evictTime.AddDate(-10, 0, days) // the other way round
		c.UpdatedAt = evictTime.AddDate(0, 0, -days)
		for _, edit := range edits {
			edit(c)
		}
	}))
}

// series stores clients that wait since so many days, and makes the storage full.
func (e *eviction) series(days ...int) ([]*dcr.Client, error) {
	clients := make([]*dcr.Client, len(days))
	for i := range days {
		var err error
		if clients[i], err = e.waiting(days[i]); err != nil {
			return nil, err
		}
	}
	return clients, e.full()
}

// full makes the storage full, with clients that can't be evicted.
func (e *eviction) full() error {
	_, err := e.fill(bound-e.n, usedOnce)
	e.n = bound
	return err
}

// usedOnce makes a client one that can't be evicted.
func usedOnce(c *dcr.Client) { c.LastUsedAt = c.UpdatedAt }

// evict creates a client that can't be evicted itself.
func (e *eviction) evict(before time.Time) (c, evicted *dcr.Client, err error) {
	c = resting(func(c *dcr.Client) { c.UpdatedAt, c.LastUsedAt = dayAfter, dayAfter })
	evicted, err = e.evicter.CreateClientEvicting(e.ctx, c, before)
	return c, evicted, err
}

// evicts checks which client is evicted, that it is gone, and that the new one is there.
func (e *eviction) evicts(before time.Time, want *dcr.Client) error {
	c, evicted, err := e.evict(before)
	switch {
	case err != nil:
		return fmt.Errorf("CreateClientEvicting before %v, where a client can be evicted: %w\nThis one can: %s", before, err, shown(want))
	case evicted == nil:
		return fmt.Errorf("CreateClientEvicting before %v: it returned no client, and the storage was full", before)
	case evicted.ID != want.ID:
		return fmt.Errorf("CreateClientEvicting before %v: it evicted %q, and has to evict %q, whose UpdatedAt lies furthest back\nThe record: %s",
			before, evicted.ID, want.ID, shown(evicted))
	}
	if err := same("CreateClientEvicting", evicted, want); err != nil {
		return err
	}
	if err := e.gone(want.ID); err != nil {
		return err
	}
	return e.holds(c)
}

// none checks that no client is evicted, and none created.
func (e *eviction) none(before time.Time) error {
	c, evicted, err := e.evict(before)
	if err := expect("CreateClientEvicting where no client can be evicted", err, dcr.ErrFull); err != nil {
		return err
	}
	if evicted != nil {
		return fmt.Errorf("CreateClientEvicting: a record beside the error: %s", shown(evicted))
	}
	return e.gone(c.ID)
}

func evictOldest(e *eviction) error {
	clients, err := e.series(3, 5, 1, 4, 2)
	if err != nil {
		return err
	}
	slices.SortFunc(clients, func(a, b *dcr.Client) int { return a.UpdatedAt.Compare(b.UpdatedAt) })
	for i, c := range clients {
		if err := e.evicts(evictTime, c); err != nil {
			return err
		}
		if err := e.allHold(clients[i+1:]...); err != nil {
			return err
		}
	}
	return e.none(evictTime)
}

// evictCreates: the new client is there, and the storage is as full as before.
func evictCreates(e *eviction) error {
	clients, err := e.series(1)
	if err != nil {
		return err
	}
	if err := e.evicts(evictTime, clients[0]); err != nil {
		return err
	}
	return e.refuses()
}

func evictExists(e *eviction) error {
	clients, err := e.series(2, 1)
	if err != nil {
		return err
	}
	for _, taken := range clients {
		again := sample("second")
		again.ID = taken.ID
		_, err := e.evicter.CreateClientEvicting(e.ctx, again, evictTime)
		if err := expect("CreateClientEvicting with an identifier that is taken", err, dcr.ErrClientExists); err != nil {
			return err
		}
	}
	return e.allHold(clients...)
}

func evictCopiedIn(e *eviction) error {
	if _, err := e.series(1); err != nil {
		return err
	}
	c := sample("first")
	if _, err := e.evicter.CreateClientEvicting(e.ctx, c, evictTime); err != nil {
		return fmt.Errorf("CreateClientEvicting: %w", err)
	}
	kept := detached(c)
	spoil(c)
	return e.holds(kept)
}

func evictUsed(e *eviction) error {
	used, err := e.waiting(5, usedOnce)
	if err != nil {
		return err
	}
	clients, err := e.series(4, 3)
	if err != nil {
		return err
	}
	touched, waiting := clients[0], clients[1]
	if uses, ok := e.s.(dcr.UseRecorder); ok {
		touched.LastUsedAt = evictTime.AddDate(0, 0, -2)
		err = e.touch(uses, touched.ID, touched.LastUsedAt, time.Time{})
	} else {
		touched.LastUsedAt = evictTime
		touched.Version++
		err = e.update(touched)
	}
	if err != nil {
		return err
	}
	if err := e.evicts(evictTime, waiting); err != nil {
		return err
	}
	if err := e.none(evictTime); err != nil {
		return err
	}
	return e.allHold(used, touched)
}

func evictUpdated(e *eviction) error {
	clients, err := e.series(5, 4, 3)
	if err != nil {
		return err
	}
	first, second, third := clients[0], clients[1], clients[2]
	for c, days := range map[*dcr.Client]int{first: 1, second: -1} {
		c.Version++
		c.UpdatedAt = evictTime.AddDate(0, 0, -days)
		if err := e.update(detached(c)); err != nil {
			return err
		}
	}
	for _, c := range []*dcr.Client{third, first} {
		if err := e.evicts(evictTime, c); err != nil {
			return err
		}
	}
	if err := e.none(evictTime); err != nil {
		return err
	}
	return e.holds(second)
}

func evictNone(e *eviction) error {
	used, err := e.waiting(1, func(c *dcr.Client) { c.LastUsedAt = evictTime })
	if err != nil {
		return err
	}
	deleted, err := e.waiting(2)
	if err != nil {
		return err
	}
	if err := e.delete(deleted.ID); err != nil {
		return err
	}
	e.n--
	young, err := e.series(-1)
	if err != nil {
		return err
	}
	for range 3 {
		if err := e.none(evictTime); err != nil {
			return err
		}
	}
	return e.allHold(young[0], used)
}

// evictBefore: strictly before, to the second.
func evictBefore(e *eviction) error {
	clients, err := e.series(5)
	if err != nil {
		return err
	}
	c := clients[0]
	for _, before := range []time.Time{c.UpdatedAt.Add(-time.Second), c.UpdatedAt} {
		if err := e.none(before); err != nil {
			return err
		}
		if err := e.holds(c); err != nil {
			return err
		}
	}
	return e.evicts(c.UpdatedAt.Add(time.Second), c)
}

func (e *eviction) static(*bench, string) error {
	if err := e.full(); err != nil {
		return err
	}
	return e.none(evictTime)
}

// raceEviction: half of those who ask at once evict a client, each another.
func raceEviction(e *eviction) error {
	waiting, err := e.series(1, 1, 2, 2, 3, 3)
	if err != nil {
		return err
	}
	left := map[string]bool{}
	for _, c := range waiting {
		left[c.ID] = true
	}
	evicted := make([]*dcr.Client, callers)
	for i, err := range atOnce(callers, func(i int) (err error) {
		_, evicted[i], err = e.evict(evictTime)
		return err
	}) {
		switch {
		case err == nil && (evicted[i] == nil || !left[evicted[i].ID]):
			return fmt.Errorf("CreateClientEvicting, several at once: it returned a client twice, or one that can't be evicted: %s", shown(evicted[i]))
		case err == nil:
			delete(left, evicted[i].ID)
		case !errors.Is(err, dcr.ErrFull):
			return expect("CreateClientEvicting, several at once", err, dcr.ErrFull)
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("CreateClientEvicting, %d at once: it left %d clients that can be evicted", callers, len(left))
	}
	return nil
}

// raceEvictionCreate: half of those who call at once evict, half only create.
func raceEvictionCreate(e *eviction) error {
	if _, err := e.series(1, 2, 3, 4, 5, 6); err != nil {
		return err
	}
	for i, err := range atOnce(callers, func(i int) error {
		if i%2 == 0 {
			return e.s.CreateClient(e.ctx, sample("first"))
		}
		_, _, err := e.evict(evictTime)
		return err
	}) {
		switch {
		case i%2 != 0 && err != nil:
			return fmt.Errorf("CreateClientEvicting beside CreateClient, where enough clients can be evicted: %w", err)
		case i%2 == 0 && !errors.Is(err, dcr.ErrFull):
			return expect("CreateClient beside CreateClientEvicting", err, dcr.ErrFull)
		}
	}
	return nil
}

// raceEvictionUpdate: an update that has succeeded came before, and the client is too young
// then.
func raceEvictionUpdate(e *eviction) error {
	return e.raceWith(func(c *dcr.Client) error {
		next := successor(c, "second")
		next.LastUsedAt = time.Time{}
		return e.s.UpdateClient(e.ctx, next, c.Version)
	})
}

// raceEvictionTouch: a client that was seen with its use stays.
func raceEvictionTouch(e *eviction) error {
	uses, ok := e.s.(dcr.UseRecorder)
	if !ok {
		return notImplemented[dcr.UseRecorder]()
	}
	return e.raceWith(func(c *dcr.Client) error {
		if err := uses.TouchClient(e.ctx, c.ID, evictTime, time.Time{}); err != nil {
			return err
		}
		_, err := e.s.GetDynamicClient(e.ctx, c.ID)
		return err
	})
}

// raceWith evicts while clients are kept by something else, which returns fosite.ErrNotFound
// where it came too late.
func (e *eviction) raceWith(keep func(c *dcr.Client) error) error {
	clients, err := e.series(1, 2, 3, 4, 5, 6)
	if err != nil {
		return err
	}
	kept, evicted := make([]bool, callers), make([]*dcr.Client, callers)
	errs := atOnce(callers, func(i int) (err error) {
		if i < len(clients) {
			err = keep(clients[i])
			kept[i] = err == nil
		} else {
			_, evicted[i], err = e.evict(evictTime)
		}
		if errors.Is(err, fosite.ErrNotFound) || errors.Is(err, dcr.ErrFull) {
			return nil
		}
		return err
	})
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("CreateClientEvicting while clients are used or updated: %w", err)
	}
	for i, c := range clients {
		_, err := e.s.GetDynamicClient(e.ctx, c.ID)
		there := err == nil
		returned := slices.ContainsFunc(evicted, func(gone *dcr.Client) bool { return gone != nil && gone.ID == c.ID })
		switch {
		case kept[i] && (!there || returned):
			return fmt.Errorf("CreateClientEvicting removed a client that was used or updated meanwhile: %s", shown(c))
		case there && returned:
			return fmt.Errorf("CreateClientEvicting returned a client that is there: %s", shown(c))
		case !there && !returned:
			return fmt.Errorf("CreateClientEvicting removed a client and did not return it: %s", shown(c))
		}
	}
	return nil
}

// contextEviction: nothing is done, or all of it.
func contextEviction(e *eviction) error {
	clients, err := e.series(1)
	if err != nil {
		return err
	}
	return ended(e.ctx, func(over context.Context) error {
		c := sample("first")
		_, err := e.evicter.CreateClientEvicting(over, c, evictTime)
		return expectEnd("CreateClientEvicting", over, err,
			func() error { return errors.Join(e.gone(clients[0].ID), e.holds(c)) },
			func() error { return errors.Join(e.holds(clients[0]), e.gone(c.ID)) })
	})
}
