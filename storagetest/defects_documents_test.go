package storagetest_test

import (
	"context"
	"strings"
	"time"

	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/cimd"
)

// brokenDocuments is the part of a broken storage that keeps documents.
type brokenDocuments struct {
	find   func(context.Context, string) ([]byte, bool, error)
	save   func(context.Context, string, []byte, time.Time, int) (bool, error)
	touch  func(context.Context, string, time.Time) error
	delete func(context.Context, string) error
	block  func(context.Context, string, bool) error
	list   func(context.Context, string, int, func(string, []byte, time.Time, bool)) error
}

func soundDocuments(s cimd.Storage) brokenDocuments {
	return brokenDocuments{s.FindDocument, s.SaveDocument, s.TouchDocument, s.DeleteDocument, s.BlockDocument, s.ListDocuments}
}

func (b *broken) FindDocument(ctx context.Context, id string) ([]byte, bool, error) {
	return b.documents.find(ctx, id)
}

func (b *broken) SaveDocument(ctx context.Context, id string, record []byte, used time.Time, most int) (bool, error) {
	return b.documents.save(ctx, id, record, used, most)
}

func (b *broken) TouchDocument(ctx context.Context, id string, used time.Time) error {
	return b.documents.touch(ctx, id, used)
}

func (b *broken) DeleteDocument(ctx context.Context, id string) error {
	return b.documents.delete(ctx, id)
}

func (b *broken) BlockDocument(ctx context.Context, id string, blocked bool) error {
	return b.documents.block(ctx, id, blocked)
}

func (b *broken) ListDocuments(ctx context.Context, after string, limit int, each func(string, []byte, time.Time, bool)) error {
	return b.documents.list(ctx, after, limit, each)
}

// saving saves in another way than the store.
func (b *broken) saving(save func(sound brokenDocuments, ctx context.Context, id string, record []byte, used time.Time, most int) (bool, error)) {
	sound := soundDocuments(b.MemoryStore)
	b.documents.save = func(ctx context.Context, id string, record []byte, used time.Time, most int) (bool, error) {
		return save(sound, ctx, id, record, used, most)
	}
}

// oldest returns the identifier whose record was not used for the longest, whatever its client holds, and how many there are.
func (d brokenDocuments) oldest(ctx context.Context) (oldest string, number int) {
	var at time.Time
	_ = d.list(ctx, "", 1000, func(id string, record []byte, used time.Time, _ bool) {
		if record == nil {
			return
		}
		if number++; number == 1 || used.Before(at) {
			oldest, at = id, used
		}
	})
	return oldest, number
}

