package storagetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

var listPageRows = []Row{
	{Name: "list/pages", Check: listing(listPages), Says: saysOrder,
		Why: "An operator who pages through the clients misses some, sees some twice, or never comes to the end."},
	{Name: "list/cursor_deleted", Check: listing(listCursorDeleted), Says: "A cursor is a place, whether or not there is a client at it.",
		Why: "An operator who deletes the last client of a page loses all that follow."},
	{Name: "list/pages_changed", Check: listing(listPagesChanged), Says: saysOnce,
		Why: "Where clients come and go, an operator who pages through them misses one that was there all the while."},
	{Name: "list/pages_filtered", Check: listing(listPagesFiltered), Says: saysLimit,
		Why: "An operator who pages through what a search has found misses some of it."},
	{Name: "race/list", Check: repeated(listing(raceList)), Says: saysOnce,
		Why: "The operator's page fails, or shows clients twice, as long as others register."},
}

// walk visits all clients that fit, page by page.
func (l *lister) walk(filter dcr.ClientFilter, limit int, visit func(*dcr.Client) error) error {
	for from := (dcr.ClientCursor{}); ; {
		found, err := l.list(filter, from, limit)
		if err != nil {
			return err
		}
		for _, c := range found {
			if !from.Follows(c) {
				return fmt.Errorf("ListClients returned a client that does not come after %+v, the cursor or the one before it: %s", from, shown(c))
			}
			from = behind(c)
			if err := visit(c); err != nil {
				return err
			}
		}
		if len(found) < limit {
			return nil
		}
	}
}

// gathers checks that pages of a size have the wanted clients, each once and in order.
func (l *lister) gathers(filter dcr.ClientFilter, limit int, want []*dcr.Client) error {
	var got []string
	err := l.walk(filter, limit, func(c *dcr.Client) error {
		got = append(got, c.ID)
		return nil
	})
	if err != nil {
		return err
	}
	if want := listed(want); !slices.Equal(got, want) {
		return fmt.Errorf("ListClients, in pages of %d: it returned %q, and has to return %q", limit, got, want)
	}
	return nil
}

func listPages(l *lister) error {
	clients, err := l.muddle()
	if err != nil {
		return err
	}
	for _, limit := range []int{1, 2, 3, len(clients) - 1, len(clients)} {
		if err := l.gathers(l.own(), limit, clients); err != nil {
			return err
		}
	}
	for i, c := range clients {
		if err := l.lists(l.own(), behind(c), 100, clients[i+1:]); err != nil {
			return err
		}
	}
	return nil
}

func listPagesFiltered(l *lister) error {
	var wanted []*dcr.Client
	for i := range 12 {
		kind := []string{"wanted", "other", "another"}[i%3]
		c, err := l.create(i/4, func(c *dcr.Client) { c.Origin.Kind = kind })
		if err != nil {
			return err
		}
		if kind == "wanted" {
			wanted = append(wanted, c)
		}
	}
	inOrder(wanted)
	filter := dcr.ClientFilter{Issuer: l.issuer, Kind: "wanted"}
	for limit := 1; limit <= len(wanted); limit++ {
		if err := l.gathers(filter, limit, wanted); err != nil {
			return err
		}
	}
	return nil
}

// listCursorDeleted: the place behind a client stays where it is without the client, and
// one behind a client that never was is a place, too.
func listCursorDeleted(l *lister) error {
	clients, err := l.muddle()
	if err != nil {
		return err
	}
	for _, i := range []int{0, 4, 5} {
		if err := l.delete(clients[i].ID); err != nil {
			return err
		}
	}
	if err := l.lists(l.own(), behind(clients[4]), 3, clients[6:9]); err != nil {
		return err
	}
	if err := l.lists(l.own(), behind(clients[3]), 3, clients[6:9]); err != nil {
		return err
	}
	if err := l.lists(l.own(), behind(clients[0]), 3, clients[1:4]); err != nil {
		return err
	}
	return l.lists(l.own(), dcr.ClientCursor{CreatedAt: l.at(1000), ID: "nobody"}, 3, clients[1:4])
}

// listPagesChanged changes all that it can between two pages.
func listPagesChanged(l *lister) error {
	clients, err := l.series(12) // [0] is the newest
	if err != nil {
		return err
	}
	uses, hasUses := l.s.(dcr.UseRecorder)
	step := 0
	between := func() error {
		step++
		switch step {
		case 1: // one that was listed goes, and one that was not
			for _, i := range []int{0, 9} {
				if err := l.delete(clients[i].ID); err != nil {
					return err
				}
			}
		case 2: // one of each is updated
			for _, i := range []int{1, 10} {
				next := detached(clients[i])
				next.Version++
				next.UpdatedAt = l.at(200)
				next.Metadata.ClientName = "Renamed"
				if err := l.update(next); err != nil {
					return err
				}
			}
		case 3: // one of each is used, and another comes
			for _, i := range []int{2, 11} {
				if !hasUses {
					break
				}
				if err := l.touch(uses, clients[i].ID, l.at(300), l.at(300)); err != nil {
					return err
				}
			}
			_, err := l.create(100, nil)
			return err
		}
		return nil
	}
	n, seen := 0, map[string]int{}
	err = l.walk(l.own(), 2, func(c *dcr.Client) error {
		seen[c.ID]++
		if n++; n%2 == 0 {
			return between()
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i, c := range clients {
		if gone := i == 9; seen[c.ID] != 1 && !gone {
			return fmt.Errorf("ListClients returned a client %d times, and has to once, while others came, changed and went: %s", seen[c.ID], shown(c))
		}
	}
	return nil
}

// raceList pages while others create, change and delete clients: those that stay are
// listed once.
func raceList(l *lister) error {
	clients, err := l.series(8)
	if err != nil {
		return err
	}
	var over atomic.Bool
	var running sync.WaitGroup
	writers := make([]error, 2)
	for w := range writers {
		running.Go(func() {
			for n := int64(1); !over.Load() && writers[w] == nil; n++ {
				writers[w] = l.stir(clients[w], n)
			}
		})
	}
	for i := 0; i < 10 && err == nil; i++ {
		err = l.raceWalk(clients)
	}
	over.Store(true)
	running.Wait()
	return errors.Join(append(writers, err)...)
}

// stir has two clients come, changes one that stays, and has the two go.
func (l *lister) stir(stays *dcr.Client, version int64) error {
	var passing [2]*dcr.Client
	for i := range passing {
		var err error
		if passing[i], err = l.create(100+i, nil); err != nil {
			return err
		}
	}
	next := detached(stays)
	next.Version = version + 1
	if err := l.update(next); err != nil {
		return err
	}
	for _, c := range passing {
		if err := l.delete(c.ID); err != nil {
			return err
		}
	}
	return nil
}

func (l *lister) raceWalk(clients []*dcr.Client) error {
	seen := map[string]int{}
	err := l.walk(l.own(), 3, func(c *dcr.Client) error {
		if seen[c.ID]++; seen[c.ID] > 1 {
			return fmt.Errorf("ListClients returned a client twice, while others wrote: %s", shown(c))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, c := range clients {
		if seen[c.ID] == 0 {
			return fmt.Errorf("ListClients left out a client that was there all the while, while others wrote: %s", shown(c))
		}
	}
	_, err = l.clients.CountClients(l.ctx, l.own(), 100)
	return err
}
