package storage_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// breakable is a server whose storage can be told to fail. It knows of every token that lives, whether a client was told of
// it or not.
type breakable struct {
	*dcrtest.Server
	store  *dcrtest.WatchedStore
	events *dcrtest.Events
	client dcrtest.Answer // registered before anything fails
}

func startBreakable(t *testing.T, tokens dcr.RegistrationToken) *breakable {
	t.Helper()
	f := &breakable{store: dcrtest.NewWatchedStore(), events: &dcrtest.Events{}}
	f.Server = dcrtest.Composition{
		Store: f.store, Config: dcr.Config{Management: dcr.Management{Token: tokens}, Events: f.events},
	}.Start(t)
	f.client = f.Register(t, dcrtest.Managed())
	f.events.Take()
	return f
}

// signature is the part of a token that a storage knows.
func signature(token string) string { return token[strings.LastIndexByte(token, '.')+1:] }

// alive are the signatures of the tokens that manage the client: its record names them, and they have an entry. Of the
// known tokens each that is alive reads the registration, and any other is refused.
func (f *breakable) alive(t *testing.T, id string, known ...string) []string {
	t.Helper()
	var alive []string
	record, err := f.store.MemoryStore.GetDynamicClient(t.Context(), id)
	if err == nil {
		for _, token := range []dcr.RegistrationTokenRecord{record.RegistrationToken, record.PreviousRegistrationToken} {
			key := "dcr.registration." + token.Signature
			if _, err := f.store.MemoryStore.GetAccessTokenSession(t.Context(), key, nil); err == nil && token.Signature != "" {
				alive = append(alive, token.Signature)
			}
		}
	}
	for _, token := range append(known, f.client.Token()) {
		if token == "" {
			continue
		}
		answer := f.Do(t, "GET", "/register/"+id, nil, dcrtest.Bearer(token))
		if slices.Contains(alive, signature(token)) {
			require.Equal(t, http.StatusOK, answer.Status, answer.Body)
			continue
		}
		dcrtest.RequireUniformRefusal(t, answer)
	}
	return alive
}

func (f *breakable) leftovers() int {
	n := 0
	for _, event := range f.events.Take() {
		if event.Kind == dcr.EventCleanupFailed {
			n++
		}
	}
	return n
}

// how a storage fails.
type how string

const (
	once     how = "once"     // the call is not done; the next ones are
	forGood  how = "for_good" // nor is any later one: nothing can be undone
	doneYet  how = "done_yet" // the call is done, and the answer is lost
	original     = "original" // the token from before
	renewed      = "renewed"  // the token of the answer
	nobodys      = "nobody's" // none
)

// failAt makes the n-th call fail.
func failAt(n int, mode how, cause error) dcrtest.Watcher {
	calls := 0
	return func(_ context.Context, _ string, do func() error) error {
		calls++
		switch {
		case calls < n, calls > n && mode != forGood:
			return do()
		case mode == doneYet:
			_ = do()
		}
		return cause
	}
}

// breakRow is one call of one operation that fails.
type breakRow struct {
	method string
	call   int
	name   string
	status int    // 0 means that of a failure
	alive  string // which token works afterwards
	lost   string // which works where the call was done and its answer lost; empty means the same
}

// breakRows has every call of every operation. Which token works follows from the order
// of writes: the record is the commit point, and what is written before it is of no
// effect without it. An update whose answer was lost at the commit point has taken the
// old token away, and the new one is nobody's: that is what a grace is for (T35).
var breakRows = []breakRow{
	{"GET", 1, "GetDynamicClient", 0, original, ""},
	{"GET", 2, "GetAccessTokenSession", 0, original, ""},
	{"PUT", 1, "GetDynamicClient", 0, original, ""},
	{"PUT", 2, "GetAccessTokenSession", 0, original, ""},
	{"PUT", 3, "CreateAccessTokenSession", 0, original, ""},
	{"PUT", 4, "UpdateClient", 0, original, nobodys},
	{"PUT", 5, "DeleteAccessTokenSession", 200, renewed, ""},
	{"DELETE", 1, "GetDynamicClient", 0, original, ""},
	{"DELETE", 2, "GetAccessTokenSession", 0, original, ""},
	{"DELETE", 3, "DeleteClient", 0, original, nobodys},
	{"DELETE", 4, "DeleteAccessTokenSession", 204, nobodys, ""},
	{"DELETE", 5, "RevokeClientGrants", 204, nobodys, ""},
}

