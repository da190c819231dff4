package cimd

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var _ Storage = (*shelf)(nil)

// shelf is a storage that two processes share.
type shelf struct {
	mu      sync.Mutex
	records map[string]shelved
	blocked map[string]bool
	err     error
	hangs   bool // until the context of the call ends
	full    bool
	calls   []string // what was called, and for whom
}

type shelved struct {
	record []byte
	used   time.Time
}

func newShelf() *shelf { return &shelf{records: map[string]shelved{}, blocked: map[string]bool{}} }

func (s *shelf) call(ctx context.Context, name string, do func()) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, name)
	if s.hangs {
		s.mu.Unlock()
		<-ctx.Done()
		s.mu.Lock()
		return ctx.Err()
	}
	err := errors.Join(s.err, ctx.Err())
	if err == nil {
		do()
	}
	return err
}

func (s *shelf) set(change func(*shelf)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// called returns what was called since the last time.
func (s *shelf) called() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

func (s *shelf) FindDocument(ctx context.Context, id string) (record []byte, blocked bool, err error) {
	err = s.call(ctx, "find", func() { record, blocked = s.records[id].record, s.blocked[id] })
	return record, blocked, err
}

func (s *shelf) SaveDocument(ctx context.Context, id string, record []byte, used time.Time, most int) (kept bool, err error) {
	err = s.call(ctx, "save", func() {
		if kept = !s.full && most > 0; kept {
			s.records[id] = shelved{record, used}
		}
	})
	return kept, err
}

func (s *shelf) TouchDocument(ctx context.Context, id string, used time.Time) error {
	return s.call(ctx, "touch", func() { s.records[id] = shelved{s.records[id].record, used} })
}

func (s *shelf) DeleteDocument(ctx context.Context, id string) error {
	return s.call(ctx, "delete", func() { delete(s.records, id) })
}

func (s *shelf) BlockDocument(ctx context.Context, id string, blocked bool) error {
	return s.call(ctx, "block", func() { s.blocked[id] = blocked })
}

func (s *shelf) ListDocuments(ctx context.Context, after string, limit int, each func(string, []byte, time.Time, bool)) error {
	return s.call(ctx, "list", func() {
		var ids []string
		for id := range s.records {
			ids = append(ids, id)
		}
		for id, blocked := range s.blocked {
			if _, ok := s.records[id]; blocked && !ok {
				ids = append(ids, id)
			}
		}
		slices.Sort(ids)
		for _, id := range ids {
			if id > after && limit > 0 {
				limit--
				each(id, s.records[id].record, s.records[id].used, s.blocked[id])
			}
		}
	})
}

// process is one of several that share a storage and a clock.
type process struct {
	*Documents
	reader
}

func processes(t *testing.T, s *shelf, count int, change func(*Options)) ([]*process, *clock) {
	t.Helper()
	var all []*process
	c := new(clock)
	for range count {
		d, _ := newDocuments(t, func(o *Options) {
			o.Storage, o.Now = s, c.now
			if change != nil {
				change(o)
			}
		})
		d.patience = 100 * time.Millisecond
		all = append(all, &process{Documents: d})
	}
	return all, c
}

func (p *process) wants(t *testing.T, id string, effort int, want string) {
	t.Helper()
	p.get(t, p.Documents, id, effort, want)
}

// TestTwoProcesses fetch once.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	h, s := serveHost(t, says("one", "Etag", `"1"`)), newShelf()
	p, clock := processes(t, s, 2, nil)
	p[0].wants(t, h.id, 1, "one")
	p[1].wants(t, h.id, 1, "one")
	require.EqualValues(t, 1, h.fetches.Load(), "CIMD-22: first contact")
	require.Equal(t, []readCall{{name: "one"}}, p[1].seen(), "CIMD-22: what is restored is read")

	clock.pass(5 * time.Minute)
	h.set(says("two"))
	p[0].wants(t, h.id, 1, "two")
	p[1].wants(t, h.id, 1, "two")
	require.EqualValues(t, 2, h.fetches.Load(), "CIMD-22: renewal")
	require.Equal(t, readCall{name: "two"}, p[1].seen()[1], "the other process has told of the change")

	clock.pass(time.Minute)
	h.set(says("three"))
	p[1].wants(t, h.id, 2, "three")
	p[0].wants(t, h.id, 2, "three")
	require.EqualValues(t, 3, h.fetches.Load(), "CIMD-22: an unknown kid")
	clock.pass(10 * time.Second)
	p[0].wants(t, h.id, 0, "three")

	clock.pass(5 * time.Minute)
	p[0].wants(t, h.id, 1, "three")
	p[1].wants(t, h.id, 1, "three")
	require.EqualValues(t, 4, h.fetches.Load())
	require.Len(t, p[1].seen(), 3, "the same document is not read again")

	clock.pass(5*time.Minute - time.Second)
	p[1].wants(t, h.id, 1, "three") // which looks into the storage
	clock.pass(time.Second)
	p[0].wants(t, h.id, 1, "three")
	p[1].wants(t, h.id, 1, "three")
	require.EqualValues(t, 5, h.fetches.Load(), "CIMD-22: who looked a moment ago looks again before a fetch")
	clock.pass(time.Minute)
	p[1].wants(t, h.id, 0, "three")
	clock.pass(time.Second)
	p[0].wants(t, h.id, 2, "three")
	p[1].wants(t, h.id, 2, "three")
	require.EqualValues(t, 6, h.fetches.Load(), "CIMD-22: also for an unknown kid")
	clock.pass(5*time.Minute - time.Second)
	p[1].wants(t, h.id, 0, "three")
	require.NoError(t, p[0].Block(t.Context(), h.id, true))
	clock.pass(time.Second)
	p[1].unknown(t, h.id, 1)
	require.EqualValues(t, 6, h.fetches.Load(), "CIMD-22: and learns that it is blocked")
}

