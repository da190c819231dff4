package storagetest

import (
	"context"
	"fmt"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// fullRows are about a storage that has a bound and has reached it.
func fullRows(o Options) []Row {
	rows := []Row{
		{Name: "full/create", Check: o.full(fullCreate),
			Why: "A registration at the bound is answered as a failure of the server, and no old client gives way to it."},
		{Name: "full/exists", Check: o.full(fullExists),
			Why: "A registration that could share a client, or has to choose another identifier, throws a stranger's client out."},
		{Name: "full/again", Check: o.full(fullAgain),
			Why: "A storage that was full once refuses clients although others have gone."},
	}
	for i := range rows {
		rows[i].Needs = "Options.Bounded"
	}
	return append(rows, Row{Name: "full/room", Needs: needsRoom + " and Options.Bounded", Check: o.full(fullRoom),
		Why: "A client gives way, and the registration that it made room for is refused all the same."})
}

// bound is how many clients the storage has room for.
const bound = 3

// full makes a check of one that gets a storage with as many clients as it has room for.
func (o Options) full(check func(ctx context.Context, s Storage, clients []*dcr.Client) error) func(context.Context, Storage) error {
	return func(ctx context.Context, like Storage) error {
		if o.Bounded == nil {
			return ErrNotRun
		}
		s, err := o.Bounded(ctx, like, bound)
		if err != nil {
			return fmt.Errorf("the option Bounded: %w", err)
		}
		clients := make([]*dcr.Client, bound)
		for i := range clients {
			if clients[i], err = created(ctx, s, resting(func(*dcr.Client) {})); err != nil {
				return err
			}
		}
		return check(ctx, s, clients)
	}
}

// refuses checks that there is no room for a client, and that nothing is left of it.
func refuses(ctx context.Context, s Storage) error {
	c := sample("first")
	if err := expect("CreateClient where there is no room", s.CreateClient(ctx, c), dcr.ErrFull); err != nil {
		return err
	}
	return gone(ctx, s, c.ID)
}

func fullCreate(ctx context.Context, s Storage, clients []*dcr.Client) error {
	for range 2 {
		if err := refuses(ctx, s); err != nil {
			return err
		}
	}
	for _, c := range clients {
		if err := holds(ctx, s, c); err != nil {
			return err
		}
	}
	return nil
}

func fullExists(ctx context.Context, s Storage, clients []*dcr.Client) error {
	err := s.CreateClient(ctx, successor(clients[1], "second"))
	return expect("CreateClient with an identifier that is taken, where there is no room", err, dcr.ErrClientExists)
}

func fullAgain(ctx context.Context, s Storage, clients []*dcr.Client) error {
	if err := refuses(ctx, s); err != nil {
		return err
	}
	if err := s.DeleteClient(ctx, clients[0].ID); err != nil {
		return fmt.Errorf("DeleteClient: %w", err)
	}
	if err := expect("DeleteClient of a deleted client", s.DeleteClient(ctx, clients[0].ID), fosite.ErrNotFound); err != nil {
		return err
	}
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	if err := refuses(ctx, s); err != nil {
		return err
	}
	return holds(ctx, s, c)
}

func fullRoom(ctx context.Context, s Storage, _ []*dcr.Client) error {
	maker, ok := s.(dcr.RoomMaker)
	if !ok {
		return ErrNotRun
	}
	if _, err := maker.MakeRoom(ctx, time.Now()); err != nil {
		return fmt.Errorf("MakeRoom, with clients that can give way: %w", err)
	}
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	if err := refuses(ctx, s); err != nil {
		return err
	}
	return holds(ctx, s, c)
}
