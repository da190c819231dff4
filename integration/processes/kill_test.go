package processes_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// load registers clients until it is told to stop or the process is gone.
type load struct {
	token string // an initial access token

	mu       sync.Mutex
	answered []dcrtest.Answer
	enough   map[*process]func(number int) // is told of each answer
	number   map[*process]int
	stop     chan struct{}
}

// run is one client that registers all the time.
func (l *load) run(to *process, body []byte) {
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		answer, err := l.register(to, body)
		if err != nil {
			return
		}
		l.mu.Lock()
		l.answered = append(l.answered, answer)
		l.number[to]++
		if told := l.enough[to]; told != nil {
			told(l.number[to])
		}
		l.mu.Unlock()
	}
}

// register is an error where the process goes before its answer is there, whole.
func (l *load) register(to *process, body []byte) (answer dcrtest.Answer, err error) {
	request, err := http.NewRequest(http.MethodPost, to.URL+"/register", bytes.NewReader(body))
	if err != nil {
		return answer, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+l.token)
	response, err := dcrtest.Transport.RoundTrip(request)
	if err != nil {
		return answer, err
	}
	defer func() { _ = response.Body.Close() }()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		return answer, err
	}
	answer = dcrtest.Answer{Status: response.StatusCode, Body: string(read)}
	return answer, json.Unmarshal(read, &answer.Members)
}

// TestProcessesKilled: a process that is killed in the middle of registrations leaves nothing
// half, and the other goes on (LIFE-06, T34).
func TestProcessesKilled(t *testing.T) {
	onEach(t, processSetup{}, each(map[string]func(*testing.T, *processes){"LIFE-06/killed/T34": processesKilled}), 2)
}

func processesKilled(t *testing.T, p *processes) {
	token, minted, err := p.provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{Uses: 1_000_000})
	require.NoError(t, err)
	victim, survivor := p.all[0], p.all[1]
	answered := registerUntilKilled(t, token, victim, survivor)
	p.all = p.all[1:]
	p.requireSound(t)

	// What was answered works, at the survivor and at whoever takes the victim's place.
	p.all = append(p.all, startProcess(t, p.setup))
	told := map[string]bool{}
	for i, client := range answered {
		require.Equal(t, http.StatusCreated, client.Status, client.Body)
		told[client.ID()] = true
		at := p.all[i%2]
		require.Equal(t, http.StatusOK, at.manage(t, http.MethodGet, client, nil).Status)
		require.Equal(t, http.StatusOK, at.serviceToken(t, client).Status)
	}
	records, err := p.store.ListClients(t.Context(), dcr.ClientFilter{Issuer: publicIssuer}, dcr.ClientCursor{}, 1_000_000)
	require.NoError(t, err)
	used, err := p.store.GetInitialAccessToken(t.Context(), minted.ID)
	require.NoError(t, err)
	require.GreaterOrEqual(t, used.Uses, len(records), "no client without a use of the token")

	// Anything else is a client that nobody has heard of, and that ends by itself.
	var unheard []string
	for _, record := range records {
		if !told[record.ID] {
			require.True(t, record.LastUsedAt.IsZero())
			require.False(t, record.UnusedUntil.IsZero())
			unheard = append(unheard, record.ID)
		}
	}
	require.Len(t, records, len(answered)+len(unheard), "nobody was told of a client that is not there")
	p.allAhead(t, 2*time.Hour)
	require.ElementsMatch(t, unheard, slices.Concat(p.all[0].sweep(t), p.all[1].sweep(t)))
	require.Equal(t, len(answered), p.query(t, `SELECT count(*) FROM dcr_clients`))
	p.requireSound(t)
	t.Logf("%d registrations were answered, %d clients nobody has heard of", len(answered), len(unheard))
}

// registerUntilKilled has clients register at both, kills one process in the middle of it, and
// stops some time after. It returns all answers.
func registerUntilKilled(t *testing.T, token string, victim, survivor *process) []dcrtest.Answer {
	t.Helper()
	const each = 4
	kill, over := make(chan struct{}), make(chan struct{})
	killed := -1 // how many the survivor had answered by then
	l := &load{token: token, stop: make(chan struct{}), number: map[*process]int{}}
	l.enough = map[*process]func(int){
		victim: func(number int) {
			if number == 5*each {
				close(kill)
			}
		},
		survivor: func(number int) {
			if killed >= 0 && number == killed+5*each {
				close(over)
			}
		},
	}
	body, err := json.Marshal(service("Under load"))
	require.NoError(t, err)
	var group sync.WaitGroup
	for range each {
		group.Go(func() { l.run(victim, body) })
		group.Go(func() { l.run(survivor, body) })
	}
	gone := make(chan struct{}) // when no client is left, since the survivor failed
	go func() {
		group.Wait()
		close(gone)
	}()
	requireFirst(t, kill, gone)
	victim.kill(t)
	l.mu.Lock()
	killed = l.number[survivor]
	l.mu.Unlock()
	requireFirst(t, over, gone)
	close(l.stop)
	<-gone
	return l.answered
}

// requireFirst waits for what has to come before the end of all clients.
func requireFirst(t *testing.T, wanted, end <-chan struct{}) {
	t.Helper()
	select {
	case <-wanted:
	case <-end:
		require.Fail(t, "a process that nobody has killed does not answer")
	}
}

// requireSound: the database is whole, and no session is that of a client that is not there.
func (p *processes) requireSound(t *testing.T) {
	t.Helper()
	p.requireCounted(t)
	require.Zero(t, p.query(t, `SELECT count(*) FROM dcr_tokens WHERE client NOT IN (SELECT key FROM dcr_clients)`))
}

// requireCounted: the database is whole, and the number of clients is right.
func (p *processes) requireCounted(t *testing.T) {
	t.Helper()
	if p.setup.Database == sqlite {
		var verdict string
		p.scan(t, &verdict, `PRAGMA integrity_check`)
		require.Equal(t, "ok", verdict)
	}
	require.Zero(t, p.query(t, `SELECT (SELECT sum(clients) FROM dcr_client_counts) - (SELECT count(*) FROM dcr_clients)`))
}
