// Package processes_test runs several servers, each a process of its own, on one database: what one has answered
// holds at the others from that moment on (LIFE-06).
package processes_test

import (
	"crypto/sha256"
	"database/sql"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// service is what a client registers that uses no browser. Further pairs of name and value
// replace what is there.
func service(name string, pairs ...any) map[string]any {
	metadata := map[string]any{"client_name": name, "grant_types": []string{"client_credentials"}}
	for i := 0; i+1 < len(pairs); i += 2 {
		metadata[pairs[i].(string)] = pairs[i+1]
	}
	return metadata
}

// numberedUpdate is an update each of whose members says which one it is.
func numberedUpdate(client dcrtest.Answer, i int) map[string]any {
	return service(fmt.Sprint("Update ", i), "client_id", client.ID(), "software_version", fmt.Sprint(i),
		"client_uri", fmt.Sprintf("https://client.example/%d", i))
}

// requireWhole: what is registered is one of the updates, and nothing of another.
func requireWhole(t *testing.T, record *dcr.Client, updates int) {
	t.Helper()
	m := record.Metadata
	for i := range updates {
		if m.SoftwareVersion == fmt.Sprint(i) {
			require.Equal(t, fmt.Sprint("Update ", i), m.ClientName)
			require.Equal(t, fmt.Sprintf("https://client.example/%d", i), m.ClientURI)
			return
		}
	}
	require.Fail(t, "not one of the updates", m.ClientName)
}

// query asks the database itself for a number.
func (p *processes) query(t *testing.T, query string, args ...any) (number int) {
	t.Helper()
	p.scan(t, &number, query, args...)
	return number
}

// scan asks the database itself for a value.
func (p *processes) scan(t *testing.T, value any, query string, args ...any) {
	t.Helper()
	db := p.openDatabase(t)
	defer func() { _ = db.Close() }()
	require.NoError(t, db.QueryRowContext(t.Context(), query, args...).Scan(value))
}

// openDatabase opens the database for the test itself, which closes it.
func (p *processes) openDatabase(t *testing.T) *sql.DB {
	t.Helper()
	driver := map[string]string{sqlite: "sqlite", postgreSQL: "pgx"}[p.setup.Database]
	db, err := sql.Open(driver, p.setup.Source)
	require.NoError(t, err)
	return db
}

// rows counts the tokens of all kinds that the database has of a client.
func (p *processes) rows(t *testing.T, client dcrtest.Answer) int {
	t.Helper()
	key := sha256.Sum256([]byte(client.ID()))
	return p.query(t, `SELECT count(*) FROM dcr_tokens WHERE client = $1`, key[:])
}

// TestProcesses: two servers as most have them.
func TestProcesses(t *testing.T) {
	onEach(t, processSetup{}, each(map[string]func(*testing.T, *processes){
		"LIFE-06/rotation": processesRotate, "LIFE-06/counting": processesCount, "LIFE-06/sweep": processesSweep,
		"LIFE-06/tokens": processesTokens, "LIFE-06/jti": processesAssertion,
	}), 2, 4)
}

func each(tests map[string]func(*testing.T, *processes)) func(*testing.T, *processes) {
	return func(t *testing.T, p *processes) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, p)
			})
		}
	}
}

// TestProcessesOtherwise: two servers that do not rotate, share identical clients and have a
// quota.
func TestProcessesOtherwise(t *testing.T) {
	onEach(t, processSetup{KeepOnUpdate: true, Share: true, PerSubject: 5}, each(map[string]func(*testing.T, *processes){
		"LIFE-06/rotation_off": processesUpdate, "LIFE-06/deletion": processesDelete,
		"LIFE-06/counting/quota": processesQuota, "LIFE-06/shared": processesShare,
	}), 2, 4)
}

// processesRotate: of updates with one token at both one succeeds, and one token lives (T32).
func processesRotate(t *testing.T, p *processes) {
	const updates = 32
	client := p.all[0].Register(t, service("Rotating"))
	require.Equal(t, publicIssuer+"/register/"+client.ID(), client.URI())
	p.requireRead(t, http.StatusOK, client)
	answers := p.atOnce(updates, func(i int, to *process) dcrtest.Answer {
		return to.manage(t, http.MethodPut, client, numberedUpdate(client, i))
	})
	require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusUnauthorized: updates - 1}, statuses(answers))
	won := answers[slices.IndexFunc(answers, func(a dcrtest.Answer) bool { return a.Status == http.StatusOK })]
	require.NotEqual(t, client.Token(), won.Token())
	p.requireRead(t, http.StatusOK, won)
	p.requireRead(t, http.StatusUnauthorized, client)
	record := p.record(t, client)
	require.EqualValues(t, 2, record.Version)
	require.Equal(t, won.Text("client_name"), record.Metadata.ClientName)
	requireWhole(t, record, updates)
	require.Equal(t, 1, p.rows(t, client), "one token")

	// The other process takes over where this one has ended.
	again := p.all[1].manage(t, http.MethodPut, won, numberedUpdate(client, 0))
	require.Equal(t, http.StatusOK, again.Status, again.Body)
	p.requireRead(t, http.StatusUnauthorized, won)
	p.requireRead(t, http.StatusOK, again)
}

