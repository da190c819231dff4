package storagetest_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// brokenInitial is the part of a broken storage that keeps initial access tokens.
type brokenInitial struct {
	create   func(context.Context, *dcr.InitialAccessToken) error
	get      func(context.Context, string) (*dcr.InitialAccessToken, error)
	use      func(context.Context, string, time.Time) error
	giveBack func(context.Context, string) error
	delete   func(context.Context, string) error
	list     func(context.Context, string, int) ([]*dcr.InitialAccessToken, error)
}

func soundInitial(s dcr.InitialAccessTokenStorage) brokenInitial {
	return brokenInitial{
		create:   s.CreateInitialAccessToken,
		get:      s.GetInitialAccessToken,
		use:      s.UseInitialAccessToken,
		giveBack: s.ReturnInitialAccessToken,
		delete:   s.DeleteInitialAccessToken,
		list:     s.ListInitialAccessTokens,
	}
}

func (b *broken) CreateInitialAccessToken(ctx context.Context, token *dcr.InitialAccessToken) error {
	return b.initial.create(ctx, token)
}

func (b *broken) GetInitialAccessToken(ctx context.Context, id string) (*dcr.InitialAccessToken, error) {
	return b.initial.get(ctx, id)
}

func (b *broken) UseInitialAccessToken(ctx context.Context, id string, now time.Time) error {
	return b.initial.use(ctx, id, now)
}

func (b *broken) ReturnInitialAccessToken(ctx context.Context, id string) error {
	return b.initial.giveBack(ctx, id)
}

func (b *broken) DeleteInitialAccessToken(ctx context.Context, id string) error {
	return b.initial.delete(ctx, id)
}

func (b *broken) ListInitialAccessTokens(ctx context.Context, after string, limit int) ([]*dcr.InitialAccessToken, error) {
	return b.initial.list(ctx, after, limit)
}

// changeInitial changes what is read and listed. Where change returns nil the record is
// kept back.
func (b *broken) changeInitial(change func(*dcr.InitialAccessToken) *dcr.InitialAccessToken) {
	b.initial.get = func(ctx context.Context, id string) (*dcr.InitialAccessToken, error) {
		token, err := b.MemoryStore.GetInitialAccessToken(ctx, id)
		if err != nil {
			return nil, err
		}
		if token = change(token); token == nil {
			return nil, fosite.ErrNotFound
		}
		return token, nil
	}
	b.changeList(func(all []*dcr.InitialAccessToken, after string, limit int) []*dcr.InitialAccessToken {
		var kept []*dcr.InitialAccessToken
		for _, token := range page(all, after, limit) {
			if token = change(token); token != nil {
				kept = append(kept, token)
			}
		}
		return kept
	})
}

// page is what a sound storage makes of all records, which are in order.
func page(all []*dcr.InitialAccessToken, after string, limit int) []*dcr.InitialAccessToken {
	all = slices.DeleteFunc(all, func(token *dcr.InitialAccessToken) bool { return token.ID <= after })
	return all[:min(len(all), limit)]
}

// changeList makes the list another choice from all records, which are in order.
func (b *broken) changeList(choose func(all []*dcr.InitialAccessToken, after string, limit int) []*dcr.InitialAccessToken) {
	b.initial.list = func(ctx context.Context, after string, limit int) ([]*dcr.InitialAccessToken, error) {
		all, err := b.MemoryStore.ListInitialAccessTokens(ctx, "", 1000)
		if err != nil {
			return nil, err
		}
		return choose(all, after, limit), nil
	}
}

// orderList puts the list into another order.
func (b *broken) orderList(compare func(x, y *dcr.InitialAccessToken) int) {
	b.changeList(func(all []*dcr.InitialAccessToken, after string, limit int) []*dcr.InitialAccessToken {
		found := page(all, after, 1000)
		slices.SortStableFunc(found, compare)
		return found[:min(len(found), limit)]
	})
}

// rememberInitial returns the identifiers of the tokens that are created from now on.
func (b *broken) rememberInitial() *ids {
	known := &ids{}
	b.initial.create = func(ctx context.Context, token *dcr.InitialAccessToken) error {
		known.add(token.ID)
		return b.MemoryStore.CreateInitialAccessToken(ctx, token)
	}
	return known
}

