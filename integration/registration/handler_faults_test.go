package registration_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

func TestStorageFailsAtRegistration(t *testing.T) {
	t.Parallel()
	places := map[string]func(*dcrtest.Ledger, error){
		"record": func(l *dcrtest.Ledger, err error) { l.BeforeCreate = func(*dcr.Client) error { return err } },
		"entry":  func(l *dcrtest.Ledger, err error) { l.BeforeEntry = func() error { return err } },
	}
	for place, breaks := range places {
		for _, row := range []struct {
			name   string
			err    error
			status int
			code   string
		}{
			{"failed", dcrtest.ErrDatabase, 500, "server_error"},
			{"unavailable", fmt.Errorf("%w: %w", dcr.ErrUnavailable, dcrtest.ErrDatabase), 503, "temporarily_unavailable"},
		} {
			t.Run(fmt.Sprintf("7591-3.2.2-04/%s/%s", place, row.name), func(t *testing.T) {
				t.Parallel()
				store := dcrtest.NewLedger()
				breaks(store, row.err)
				events := &dcrtest.Events{}
				s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Events: events}})
				answer := s.Post(t, dcrtest.PlainRegistration)
				dcrtest.RequireRefusal(t, answer, row.status, row.code)
				require.NotContains(t, answer.Body, "10.0.0.7")
				require.NotContains(t, answer.Body, "clients")
				dcrtest.RequireRetryAfter(t, answer)
				require.Empty(t, store.Live(t))
				require.Zero(t, store.LiveEntries(t))
				require.Equal(t, []dcr.EventKind{dcr.EventRefused}, events.Kinds())
				breaks(store, nil)
				s.Register(t, dcrtest.PlainRegistration)
			})
		}
	}
}

func TestRegistrationCanNotBeUndone(t *testing.T) {
	t.Parallel()
	t.Run("7591-3.2.2-04/T34/leftover_is_told", func(t *testing.T) {
		t.Parallel()
		store := dcrtest.NewLedger()
		store.BeforeEntry = func() error { return dcrtest.ErrDatabase }
		store.BeforeDelete = func() error { return dcrtest.ErrDatabase }
		events := &dcrtest.Events{}
		s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Events: events}})
		answer := s.Post(t, dcrtest.PlainRegistration)
		dcrtest.RequireRefusal(t, answer, http.StatusInternalServerError, "server_error")
		require.Equal(t, []dcr.EventKind{dcr.EventCleanupFailed, dcr.EventRefused}, events.Kinds())
		left := store.Live(t)
		require.Len(t, left, 1)
		require.NotContains(t, answer.Body, left[0])
		require.Zero(t, store.LiveEntries(t))
	})
}

// fullFor is the error of a storage that knows when it has room again.
type fullFor time.Duration

func (f fullFor) Error() string             { return "full for " + time.Duration(f).String() }
func (f fullFor) Unwrap() error             { return dcr.ErrFull }
func (f fullFor) RetryAfter() time.Duration { return time.Duration(f) }

// keeping hides CreateClientEvicting by a method of another form.
type keeping struct{ *dcrtest.Ledger }

func (keeping) CreateClientEvicting() {}

func TestCapacity(t *testing.T) {
	t.Parallel()
	t.Run("7591-3.2.2-04/over_capacity", func(t *testing.T) {
		t.Parallel()
		store := dcrtest.NewLedger()
		store.MemoryStore = dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 1}))
		s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
		first := s.Register(t, dcrtest.PlainRegistration)
		answer := s.Post(t, dcrtest.PlainRegistration)
		dcrtest.RequireRefusal(t, answer, http.StatusServiceUnavailable, "temporarily_unavailable")
		dcrtest.RequireRetryAfter(t, answer)
		require.Equal(t, []string{first.ID()}, store.Live(t))
		require.Equal(t, 1, store.LiveEntries(t))
		require.Equal(t, http.StatusOK, s.Manage(t, http.MethodGet, first, nil).Status)
	})
	t.Run("7591-3.2.2-04/over_capacity_until", func(t *testing.T) {
		t.Parallel()
		for wait, want := range map[time.Duration]string{90500 * time.Millisecond: "91", 0: "30", -time.Second: "30"} {
			store := dcrtest.NewLedger()
			store.BeforeCreate = func(*dcr.Client) error { return fmt.Errorf("the database is full: %w", fullFor(wait)) }
			s := dcrtest.Start(t, dcrtest.Setup{Storage: keeping{store}})
			answer := s.Post(t, dcrtest.PlainRegistration)
			dcrtest.RequireRefusal(t, answer, http.StatusServiceUnavailable, "temporarily_unavailable")
			require.Equal(t, want, answer.Header.Get("Retry-After"))
		}
	})
	t.Run("7591-3.2.2-04/over_capacity_of_tokens", func(t *testing.T) {
		t.Parallel()
		store := dcrtest.NewLedger()
		store.MemoryStore = dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Tokens: 1}))
		s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
		first := s.Register(t, dcrtest.PlainRegistration)
		dcrtest.RequireRefusal(t, s.Post(t, dcrtest.PlainRegistration), http.StatusServiceUnavailable, "temporarily_unavailable")
		require.Equal(t, []string{first.ID()}, store.Live(t))
	})
}

