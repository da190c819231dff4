package storagetest_test

import (
	"context"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/storagetest"
)

var options = storagetest.Options{
	AddStatic: func(_ context.Context, s storagetest.Storage, client fosite.Client) error {
		s.(interface{ AddClient(fosite.Client) }).AddClient(client)
		return nil
	},
	Bounded: func(_ context.Context, s storagetest.Storage, clients int) (storagetest.Storage, error) {
		return newBounded(s.(*broken).defect, clients), nil
	},
	Grace: func(_ context.Context, s storagetest.Storage, uses int) (storagetest.Storage, error) {
		return newBounded(s.(*broken).defect, 0, dcr.WithMemoryRefreshGrace(time.Hour, uses)), nil
	},
	PurgeSessions: func(ctx context.Context, s storagetest.Storage, before time.Time) error {
		return s.(*broken).purge(ctx, before)
	},
}

func TestSoundStorage(t *testing.T) {
	t.Parallel()
	shared := newBroken(func(*broken) {})
	storagetest.Run(t, func(*testing.T) storagetest.Storage { return shared }, options)
}

// TestEmbeddingStorage: a storage whose GetClient returns records in a type that embeds them is sound (AUTH-15).
func TestEmbeddingStorage(t *testing.T) {
	t.Parallel()
	type own struct{ *dcr.Client }
	embedding := newBroken(func(b *broken) {
		b.getClient = func(ctx context.Context, id string) (fosite.Client, error) {
			found, err := b.MemoryStore.GetClient(ctx, id)
			if record, ok := found.(*dcr.Client); ok {
				return own{record}, nil
			}
			return found, err
		}
	})
	storagetest.Run(t, func(*testing.T) storagetest.Storage { return embedding }, options)
}

// TestCoarseStorage: a storage that keeps whole seconds, and compares by these, is sound.
func TestCoarseStorage(t *testing.T) {
	t.Parallel()
	coarse := newBroken(func(b *broken) {
		b.create = func(ctx context.Context, c *dcr.Client) error {
			return b.MemoryStore.CreateClient(ctx, inSeconds(c.Clone()))
		}
		b.update = func(ctx context.Context, c *dcr.Client, version int64) error {
			return b.MemoryStore.UpdateClient(ctx, inSeconds(c.Clone()), version)
		}
		b.touch = func(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
			return b.MemoryStore.TouchClient(ctx, id, seconds(lastUsed), seconds(keepUntil))
		}
		b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
			return b.MemoryStore.ListClients(ctx, *inSeconds(&f), *inSeconds(&from), limit)
		}
		b.count = func(ctx context.Context, f dcr.ClientFilter, most int) (int, error) {
			return b.MemoryStore.CountClients(ctx, *inSeconds(&f), most)
		}
		b.evict = func(ctx context.Context, c *dcr.Client, before time.Time) (*dcr.Client, error) {
			return b.MemoryStore.CreateClientEvicting(ctx, inSeconds(c.Clone()), seconds(before))
		}
		b.expire = func(ctx context.Context, e dcr.Expiry, limit int) ([]*dcr.Client, error) {
			return b.MemoryStore.DeleteExpiredClients(ctx, *inSeconds(&e), limit)
		}
	})
	storagetest.Run(t, func(*testing.T) storagetest.Storage { return coarse }, options)
}

func seconds(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.Unix(t.Unix(), 0)
}

// inSeconds cuts the times of a struct.
func inSeconds[T any](of *T) *T {
	v := reflect.ValueOf(of).Elem()
	for i := range v.NumField() {
		if !v.Type().Field(i).IsExported() {
			continue
		}
		if t, ok := v.Field(i).Addr().Interface().(*time.Time); ok {
			*t = seconds(*t)
		}
	}
	return of
}

