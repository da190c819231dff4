package storagetest_test

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

var initialUseDefects = []defect{
	{"uses are not counted", func(b *broken) {
		b.initial.use = func(context.Context, string, time.Time) error { return nil }
	}, []string{"initial/use", "initial/use_unlimited", "initial/use_exhausted", "initial/use_expiry", "initial/use_unknown",
		"initial/delete", "initial/list_whole", "race/initial_use", "race/initial_use_unlimited", "context/initial_use"}},
	{"a use counts twice", func(b *broken) {
		b.spending(func(token *dcr.InitialAccessToken, now time.Time) error {
			err := spend(token, now)
			if err == nil {
				token.Uses++
			}
			return err
		})
	}, []string{"initial/use", "initial/use_unlimited", "initial/use_expiry"}},
	{"a use sets the time of minting", func(b *broken) {
		b.spending(func(token *dcr.InitialAccessToken, now time.Time) error {
			token.CreatedAt = now
			return spend(token, now)
		})
	}, []string{"initial/use", "initial/use_exhausted"}},
	{"uses have no bound", func(b *broken) {
		b.spending(func(token *dcr.InitialAccessToken, now time.Time) error {
			bound := token.MaxUses
			token.MaxUses = 0
			err := spend(token, now)
			token.MaxUses = bound
			return err
		})
	}, []string{"initial/use_exhausted", "initial/return", "initial/return_not_below_zero", "race/initial_use"}},
	{"the bound holds where it is hit exactly", func(b *broken) {
		b.spending(func(token *dcr.InitialAccessToken, now time.Time) error {
			if token.Uses > token.MaxUses {
				token.Uses++
				return nil
			}
			return spend(token, now)
		})
	}, []string{"initial/use_exhausted"}},
	{"the last use is refused", func(b *broken) {
		b.spending(func(token *dcr.InitialAccessToken, now time.Time) error {
			if token.Uses+1 == token.MaxUses {
				return dcr.ErrExhausted
			}
			return spend(token, now)
		})
	}, []string{"initial/use", "initial/return", "initial/return_not_below_zero", "race/initial_use"}},
	{"no bound is no use", func(b *broken) {
		b.spending(func(token *dcr.InitialAccessToken, now time.Time) error {
			if token.MaxUses == 0 {
				return dcr.ErrExhausted
			}
			return spend(token, now)
		})
	}, []string{"initial/use_unlimited", "race/initial_use_unlimited", "initial/use_expiry"}},
	{"a use that is refused is counted", func(b *broken) {
		b.spending(func(token *dcr.InitialAccessToken, now time.Time) error {
			err := spend(token, now)
			if err != nil {
				token.Uses++
			}
			return err
		})
	}, []string{"initial/use_exhausted", "initial/use_expiry", "race/initial_use"}},
	{"tokens never expire", func(b *broken) {
		b.initial.use = func(ctx context.Context, id string, _ time.Time) error {
			return b.MemoryStore.UseInitialAccessToken(ctx, id, time.Time{})
		}
	}, []string{"initial/use_expiry"}},
	{"a token works in the second in which it expires", func(b *broken) {
		b.initial.use = func(ctx context.Context, id string, now time.Time) error {
			return b.MemoryStore.UseInitialAccessToken(ctx, id, now.Add(-time.Nanosecond))
		}
	}, []string{"initial/use_expiry"}},
	{"a token ceases to work a second early", func(b *broken) {
		b.initial.use = func(ctx context.Context, id string, now time.Time) error {
			return b.MemoryStore.UseInitialAccessToken(ctx, id, now.Add(time.Second))
		}
	}, []string{"initial/use_expiry"}},
	{"tokens expire by the clock of the storage", func(b *broken) {
		b.initial.use = func(ctx context.Context, id string, _ time.Time) error {
			return b.MemoryStore.UseInitialAccessToken(ctx, id, time.Now())
		}
	}, []string{"initial/use_expiry"}},
	{"tokens expire by the wall clock of a time zone", func(b *broken) {
		b.initial.use = func(ctx context.Context, id string, now time.Time) error {
			_, offset := now.Zone()
			return b.MemoryStore.UseInitialAccessToken(ctx, id, now.Add(time.Duration(offset)*time.Second))
		}
	}, []string{"initial/use_expiry"}},
	{"a token without an end has expired", func(b *broken) {
		b.spending(func(token *dcr.InitialAccessToken, now time.Time) error {
			if token.ExpiresAt.Before(now) {
				return dcr.ErrExhausted
			}
			return spend(token, now)
		})
	}, []string{"initial/use_unlimited", "initial/use_expiry"}},
	{"a use that is refused has another error", func(b *broken) {
		b.changeUseError(dcr.ErrExhausted, errOther)
	}, []string{"initial/use_exhausted", "initial/use_expiry", "initial/return", "race/initial_use"}},
	{"a token that is used up is unknown", func(b *broken) {
		b.changeUseError(dcr.ErrExhausted, fosite.ErrNotFound)
	}, []string{"initial/use_exhausted", "initial/use_expiry", "initial/return", "race/initial_use"}},
	{"an unknown token is used up", func(b *broken) {
		b.changeUseError(fosite.ErrNotFound, dcr.ErrExhausted)
	}, []string{"initial/use_unknown", "initial/delete", "race/initial_use_and_delete"}},
	{"using an unknown token is a failure", func(b *broken) {
		b.changeUseError(fosite.ErrNotFound, errOther)
	}, []string{"initial/use_unknown", "initial/delete", "race/initial_use_and_delete"}},
	{"using an unknown token creates it", func(b *broken) {
		b.initial.use = func(ctx context.Context, id string, now time.Time) error {
			err := b.MemoryStore.UseInitialAccessToken(ctx, id, now)
			if errors.Is(err, fosite.ErrNotFound) {
				b.putInitial(ctx, &dcr.InitialAccessToken{ID: id, Uses: 1})
			}
			return err
		}
	}, []string{"initial/use_unknown", "initial/delete"}},
	{"a use counts for all tokens", func(b *broken) {
		known := b.rememberInitial()
		b.initial.use = func(ctx context.Context, id string, now time.Time) error {
			for _, other := range known.all() {
				if other != id {
					_ = b.MemoryStore.UseInitialAccessToken(ctx, other, now)
				}
			}
			return b.MemoryStore.UseInitialAccessToken(ctx, id, now)
		}
	}, []string{"initial/use_others_stay"}},
}

