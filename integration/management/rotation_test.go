package management_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// rotation is a server, a client on it, and the clock of both.
type rotation struct {
	*dcrtest.Server
	clock  *handClock
	store  *dcrtest.WatchedStore
	client dcrtest.Answer
}

func startRotation(t *testing.T, tokens dcr.RegistrationToken) *rotation {
	t.Helper()
	r := &rotation{clock: newHandClock(), store: dcrtest.NewWatchedStore()}
	r.Server = dcrtest.Start(t, dcrtest.Setup{Storage: r.store, Config: dcr.Config{Now: r.clock.Now, Management: dcr.Management{Token: tokens}}})
	r.client = r.Register(t, dcrtest.Managed())
	return r
}

// send manages the client with a token, and returns the token of the answer.
func (r *rotation) send(t *testing.T, method, token string) string {
	t.Helper()
	answer := r.Manage(t, method, r.client, dcrtest.Replacing(r.client), dcrtest.Bearer(token))
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	require.NotEmpty(t, answer.Token(), answer.Body)
	require.Equal(t, r.client.URI(), answer.URI())
	return answer.Token()
}

// refused: the tokens are dead, for every method.
func (r *rotation) refused(t *testing.T, tokens ...string) {
	t.Helper()
	for _, token := range tokens {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			dcrtest.RequireUniformRefusal(t, r.Manage(t, method, r.client, dcrtest.Replacing(r.client), dcrtest.Bearer(token)))
		}
	}
}

// TestRotationOnUpdate: by default an update answers a new token, and the old one is
// dead at once (7592-2.2-06, 7592-3-03).
func TestRotationOnUpdate(t *testing.T) {
	t.Parallel()
	t.Run("7592-2.2-06/by_default", func(t *testing.T) {
		t.Parallel()
		r := startRotation(t, dcr.RegistrationToken{})
		first := r.client.Token()
		require.Equal(t, first, r.send(t, "GET", first), "a read does not rotate")
		second := r.send(t, "PUT", first)
		require.NotEqual(t, first, second)
		r.refused(t, first)
		third := r.send(t, "PUT", second)
		r.refused(t, first, second)
		require.Equal(t, third, r.send(t, "GET", third))
		require.Len(t, r.store.Stored(), 1, "entries of dead tokens are removed")
	})
	t.Run("7592-2.2-06/keep_on_update", func(t *testing.T) {
		t.Parallel()
		r := startRotation(t, dcr.RegistrationToken{KeepOnUpdate: true})
		first := r.client.Token()
		require.Equal(t, first, r.send(t, "PUT", first))
		require.Equal(t, first, r.send(t, "PUT", first))
		require.Equal(t, first, r.send(t, "GET", first))
		require.Len(t, r.store.Stored(), 1)
	})
	t.Run("7592-2.1-03/rotate_on_read", func(t *testing.T) {
		t.Parallel()
		r := startRotation(t, dcr.RegistrationToken{RotateOnRead: true, KeepOnUpdate: true})
		first := r.client.Token()
		second := r.send(t, "GET", first)
		require.NotEqual(t, first, second)
		r.refused(t, first)
		require.Equal(t, second, r.send(t, "PUT", second), "an update keeps it")
		require.Equal(t, http.StatusOK, r.Manage(t, "HEAD", r.client, nil, dcrtest.Bearer(second)).Status)
		third := r.send(t, "GET", second) // HEAD, whose answer has no body, did not rotate
		r.refused(t, second)
		require.NotEqual(t, second, third)
	})
	t.Run("7592-2.2-05/refused_update_does_not_rotate", func(t *testing.T) {
		t.Parallel()
		r := startRotation(t, dcr.RegistrationToken{})
		first := r.client.Token()
		answer := r.Manage(t, "PUT", r.client, dcrtest.Replacing(r.client, "redirect_uris", 1), dcrtest.Bearer(first))
		require.Equal(t, http.StatusBadRequest, answer.Status)
		require.NotContains(t, answer.Members, "registration_access_token")
		require.Equal(t, first, r.send(t, "GET", first))
	})
}

var anHour = dcr.RegistrationToken{Grace: time.Hour}

// TestRotationGrace: with a grace the previous token works until the new one is first
// used, or the time is over (T35).
func TestRotationGrace(t *testing.T) {
	t.Parallel()
	firstUses := map[string]func(*testing.T, *rotation, string){
		"read":   func(t *testing.T, r *rotation, token string) { r.send(t, "GET", token) },
		"update": func(t *testing.T, r *rotation, token string) { r.send(t, "PUT", token) },
		"head": func(t *testing.T, r *rotation, token string) {
			require.Equal(t, http.StatusOK, r.Manage(t, "HEAD", r.client, nil, dcrtest.Bearer(token)).Status)
		},
	}
	for name, use := range firstUses {
		t.Run("T35/ends_with_first_use/"+name, func(t *testing.T) {
			t.Parallel()
			r := startRotation(t, anHour)
			first := r.client.Token()
			second := r.send(t, "PUT", first)
			require.Equal(t, first, r.send(t, "GET", first), "both work")
			require.Equal(t, first, r.send(t, "GET", first), "and the old one again")
			use(t, r, second)
			r.refused(t, first)
		})
	}
	t.Run("T35/ends_with_first_use/update_that_keeps", func(t *testing.T) {
		t.Parallel()
		r := startRotation(t, dcr.RegistrationToken{Grace: time.Hour, RotateOnRead: true, KeepOnUpdate: true})
		first := r.client.Token()
		second := r.send(t, "GET", first)
		require.Equal(t, second, r.send(t, "PUT", second))
		r.refused(t, first)
	})
}

