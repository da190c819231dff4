package storagetest_test

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

var initialRecordDefects = []defect{
	{"tokens are not stored", func(b *broken) {
		b.initial.create = func(context.Context, *dcr.InitialAccessToken) error { return nil }
	}, []string{"initial/read_back", "initial/sparse", "initial/exists", "initial/use", "context/initial_create"}},
	{"a token overwrites another", func(b *broken) {
		b.initial.create = func(ctx context.Context, token *dcr.InitialAccessToken) error {
			b.putInitial(ctx, token)
			return nil
		}
	}, []string{"initial/exists", "race/initial_create"}},
	{"an identifier of a token that is taken is no error", func(b *broken) {
		b.initial.create = func(ctx context.Context, token *dcr.InitialAccessToken) error {
			_ = b.MemoryStore.CreateInitialAccessToken(ctx, token)
			return nil
		}
	}, []string{"initial/exists", "race/initial_create", "context/initial_create"}},
	{"an identifier of a token that is taken has another error", func(b *broken) {
		b.initial.create = func(ctx context.Context, token *dcr.InitialAccessToken) error {
			if b.MemoryStore.CreateInitialAccessToken(ctx, token) != nil {
				return errOther
			}
			return nil
		}
	}, []string{"initial/exists", "race/initial_create", "context/initial_create"}},
	{"an identifier of a token is looked up first and stored then", func(b *broken) {
		l := b.loosen()
		b.initial.create = func(_ context.Context, token *dcr.InitialAccessToken) error {
			if _, err := l.get(token.ID); err == nil {
				return dcr.ErrClientExists
			}
			yield()
			l.kept.Store(token.ID, copyOf(token))
			return nil
		}
	}, []string{"race/initial_create"}},
	{"tokens are kept as they came", func(b *broken) { b.loosen().in = true }, []string{"initial/copied_in"}},
	{"tokens are returned as they are kept", func(b *broken) { b.loosen().out = true }, []string{"initial/copied_out"}},
	{"the list returns tokens as they are kept", func(b *broken) {
		l := b.loosen()
		l.out = true
		b.initial.get = func(_ context.Context, id string) (*dcr.InitialAccessToken, error) {
			token, err := l.get(id)
			if err != nil {
				return nil, err
			}
			return copyOf(token), nil
		}
	}, []string{"initial/copied_out"}},
	{"a token without an end ends in 1970", func(b *broken) {
		b.changeInitial(func(token *dcr.InitialAccessToken) *dcr.InitialAccessToken {
			if token.ExpiresAt.IsZero() {
				token.ExpiresAt = time.Unix(0, 0)
			}
			return token
		})
	}, []string{"initial/sparse"}},
	{"the hash of a token is kept as text", func(b *broken) {
		b.changeInitial(func(token *dcr.InitialAccessToken) *dcr.InitialAccessToken {
			token.Hash = []byte(strings.ToValidUTF8(string(token.Hash), "?"))
			return token
		})
	}, []string{"initial/sparse"}},
	{"an unknown token is nothing and no error", func(b *broken) {
		b.initial.get = func(ctx context.Context, id string) (*dcr.InitialAccessToken, error) {
			token, _ := b.MemoryStore.GetInitialAccessToken(ctx, id)
			return token, nil
		}
	}, []string{"initial/unknown", "initial/exact_identifier", "initial/delete", "context/initial_read"}},
	{"an unknown token is a record with the error", func(b *broken) {
		b.initial.get = func(ctx context.Context, id string) (*dcr.InitialAccessToken, error) {
			token, err := b.MemoryStore.GetInitialAccessToken(ctx, id)
			if err != nil {
				return &dcr.InitialAccessToken{}, err
			}
			return token, nil
		}
	}, []string{"initial/unknown", "context/initial_read"}},
	{"an unknown token has another error", func(b *broken) {
		b.initial.get = func(ctx context.Context, id string) (*dcr.InitialAccessToken, error) {
			token, err := b.MemoryStore.GetInitialAccessToken(ctx, id)
			if err != nil {
				return nil, errOther
			}
			return token, nil
		}
	}, []string{"initial/unknown", "initial/exact_identifier", "initial/delete", "initial/use_unknown", "initial/return_unknown"}},
	{"identifiers of tokens are compared without case", func(b *broken) {
		b.initial.get = func(ctx context.Context, id string) (*dcr.InitialAccessToken, error) {
			return b.MemoryStore.GetInitialAccessToken(ctx, asCreated(id))
		}
	}, []string{"initial/exact_identifier"}},
	{"identifiers of tokens are trimmed", func(b *broken) {
		b.initial.get = func(ctx context.Context, id string) (*dcr.InitialAccessToken, error) {
			return b.MemoryStore.GetInitialAccessToken(ctx, strings.TrimSpace(id))
		}
	}, []string{"initial/exact_identifier"}},
	{"tokens that have expired are not found", func(b *broken) {
		b.changeInitial(func(token *dcr.InitialAccessToken) *dcr.InitialAccessToken {
			if !token.ExpiresAt.IsZero() && token.ExpiresAt.Before(time.Now()) {
				return nil
			}
			return token
		})
	}, []string{"initial/spent", "initial/return"}},
	{"tokens that are used up are not found", func(b *broken) {
		b.changeInitial(func(token *dcr.InitialAccessToken) *dcr.InitialAccessToken {
			if token.MaxUses != 0 && token.Uses >= token.MaxUses {
				return nil
			}
			return token
		})
	}, []string{"initial/spent", "initial/use", "initial/use_exhausted"}},
	{"tokens are not deleted", func(b *broken) {
		b.initial.delete = func(context.Context, string) error { return nil }
	}, []string{"initial/delete", "initial/delete_unknown", "race/initial_delete", "context/initial_delete"}},
	{"deleting a token that is unknown is no error", func(b *broken) {
		b.initial.delete = func(ctx context.Context, id string) error {
			_ = b.MemoryStore.DeleteInitialAccessToken(ctx, id)
			return nil
		}
	}, []string{"initial/delete_unknown", "race/initial_delete", "context/initial_delete"}},
	{"deleting a token that is unknown has another error", func(b *broken) {
		b.initial.delete = func(ctx context.Context, id string) error {
			if b.MemoryStore.DeleteInitialAccessToken(ctx, id) != nil {
				return errOther
			}
			return nil
		}
	}, []string{"initial/delete_unknown", "race/initial_delete", "context/initial_delete"}},
	{"tokens are deleted where they are read only", func(b *broken) {
		deleted := &ids{}
		b.initial.delete = func(ctx context.Context, id string) error {
			deleted.add(id)
			return nil
		}
		b.changeInitial(func(token *dcr.InitialAccessToken) *dcr.InitialAccessToken {
			for _, id := range deleted.all() {
				if id == token.ID {
					return nil
				}
			}
			return token
		})
	}, []string{"initial/delete"}},
	{"all tokens are deleted", func(b *broken) {
		known := b.rememberInitial()
		b.initial.delete = func(ctx context.Context, id string) error {
			for _, other := range known.all() {
				if other != id {
					_ = b.MemoryStore.DeleteInitialAccessToken(ctx, other)
				}
			}
			return b.MemoryStore.DeleteInitialAccessToken(ctx, id)
		}
	}, []string{"initial/delete_others_stay"}},
	{"tokens are looked up first and changed or deleted then", func(b *broken) { b.loosen() },
		[]string{"race/initial_use", "race/initial_use_unlimited", "race/initial_return", "race/initial_use_and_return",
			"race/initial_delete", "race/initial_use_and_delete", "context/initial_create", "context/initial_use"}},
}

