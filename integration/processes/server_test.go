package processes_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/sqlstore"
)

const (
	// publicIssuer is what all processes are behind, as behind a load balancer.
	publicIssuer = "https://as.example.com"
	// processEnv holds the processSetup of a process that is a server and no test.
	processEnv = "DCR_TEST_PROCESS"
	serving    = "serving "

	sqlite     = "sqlite"
	postgreSQL = "postgresql"
)

// onEach runs a test with so many processes on each database.
func onEach(t *testing.T, setup processSetup, test func(t *testing.T, p *processes), numbers ...int) {
	t.Parallel()
	for _, database := range []string{sqlite, postgreSQL} {
		for _, number := range numbers {
			t.Run(fmt.Sprintf("%s/%d", database, number), func(t *testing.T) {
				t.Parallel()
				setup := setup
				setup.Database, setup.Number = database, number
				test(t, startProcesses(t, setup))
			})
		}
	}
}

// processSetup is what the processes of one database have in common.
type processSetup struct {
	Database     string // "sqlite" or "postgresql"
	Number       int    // of processes
	Source       string
	KeepOnUpdate bool
	Share        bool
	PerSubject   int
	Idle         time.Duration
}

// setup composes a server, in a process of its own or in the test.
func (p processSetup) setup(storage *sqlstore.Store, events dcr.EventSink, now func() time.Time) dcrtest.Setup {
	return dcrtest.Setup{
		Storage: storage,
		Config: dcr.Config{
			Access:       dcr.AccessFunc(byTokenOrNobody),
			Metadata:     dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}},
			Registration: dcr.Registration{ShareIdentical: p.Share},
			Limits:       dcr.Limits{Quotas: dcr.Quotas{PerSubject: p.PerSubject}},
			Management:   dcr.Management{Token: dcr.RegistrationToken{KeepOnUpdate: p.KeepOnUpdate}},
			Lifecycle:    dcr.Lifecycle{Unused: time.Hour, Idle: p.Idle},
			Events:       events,
			Now:          now,
		},
		Fosite: func(config *fosite.Config) {
			config.AccessTokenIssuer, config.IDTokenIssuer = publicIssuer, publicIssuer
			config.TokenURL = publicIssuer + "/oauth2/token"
		},
	}
}

// byTokenOrNobody is open, but whoever presents an initial access token is held to it.
func byTokenOrNobody(ctx context.Context, r *http.Request) (*dcr.Registrant, error) {
	if r.Header.Get("Authorization") != "" {
		return dcr.InitialAccessTokens().Authorize(ctx, r)
	}
	return dcr.Open().Authorize(ctx, r)
}

func (p processSetup) open(t testing.TB) *sqlstore.Store {
	t.Helper()
	dialect := sqlstore.SQLite
	if p.Database == postgreSQL {
		dialect = sqlstore.PostgreSQL
	}
	storage, err := sqlstore.Open(t.Context(), dialect, p.Source, sqlstore.Options{
		NewSession: func() fosite.Session { return dcrtest.NewSession("") },
	})
	require.NoError(t, err)
	storage.AddClient(dcrtest.Introspector(t))
	return storage
}

// swept collects the identifiers of clients that a server has told to have ended.
type swept struct {
	mu  sync.Mutex
	ids []string
}

func (s *swept) Record(_ context.Context, event dcr.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if event.Kind == dcr.EventExpired {
		s.ids = append(s.ids, event.ClientID)
	}
}

func (s *swept) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := s.ids
	s.ids = nil
	return ids
}

// TestProcess is the server of the other tests, which start this program again with
// processEnv set. It serves until its standard input ends, as it does when the test does.
// In an ordinary run there is nothing to do.
func TestProcess(t *testing.T) {
	text := os.Getenv(processEnv)
	if text == "" {
		return
	}
	var p processSetup
	require.NoError(t, json.Unmarshal([]byte(text), &p))
	storage := p.open(t)
	defer func() { _ = storage.Close() }()
	var ahead atomic.Int64
	var ended swept
	s := dcrtest.Start(t, p.setup(storage, &ended, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }))
	s.Extra.HandleFunc("/test/sweep", func(w http.ResponseWriter, r *http.Request) {
		if _, err := s.Provider.Sweep(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"ids": ended.take()})
	})
	s.Extra.HandleFunc("/test/ahead/{by}", func(_ http.ResponseWriter, r *http.Request) {
		by, err := time.ParseDuration(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
		require.NoError(t, err)
		ahead.Store(int64(by))
	})
	fmt.Println(serving + s.URL)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// process is a server in a process of its own.
type process struct {
	*dcrtest.Server
	command *exec.Cmd
	gone    chan struct{} // closed when the process has ended
}

// startProcess starts a server. It ends with the test at the latest.
func startProcess(t *testing.T, setup processSetup) *process {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	text, err := json.Marshal(setup)
	require.NoError(t, err)
	command := exec.Command(program, "-test.run=^TestProcess$")
	command.Env = append(os.Environ(), processEnv+"="+string(text))
	command.Stderr = os.Stderr
	input, err := command.StdinPipe()
	require.NoError(t, err)
	output, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	p := &process{command: command, gone: make(chan struct{})}
	lines := bufio.NewScanner(output)
	t.Cleanup(func() {
		_ = input.Close()
		_ = command.Process.Kill()
		<-p.gone
	})
	var said []string
	for p.Server == nil && lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), serving); ok {
			p.Server = &dcrtest.Server{URL: url}
		}
		said = append(said, lines.Text())
	}
	go func() {
		for lines.Scan() {
			continue
		}
		_ = command.Wait()
		close(p.gone)
	}()
	require.NotNil(t, p.Server, "the process did not serve: %q", said)
	return p
}

