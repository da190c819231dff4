package processes_test

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const (
	// crashesEnv says how often a process is killed on each database; usualCrashes is how often without it.
	crashesEnv   = "DCR_CRASHES"
	usualCrashes = 25
	// crashWorkers is how many requests are on their way when a process is killed.
	crashWorkers = 6
	// A process is killed after up to so many answers, and up to so much later. Answers are counted, since time would be
	// too short on a slow machine.
	crashAnswers = 16
	crashDelay   = 10 * time.Millisecond
)

// crashes are the deaths of one process after the other on one database.
type crashes struct {
	p       *processes
	db      *sql.DB
	random  *rand.Rand
	workers []*crashWorker

	all   []*witness     // clients that were answered their registration, once no worker has them any more
	lost  map[string]int // requests without an answer
	tally map[string]int // what came of them
}

// TestProcessesCrash: a process is killed at any moment of a load, again and again. What it has answered holds, and of what
// it has not answered all is done or nothing.
func TestProcessesCrash(t *testing.T) {
	number := usualCrashes
	if text := os.Getenv(crashesEnv); text != "" {
		var err error
		number, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	onEach(t, processSetup{}, func(t *testing.T, p *processes) {
		seed := rand.Uint64()
		t.Logf("the seed of the load is %d", seed)
		c := newCrashes(t, p, seed)
		for i := range number {
			c.crash(t, i)
			if t.Failed() {
				return
			}
		}
		t.Run("LIFE-06/answered/end", c.requireAll)
		t.Run("SQL-18/swept", c.requireSwept)
		t.Run("T34/unheard", c.requireUnheard)
		answered := map[string]int{}
		for _, worker := range c.workers {
			for kind, n := range worker.answered {
				answered[kind] += n
			}
		}
		t.Logf("%d kills; answered: %v; lost: %v; of these: %v", number, answered, c.lost, c.tally)
	}, 1)
}

func newCrashes(t *testing.T, p *processes, seed uint64) *crashes {
	t.Helper()
	c := &crashes{p: p, random: rand.New(rand.NewPCG(seed, 0)), lost: map[string]int{}, tally: map[string]int{}}
	for i := range crashWorkers {
		c.workers = append(c.workers, &crashWorker{random: rand.New(rand.NewPCG(seed, uint64(i+1))), answered: map[string]int{}})
	}
	c.db = p.openDatabase(t)
	t.Cleanup(func() { require.NoError(t, c.db.Close()) })
	return c
}

// server is the process that lives.
func (c *crashes) server() *process { return c.p.all[0] }

// crash lets a process die under load, and looks at what it has left through the one that comes after it.
func (c *crashes) crash(t *testing.T, round int) {
	t.Helper()
	// Half of the time nobody else has the database open, so that who opens it next finds what is to be recovered.
	alone := c.random.IntN(2) == 0
	if alone {
		require.NoError(t, c.db.Close())
		require.NoError(t, c.p.store.Close())
	}
	c.loadUntilKilled(t)
	c.p.all[0] = startProcess(t, c.p.setup)
	if alone {
		c.p.store, c.db = c.p.setup.open(t), c.p.openDatabase(t)
	}
	c.settle(t)
	touched, lost := c.collect(t)
	t.Run(fmt.Sprint("SQL-18/killed/", round), c.requireSound)
	t.Run(fmt.Sprint("LIFE-06/answered/", round), func(t *testing.T) {
		for _, w := range touched {
			c.requireAnswered(t, w)
		}
	})
	t.Run(fmt.Sprint("T34/lost/", round), func(t *testing.T) {
		for _, w := range lost {
			c.requireLost(t, w)
		}
	})
	c.giveBack()
}

// giveBack lets the workers go on with the clients that can.
func (c *crashes) giveBack() {
	for _, worker := range c.workers {
		worker.clients = slices.DeleteFunc(worker.clients, func(w *witness) bool {
			w.lost, w.code = "", ""
			if w.deleted || w.unmanageable {
				c.all = append(c.all, w)
			}
			return w.deleted || w.unmanageable
		})
	}
}

// loadUntilKilled has clients send requests until the process is killed, at some moment.
func (c *crashes) loadUntilKilled(t *testing.T) {
	t.Helper()
	enough, gone := make(chan struct{}), make(chan struct{})
	var answers atomic.Int32
	number := 1 + c.random.Int32N(crashAnswers)
	answered := func() {
		if answers.Add(1) == number {
			close(enough)
		}
	}
	var group sync.WaitGroup
	for _, worker := range c.workers {
		group.Go(func() { worker.run(c.server(), answered) })
	}
	go func() {
		group.Wait()
		close(gone)
	}()
	requireFirst(t, enough, gone)
	<-time.After(time.Duration(c.random.Int64N(int64(crashDelay)))) // the moment is what the test is about
	c.server().kill(t)
	<-gone
	for _, worker := range c.workers {
		require.NoError(t, worker.wrong)
	}
}

// settle waits until PostgreSQL has noticed the death: a commit that it has received is carried out all the same.
func (c *crashes) settle(t *testing.T) {
	t.Helper()
	if c.p.setup.Database != postgreSQL {
		return
	}
	require.Eventually(t, func() bool {
		return c.query(t, `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
			AND backend_type = 'client backend' AND state <> 'idle'`) == 0
	}, 10*time.Second, time.Millisecond)
}

// collect returns whom the load was about: clients that were answered everything, and those that wait for an answer.
func (c *crashes) collect(t *testing.T) (touched, lost []*witness) {
	t.Helper()
	for _, worker := range c.workers {
		require.NotEmpty(t, worker.lost, "a worker has stopped")
		c.lost[worker.lost]++
		for _, w := range worker.clients {
			switch {
			case w.lost != "":
				lost = append(lost, w)
			case w.touched:
				touched = append(touched, w)
			}
		}
		for _, w := range worker.deleted {
			touched, c.all = append(touched, w), append(c.all, w)
		}
	}
	return touched, lost
}

// requireSound: the database is whole, every client has one registration access token, and no session is good of a client
// that is not there.
func (c *crashes) requireSound(t *testing.T) {
	c.p.requireCounted(t)
	require.Zero(t, c.query(t, `SELECT count(*) FROM dcr_clients c WHERE 1 <>
		(SELECT count(*) FROM dcr_tokens t WHERE t.client = c.key AND t.kind = `+registrationRow+`)`))
	require.Zero(t, c.query(t, `SELECT count(*) FROM dcr_tokens t WHERE client NOT IN (SELECT key FROM dcr_clients)
		AND epoch >= coalesce((SELECT r.epoch FROM dcr_revocations r WHERE r.client = t.client), 0)`))
}

// requireSwept: a sweep removes what deletions have left.
func (c *crashes) requireSwept(t *testing.T) {
	require.NoError(t, c.p.store.Sweep(t.Context()))
	require.Zero(t, c.query(t, `SELECT count(*) FROM dcr_tokens WHERE client NOT IN (SELECT key FROM dcr_clients)`))
	require.Zero(t, c.query(t, `SELECT count(*) FROM dcr_grants WHERE client NOT IN (SELECT key FROM dcr_clients)`))
}

// requireAll: at the end everything that was ever answered holds.
func (c *crashes) requireAll(t *testing.T) {
	for _, worker := range c.workers {
		c.all = append(c.all, worker.clients...)
	}
	for _, w := range c.all {
		switch {
		case w.deleted:
			_, err := c.p.store.GetDynamicClient(t.Context(), w.ID())
			require.ErrorIs(t, err, fosite.ErrNotFound)
		case w.unmanageable:
			c.requireRefused(t, w.Answer)
			c.requireUsable(t, w)
		default:
			c.requireRegistered(t, w)
		}
	}
}

// requireUnheard: a registration whose answer was lost leaves nothing, or a client with its token that nobody has heard of,
// and that expires by itself.
func (c *crashes) requireUnheard(t *testing.T) {
	told := map[string]bool{}
	for _, w := range c.all {
		told[w.ID()] = true
	}
	entries := c.column(t, `SELECT key FROM dcr_tokens WHERE kind = `+registrationRow)
	records, err := c.p.store.ListClients(t.Context(), dcr.ClientFilter{Issuer: publicIssuer}, dcr.ClientCursor{}, 1_000_000)
	require.NoError(t, err)
	var unheard []string
	for _, record := range records {
		require.Contains(t, entries, entryOf(record.RegistrationToken.Signature))
		if !told[record.ID] {
			require.True(t, record.LastUsedAt.IsZero())
			require.False(t, record.UnusedUntil.IsZero())
			unheard = append(unheard, record.ID)
		}
	}
	require.LessOrEqual(t, len(unheard), c.lost[registration])
	c.tally["registration done"] = len(unheard)
	c.tally["registration undone"] = c.lost[registration] - len(unheard)
	c.p.allAhead(t, 2*time.Hour)
	require.ElementsMatch(t, unheard, c.server().sweep(t))
	require.Equal(t, len(records)-len(unheard), c.query(t, `SELECT count(*) FROM dcr_clients`))
}