var documentDefects = []defect{
	{"no document is kept", func(b *broken) {
		b.documents.find = func(context.Context, string) ([]byte, bool, error) { return nil, false, nil }
	}, []string{"documents/read_back", "documents/replace", "documents/copied", "documents/block"}},
	{"a missing document is an empty one", func(b *broken) {
		b.documents.find = func(ctx context.Context, id string) ([]byte, bool, error) {
			record, blocked, err := b.MemoryStore.FindDocument(ctx, id)
			return append([]byte{}, record...), blocked, err
		}
	}, []string{"documents/read_back", "documents/delete"}},
	{"a document is replaced without its use", func(b *broken) {
		b.saving(func(sound brokenDocuments, ctx context.Context, id string, record []byte, used time.Time, most int) (bool, error) {
			if known, _, _ := sound.find(ctx, id); known != nil {
				used = time.Time{}
			}
			return sound.save(ctx, id, record, used, most)
		})
	}, []string{"documents/replace"}},
	{"a document is not replaced", func(b *broken) {
		b.saving(func(sound brokenDocuments, ctx context.Context, id string, record []byte, used time.Time, most int) (bool, error) {
			if known, _, _ := sound.find(ctx, id); known != nil {
				return true, sound.touch(ctx, id, used)
			}
			return sound.save(ctx, id, record, used, most)
		})
	}, []string{"documents/replace", "documents/block", "documents/full"}},
	{"uses are not noted", func(b *broken) {
		b.documents.touch = func(context.Context, string, time.Time) error { return nil }
	}, []string{"documents/touch", "documents/evict", "context/documents"}},
	{"a use is noted backward", func(b *broken) {
		b.documents.touch = func(ctx context.Context, id string, used time.Time) error {
			record, _, err := b.MemoryStore.FindDocument(ctx, id)
			if err != nil || record == nil {
				return err
			}
			_ = b.MemoryStore.DeleteDocument(ctx, id)
			_, err = b.MemoryStore.SaveDocument(ctx, id, record, used, 1000)
			return err
		}
	}, []string{"documents/touch"}},
	{"a use makes a document", func(b *broken) {
		b.documents.touch = func(ctx context.Context, id string, used time.Time) error {
			if record, _, _ := b.MemoryStore.FindDocument(ctx, id); record == nil {
				_, _ = b.MemoryStore.SaveDocument(ctx, id, []byte("?"), used, 1000)
			}
			return b.MemoryStore.TouchDocument(ctx, id, used)
		}
	}, []string{"documents/touch"}},
	{"deleting nothing is an error", func(b *broken) {
		b.documents.delete = func(ctx context.Context, id string) error {
			if record, _, _ := b.MemoryStore.FindDocument(ctx, id); record == nil {
				return fosite.ErrNotFound
			}
			return b.MemoryStore.DeleteDocument(ctx, id)
		}
	}, []string{"documents/delete"}},
	{"deleting ends blocking", func(b *broken) {
		b.documents.delete = func(ctx context.Context, id string) error {
			_ = b.MemoryStore.BlockDocument(ctx, id, false)
			return b.MemoryStore.DeleteDocument(ctx, id)
		}
	}, []string{"documents/block"}},
	{"saving ends blocking", func(b *broken) {
		b.saving(func(sound brokenDocuments, ctx context.Context, id string, record []byte, used time.Time, most int) (bool, error) {
			_ = sound.block(ctx, id, false)
			return sound.save(ctx, id, record, used, most)
		})
	}, []string{"documents/block"}},
	{"only what is known is blocked", func(b *broken) {
		b.documents.block = func(ctx context.Context, id string, blocked bool) error {
			if record, _, _ := b.MemoryStore.FindDocument(ctx, id); record == nil && blocked {
				return nil
			}
			return b.MemoryStore.BlockDocument(ctx, id, blocked)
		}
	}, []string{"documents/block", "documents/list"}},
	{"a document is not copied", func(b *broken) {
		kept := map[string][]byte{}
		b.documents.save = func(ctx context.Context, id string, record []byte, used time.Time, most int) (bool, error) {
			kept[id] = record
			return b.MemoryStore.SaveDocument(ctx, id, record, used, most)
		}
		b.documents.find = func(ctx context.Context, id string) ([]byte, bool, error) {
			_, blocked, err := b.MemoryStore.FindDocument(ctx, id)
			return kept[id], blocked, err
		}
	}, []string{"documents/copied"}},
	{"identifiers are compared without case", func(b *broken) {
		sound := soundDocuments(b.MemoryStore)
		b.documents.find = func(ctx context.Context, id string) ([]byte, bool, error) {
			return sound.find(ctx, strings.ToLower(id))
		}
		b.saving(func(sound brokenDocuments, ctx context.Context, id string, record []byte, used time.Time, most int) (bool, error) {
			return sound.save(ctx, strings.ToLower(id), record, used, most)
		})
	}, []string{"documents/identifiers"}},
	{"identifiers are cut", func(b *broken) {
		b.saving(func(sound brokenDocuments, ctx context.Context, id string, record []byte, used time.Time, most int) (bool, error) {
			return sound.save(ctx, id[:min(len(id), 255)], record, used, most)
		})
	}, []string{"documents/identifiers"}},
	{"a list leaves out what is blocked", func(b *broken) {
		b.documents.list = func(ctx context.Context, after string, limit int, each func(string, []byte, time.Time, bool)) error {
			return b.MemoryStore.ListDocuments(ctx, after, limit, func(id string, record []byte, used time.Time, blocked bool) {
				if !blocked {
					each(id, record, used, blocked)
				}
			})
		}
	}, []string{"documents/list"}},
	{"a list has no limit", func(b *broken) {
		b.documents.list = func(ctx context.Context, after string, _ int, each func(string, []byte, time.Time, bool)) error {
			return b.MemoryStore.ListDocuments(ctx, after, 1000, each)
		}
	}, []string{"documents/list"}},
	{"a list begins with after", func(b *broken) {
		b.documents.list = func(ctx context.Context, after string, limit int, each func(string, []byte, time.Time, bool)) error {
			return b.MemoryStore.ListDocuments(ctx, after[:max(len(after)-1, 0)], limit, each)
		}
	}, []string{"documents/list"}},
	{"there is no bound", func(b *broken) {
		b.saving(func(sound brokenDocuments, ctx context.Context, id string, record []byte, used time.Time, _ int) (bool, error) {
			return sound.save(ctx, id, record, used, 1000)
		})
	}, []string{"documents/evict", "documents/spared", "documents/full", "race/documents"}},
	{"the new one goes", func(b *broken) {
		b.saving(func(sound brokenDocuments, ctx context.Context, id string, record []byte, used time.Time, most int) (bool, error) {
			known, _, _ := sound.find(ctx, id)
			if _, number := sound.oldest(ctx); known == nil && number >= most {
				return false, ctx.Err()
			}
			return sound.save(ctx, id, record, used, most)
		})
	}, []string{"documents/evict", "documents/spared"}},
	{"the oldest goes, whatever its client holds", func(b *broken) {
		b.saving(func(sound brokenDocuments, ctx context.Context, id string, record []byte, used time.Time, most int) (bool, error) {
			kept, err := sound.save(ctx, id, record, used, 1000)
			if oldest, number := sound.oldest(ctx); number > most {
				_ = sound.delete(ctx, oldest)
			}
			return kept, err
		})
	}, []string{"documents/spared", "documents/full"}},
	{"it is counted first, and saved then", func(b *broken) {
		b.saving(func(sound brokenDocuments, ctx context.Context, id string, record []byte, used time.Time, most int) (bool, error) {
			known, _, _ := sound.find(ctx, id)
			if oldest, number := sound.oldest(ctx); known == nil && number >= most {
				_ = sound.delete(ctx, oldest)
			}
			yield()
			return sound.save(ctx, id, record, used, 1000)
		})
	}, []string{"race/documents"}},
	{"a document is saved in spite of its context", func(b *broken) {
		b.saving(func(sound brokenDocuments, ctx context.Context, id string, record []byte, used time.Time, most int) (bool, error) {
			_, _ = sound.save(context.WithoutCancel(ctx), id, record, used, most)
			return true, ctx.Err()
		})
	}, []string{"context/documents"}},
}