// processesUpdate: where tokens stay the last update wins, whole; one that can't get ahead of
// others is told to come again.
func processesUpdate(t *testing.T, p *processes) {
	const updates = 32
	client := p.all[0].Register(t, service("Updating"))
	answers := p.atOnce(updates, func(i int, to *process) dcrtest.Answer {
		return to.manage(t, http.MethodPut, client, numberedUpdate(client, i))
	})
	found := statuses(answers)
	require.Equal(t, updates, found[http.StatusOK]+found[http.StatusServiceUnavailable], found)
	require.NotZero(t, found[http.StatusOK])
	record := p.record(t, client)
	require.EqualValues(t, 1+found[http.StatusOK], record.Version, "each that succeeded is one version")
	requireWhole(t, record, updates)
	p.requireRead(t, http.StatusOK, client)

	last := p.all[1].manage(t, http.MethodPut, client, numberedUpdate(client, 7))
	require.Equal(t, http.StatusOK, last.Status, last.Body)
	require.Equal(t, "Update 7", p.all[0].manage(t, http.MethodGet, client, nil).Text("client_name"))
}

// processesDelete: one deletion succeeds, and no update brings the client back (T33).
func processesDelete(t *testing.T, p *processes) {
	for round := range 4 {
		client := p.all[round%2].Register(t, service("Leaving"))
		answers := p.atOnce(24, func(i int, to *process) dcrtest.Answer {
			if i%6 < 2 { // at both
				return to.manage(t, http.MethodDelete, client, nil)
			}
			return to.manage(t, http.MethodPut, client, numberedUpdate(client, i))
		})
		found := statuses(answers)
		require.Equal(t, 1, found[http.StatusNoContent], found)
		require.Equal(t, 23, found[http.StatusOK]+found[http.StatusUnauthorized]+found[http.StatusServiceUnavailable], found)
		p.requireRead(t, http.StatusUnauthorized, client)
		_, err := p.store.GetDynamicClient(t.Context(), client.ID())
		require.ErrorIs(t, err, fosite.ErrNotFound)
		_, err = p.store.GetClient(t.Context(), client.ID())
		require.ErrorIs(t, err, fosite.ErrNotFound)
	}
}

// processesCount: an initial access token is spent as often as it says, wherever (T31).
func processesCount(t *testing.T, p *processes) {
	for _, uses := range []int{1, 10} {
		token, minted, err := p.provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{Uses: uses})
		require.NoError(t, err)
		answers := p.atOnce(50, func(i int, to *process) dcrtest.Answer {
			return to.Post(t, service("Counted"), dcrtest.Bearer(token))
		})
		require.Equal(t, map[int]int{http.StatusCreated: uses, http.StatusUnauthorized: 50 - uses}, statuses(answers))
		record, err := p.store.GetInitialAccessToken(t.Context(), minted.ID)
		require.NoError(t, err)
		require.Equal(t, uses, record.Uses)
		clients, err := p.provider.CountClients(t.Context(), dcr.ClientFilter{InitialAccessToken: minted.ID}, 100)
		require.NoError(t, err)
		require.Equal(t, uses, clients)

		// A token that is revoked at one is dead at the others.
		token, minted, err = p.provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{})
		require.NoError(t, err)
		require.Equal(t, http.StatusCreated, p.all[0].Post(t, service("Counted"), dcrtest.Bearer(token)).Status)
		require.NoError(t, p.provider.RevokeInitialAccessToken(t.Context(), minted.ID))
		for _, process := range p.all {
			require.Equal(t, http.StatusUnauthorized, process.Post(t, service("Counted"), dcrtest.Bearer(token)).Status)
		}
	}
}