var initialListDefects = []defect{
	{"the list is the other way round", func(b *broken) {
		b.orderList(func(x, y *dcr.InitialAccessToken) int { return cmp.Compare(y.ID, x.ID) })
	}, []string{"initial/list_order", "initial/list_pages", "initial/list_limit"}},
	{"the list has the order of minting", func(b *broken) {
		b.orderList(func(x, y *dcr.InitialAccessToken) int { return x.CreatedAt.Compare(y.CreatedAt) })
	}, []string{"initial/list_order", "initial/list_pages", "initial/list_limit"}},
	{"the list has the order of a dictionary", func(b *broken) {
		b.orderList(func(x, y *dcr.InitialAccessToken) int {
			return cmp.Compare(strings.ToLower(x.ID), strings.ToLower(y.ID))
		})
	}, []string{"initial/list_order", "initial/list_pages"}},
	{"the list has the shorter identifiers first", func(b *broken) {
		b.orderList(func(x, y *dcr.InitialAccessToken) int { return cmp.Compare(len(x.ID), len(y.ID)) })
	}, []string{"initial/list_order", "initial/list_pages"}},
	{"a page begins with the identifier", func(b *broken) {
		b.changeList(func(all []*dcr.InitialAccessToken, after string, limit int) []*dcr.InitialAccessToken {
			for n, token := range all {
				if token.ID == after {
					return all[n:min(len(all), n+limit)]
				}
			}
			return page(all, after, limit)
		})
	}, []string{"initial/list_pages"}},
	{"a page after an identifier that is gone is empty", func(b *broken) {
		b.changeList(func(all []*dcr.InitialAccessToken, after string, limit int) []*dcr.InitialAccessToken {
			for _, token := range all {
				if token.ID == after {
					return page(all, after, limit)
				}
			}
			return nil
		})
	}, []string{"initial/list_order", "initial/list_pages", "initial/list_first"}},
	{"a page is cut before it begins", func(b *broken) {
		b.changeList(func(all []*dcr.InitialAccessToken, after string, limit int) []*dcr.InitialAccessToken {
			return page(all[:min(len(all), limit)], after, limit)
		})
	}, []string{"initial/list_pages"}},
	{"the list from the beginning is empty", func(b *broken) {
		b.changeList(func(all []*dcr.InitialAccessToken, after string, limit int) []*dcr.InitialAccessToken {
			if after == "" {
				return nil
			}
			return page(all, after, limit)
		})
	}, []string{"initial/list_first"}},
	{"the list from the beginning leaves out the first", func(b *broken) {
		_ = b.MemoryStore.CreateInitialAccessToken(context.Background(), &dcr.InitialAccessToken{ID: "host"})
		b.changeList(func(all []*dcr.InitialAccessToken, after string, limit int) []*dcr.InitialAccessToken {
			return page(all, max(after, "'"), limit)
		})
	}, []string{"initial/list_first"}},
	{"the list has no limit", func(b *broken) {
		b.changeList(func(all []*dcr.InitialAccessToken, after string, _ int) []*dcr.InitialAccessToken {
			return page(all, after, len(all))
		})
	}, []string{"initial/list_limit", "initial/list_pages"}},
	{"no limit is no bound", func(b *broken) {
		b.changeList(func(all []*dcr.InitialAccessToken, after string, limit int) []*dcr.InitialAccessToken {
			if limit == 0 {
				limit = len(all)
			}
			return page(all, after, limit)
		})
	}, []string{"initial/list_limit"}},
	{"the list has a page of its own length", func(b *broken) {
		b.changeList(func(all []*dcr.InitialAccessToken, after string, limit int) []*dcr.InitialAccessToken {
			return page(all, after, min(limit, 3))
		})
	}, []string{"initial/list_order", "initial/list_limit"}},
	{"the list begins anew behind the end", func(b *broken) {
		b.changeList(func(all []*dcr.InitialAccessToken, after string, limit int) []*dcr.InitialAccessToken {
			if found := page(append([]*dcr.InitialAccessToken{}, all...), after, limit); len(found) > 0 {
				return found
			}
			return page(all, "", limit)
		})
	}, []string{"initial/list_limit"}},
	{"the list has a cache that is never emptied", func(b *broken) {
		cache := map[string][]*dcr.InitialAccessToken{}
		b.initial.list = func(ctx context.Context, after string, limit int) ([]*dcr.InitialAccessToken, error) {
			if found, ok := cache[after]; ok {
				return found, nil
			}
			found, err := b.MemoryStore.ListInitialAccessTokens(ctx, after, limit)
			cache[after] = found
			return found, err
		}
	}, []string{"initial/list_whole", "initial/list_limit"}},
	{"the list has the deleted ones", func(b *broken) {
		known := map[string]*dcr.InitialAccessToken{}
		b.initial.create = func(ctx context.Context, token *dcr.InitialAccessToken) error {
			known[token.ID] = copyOf(token)
			return b.MemoryStore.CreateInitialAccessToken(ctx, token)
		}
		b.changeList(func(all []*dcr.InitialAccessToken, after string, limit int) []*dcr.InitialAccessToken {
			for _, token := range known {
				if token.ID > after && !hasID(all, token.ID) {
					return []*dcr.InitialAccessToken{token}
				}
			}
			return page(all, after, limit)
		})
	}, []string{"initial/delete"}},
	{"the list leaves out what is used up", func(b *broken) {
		b.changeList(func(all []*dcr.InitialAccessToken, after string, limit int) []*dcr.InitialAccessToken {
			found := page(all, after, limit)
			if len(found) > 0 && found[0].Uses >= found[0].MaxUses {
				return found[1:]
			}
			return found
		})
	}, []string{"initial/spent"}},
}