// TestRotationGraceInTime: a grace ends by time, and what becomes of it when the answer
// was lost (T35).
func TestRotationGraceInTime(t *testing.T) {
	t.Parallel()
	t.Run("T35/ends_by_time", func(t *testing.T) {
		t.Parallel()
		r := startRotation(t, anHour)
		first := r.client.Token()
		second := r.send(t, "PUT", first)
		r.clock.advance(time.Hour - time.Second)
		r.send(t, "GET", first)
		r.clock.advance(time.Second)
		r.refused(t, first)
		require.Equal(t, second, r.send(t, "GET", second))
	})
	t.Run("T35/lost_answer_then_update_again", func(t *testing.T) {
		t.Parallel()
		r := startRotation(t, anHour)
		first := r.client.Token()
		lost := r.send(t, "PUT", first)
		r.clock.advance(40 * time.Minute)
		again := r.send(t, "PUT", first)
		r.refused(t, lost)
		r.clock.advance(30 * time.Minute)
		r.refused(t, first) // its grace began with the first rotation: an update doesn't prolong it
		require.Equal(t, again, r.send(t, "GET", again))
	})
	t.Run("T35/rotate_on_read", func(t *testing.T) {
		t.Parallel()
		r := startRotation(t, dcr.RegistrationToken{Grace: time.Hour, RotateOnRead: true})
		first := r.client.Token()
		lost := r.send(t, "GET", first)
		second := r.send(t, "GET", first)
		require.NotEqual(t, lost, second)
		r.refused(t, lost)
		third := r.send(t, "GET", second)
		r.refused(t, first)
		fourth := r.send(t, "GET", second) // the previous one of third
		r.refused(t, third)
		r.send(t, "GET", fourth)
		r.refused(t, second)
	})
	t.Run("T35/delete_with_previous", func(t *testing.T) {
		t.Parallel()
		r := startRotation(t, anHour)
		second := r.send(t, "PUT", r.client.Token())
		require.Equal(t, http.StatusNoContent, r.Manage(t, "DELETE", r.client, nil).Status)
		r.refused(t, r.client.Token(), second)
		require.Empty(t, r.store.Stored(), "both entries are removed")
	})
}

// TestTokenLifetime: a token may expire; a rotated one starts anew (7592-5-02).
func TestTokenLifetime(t *testing.T) {
	t.Parallel()
	t.Run("7592-5-02/expires", func(t *testing.T) {
		t.Parallel()
		r := startRotation(t, dcr.RegistrationToken{Lifetime: time.Hour})
		r.clock.advance(time.Hour - time.Second)
		r.send(t, "GET", r.client.Token())
		r.clock.advance(time.Second)
		r.refused(t, r.client.Token())
		dcrtest.SignIn(t, r.Server, r.client) // the client itself lives on
	})
	t.Run("7592-5-02/rotation_starts_anew", func(t *testing.T) {
		t.Parallel()
		r := startRotation(t, dcr.RegistrationToken{Lifetime: time.Hour})
		r.clock.advance(50 * time.Minute)
		second := r.send(t, "PUT", r.client.Token())
		r.clock.advance(50 * time.Minute)
		third := r.send(t, "PUT", second)
		r.clock.advance(time.Hour - time.Second)
		r.send(t, "GET", third)
		r.clock.advance(time.Second)
		r.refused(t, third)
	})
	t.Run("7592-5-02/keep_on_update_does_not_prolong", func(t *testing.T) {
		t.Parallel()
		r := startRotation(t, dcr.RegistrationToken{Lifetime: time.Hour, KeepOnUpdate: true})
		r.clock.advance(50 * time.Minute)
		require.Equal(t, r.client.Token(), r.send(t, "PUT", r.client.Token()))
		r.clock.advance(10 * time.Minute)
		r.refused(t, r.client.Token())
	})
	t.Run("7592-5-02/grace_ends_with_the_token", func(t *testing.T) {
		t.Parallel()
		r := startRotation(t, dcr.RegistrationToken{Lifetime: time.Hour, Grace: 2 * time.Hour})
		r.clock.advance(50 * time.Minute)
		second := r.send(t, "PUT", r.client.Token())
		r.clock.advance(9 * time.Minute)
		r.send(t, "GET", r.client.Token())
		r.clock.advance(time.Minute)
		r.refused(t, r.client.Token())
		r.send(t, "GET", second)
	})
	t.Run("7592-5-02/for_ever_by_default", func(t *testing.T) {
		t.Parallel()
		r := startRotation(t, dcr.RegistrationToken{})
		r.clock.advance(9 * 365 * 24 * time.Hour)
		r.send(t, "GET", r.client.Token())
		second := r.send(t, "PUT", r.client.Token())
		r.clock.advance(9 * 365 * 24 * time.Hour)
		r.send(t, "GET", second)
	})
}
