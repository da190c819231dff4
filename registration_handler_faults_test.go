package dcr_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

var errDisk = errors.New("pq: relation clients at 10.0.0.7 does not exist")

func TestStorageFailsAtRegistration(t *testing.T) {
	t.Parallel()
	places := map[string]func(*ledger, error){
		"record": func(l *ledger, err error) { l.beforeCreate = func(*dcr.Client) error { return err } },
		"entry":  func(l *ledger, err error) { l.beforeEntry = func() error { return err } },
	}
	for place, breaks := range places {
		for _, row := range []struct {
			name   string
			err    error
			status int
			code   string
		}{
			{"failed", errDisk, 500, "server_error"},
			{"unavailable", fmt.Errorf("%w: %w", dcr.ErrUnavailable, errDisk), 503, "temporarily_unavailable"},
		} {
			t.Run(fmt.Sprintf("7591-3.2.2-04/%s/%s", place, row.name), func(t *testing.T) {
				t.Parallel()
				store := newLedger()
				breaks(store, row.err)
				events := &eventLog{}
				s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Events: events}})
				answer := s.Post(t, plainRegistration)
				requireRefusal(t, answer, row.status, row.code)
				require.NotContains(t, answer.Body, "10.0.0.7")
				require.NotContains(t, answer.Body, "clients")
				requireRetryAfter(t, answer)
				require.Empty(t, store.live(t))
				require.Zero(t, store.liveEntries(t))
				require.Equal(t, []dcr.EventKind{dcr.EventRefused}, events.kinds())
				breaks(store, nil)
				s.Register(t, plainRegistration)
			})
		}
	}
}

// requireRetryAfter: 503 says when to come back, 500 does not.
func requireRetryAfter(t *testing.T, answer dcrtest.Answer) {
	t.Helper()
	after := answer.Header.Get("Retry-After")
	if answer.Status != http.StatusServiceUnavailable {
		require.Empty(t, after)
		return
	}
	seconds, err := strconv.Atoi(after)
	require.NoError(t, err)
	require.Positive(t, seconds)
}

func TestRegistrationCanNotBeUndone(t *testing.T) {
	t.Parallel()
	t.Run("7591-3.2.2-04/T34/leftover_is_told", func(t *testing.T) {
		t.Parallel()
		store := newLedger()
		store.beforeEntry = func() error { return errDisk }
		store.beforeDelete = func() error { return errDisk }
		events := &eventLog{}
		s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Events: events}})
		answer := s.Post(t, plainRegistration)
		requireRefusal(t, answer, http.StatusInternalServerError, "server_error")
		require.Equal(t, []dcr.EventKind{dcr.EventLeftover, dcr.EventRefused}, events.kinds())
		left := store.live(t)
		require.Len(t, left, 1)
		require.NotContains(t, answer.Body, left[0])
		require.Zero(t, store.liveEntries(t))
	})
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	t.Run("7591-3.2.2-04/over_capacity", func(t *testing.T) {
		t.Parallel()
		store := newLedger()
		store.MemoryStore = dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 1}))
		s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
		first := s.Register(t, plainRegistration)
		answer := s.Post(t, plainRegistration)
		requireRefusal(t, answer, http.StatusServiceUnavailable, "temporarily_unavailable")
		requireRetryAfter(t, answer)
		require.Equal(t, []string{first.ID()}, store.live(t))
		require.Equal(t, 1, store.liveEntries(t))
		require.Equal(t, http.StatusOK, s.Manage(t, http.MethodGet, first, nil).Status)
	})
	t.Run("7591-3.2.2-04/over_capacity_of_tokens", func(t *testing.T) {
		t.Parallel()
		store := newLedger()
		store.MemoryStore = dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Tokens: 1}))
		s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
		first := s.Register(t, plainRegistration)
		requireRefusal(t, s.Post(t, plainRegistration), http.StatusServiceUnavailable, "temporarily_unavailable")
		require.Equal(t, []string{first.ID()}, store.live(t))
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
			store := newLedger()
			var tried []string
			store.beforeCreate = func(client *dcr.Client) error {
				tried = append(tried, client.ID)
				if len(tried) <= row.collisions {
					return fmt.Errorf("unique violation: %w", dcr.ErrClientExists)
				}
				return nil
			}
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
			answer := s.Post(t, plainRegistration)
			seen := map[string]bool{}
			for _, id := range tried {
				require.False(t, seen[id], "an identifier that is taken was tried again")
				seen[id] = true
			}
			if row.status != http.StatusCreated {
				requireRefusal(t, answer, row.status, "server_error")
				require.Empty(t, store.live(t))
				require.Less(t, len(tried), 100)
				return
			}
			require.Equal(t, row.status, answer.Status, answer.Body)
			require.Len(t, tried, row.collisions+1)
			require.Equal(t, tried[row.collisions], answer.ID())
			require.Equal(t, []string{answer.ID()}, store.live(t))
			require.Equal(t, http.StatusOK, s.Manage(t, http.MethodGet, answer, nil).Status)
		})
	}
}

// requireEnded serves a request that ends before its time, and looks at what is left.
func requireEnded(t *testing.T, store *ledger, r *http.Request, codes map[int]string) {
	t.Helper()
	provider, err := (&dcrtest.Server{URL: "https://as.example"}).Compose(dcrtest.Setup{Storage: store})
	require.NoError(t, err)
	recorder := httptest.NewRecorder()
	provider.RegistrationHandler().ServeHTTP(recorder, r)
	answer := dcrtest.Answer{Status: recorder.Code, Header: recorder.Header(), Body: recorder.Body.String()}
	require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &answer.Members))
	require.Contains(t, codes, answer.Status, answer.Body)
	requireRefusal(t, answer, answer.Status, codes[answer.Status])
	require.Empty(t, store.live(t))
	require.Zero(t, store.liveEntries(t))
}

func TestEndedRequest(t *testing.T) {
	t.Parallel()
	never := func(t *testing.T) chan struct{} {
		block := make(chan struct{})
		t.Cleanup(func() { close(block) })
		return block
	}
	failed, late, broken := map[int]string{500: "server_error"}, map[int]string{408: "invalid_request"}, map[int]string{400: "invalid_request"}
	t.Run("HTTP-04/before", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		// Whether the body or the end is seen first is open.
		requireEnded(t, newLedger(), jsonPost(ctx, plainRegistration), map[int]string{500: "server_error", 408: "invalid_request"})
	})
	t.Run("HTTP-04/T43/while_reading", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(context.Background())
		block := never(t)
		r := jsonPost(ctx, plainRegistration)
		r.Body = io.NopCloser(readerFunc(func([]byte) (int, error) { cancel(); <-block; return 0, io.EOF }))
		requireEnded(t, newLedger(), r, late)
	})
	t.Run("HTTP-04/T34/between_record_and_entry", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(context.Background())
		store := newLedger()
		store.beforeEntry = func() error { cancel(); return ctx.Err() }
		requireEnded(t, store, jsonPost(ctx, plainRegistration), failed)
	})
	t.Run("HTTP-04/body_breaks_off", func(t *testing.T) {
		t.Parallel()
		r := jsonPost(context.Background(), plainRegistration)
		r.Body = io.NopCloser(readerFunc(func([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }))
		requireEnded(t, newLedger(), r, broken)
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