// TestRestart: a process that knows nothing serves what another has left, though the host is down.
func TestRestart(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		age     time.Duration
		effort  int
		fetches int32
		works   bool
	}{
		"CIMD-22/within_its_lifetime":      {time.Minute, 1, 0, true},
		"CIMD-22/token_request":            {6 * time.Minute, 0, 1, true},
		"CIMD-22/authorization_request":    {6 * time.Minute, 1, 1, true},
		"CIMD-22/last_moment":              {24*time.Hour + 5*time.Minute - 1, 0, 1, true},
		"CIMD-22/past_the_limit":           {24*time.Hour + 5*time.Minute, 0, 1, false},
		"CIMD-22/unknown_kid":              {2 * time.Minute, 2, 1, true},
		"CIMD-22/unknown_kid_a_moment_ago": {time.Second, 2, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, s := serveHost(t, says("one")), newShelf()
			p, clock := processes(t, s, 2, nil)
			p[0].wants(t, h.id, 1, "one")
			h.set(status(http.StatusServiceUnavailable))
			clock.pass(row.age)
			h.fetches.Store(0)
			if row.works {
				p[1].wants(t, h.id, row.effort, "one")
			} else {
				p[1].fail(t, p[1].Documents, h.id, row.effort, "status")
			}
			settled(t, p[1].Documents, h.id)
			require.Equal(t, row.fetches, h.fetches.Load())
			require.Equal(t, readCall{name: "one"}, p[1].seen()[0])
		})
	}
	t.Run("CIMD-22/token_request_does_not_wait", func(t *testing.T) {
		t.Parallel()
		h, s := serveHost(t, says("one")), newShelf()
		p, clock := processes(t, s, 2, nil)
		p[0].wants(t, h.id, 1, "one")
		asked, proceed := make(chan struct{}), make(chan struct{})
		h.set(func(w http.ResponseWriter, r *http.Request) {
			close(asked)
			<-proceed
			says("two")(w, r)
		})
		clock.pass(time.Hour)
		p[1].wants(t, h.id, 0, "one")
		<-asked
		close(proceed)
		settled(t, p[1].Documents, h.id)
		p[1].wants(t, h.id, 0, "two")
	})
}

// TestNoticedByOthers: what one process does, the other notices within ten seconds, and not by a look at each request.
func TestNoticedByOthers(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		act  func(t *testing.T, p *process, h *webHost)
		then func(t *testing.T, p *process, h *webHost)
	}{
		"CIMD-22/blocked": {
			func(t *testing.T, p *process, h *webHost) { require.NoError(t, p.Block(t.Context(), h.id, true)) },
			func(t *testing.T, p *process, h *webHost) { p.unknown(t, h.id, 0) },
		},
		"CIMD-22/fetched": {
			func(t *testing.T, p *process, h *webHost) { h.set(says("two")); p.wants(t, h.id, 2, "two") },
			func(t *testing.T, p *process, h *webHost) { p.wants(t, h.id, 0, "two") },
		},
		"CIMD-10/gone": {
			func(t *testing.T, p *process, h *webHost) {
				h.set(status(http.StatusGone))
				p.unknown(t, h.id, 2)
			},
			func(t *testing.T, p *process, h *webHost) { p.unknown(t, h.id, 0) },
		},
		"CIMD-22/refreshed": {
			func(t *testing.T, p *process, h *webHost) {
				require.NoError(t, p.Refresh(t.Context(), h.id))
				h.set(says("two"))
			},
			func(t *testing.T, p *process, h *webHost) { p.wants(t, h.id, 1, "two") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, s := serveHost(t, says("one", "Cache-Control", "max-age=86400")), newShelf()
			p, clock := processes(t, s, 2, nil)
			clock.pass(-time.Minute)
			p[0].wants(t, h.id, 1, "one")
			clock.pass(time.Minute)
			p[1].wants(t, h.id, 1, "one")
			row.act(t, p[0], h)
			s.called()
			clock.pass(10*time.Second - 1)
			for effort := range 2 {
				p[1].wants(t, h.id, effort, "one")
			}
			require.Empty(t, s.called())
			clock.pass(1)
			row.then(t, p[1], h)
			require.Equal(t, "find", s.called()[0])
			row.then(t, p[1], h)
		})
	}
}