// TestDefects: each defect is caught by the rows that are there for it, and each row is
// there for one at least.
func TestDefects(t *testing.T) {
	t.Parallel()
	rows := map[string]storagetest.Row{}
	for _, row := range storagetest.Rows(options) {
		require.NotContains(t, rows, row.Name, "two rows have one name")
		require.NotEmpty(t, row.Why, row.Name)
		require.NotEmpty(t, row.Says, row.Name)
		require.Equal(t, row.After == "", row.Name == "create/plain" || row.Name == "initial/read_back", "%s builds upon no row", row.Name)
		if row.After != "" {
			require.Contains(t, rows, row.After, "%s builds upon a row that comes after it, or is none", row.Name)
		}
		rows[row.Name] = row
	}
	unused := map[string]bool{}
	for name := range rows {
		unused[name] = true
	}
	for _, d := range slices.Concat(clientDefects, changeDefects, useDefects, entryDefects, grantDefects, onceDefects, assertionDefects,
		initialRecordDefects, initialListDefects, initialUseDefects, initialReturnDefects, initialContextDefects, expiryDefects,
		listDefects, pageDefects, countDefects, filterDefects(), evictionDefects, fullDefects, documentDefects, documentClientDefects) {
		for _, name := range d.caught {
			require.Contains(t, rows, name, d.name)
			delete(unused, name)
		}
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			for _, name := range d.caught {
				err := rows[name].Check(t.Context(), newBroken(d.make))
				for range 200 { // whether calls that begin at once meet is chance
					if err != nil || !strings.HasPrefix(name, "race/") {
						break
					}
					err = rows[name].Check(t.Context(), newBroken(d.make))
				}
				require.Error(t, err, "the row %s does not catch it", name)
				require.NotErrorIs(t, err, storagetest.ErrNotRun, name)
			}
		})
	}
	require.Empty(t, unused, "rows that no defect proves")
}

// TestLostFields: the loss of any field is caught, also of one that is new.
func TestLostFields(t *testing.T) {
	t.Parallel()
	readBack, listWhole := rowNamed(t, "create/read_back"), rowNamed(t, "list/whole")
	eachField(reflect.TypeFor[dcr.Client](), nil, func(path []int, name string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroken(func(b *broken) {
				b.read = func(ctx context.Context, id string) (*dcr.Client, error) {
					c, err := b.MemoryStore.GetDynamicClient(ctx, id)
					if err == nil {
						reflect.ValueOf(c).Elem().FieldByIndex(path).SetZero()
					}
					return c, err
				}
			})
			require.Error(t, readBack.Check(t.Context(), b))
			b = newBroken(func(b *broken) {
				b.showing(func(c *dcr.Client) { reflect.ValueOf(c).Elem().FieldByIndex(path).SetZero() })
			})
			require.Error(t, listWhole.Check(t.Context(), b))
		})
	})
}

// TestLostTokenFields: the same for initial access tokens.
func TestLostTokenFields(t *testing.T) {
	t.Parallel()
	readBack, whole := rowNamed(t, "initial/read_back"), rowNamed(t, "initial/list_whole")
	eachField(reflect.TypeFor[dcr.InitialAccessToken](), nil, func(path []int, name string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBroken(func(b *broken) {
				b.changeInitial(func(token *dcr.InitialAccessToken) *dcr.InitialAccessToken {
					reflect.ValueOf(token).Elem().FieldByIndex(path).SetZero()
					return token
				})
			})
			require.Error(t, readBack.Check(t.Context(), b))
			require.Error(t, whole.Check(t.Context(), b))
		})
	})
}

// eachField visits the fields of a struct and of those in it.
func eachField(of reflect.Type, above []int, visit func(path []int, name string)) {
	for i := range of.NumField() {
		field := of.Field(i)
		if !field.IsExported() {
			continue
		}
		path := append(slices.Clone(above), i)
		visit(path, field.Name)
		inner := field.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && inner.PkgPath() == reflect.TypeFor[dcr.Client]().PkgPath() {
			eachField(inner, path, visit)
		}
	}
}