func hasID(tokens []*dcr.InitialAccessToken, id string) bool {
	for _, token := range tokens {
		if token.ID == id {
			return true
		}
	}
	return false
}

// half does nothing, or half of it, when the context is done.
func half(ctx context.Context, do func(ctx context.Context)) error {
	if ctx.Err() != nil {
		do(context.WithoutCancel(ctx))
	}
	return ctx.Err()
}

var initialContextDefects = []defect{
	{"methods for initial access tokens ignore the context", func(b *broken) {
		b.initial = brokenInitial{
			create: func(ctx context.Context, token *dcr.InitialAccessToken) error {
				return b.MemoryStore.CreateInitialAccessToken(context.WithoutCancel(ctx), token)
			},
			get: func(ctx context.Context, id string) (*dcr.InitialAccessToken, error) {
				return b.MemoryStore.GetInitialAccessToken(context.WithoutCancel(ctx), id)
			},
			use: func(ctx context.Context, id string, now time.Time) error {
				return b.MemoryStore.UseInitialAccessToken(context.WithoutCancel(ctx), id, now)
			},
			giveBack: func(ctx context.Context, id string) error {
				return b.MemoryStore.ReturnInitialAccessToken(context.WithoutCancel(ctx), id)
			},
			delete: func(ctx context.Context, id string) error {
				return b.MemoryStore.DeleteInitialAccessToken(context.WithoutCancel(ctx), id)
			},
			list: func(ctx context.Context, after string, limit int) ([]*dcr.InitialAccessToken, error) {
				return b.MemoryStore.ListInitialAccessTokens(context.WithoutCancel(ctx), after, limit)
			},
		}
	}, []string{"context/initial_create", "context/initial_read", "context/initial_use", "context/initial_return",
		"context/initial_delete", "context/initial_list"}},
	{"a token is half stored when the context ends", func(b *broken) {
		b.initial.create = func(ctx context.Context, token *dcr.InitialAccessToken) error {
			err := half(ctx, func(ctx context.Context) { b.putInitial(ctx, &dcr.InitialAccessToken{ID: token.ID}) })
			return errors.Join(err, b.MemoryStore.CreateInitialAccessToken(ctx, token))
		}
	}, []string{"context/initial_create"}},
	{"a token loses its bound when the context ends", func(b *broken) {
		lose := func(ctx context.Context, id string) error {
			return half(ctx, func(ctx context.Context) {
				b.putInitial(ctx, &dcr.InitialAccessToken{ID: id})
			})
		}
		b.initial.use = func(ctx context.Context, id string, now time.Time) error {
			return errors.Join(lose(ctx, id), b.MemoryStore.UseInitialAccessToken(ctx, id, now))
		}
		b.initial.giveBack = func(ctx context.Context, id string) error {
			return errors.Join(lose(ctx, id), b.MemoryStore.ReturnInitialAccessToken(ctx, id))
		}
		b.initial.delete = func(ctx context.Context, id string) error {
			return errors.Join(lose(ctx, id), b.MemoryStore.DeleteInitialAccessToken(ctx, id))
		}
	}, []string{"context/initial_use", "context/initial_return", "context/initial_delete"}},
	{"a list that was broken off is returned with the error", func(b *broken) {
		b.initial.list = func(ctx context.Context, after string, limit int) ([]*dcr.InitialAccessToken, error) {
			found, _ := b.MemoryStore.ListInitialAccessTokens(context.WithoutCancel(ctx), after, limit)
			return found, ctx.Err()
		}
	}, []string{"context/initial_list"}},
	{"a list that was broken off has no error", func(b *broken) {
		b.initial.list = func(ctx context.Context, after string, limit int) ([]*dcr.InitialAccessToken, error) {
			found, _ := b.MemoryStore.ListInitialAccessTokens(ctx, after, limit)
			return found, nil
		}
	}, []string{"context/initial_list"}},
	{"an ended context is an unknown token", func(b *broken) {
		b.initial.get = func(ctx context.Context, id string) (*dcr.InitialAccessToken, error) {
			token, err := b.MemoryStore.GetInitialAccessToken(ctx, id)
			if err != nil {
				return nil, fosite.ErrNotFound
			}
			return token, nil
		}
	}, []string{"context/initial_read"}},
}