// TestRequestThatLeaves: whoever ends requests early keeps nobody from noticing that an identifier is blocked.
func TestRequestThatLeaves(t *testing.T) {
	t.Parallel()
	h, s := serveHost(t, says("one")), newShelf()
	p, clock := processes(t, s, 2, nil)
	p[0].wants(t, h.id, 1, "one")
	p[1].wants(t, h.id, 1, "one")
	require.NoError(t, p[0].Block(t.Context(), h.id, true))
	clock.pass(10 * time.Second)
	left, leave := context.WithCancel(t.Context())
	leave()
	_, err := p[1].Document(left, h.id, 0, p[1].read)
	require.ErrorIs(t, err, fs.ErrNotExist, "CIMD-22")
	p[1].unknown(t, h.id, 0)
}

// unknown requires that there is no such client.
func (p *process) unknown(t *testing.T, id string, effort int) {
	t.Helper()
	_, err := p.Document(t.Context(), id, effort, p.read)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestBlocked: no request fetches the document of an identifier that is blocked, until that ends.
func TestBlocked(t *testing.T) {
	t.Parallel()
	for name, storage := range map[string]Storage{"memory": nil, "storage": newShelf()} {
		t.Run("CIMD-22/blocked_in_"+name, func(t *testing.T) {
			t.Parallel()
			h := serveHost(t, says("one"))
			d, clock := newDocuments(t, func(o *Options) { o.Storage = storage })
			p := &process{Documents: d}
			require.NoError(t, d.Block(t.Context(), h.id, true))
			p.unknown(t, h.id, 2)
			clock.pass(time.Hour)
			p.unknown(t, h.id, 2)
			require.Zero(t, h.fetches.Load())
			require.Empty(t, p.seen())
			require.NoError(t, d.Block(t.Context(), h.id, false))
			p.wants(t, h.id, 1, "one")
			require.NoError(t, d.Block(t.Context(), h.id, true))
			p.unknown(t, h.id, 2)
			require.NoError(t, d.Block(t.Context(), h.id, false))
			p.wants(t, h.id, 1, "one")
			require.EqualValues(t, 1, h.fetches.Load(), "the document stayed")
		})
	}
}

// TestStorageThatFails: known documents serve, and unknown ones do not come in past an operator's block.
func TestStorageThatFails(t *testing.T) {
	t.Parallel()
	fault := errors.New("no connection to the database")
	for name, fail := range map[string]func(*shelf){
		"CIMD-22/storage_fails": func(s *shelf) { s.err = fault },
		"CIMD-22/storage_hangs": func(s *shelf) { s.hangs = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, s := serveHost(t, says("one")), newShelf()
			p, clock := processes(t, s, 1, nil)
			p[0].wants(t, h.id, 1, "one")
			s.set(fail)
			clock.pass(time.Minute)
			p[0].wants(t, h.id, 0, "one")
			s.called()
			for range 100 {
				p[0].wants(t, h.id, 1, "one")
			}
			require.Empty(t, s.called(), "it is not asked on each request")
			h.set(says("two"))
			clock.pass(5 * time.Minute)
			p[0].wants(t, h.id, 1, "two")
			_, err := p[0].Document(t.Context(), h.URL+"/other", 1, p[0].read)
			require.ErrorContains(t, err, "the storage of documents")
			require.NotErrorIs(t, err, fs.ErrNotExist, "AUTH-02")
			require.EqualValues(t, 2, h.fetches.Load(), "whether it is blocked, nobody knows")
			s.set(func(s *shelf) { s.err, s.hangs = nil, false })
			clock.pass(10 * time.Second)
			p[0].wants(t, h.id, 1, "two")
			p[0].wants(t, h.URL+"/other", 1, "two")
		})
	}
	t.Run("CIMD-10/gone_while_the_storage_fails", func(t *testing.T) {
		t.Parallel()
		h, s := serveHost(t, says("one")), newShelf()
		p, clock := processes(t, s, 1, nil)
		p[0].wants(t, h.id, 1, "one")
		clock.pass(5 * time.Minute)
		h.set(func(w http.ResponseWriter, r *http.Request) {
			s.set(func(s *shelf) { s.err = fault })
			status(http.StatusGone)(w, r)
		})
		p[0].unknown(t, h.id, 1)
		s.set(func(s *shelf) { s.err = nil })
		h.set(status(http.StatusInternalServerError))
		clock.pass(time.Minute)
		p[0].fail(t, p[0].Documents, h.id, 0, "status")
	})
}

