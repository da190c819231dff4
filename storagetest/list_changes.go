package storagetest

import (
	"context"
	"fmt"
	"slices"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

func countMost(l *lister) error {
	if _, err := l.series(3); err != nil {
		return err
	}
	for most := range 6 {
		if err := l.counts(l.own(), most, min(most, 3)); err != nil {
			return err
		}
	}
	return nil
}

// listChanges: the list is that of the clients which are there, at each time.
func listChanges(l *lister) error {
	steps, err := l.life(nil)
	if err != nil {
		return err
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		found, err := l.list(l.own(), dcr.ClientCursor{}, 10)
		if err != nil {
			return err
		}
		if len(found) != step.left {
			return fmt.Errorf("ListClients after %s: %d clients, not %d", step.name, len(found), step.left)
		}
	}
	return nil
}

// countChanges counts by each value that a storage may keep a number of.
func countChanges(l *lister) error {
	filters := []dcr.ClientFilter{
		l.own(),
		{Issuer: l.issuer, Subject: "alice"},
		{Issuer: l.issuer, InitialAccessToken: "poster"},
		{Issuer: l.issuer, NameKey: "some editor"},
		{Issuer: l.issuer, Subject: "alice", NameKey: "some editor"},
	}
	steps, err := l.life(func(c *dcr.Client) {
		c.Origin.Subject, c.Origin.InitialAccessToken, c.Metadata.ClientName = "alice", "poster", "Some Editor"
	})
	if err != nil {
		return err
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		for _, filter := range filters {
			if err := l.counts(filter, 10, step.left); err != nil {
				return fmt.Errorf("after %s: %w", step.name, err)
			}
		}
	}
	return l.renamed()
}

// renamed: a client that gets another name counts under that one.
func (l *lister) renamed() error {
	c, err := l.create(20, func(c *dcr.Client) { c.Metadata.ClientName = "Before" })
	if err != nil {
		return err
	}
	c.Version++
	c.Metadata.ClientName = "After"
	if err := l.s.UpdateClient(l.ctx, c, c.Version-1); err != nil {
		return fmt.Errorf("UpdateClient: %w", err)
	}
	if err := l.counts(dcr.ClientFilter{Issuer: l.issuer, NameKey: "before"}, 10, 0); err != nil {
		return err
	}
	return l.counts(dcr.ClientFilter{Issuer: l.issuer, NameKey: "after"}, 10, 1)
}

// change is one step in the life of the row's clients.
type change struct {
	name string
	do   func() error
	left int // clients of the row that there are afterwards
}

// life takes clients through all that changes a list or a number. Where the storage lacks
// an optional interface, its step is left out.
func (l *lister) life(edit func(*dcr.Client)) ([]change, error) {
	c, err := l.create(0, edit)
	if err != nil {
		return nil, err
	}
	var second *dcr.Client
	steps := []change{
		{"CreateClient", func() (err error) { second, err = l.create(1, edit); return err }, 2},
		{"CreateClient that fails", func() error {
			return expect("CreateClient with an identifier that is taken", l.s.CreateClient(l.ctx, detached(c)), dcr.ErrClientExists)
		}, 2},
		{"UpdateClient", func() error {
			c.Version++
			return l.s.UpdateClient(l.ctx, detached(c), c.Version-1)
		}, 2},
		{"UpdateClient that fails", func() error {
			return expect("UpdateClient of an old version", l.s.UpdateClient(l.ctx, detached(c), c.Version-1), dcr.ErrConflict)
		}, 2},
	}
	if uses, ok := l.s.(dcr.UseRecorder); ok {
		steps = append(steps, change{"TouchClient", func() error { return uses.TouchClient(l.ctx, c.ID, l.at(5), l.at(5)) }, 2})
	}
	steps = append(steps, change{"DeleteClient", func() error { return l.s.DeleteClient(l.ctx, second.ID) }, 1},
		change{"DeleteClient that fails", func() error {
			return expect("DeleteClient of a deleted client", l.s.DeleteClient(l.ctx, second.ID), fosite.ErrNotFound)
		}, 1})
	if _, ok := l.s.(dcr.ExpiredDeleter); !ok {
		return steps, nil
	}
	return append(steps, change{"UpdateClient that ends a client", func() error {
		c.Version++
		c.ExpiresAt = dayBefore
		return l.s.UpdateClient(l.ctx, detached(c), c.Version-1)
	}, 1}, change{"DeleteExpiredClients", func() error { return sweepOne(l.ctx, l.s, c.ID) }, 0}), nil
}

// sweepOne removes what has ended in the year 2000, until the client is gone.
func sweepOne(ctx context.Context, s Storage, id string) error {
	for {
		ids, err := s.(dcr.ExpiredDeleter).DeleteExpiredClients(ctx, sweepAll, 1000)
		if err != nil || len(ids) < 1000 || slices.Contains(ids, id) {
			return err
		}
	}
}