// known is a defect in reading: what a client has that the storage does not know is not found.
func known(b *broken, get func(context.Context, string, fosite.Session) (fosite.Requester, error)) func(context.Context, string, fosite.Session) (fosite.Requester, error) {
	return func(ctx context.Context, key string, s fosite.Session) (fosite.Requester, error) {
		r, err := get(ctx, key, s)
		if r != nil && r.GetClient() != nil {
			if _, unknown := b.GetClient(ctx, r.GetClient().GetID()); unknown != nil {
				return nil, unknown
			}
		}
		return r, err
	}
}

var documentClientDefects = []defect{
	{"access tokens need a known client", func(b *broken) {
		b.getToken = known(b, b.MemoryStore.GetAccessTokenSession)
	}, []string{"document_client/access_token", "document_client/revoke"}},
	{"codes need a known client", func(b *broken) {
		b.once.getCode = known(b, b.MemoryStore.GetAuthorizeCodeSession)
	}, []string{"document_client/code"}},
	{"refresh tokens need a known client", func(b *broken) {
		b.once.getRefresh = known(b, b.MemoryStore.GetRefreshTokenSession)
	}, []string{"document_client/refresh_token"}},
	{"pushed requests need a known client", func(b *broken) {
		b.once.getPushed = func(context.Context, string) (fosite.AuthorizeRequester, error) { return nil, fosite.ErrNotFound }
	}, []string{"document_client/pushed_request"}},
	{"only grants of known clients are revoked", func(b *broken) {
		b.revoke = func(ctx context.Context, id string) error {
			if _, err := b.MemoryStore.GetClient(ctx, id); err != nil {
				return ctx.Err()
			}
			return b.MemoryStore.RevokeClientGrants(ctx, id)
		}
	}, []string{"document_client/revoke"}},
}