// looseTokens is a storage in which each call reads first and writes then.
type looseTokens struct {
	kept    sync.Map
	in, out bool // records are kept as they came, or returned as they are kept
}

// loosen puts the tokens into such a storage.
func (b *broken) loosen() *looseTokens {
	l := &looseTokens{}
	b.initial.create = func(_ context.Context, token *dcr.InitialAccessToken) error {
		if !l.in {
			token = copyOf(token)
		}
		if _, taken := l.kept.LoadOrStore(token.ID, token); taken {
			return dcr.ErrClientExists
		}
		return nil
	}
	b.initial.get = func(_ context.Context, id string) (*dcr.InitialAccessToken, error) { return l.get(id) }
	b.initial.use = func(_ context.Context, id string, now time.Time) error {
		return l.edit(id, func(token *dcr.InitialAccessToken) error { return spend(token, now) })
	}
	b.initial.giveBack = func(_ context.Context, id string) error {
		_ = l.edit(id, func(token *dcr.InitialAccessToken) error {
			token.Uses = max(0, token.Uses-1)
			return nil
		})
		return nil
	}
	b.initial.delete = func(_ context.Context, id string) error {
		if _, err := l.get(id); err != nil {
			return err
		}
		yield()
		l.kept.Delete(id)
		return nil
	}
	b.initial.list = func(_ context.Context, after string, limit int) ([]*dcr.InitialAccessToken, error) {
		var found []*dcr.InitialAccessToken
		l.kept.Range(func(id, _ any) bool {
			if token, err := l.get(id.(string)); err == nil {
				found = append(found, token)
			}
			return true
		})
		slices.SortFunc(found, func(x, y *dcr.InitialAccessToken) int { return strings.Compare(x.ID, y.ID) })
		return page(found, after, limit), nil
	}
	return l
}

func (l *looseTokens) get(id string) (*dcr.InitialAccessToken, error) {
	kept, ok := l.kept.Load(id)
	switch {
	case !ok:
		return nil, fosite.ErrNotFound
	case l.out:
		return kept.(*dcr.InitialAccessToken), nil
	}
	return copyOf(kept.(*dcr.InitialAccessToken)), nil
}

func (l *looseTokens) edit(id string, edit func(*dcr.InitialAccessToken) error) error {
	token, err := l.get(id)
	if err != nil {
		return err
	}
	if err := edit(token); err != nil {
		return err
	}
	yield()
	l.kept.Store(id, token)
	return nil
}

// spend is what UseInitialAccessToken does to a record.
func spend(token *dcr.InitialAccessToken, now time.Time) error {
	if token.MaxUses != 0 && token.Uses >= token.MaxUses || !token.ExpiresAt.IsZero() && !token.ExpiresAt.After(now) {
		return dcr.ErrExhausted
	}
	token.Uses++
	return nil
}

// spending makes use one that changes a record otherwise. It is atomic, and refuses what
// spend returns an error for.
func (b *broken) spending(spend func(token *dcr.InitialAccessToken, now time.Time) error) {
	var mu sync.Mutex
	b.initial.use = func(ctx context.Context, id string, now time.Time) error {
		mu.Lock()
		defer mu.Unlock()
		token, err := b.MemoryStore.GetInitialAccessToken(ctx, id)
		if err != nil {
			return err
		}
		err = spend(token, now)
		b.putInitial(ctx, token)
		return err
	}
}

// putInitial stores a record whatever was there before.
func (b *broken) putInitial(ctx context.Context, token *dcr.InitialAccessToken) {
	_ = b.MemoryStore.DeleteInitialAccessToken(ctx, token.ID)
	_ = b.MemoryStore.CreateInitialAccessToken(ctx, token)
}

func copyOf(token *dcr.InitialAccessToken) *dcr.InitialAccessToken {
	c := *token
	c.Hash, c.GrantTypes = slices.Clone(c.Hash), slices.Clone(c.GrantTypes)
	return &c
}