// processesQuota: registrations at both don't pass a quota together.
func processesQuota(t *testing.T, p *processes) {
	token, minted, err := p.provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{Subject: "alice"})
	require.NoError(t, err)
	register := func(_ int, to *process) dcrtest.Answer { return to.Post(t, service("Alice's"), dcrtest.Bearer(token)) }
	alices := func() int {
		clients, err := p.provider.CountClients(t.Context(), dcr.ClientFilter{Subject: "alice"}, 100)
		require.NoError(t, err)
		return clients
	}
	answers := p.atOnce(50, register)
	found := statuses(answers)
	require.Equal(t, 50, found[http.StatusCreated]+found[http.StatusForbidden], found)
	require.LessOrEqual(t, found[http.StatusCreated], 5)
	require.Equal(t, found[http.StatusCreated], alices(), "who was refused left no client behind")
	// One after the other they fill it, and not further. None of those who were refused was
	// counted as a use.
	for i := range 10 {
		register(i, p.all[i%2])
	}
	require.Equal(t, 5, alices())
	record, err := p.store.GetInitialAccessToken(t.Context(), minted.ID)
	require.NoError(t, err)
	require.Equal(t, 5, record.Uses)
}

// processesShare: registrations that are alike have one client, whichever process is asked.
func processesShare(t *testing.T, p *processes) {
	metadata := map[string]any{
		"client_name": "Everybody's", "redirect_uris": []string{"http://127.0.0.1/callback"}, "token_endpoint_auth_method": "none",
	}
	answers := p.atOnce(16, func(_ int, to *process) dcrtest.Answer { return to.Post(t, metadata) })
	require.Equal(t, map[int]int{http.StatusCreated: 16}, statuses(answers))
	for _, answer := range answers {
		require.Equal(t, answers[0].ID(), answer.ID())
		require.Empty(t, answer.Token())
	}
	clients, err := p.provider.CountClients(t.Context(), dcr.ClientFilter{NameKey: dcr.NameKey("Everybody's")}, 100)
	require.NoError(t, err)
	require.Equal(t, 1, clients)
}

// processesSweep: of two sweeps at once each has clients of its own, and together all.
func processesSweep(t *testing.T, p *processes) {
	const number = 700 // more than one statement removes
	ended := map[string]int{}
	for i := range number {
		client := &dcr.Client{
			ID: fmt.Sprint("ended", i), Issuer: publicIssuer, Version: 1,
			CreatedAt: time.Now().Add(-time.Hour), ExpiresAt: time.Now().Add(-time.Minute),
		}
		require.NoError(t, p.store.CreateClient(t.Context(), client))
		ended[client.ID] = 0
	}
	alive := p.all[0].Register(t, service("Alive"))
	removed := make([][]string, 4)
	p.atOnce(len(removed), func(i int, to *process) dcrtest.Answer {
		removed[i] = to.sweep(t)
		return dcrtest.Answer{}
	})
	for _, id := range slices.Concat(removed...) {
		require.Contains(t, ended, id)
		ended[id]++
	}
	for id, times := range ended {
		require.Equal(t, 1, times, id)
		_, err := p.store.GetDynamicClient(t.Context(), id)
		require.ErrorIs(t, err, fosite.ErrNotFound)
	}
	p.requireRead(t, http.StatusOK, alive)
}

// TestProcessesUse: a use at one process counts at all.
func TestProcessesUse(t *testing.T) {
	onEach(t, processSetup{Idle: 24 * time.Hour}, each(map[string]func(*testing.T, *processes){"LIFE-06/use": processesUse}), 2)
}

func processesUse(t *testing.T, p *processes) {
	used, unused := p.all[0].Register(t, service("Used")), p.all[0].Register(t, service("Unused"))
	require.Equal(t, http.StatusOK, p.all[1].serviceToken(t, used).Status)
	require.EqualValues(t, 1, p.record(t, used).Version)
	require.False(t, p.record(t, used).LastUsedAt.IsZero())

	p.allAhead(t, 2*time.Hour)
	p.requireRead(t, http.StatusOK, used)
	p.requireRead(t, http.StatusUnauthorized, unused)
	require.Equal(t, http.StatusUnauthorized, p.all[1].serviceToken(t, unused).Status)
	require.Equal(t, []string{unused.ID()}, p.all[0].sweep(t))
	require.Empty(t, p.all[1].sweep(t))

	// Used again, at the other process, a while before it would have ended.
	p.allAhead(t, 23*time.Hour)
	require.Equal(t, http.StatusOK, p.all[0].serviceToken(t, used).Status)
	p.allAhead(t, 26*time.Hour)
	p.requireRead(t, http.StatusOK, used)
	require.Empty(t, p.all[1].sweep(t))
	p.allAhead(t, 48*time.Hour)
	p.requireRead(t, http.StatusUnauthorized, used)
	require.Equal(t, []string{used.ID()}, p.all[1].sweep(t))
}

// allAhead moves the clocks of all processes.
func (p *processes) allAhead(t *testing.T, by time.Duration) {
	t.Helper()
	for _, process := range p.all {
		process.ahead(t, by)
	}
}