// kill ends the process as a power cut does: it gets no chance to finish anything.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.command.Process.Kill(); !errors.Is(err, os.ErrProcessDone) {
		require.NoError(t, err)
	}
	<-p.gone
}

// sweep returns which clients a sweep of this process has removed.
func (p *process) sweep(t *testing.T) []string {
	t.Helper()
	answer := p.Do(t, http.MethodPost, "/test/sweep", nil)
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	var removed struct{ IDs []string }
	require.NoError(t, json.Unmarshal([]byte(answer.Body), &removed))
	return removed.IDs
}

// ahead moves the clock of the process.
func (p *process) ahead(t *testing.T, by time.Duration) {
	t.Helper()
	require.Equal(t, http.StatusOK, p.Do(t, http.MethodPost, "/test/ahead/"+by.String(), nil).Status)
}

// manage sends a management request to this process, whatever host its URL names.
func (p *process) manage(t testing.TB, method string, client dcrtest.Answer, metadata map[string]any) dcrtest.Answer {
	t.Helper()
	var body []byte
	if metadata != nil {
		var err error
		body, err = json.Marshal(metadata)
		require.NoError(t, err)
	}
	return p.Do(t, method, "/register/"+client.ID(), body,
		dcrtest.Bearer(client.Token()), dcrtest.Header("Content-Type", "application/json"))
}

// processes are several servers on one database, and the test as one more.
type processes struct {
	setup processSetup
	all   []*process
	store *sqlstore.Store
	// provider is the test's own; nobody speaks HTTP to it.
	provider *dcr.Provider
}

func startProcesses(t *testing.T, setup processSetup) *processes {
	t.Helper()
	if setup.Database == postgreSQL {
		setup.Source = dcrtest.PostgreSQL(t)
	} else {
		setup.Source = filepath.Join(t.TempDir(), "clients.db")
	}
	p := &processes{setup: setup, all: make([]*process, setup.Number), store: setup.open(t)}
	t.Cleanup(func() { require.NoError(t, p.store.Close()) })
	var err error
	p.provider, err = (&dcrtest.Server{URL: publicIssuer}).Compose(setup.setup(p.store, nil, time.Now))
	require.NoError(t, err)
	for i := range p.all {
		p.all[i] = startProcess(t, setup)
	}
	return p
}

// atOnce sends n requests at once, to one process and the other in turn.
func (p *processes) atOnce(n int, send func(i int, to *process) dcrtest.Answer) []dcrtest.Answer {
	answers := make([]dcrtest.Answer, n)
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			<-start
			answers[i] = send(i, p.all[i%len(p.all)])
		})
	}
	close(start)
	group.Wait()
	return answers
}

// statuses counts answers by their status.
func statuses(answers []dcrtest.Answer) map[int]int {
	found := map[int]int{}
	for _, answer := range answers {
		found[answer.Status]++
	}
	return found
}

// record returns the record of a client as it lies in the database.
func (p *processes) record(t *testing.T, client dcrtest.Answer) *dcr.Client {
	t.Helper()
	record, err := p.store.GetDynamicClient(t.Context(), client.ID())
	require.NoError(t, err)
	return record
}

// requireRead asks every process for a registration, and requires a status of all.
func (p *processes) requireRead(t *testing.T, status int, client dcrtest.Answer) {
	t.Helper()
	for i, process := range p.all {
		answer := process.manage(t, http.MethodGet, client, nil)
		require.Equal(t, status, answer.Status, "process %d: %s", i, answer.Body)
		if status == http.StatusUnauthorized {
			require.Equal(t, "invalid_token", answer.Text("error"))
		}
	}
}
