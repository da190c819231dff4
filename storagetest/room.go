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

// roomRows are about the client that gives way. They look back from the year 1990, when no
// other row's client had begun; what is older and was never used gives way to them.
func roomRows(o Options) []Row {
	rows := []Row{
		{Name: "room/oldest", Check: rooming(roomOldest),
			Why: "At the bound a client gives way whose consent page is open, and one stays that nobody ever comes back to."},
		{Name: "room/used", Check: rooming(roomUsed),
			Why: "A client that is used is thrown away for a stranger's, and its users have to consent again."},
		{Name: "room/updated", Check: rooming(roomUpdated),
			Why: "A client that has just been updated is thrown away, although somebody works with it."},
		{Name: "room/none", Check: rooming(roomNone),
			Why: "A server that is full answers with a failure of its own, or throws away what it should not."},
		{Name: "room/before", Check: rooming(roomBefore),
			Why: "A client that is too young gives way, and whoever registered it a moment ago finds it gone."},
		{Name: "race/room", Check: repeated(rooming(raceRoom)),
			Why: "Of two registrations at once one is refused, though there were two clients to give way."},
		{Name: "race/room_update", Check: repeated(rooming(raceRoomUpdate)),
			Why: "A client whose update was confirmed is gone."},
		{Name: "race/room_touch", Check: repeated(raceRoomTouch), Needs: needsRoom + " and " + needsUse,
			Why: "A client that has just got a token is gone."},
		{Name: "context/room", Check: rooming(contextRoom), Why: whyContext},
	}
	for i := range rows {
		if rows[i].Needs == "" {
			rows[i].Needs = needsRoom
		}
	}
	return append(rows, Row{Name: "room/static", Needs: needsRoom + " and Options.AddStatic", Check: o.roomStatic,
		Why: "A client of the operator's own gives way to a stranger's."})
}

const (
	needsRoom = "dcr.RoomMaker"
	// leftovers bounds what other runs may have left.
	leftovers = 10_000
)

// roomTime is what the rows look back from.
var roomTime = time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC)

// room makes room in one storage.
type room struct {
	ctx   context.Context
	s     Storage
	maker dcr.RoomMaker
}

// rooming makes a check of one that begins where no client is left to give way.
func rooming(check func(r *room) error) func(context.Context, Storage) error {
	return needing(func(ctx context.Context, s Storage, maker dcr.RoomMaker) error {
		r := &room{ctx, s, maker}
		for range leftovers {
			if _, err := maker.MakeRoom(ctx, roomTime); err != nil {
				break
			}
		}
		if err := r.none(roomTime); err != nil {
			return err
		}
		return check(r)
	})
}

// waiting stores a client that was never used and waits since so many days before roomTime.
func (r *room) waiting(days int, edits ...func(*dcr.Client)) (*dcr.Client, error) {
	c := resting(func(c *dcr.Client) {
		c.CreatedAt = roomTime.AddDate(-10, 0, days) // the other way round
		c.UpdatedAt = roomTime.AddDate(0, 0, -days)
	})
	for _, edit := range edits {
		edit(c)
	}
	return created(r.ctx, r.s, c)
}

// gives checks which client gives way, and that it is gone.
func (r *room) gives(before time.Time, want *dcr.Client) error {
	id, err := r.maker.MakeRoom(r.ctx, before)
	switch {
	case err != nil:
		return fmt.Errorf("MakeRoom, with a client that can give way: %w", err)
	case id != want.ID:
		return fmt.Errorf("MakeRoom returned %q, not %q, whose UpdatedAt lies furthest back", id, want.ID)
	}
	return gone(r.ctx, r.s, id)
}

// none checks that no client gives way.
func (r *room) none(before time.Time) error {
	_, err := r.maker.MakeRoom(r.ctx, before)
	return expect("MakeRoom with no client that can give way", err, fosite.ErrNotFound)
}