// TestRecordsOfNoUse: what the storage has is read as critically as what a host says.
func TestRecordsOfNoUse(t *testing.T) {
	t.Parallel()
	for name, record := range map[string]string{
		"CIMD-22/no_record": `no JSON`, "CIMD-22/no_object": `{"document":"W10=","fetched":"2023-11-14T22:13:20Z","expires":"2033-11-14T22:13:20Z"}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, s := serveHost(t, says("one")), newShelf()
			s.records[h.id] = shelved{record: []byte(record)}
			p, _ := processes(t, s, 1, nil)
			p[0].wants(t, h.id, 0, "one")
			require.EqualValues(t, 1, h.fetches.Load())
			require.Equal(t, []readCall{{name: "one"}}, p[0].seen())
			require.True(t, strings.HasPrefix(string(s.records[h.id].record), `{"document":`), "it is replaced")
		})
	}
	t.Run("CIMD-22/clock_of_another", func(t *testing.T) {
		t.Parallel()
		h, s := serveHost(t, says("two")), newShelf()
		p, _ := processes(t, s, 1, nil)
		const future = `"fetched":"2033-11-14T22:13:20Z","expires":"2033-11-15T22:13:20Z"`
		s.records[h.id] = shelved{record: []byte(`{"document":"eyJjbGllbnRfbmFtZSI6Im9uZSJ9",` + future + `}`)}
		p[0].wants(t, h.id, 1, "two")
		require.Equal(t, []readCall{{name: "one"}, {previous: "one", name: "two"}}, p[0].seen())
	})
	t.Run("CIMD-22/other_options", func(t *testing.T) {
		t.Parallel()
		h, s := serveHost(t, says("one", "Cache-Control", "max-age=86400")), newShelf()
		p, clock := processes(t, s, 1, nil)
		p[0].wants(t, h.id, 1, "one")
		short, _ := processes(t, s, 1, func(o *Options) { o.MaxAge, o.Now = time.Hour, clock.now })
		clock.pass(time.Hour)
		short[0].wants(t, h.id, 1, "one")
		require.EqualValues(t, 2, h.fetches.Load())
	})
	t.Run("CIMD-22/refused_now", func(t *testing.T) {
		t.Parallel()
		h, s := serveHost(t, says("one")), newShelf()
		p, clock := processes(t, s, 2, nil)
		p[0].wants(t, h.id, 1, "one")
		refusal := errors.New("a policy was added")
		p[1].refuse(refusal)
		for range 2 {
			_, err := p[1].Document(t.Context(), h.id, 0, p[1].read)
			require.ErrorIs(t, err, refusal)
		}
		require.Len(t, p[1].seen(), 3, "the restored one, and two that were fetched")
		p[1].refuse(nil)
		clock.pass(time.Second)
		p[1].wants(t, h.id, 0, "one")
	})
}

// TestUseIsNoted once an hour.
func TestUseIsNoted(t *testing.T) {
	t.Parallel()
	h, s := serveHost(t, says("one", "Cache-Control", "max-age=86400")), newShelf()
	p, clock := processes(t, s, 2, nil)
	p[0].wants(t, h.id, 1, "one")
	require.Equal(t, []string{"find", "save"}, s.called(), "CIMD-22: calls of a first contact")
	for range 12 * 60 {
		clock.pass(10 * time.Second)
		p[0].wants(t, h.id, 0, "one")
	}
	touched := slices.DeleteFunc(s.called(), func(call string) bool { return call == "find" })
	require.Equal(t, []string{"touch", "touch"}, touched, "CIMD-22")
	require.Equal(t, clock.now(), s.records[h.id].used)
}

// TestStorageThatIsFull: the document serves from memory, and is not missed there.
func TestStorageThatIsFull(t *testing.T) {
	t.Parallel()
	h, s := serveHost(t, says("one")), newShelf()
	s.full = true
	p, clock := processes(t, s, 1, nil)
	for range 10 {
		p[0].wants(t, h.id, 1, "one")
		clock.pass(20 * time.Second)
	}
	require.EqualValues(t, 1, h.fetches.Load(), "CIMD-22")
}