// forEachFault runs a test with each kind of failure.
func forEachFault(t *testing.T, name string, run func(t *testing.T, mode how, cause error, status int)) {
	t.Helper()
	for _, mode := range []how{once, forGood, doneYet} {
		for status, cause := range map[int]error{500: dcrtest.ErrBroken, 503: fmt.Errorf("%w: %w", dcr.ErrUnavailable, dcrtest.ErrBroken)} {
			t.Run(fmt.Sprintf("T34/%s/%s/%d", name, mode, status), func(t *testing.T) {
				t.Parallel()
				run(t, mode, cause, status)
			})
		}
	}
}

// TestManagementFaults fails every call of GET, PUT and DELETE (T34).
func TestManagementFaults(t *testing.T) {
	t.Parallel()
	for _, row := range breakRows {
		forEachFault(t, fmt.Sprintf("%s/%d_%s", row.method, row.call, row.name), func(t *testing.T, mode how, cause error, status int) {
			f := startBreakable(t, dcr.RegistrationToken{})
			var answer dcrtest.Answer
			f.store.Watch(failAt(row.call, mode, cause))
			calls := f.store.During(func() { answer = dcrtest.ManageAt(t, f.Server, row.method, f.client, f.client.Token()) })
			f.store.Watch(nil)
			require.Equal(t, row.name, calls[row.call-1], "the test fails the call that it means")
			if row.status == 0 {
				dcrtest.RequireFailure(t, answer, status)
			} else {
				require.Equal(t, row.status, answer.Status, answer.Body)
			}
			events := f.leftovers()
			if row.status != 0 {
				require.GreaterOrEqual(t, events, 1, "what could not be cleared is told")
			}
			alive := row.alive
			if mode == doneYet && row.lost != "" {
				alive = row.lost
			}
			want := map[string][]string{original: {signature(f.client.Token())}, renewed: {signature(answer.Token())}, nobodys: nil}[alive]
			require.Equal(t, want, f.alive(t, f.client.ID(), answer.Token()))
		})
	}
}

// TestUpdateFaultsLeaveNothing: an update that failed leaves the old registration and
// its one entry; where even that can't be tidied, the host is told (T34).
func TestUpdateFaultsLeaveNothing(t *testing.T) {
	t.Parallel()
	for call, name := range map[int]string{3: "CreateAccessTokenSession", 4: "UpdateClient"} {
		forEachFault(t, name, func(t *testing.T, mode how, cause error, status int) {
			f := startBreakable(t, dcr.RegistrationToken{})
			f.store.Watch(failAt(call, mode, cause))
			dcrtest.RequireFailure(t, dcrtest.ManageAt(t, f.Server, "PUT", f.client, f.client.Token()), status)
			f.store.Watch(nil)
			if mode == forGood {
				require.Equal(t, 1, f.leftovers())
				return
			}
			if mode == once || name != "UpdateClient" {
				require.Len(t, f.store.Stored(), 1, "no orphan")
				require.Zero(t, f.leftovers())
			}
		})
	}
	t.Run("T35/grace_outlives_a_lost_answer", func(t *testing.T) {
		t.Parallel()
		f := startBreakable(t, dcr.RegistrationToken{Grace: time.Hour})
		f.store.Watch(failAt(4, doneYet, dcrtest.ErrBroken))
		dcrtest.RequireFailure(t, dcrtest.ManageAt(t, f.Server, "PUT", f.client, f.client.Token()), 500)
		f.store.Watch(nil)
		again := dcrtest.ManageAt(t, f.Server, "PUT", f.client, f.client.Token())
		require.Equal(t, http.StatusOK, again.Status, "never neither: %s", again.Body)
		require.Equal(t, http.StatusOK, dcrtest.ManageAt(t, f.Server, "GET", f.client, again.Token()).Status)
		require.Equal(t, []string{signature(again.Token())}, f.alive(t, f.client.ID(), again.Token()))
	})
}

// TestRotatingReadFaults: a read that rotates writes in the same order as an update.
func TestRotatingReadFaults(t *testing.T) {
	t.Parallel()
	rows := map[int]string{3: "CreateAccessTokenSession", 4: "UpdateClient", 5: "DeleteAccessTokenSession"}
	for call, name := range rows {
		forEachFault(t, name, func(t *testing.T, mode how, cause error, status int) {
			f := startBreakable(t, dcr.RegistrationToken{RotateOnRead: true})
			f.store.Watch(failAt(call, mode, cause))
			answer := dcrtest.ManageAt(t, f.Server, "GET", f.client, f.client.Token())
			f.store.Watch(nil)
			record, err := f.store.MemoryStore.GetDynamicClient(t.Context(), f.client.ID())
			require.NoError(t, err)
			lives := func(token string) bool {
				return record.RegistrationToken.Signature == signature(token)
			}
			switch {
			case call == 5:
				require.Equal(t, http.StatusOK, answer.Status, answer.Body)
				require.True(t, lives(answer.Token()))
				require.Equal(t, 1, f.leftovers())
			case call == 4 && mode == doneYet:
				dcrtest.RequireFailure(t, answer, status)
			default:
				dcrtest.RequireFailure(t, answer, status)
				require.True(t, lives(f.client.Token()))
			}
			require.Empty(t, record.PreviousRegistrationToken.Signature, "never both")
		})
	}
}