func (r *room) allHold(clients ...*dcr.Client) error {
	for _, c := range clients {
		if err := holds(r.ctx, r.s, c); err != nil {
			return err
		}
	}
	return nil
}

func roomOldest(r *room) error {
	var clients []*dcr.Client
	for _, days := range []int{3, 5, 1, 4, 2} {
		c, err := r.waiting(days)
		if err != nil {
			return err
		}
		clients = append(clients, c)
	}
	slices.SortFunc(clients, func(a, b *dcr.Client) int { return a.UpdatedAt.Compare(b.UpdatedAt) })
	for i, c := range clients {
		if err := r.gives(roomTime, c); err != nil {
			return err
		}
		if err := r.allHold(clients[i+1:]...); err != nil {
			return err
		}
	}
	return r.none(roomTime)
}

func roomUsed(r *room) error {
	used, err := r.waiting(5, func(c *dcr.Client) { c.LastUsedAt = c.UpdatedAt })
	if err != nil {
		return err
	}
	touched, err := r.waiting(4)
	if err != nil {
		return err
	}
	waiting, err := r.waiting(3)
	if err != nil {
		return err
	}
	if uses, ok := r.s.(dcr.UseRecorder); ok {
		touched.LastUsedAt = roomTime.AddDate(0, 0, -2)
		err = uses.TouchClient(r.ctx, touched.ID, touched.LastUsedAt, time.Time{})
	} else {
		touched.LastUsedAt = roomTime
		touched.Version++
		err = r.s.UpdateClient(r.ctx, touched, touched.Version-1)
	}
	if err != nil {
		return fmt.Errorf("a use: %w", err)
	}
	if err := r.gives(roomTime, waiting); err != nil {
		return err
	}
	if err := r.none(roomTime); err != nil {
		return err
	}
	return r.allHold(used, touched)
}

func roomUpdated(r *room) error {
	first, err := r.waiting(5)
	if err != nil {
		return err
	}
	second, err := r.waiting(4)
	if err != nil {
		return err
	}
	third, err := r.waiting(3)
	if err != nil {
		return err
	}
	for c, days := range map[*dcr.Client]int{first: 1, second: -1} {
		c.Version++
		c.UpdatedAt = roomTime.AddDate(0, 0, -days)
		if err := r.s.UpdateClient(r.ctx, detached(c), c.Version-1); err != nil {
			return fmt.Errorf("UpdateClient: %w", err)
		}
	}
	for _, c := range []*dcr.Client{third, first} {
		if err := r.gives(roomTime, c); err != nil {
			return err
		}
	}
	if err := r.none(roomTime); err != nil {
		return err
	}
	return r.allHold(second)
}

func roomNone(r *room) error {
	young, err := r.waiting(-1)
	if err != nil {
		return err
	}
	used, err := r.waiting(1, func(c *dcr.Client) { c.LastUsedAt = roomTime })
	if err != nil {
		return err
	}
	deleted, err := r.waiting(2)
	if err != nil {
		return err
	}
	if err := r.s.DeleteClient(r.ctx, deleted.ID); err != nil {
		return fmt.Errorf("DeleteClient: %w", err)
	}
	for range 3 {
		if err := r.none(roomTime); err != nil {
			return err
		}
	}
	return r.allHold(young, used)
}

// roomBefore: strictly before, to the second.
func roomBefore(r *room) error {
	c, err := r.waiting(5)
	if err != nil {
		return err
	}
	for _, before := range []time.Time{c.UpdatedAt.Add(-time.Second), c.UpdatedAt} {
		if err := r.none(before); err != nil {
			return err
		}
		if err := r.allHold(c); err != nil {
			return err
		}
	}
	return r.gives(c.UpdatedAt.Add(time.Second), c)
}

func (o Options) roomStatic(ctx context.Context, s Storage) error {
	return rooming(func(r *room) error {
		return o.checkStatic(r.ctx, r.s, func(context.Context, Storage, string) error { return r.none(roomTime) })
	})(ctx, s)
}