// changeUseError puts one error of use in place of another.
func (b *broken) changeUseError(from, to error) {
	b.initial.use = func(ctx context.Context, id string, now time.Time) error {
		err := b.MemoryStore.UseInitialAccessToken(ctx, id, now)
		if errors.Is(err, from) {
			return to
		}
		return err
	}
}

// returning makes the return of a use one that changes a record otherwise. It is atomic.
func (b *broken) returning(change func(token *dcr.InitialAccessToken) error) {
	var mu sync.Mutex
	b.initial.giveBack = func(ctx context.Context, id string) error {
		mu.Lock()
		defer mu.Unlock()
		token, err := b.MemoryStore.GetInitialAccessToken(ctx, id)
		if errors.Is(err, fosite.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		err = change(token)
		b.putInitial(ctx, token)
		return err
	}
}

var initialReturnDefects = []defect{
	{"uses are not returned", func(b *broken) {
		b.initial.giveBack = func(context.Context, string) error { return nil }
	}, []string{"initial/return", "race/initial_return", "race/initial_use_and_return", "context/initial_return"}},
	{"all uses are returned", func(b *broken) {
		b.returning(func(token *dcr.InitialAccessToken) error {
			token.Uses = 0
			return nil
		})
	}, []string{"initial/return", "race/initial_return"}},
	{"a return falls below zero", func(b *broken) {
		b.returning(func(token *dcr.InitialAccessToken) error {
			token.Uses--
			return nil
		})
	}, []string{"initial/return_not_below_zero", "race/initial_return"}},
	{"a return raises the bound", func(b *broken) {
		b.returning(func(token *dcr.InitialAccessToken) error {
			token.MaxUses++
			return nil
		})
	}, []string{"initial/return", "initial/return_not_below_zero"}},
	{"a return at zero is an error", func(b *broken) {
		b.returning(func(token *dcr.InitialAccessToken) error {
			if token.Uses == 0 {
				return dcr.ErrConflict
			}
			token.Uses--
			return nil
		})
	}, []string{"initial/return_not_below_zero", "race/initial_return"}},
	{"a token that is used up takes no use back", func(b *broken) {
		b.returning(func(token *dcr.InitialAccessToken) error {
			if token.Uses < token.MaxUses {
				token.Uses = max(0, token.Uses-1)
			}
			return nil
		})
	}, []string{"initial/return"}},
	{"a token that has expired takes no use back", func(b *broken) {
		b.returning(func(token *dcr.InitialAccessToken) error {
			if token.ExpiresAt.After(time.Now()) {
				token.Uses = max(0, token.Uses-1)
			}
			return nil
		})
	}, []string{"initial/return"}},
	{"a return for an unknown token is an error", func(b *broken) {
		b.initial.giveBack = func(ctx context.Context, id string) error {
			if _, err := b.MemoryStore.GetInitialAccessToken(ctx, id); err != nil {
				return err
			}
			return b.MemoryStore.ReturnInitialAccessToken(ctx, id)
		}
	}, []string{"initial/return_unknown"}},
	{"a return for an unknown token creates it", func(b *broken) {
		b.initial.giveBack = func(ctx context.Context, id string) error {
			_ = b.MemoryStore.CreateInitialAccessToken(ctx, &dcr.InitialAccessToken{ID: id})
			return b.MemoryStore.ReturnInitialAccessToken(ctx, id)
		}
	}, []string{"initial/return_unknown", "race/initial_use_and_delete"}},
	{"a return counts for all tokens", func(b *broken) {
		known := b.rememberInitial()
		b.initial.giveBack = func(ctx context.Context, id string) error {
			for _, other := range known.all() {
				if other != id {
					_ = b.MemoryStore.ReturnInitialAccessToken(ctx, other)
				}
			}
			return b.MemoryStore.ReturnInitialAccessToken(ctx, id)
		}
	}, []string{"initial/return_others_stay"}},
}