// TestRegistrationFaults fails every call of POST: no half of a client is left, and
// where it can't be taken away again, nobody can use it (7591-3.2.2-04, T34).
func TestRegistrationFaults(t *testing.T) {
	t.Parallel()
	for call, name := range map[int]string{1: "CreateClient", 2: "CreateAccessTokenSession"} {
		forEachFault(t, "POST/"+name, func(t *testing.T, mode how, cause error, status int) {
			f := startBreakable(t, dcr.RegistrationToken{})
			var answer dcrtest.Answer
			f.store.Watch(failAt(call, mode, cause))
			calls := f.store.During(func() { answer = f.Post(t, dcrtest.Managed()) })
			f.store.Watch(nil)
			require.Equal(t, name, calls[call-1])
			dcrtest.RequireFailure(t, answer, status)
			left, leftovers := f.strangers(t), f.leftovers()
			if call == 2 && mode == forGood {
				require.Len(t, left, 1, "nobody could take it away")
				require.Equal(t, 1, leftovers)
				require.Empty(t, f.alive(t, left[0]), "no token is live")
				return
			}
			require.Empty(t, left, "no half of a client is left behind")
			require.Len(t, f.alive(t, f.client.ID()), 1, "the other client is as it was")
		})
	}
}

// strangers are the clients in the storage that no answer has told anybody of.
func (f *breakable) strangers(t *testing.T) []string {
	t.Helper()
	var left []string
	for _, id := range f.store.ClientIDs() {
		_, err := f.store.MemoryStore.GetDynamicClient(t.Context(), id)
		if id != f.client.ID() && err == nil {
			left = append(left, id)
		}
	}
	return left
}

// TestIdentifierTaken: a registration never takes over or takes away a client that has
// the identifier already (T06, 7591-3.2.1-02).
func TestIdentifierTaken(t *testing.T) {
	t.Parallel()
	for tries := range 6 {
		t.Run(fmt.Sprintf("T06/taken=%d", tries), func(t *testing.T) {
			t.Parallel()
			f := startBreakable(t, dcr.RegistrationToken{})
			left := tries
			f.store.Watch(func(_ context.Context, name string, do func() error) error {
				if name == "CreateClient" && left > 0 {
					left--
					return fmt.Errorf("host: %w", dcr.ErrClientExists)
				}
				return do()
			})
			var answer dcrtest.Answer
			calls := f.store.During(func() { answer = f.Post(t, dcrtest.Managed()) })
			f.store.Watch(nil)
			require.NotContains(t, calls, "DeleteClient", "the other client is not ours to remove")
			if answer.Status != http.StatusCreated {
				require.Greater(t, tries, 1, "it is tried again")
				dcrtest.RequireFailure(t, answer, 500)
				require.NotContains(t, calls, "CreateAccessTokenSession")
				return
			}
			require.Equal(t, http.StatusOK, dcrtest.ManageAt(t, f.Server, "GET", answer, answer.Token()).Status)
		})
	}
}

// TestRevocationFault: a client that revokes its token is not told that it is dead
// while it lives (RAT-02, T52).
func TestRevocationFault(t *testing.T) {
	t.Parallel()
	for status, cause := range map[int]error{500: dcrtest.ErrBroken, 503: fmt.Errorf("%w: %w", dcr.ErrUnavailable, dcrtest.ErrBroken)} {
		t.Run(fmt.Sprintf("RAT-02/%d", status), func(t *testing.T) {
			t.Parallel()
			f := startBreakable(t, dcr.RegistrationToken{})
			f.store.Watch(func(_ context.Context, name string, do func() error) error {
				if name == "DeleteAccessTokenSession" {
					return cause
				}
				return do()
			})
			form := map[string][]string{"token": {f.client.Token()}}
			answer := f.Form(t, "/oauth2/revoke", form, dcrtest.Basic(f.client.ID(), f.client.Secret()))
			f.store.Watch(nil)
			require.Equal(t, status, answer.Status, answer.Body)
			require.NotContains(t, answer.Body, "fire")
			require.Len(t, f.alive(t, f.client.ID()), 1)
		})
	}
}
