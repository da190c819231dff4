package memory_test

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"

	"github.com/fosite-contrib/fosite-dcr/internal/memory"
)

var (
	start   = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	errFull = errors.New("full")
	ids     atomic.Int64
)

// fixture is Sessions with a clock and clients of the test's.
type fixture struct {
	*memory.Sessions
	options memory.Options

	mu      sync.Mutex
	time    time.Time
	clients map[string]fosite.Client
	fault   error           // of the function that finds clients, if not nil
	ctx     context.Context // that this function got last
}

// newFixture has one client, "client", and room for 100 of everything, unless change says
// otherwise.
func newFixture(change ...func(*memory.Options)) *fixture {
	f := &fixture{time: start, clients: map[string]fosite.Client{}}
	f.options = memory.Options{
		Now: f.now, Tokens: 100, Codes: 100, Assertions: 100, Slims: 100, Client: f.client,
		Full: func(kind string) error { return errors.Join(errFull, errors.New(kind)) },
	}
	for _, c := range change {
		c(&f.options)
	}
	f.Sessions = memory.New(f.options)
	f.set("client", &fosite.DefaultClient{ID: "client"})
	return f
}

func (f *fixture) now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.time
}

func (f *fixture) advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.time = f.time.Add(d)
}

// set sets a client, or removes it if it is nil.
func (f *fixture) set(id string, c fosite.Client) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clients[id] = c
}

func (f *fixture) client(ctx context.Context, id string) (fosite.Client, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ctx = ctx
	if f.fault != nil {
		return nil, f.fault
	}
	if c := f.clients[id]; c != nil {
		return c, nil
	}
	return nil, fosite.ErrNotFound
}

// requestOf returns a request of a client, good for every kind of session until it expires.
func requestOf(clientID string, expires time.Time) *fosite.Request {
	session := openid.NewDefaultSession()
	session.Subject, session.Claims.RequestedAt = "alice", start
	for _, kind := range []fosite.TokenType{
		fosite.AccessToken, fosite.RefreshToken, fosite.AuthorizeCode, fosite.PushedAuthorizeRequestContext,
	} {
		session.SetExpiresAt(kind, expires)
	}
	return &fosite.Request{
		ID: "request " + strconv.FormatInt(ids.Add(1), 10), RequestedAt: start,
		Client: &fosite.DefaultClient{ID: clientID}, Session: session,
		RequestedScope: fosite.Arguments{"a", "b"}, GrantedScope: fosite.Arguments{"a"},
		RequestedAudience: fosite.Arguments{"x"}, GrantedAudience: fosite.Arguments{"x"},
		Form: url.Values{"nonce": {"n"}},
	}
}

// lasting is a request of "client" that expires after an hour.
func lasting() *fosite.Request { return requestOf("client", start.Add(time.Hour)) }

// kind is one kind of session.
type kind struct {
	name, full string
	margin     time.Duration // how much longer than its expiry it is kept
	token      bool          // it never expires if its session does not say
	stays      bool          // in spite of delete
	unknown    error         // of delete where there is nothing
	create     func(ctx context.Context, f *fixture, key string, r *fosite.Request) error
	get        func(ctx context.Context, f *fixture, key string) (fosite.Requester, error)
	delete     func(ctx context.Context, f *fixture, key string) error // nil if there is none
}

var kinds = []kind{
	{
		name: "code", full: "authorization code",
		create: func(ctx context.Context, f *fixture, key string, r *fosite.Request) error {
			return f.CreateAuthorizeCodeSession(ctx, key, r)
		},
		get: func(ctx context.Context, f *fixture, key string) (fosite.Requester, error) {
			return f.GetAuthorizeCodeSession(ctx, key, nil)
		},
	}, {
		name: "pkce", full: "PKCE session", margin: time.Minute, stays: true,
		create: func(ctx context.Context, f *fixture, key string, r *fosite.Request) error {
			return f.CreatePKCERequestSession(ctx, key, r)
		},
		get: func(ctx context.Context, f *fixture, key string) (fosite.Requester, error) {
			return f.GetPKCERequestSession(ctx, key, nil)
		},
		delete: func(ctx context.Context, f *fixture, key string) error { return f.DeletePKCERequestSession(ctx, key) },
	}, {
		name: "openid", full: "OpenID Connect session", margin: time.Minute,
		create: func(ctx context.Context, f *fixture, key string, r *fosite.Request) error {
			return f.CreateOpenIDConnectSession(ctx, key, r)
		},
		get: func(ctx context.Context, f *fixture, key string) (fosite.Requester, error) {
			return f.GetOpenIDConnectSession(ctx, key, nil)
		},
		delete: func(ctx context.Context, f *fixture, key string) error { return f.DeleteOpenIDConnectSession(ctx, key) },
	}, {
		name: "access", full: "access token", token: true,
		create: func(ctx context.Context, f *fixture, key string, r *fosite.Request) error {
			return f.CreateAccessTokenSession(ctx, key, r)
		},
		get: func(ctx context.Context, f *fixture, key string) (fosite.Requester, error) {
			return f.GetAccessTokenSession(ctx, key, nil)
		},
		delete: func(ctx context.Context, f *fixture, key string) error { return f.DeleteAccessTokenSession(ctx, key) },
	}, {
		name: "refresh", full: "refresh token", token: true,
		create: func(ctx context.Context, f *fixture, key string, r *fosite.Request) error {
			return f.CreateRefreshTokenSession(ctx, key, "", r)
		},
		get: func(ctx context.Context, f *fixture, key string) (fosite.Requester, error) {
			return f.GetRefreshTokenSession(ctx, key, nil)
		},
		delete: func(ctx context.Context, f *fixture, key string) error { return f.DeleteRefreshTokenSession(ctx, key) },
	}, {
		name: "pushed", full: "pushed request", unknown: fosite.ErrNotFound,
		create: func(ctx context.Context, f *fixture, key string, r *fosite.Request) error {
			return f.CreatePARSession(ctx, key, &fosite.AuthorizeRequest{Request: *r})
		},
		get: func(ctx context.Context, f *fixture, key string) (fosite.Requester, error) {
			pushed, err := f.GetPARSession(ctx, key)
			if err != nil {
				return nil, err
			}
			return &pushed.(*fosite.AuthorizeRequest).Request, nil
		},
		delete: func(ctx context.Context, f *fixture, key string) error { return f.DeletePARSession(ctx, key) },
	},
}

// eachKind runs a test for each kind of session.
func eachKind(t *testing.T, test func(t *testing.T, k kind)) {
	t.Helper()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(t, k)
		})
	}
}

// inParallel calls do many times at once and returns how often it returned each error.
func inParallel(times int, do func() error) map[error]int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[error]int{}
	begin := make(chan struct{})
	for range times {
		wg.Go(func() {
			<-begin
			err := do()
			mu.Lock()
			defer mu.Unlock()
			count[err]++
		})
	}
	close(begin)
	wg.Wait()
	return count
}