func TestIdentifierCollision(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name       string
		collisions int
		status     int
	}{{"once", 1, 201}, {"twice", 2, 201}, {"always", 1 << 30, 500}} {
		t.Run("T06/7591-3.2.1-02/"+row.name, func(t *testing.T) {
			t.Parallel()
			store := dcrtest.NewLedger()
			var tried []string
			store.BeforeCreate = func(client *dcr.Client) error {
				tried = append(tried, client.ID)
				if len(tried) <= row.collisions {
					return fmt.Errorf("unique violation: %w", dcr.ErrClientExists)
				}
				return nil
			}
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
			answer := s.Post(t, dcrtest.PlainRegistration)
			seen := map[string]bool{}
			for _, id := range tried {
				require.False(t, seen[id], "an identifier that is taken was tried again")
				seen[id] = true
			}
			if row.status != http.StatusCreated {
				dcrtest.RequireRefusal(t, answer, row.status, "server_error")
				require.Empty(t, store.Live(t))
				require.Less(t, len(tried), 100)
				return
			}
			require.Equal(t, row.status, answer.Status, answer.Body)
			require.Len(t, tried, row.collisions+1)
			require.Equal(t, tried[row.collisions], answer.ID())
			require.Equal(t, []string{answer.ID()}, store.Live(t))
			require.Equal(t, http.StatusOK, s.Manage(t, http.MethodGet, answer, nil).Status)
		})
	}
}

// requireEnded serves a request that ends before its time, and looks at what is left.
func requireEnded(t *testing.T, store *dcrtest.Ledger, r *http.Request, codes map[int]string) {
	t.Helper()
	provider, err := (&dcrtest.Server{URL: "https://as.example"}).Compose(dcrtest.Setup{Storage: store})
	require.NoError(t, err)
	recorder := httptest.NewRecorder()
	provider.RegistrationHandler().ServeHTTP(recorder, r)
	answer := dcrtest.Answer{Status: recorder.Code, Header: recorder.Header(), Body: recorder.Body.String()}
	require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &answer.Members))
	require.Contains(t, codes, answer.Status, answer.Body)
	dcrtest.RequireRefusal(t, answer, answer.Status, codes[answer.Status])
	require.Empty(t, store.Live(t))
	require.Zero(t, store.LiveEntries(t))
}

func TestEndedRequest(t *testing.T) {
	t.Parallel()
	failed, late, broken := map[int]string{500: "server_error"}, map[int]string{408: "invalid_request"}, map[int]string{400: "invalid_request"}
	t.Run("HTTP-04/before", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		// Whether the body or the end is seen first is open.
		requireEnded(t, dcrtest.NewLedger(), dcrtest.JSONPost(ctx, dcrtest.PlainRegistration), map[int]string{500: "server_error", 408: "invalid_request"})
	})
	t.Run("HTTP-04/T43/while_reading", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(context.Background())
		r := dcrtest.JSONPost(ctx, dcrtest.PlainRegistration)
		r.Body = io.NopCloser(dcrtest.ReaderFunc(func(p []byte) (int, error) { cancel(); return copy(p, " "), nil }))
		requireEnded(t, dcrtest.NewLedger(), r, late)
	})
	t.Run("HTTP-04/T34/between_record_and_entry", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(context.Background())
		store := dcrtest.NewLedger()
		store.BeforeEntry = func() error { cancel(); return ctx.Err() }
		requireEnded(t, store, dcrtest.JSONPost(ctx, dcrtest.PlainRegistration), failed)
	})
	t.Run("HTTP-04/body_breaks_off", func(t *testing.T) {
		t.Parallel()
		r := dcrtest.JSONPost(context.Background(), dcrtest.PlainRegistration)
		r.Body = io.NopCloser(dcrtest.ReaderFunc(func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }))
		requireEnded(t, dcrtest.NewLedger(), r, broken)
	})
}