// raceRoom: half of those who ask at once get a client, each another.
func raceRoom(r *room) error {
	clients := map[string]bool{}
	for days := range callers / 2 {
		c, err := r.waiting(1 + days/2)
		if err != nil {
			return err
		}
		clients[c.ID] = true
	}
	removed := make([]string, callers)
	for i, err := range atOnce(callers, func(i int) (err error) {
		removed[i], err = r.maker.MakeRoom(r.ctx, roomTime)
		return err
	}) {
		switch {
		case err == nil && !clients[removed[i]]:
			return fmt.Errorf("MakeRoom, of several at once, returned %q twice, or what is no client that can give way", removed[i])
		case err == nil:
			delete(clients, removed[i])
		case !errors.Is(err, fosite.ErrNotFound):
			return expect("MakeRoom, of several at once", err, fosite.ErrNotFound)
		}
	}
	if len(clients) > 0 {
		return fmt.Errorf("MakeRoom, of %d at once, left %d clients that can give way", callers, len(clients))
	}
	return nil
}

// raceRoomUpdate: an update that has succeeded came before, and the client is too young then.
func raceRoomUpdate(r *room) error {
	return r.raceWith(func(c *dcr.Client) (bool, error) {
		next := successor(c, "second")
		next.LastUsedAt = time.Time{}
		err := r.s.UpdateClient(r.ctx, next, c.Version)
		if errors.Is(err, fosite.ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	})
}

// raceRoomTouch: a client that was seen with its use stays.
func raceRoomTouch(ctx context.Context, s Storage) error {
	uses, ok := s.(dcr.UseRecorder)
	if !ok {
		return ErrNotRun
	}
	return rooming(func(r *room) error {
		return r.raceWith(func(c *dcr.Client) (bool, error) {
			if err := uses.TouchClient(r.ctx, c.ID, roomTime, time.Time{}); err != nil {
				return false, err
			}
			_, err := s.GetDynamicClient(r.ctx, c.ID)
			if errors.Is(err, fosite.ErrNotFound) {
				return false, nil
			}
			return err == nil, err
		})
	})(ctx, s)
}

// raceWith makes room while clients are kept by something else, which reports whether it
// came before.
func (r *room) raceWith(keep func(c *dcr.Client) (kept bool, err error)) error {
	clients := make([]*dcr.Client, callers/2)
	for i := range clients {
		var err error
		if clients[i], err = r.waiting(1 + i); err != nil {
			return err
		}
	}
	removed, kept := make([]string, callers), make([]bool, callers)
	errs := atOnce(callers, func(i int) (err error) {
		if i < len(clients) {
			kept[i], err = keep(clients[i])
			return err
		}
		removed[i], err = r.maker.MakeRoom(r.ctx, roomTime)
		if errors.Is(err, fosite.ErrNotFound) {
			return nil
		}
		return err
	})
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("MakeRoom while clients are used or updated: %w", err)
	}
	for i, c := range clients {
		_, err := r.s.GetDynamicClient(r.ctx, c.ID)
		switch there := err == nil; {
		case kept[i] && (!there || slices.Contains(removed, c.ID)):
			return errors.New("MakeRoom removed a client that was used or updated meanwhile")
		case there && slices.Contains(removed, c.ID):
			return errors.New("MakeRoom returned a client that is there")
		case !there && !slices.Contains(removed, c.ID):
			return errors.New("MakeRoom removed a client and did not return it")
		}
	}
	return nil
}

// contextRoom: nothing is done, or all of it.
func contextRoom(r *room) error {
	c, err := r.waiting(1)
	if err != nil {
		return err
	}
	return ended(r.ctx, func(over context.Context) error {
		_, err := r.maker.MakeRoom(over, roomTime)
		if err := expectEnd("MakeRoom", over, err); err != nil {
			return err
		}
		if gone(r.ctx, r.s, c.ID) == nil {
			return nil
		}
		return holds(r.ctx, r.s, c)
	})
}