// plainStorage implements what a storage has to, and nothing besides.
type plainStorage struct {
	dcr.ClientStorage
	fosite.Storage
}

// TestNotRun: a storage without the optional interfaces passes, and the rows that it
// can't be held to say so.
func TestNotRun(t *testing.T) {
	t.Parallel()
	store := dcr.NewMemoryStore()
	for _, row := range storagetest.Rows() {
		err := row.Check(t.Context(), plainStorage{store, store})
		if row.Needs == "" {
			require.NoError(t, err, row.Name)
		} else {
			require.ErrorIs(t, err, storagetest.ErrNotRun, row.Name)
			require.Regexp(t, `^the storage does not implement (dcr|oauth2|fosite|cimd)\.\w+$|^the test does not set storagetest\.Options\.\w+$`, err.Error(), row.Name)
		}
	}
	storagetest.Run(t, func(*testing.T) storagetest.Storage { return plainStorage{store, store} })
}

func rowNamed(t *testing.T, name string) storagetest.Row {
	t.Helper()
	for _, row := range storagetest.Rows(options) {
		if row.Name == name {
			return row
		}
	}
	require.Fail(t, "there is no row", name)
	return storagetest.Row{}
}

// brokenName is the variable that names the defect of TestBroken.
const brokenName = "STORAGETEST_BROKEN"

// TestBroken is not a test by itself: TestCauses runs it, and reads what it prints.
func TestBroken(t *testing.T) {
	defects := map[string]func(*broken){
		"create": func(b *broken) { b.create = func(context.Context, *dcr.Client) error { return errOther } },
		"read": func(b *broken) {
			b.read = func(ctx context.Context, id string) (*dcr.Client, error) {
				c, err := b.MemoryStore.GetDynamicClient(ctx, id)
				if err == nil {
					c.Metadata.ClientName = "another name"
				}
				return c, err
			}
		},
		"initial": func(b *broken) {
			b.initial.get = func(context.Context, string) (*dcr.InitialAccessToken, error) { return nil, errOther }
		},
		"none": func(*broken) {},
	}
	if make, wanted := defects[os.Getenv(brokenName)]; wanted {
		storagetest.Run(t, func(*testing.T) storagetest.Storage { return newBroken(make) })
	}
}

// TestCauses: a cause is said once, with what to mend and the record, and what is not run says
// why.
func TestCauses(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		failed string // the one row that fails
		says   []string
		passed []string // rows that are run all the same
	}{
		"create": {"create/plain", []string{"CreateClient of a new client: sql: no rows", "The record: {", "What breaks: No client"}, []string{"initial/read_back"}},
		"read": {"create/read_back", []string{`client_name is "another name", and has to be "`, "The record: {", "The contract says: Every field of a record comes back"},
			[]string{"create/plain", "assertion/known", "initial/use"}},
		"initial": {"initial/read_back", []string{"GetInitialAccessToken"}, []string{"touch/forward", "list/pages"}},
		"none":    {"", []string{"the test does not set storagetest.Options.Bounded"}, []string{"create/read_back", "initial/use"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBroken$", "-test.v")
			command.Env = append(os.Environ(), brokenName+"="+name)
			printed, err := command.CombinedOutput()
			require.Equal(t, row.failed == "", err == nil, "%s", printed)
			text := string(printed)
			failures := regexp.MustCompile(`(?m)^    --- FAIL: TestBroken/(\S+) `).FindAllStringSubmatch(text, -1)
			if row.failed == "" {
				require.Empty(t, failures)
			} else {
				require.Len(t, failures, 1, text)
				require.Equal(t, row.failed, failures[0][1])
				require.Contains(t, text, "skipped: "+row.failed+" failed")
			}
			for _, wanted := range row.says {
				require.Contains(t, text, wanted)
			}
			for _, passed := range row.passed {
				require.Contains(t, text, "    --- PASS: TestBroken/"+passed+" ")
			}
		})
	}
}
