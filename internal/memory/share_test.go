package memory_test

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/memory"
)

// requestBy is a request of a user and a client.
func requestBy(user, clientID string) *fosite.Request {
	r := requestOf(clientID, start.Add(time.Hour))
	r.Session.(interface{ SetSubject(string) }).SetSubject(user)
	return r
}

// sharing has 20 clients, "0" to "19", and tables for 10,000.
func sharing(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(func(o *memory.Options) { o.Tokens, o.Codes, o.Assertions = 10_000, 10_000, 10_000 })
	for i := range 20 {
		id := strconv.Itoa(i)
		f.set(id, &fosite.DefaultClient{ID: id})
	}
	return f
}

func (k kind) require(t *testing.T, f *fixture, want error, keys ...string) {
	t.Helper()
	for _, key := range keys {
		_, err := k.get(t.Context(), f, key)
		require.ErrorIs(t, err, want, "%s %s", k.name, key)
	}
}

// byUser are the kinds that users agreed to, and that are bounded by themselves.
func byUser() (list []kind) {
	for _, k := range kinds {
		if k.name == "code" || k.name == "access" || k.name == "refresh" {
			list = append(list, k)
		}
	}
	return list
}

func TestShareOfUserAndClient(t *testing.T) {
	t.Parallel()
	for _, k := range byUser() {
		t.Run("T59/"+k.name, func(t *testing.T) {
			t.Parallel()
			f := sharing(t)
			create := func(user, client, key string) {
				t.Helper()
				require.NoError(t, k.create(t.Context(), f, key, requestBy(user, client)))
			}
			create("bob", "0", "bob's")
			create("alice", "1", "alice's with another client")
			for i := range 1000 {
				create("alice", "0", strconv.Itoa(i))
			}
			k.require(t, f, nil, "bob's", "alice's with another client", "900", "999")
			k.require(t, f, fosite.ErrNotFound, "0", "899")
		})
	}
}

func TestShareOfUser(t *testing.T) {
	t.Parallel()
	for _, k := range byUser() {
		t.Run("T59/"+k.name, func(t *testing.T) {
			t.Parallel()
			f := sharing(t)
			require.NoError(t, k.create(t.Context(), f, "bob's", requestBy("bob", "0")))
			for i := range 2000 { // 100 with each client, and 1,000 in all
				require.NoError(t, k.create(t.Context(), f, strconv.Itoa(i), requestBy("alice", strconv.Itoa(i%20))))
			}
			k.require(t, f, nil, "bob's", "1000", "1999")
			k.require(t, f, fosite.ErrNotFound, "0", "999")
		})
	}
}

// TestShareWithoutUser: of sessions without a user a client has half of the table. None is evicted: whose they are
// nobody knows.
func TestShareWithoutUser(t *testing.T) {
	t.Parallel()
	for _, k := range byUser() {
		f := sharing(t)
		for i := range 5000 {
			require.NoError(t, k.create(t.Context(), f, strconv.Itoa(i), requestBy("", "0")))
		}
		require.ErrorIs(t, k.create(t.Context(), f, "5000", requestBy("", "0")), errFull, "T59")
		require.NoError(t, k.create(t.Context(), f, "of another client", requestBy("", "1")))
		k.require(t, f, nil, "0", "4999")
	}
}

// TestShareOfLargeGrants: a grant counts as its latest token weighs, with its parameters and lists.
func TestShareOfLargeGrants(t *testing.T) {
	t.Parallel()
	for name, grow := range map[string]func(r *fosite.Request){
		"parameter": func(r *fosite.Request) { r.Form = url.Values{"nonce": {strings.Repeat("x", 32<<10)}} },
		"audience":  func(r *fosite.Request) { r.RequestedAudience = fosite.Arguments{strings.Repeat("x", 32<<10)} },
		"scopes":    func(r *fosite.Request) { r.RequestedScope = make(fosite.Arguments, 2<<10) },
	} {
		t.Run("T59/"+name, func(t *testing.T) {
			t.Parallel()
			f := sharing(t)
			refresh, ctx := kinds[4], t.Context()
			grown := requestBy("alice", "0")
			require.NoError(t, refresh.create(ctx, f, "grown", grown))
			for i := range 99 {
				require.NoError(t, refresh.create(ctx, f, strconv.Itoa(i), requestBy("alice", "0")))
			}
			refresh.require(t, f, nil, "0", "98")
			require.NoError(t, f.RotateRefreshToken(ctx, grown.ID, "grown"))
			grow(grown)
			require.NoError(t, refresh.create(ctx, f, "grown again", grown))
			refresh.require(t, f, nil, "grown again", "8", "98")
			refresh.require(t, f, fosite.ErrNotFound, "0", "7")
		})
	}
}

// TestGrantsThatGrow: however large the parameters of a refresh are, a table has no more units than its bound.
func TestGrantsThatGrow(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"alice", ""} {
		f := newFixture()
		refresh, ctx := kinds[4], t.Context()
		grown := requestBy(user, "client")
		require.NoError(t, refresh.create(ctx, f, "first", grown))
		grown.Form = url.Values{"scope": {strings.Repeat("a ", 100<<10)}}
		for i := range 3 { // the first one fits, and a grant whose tokens can be used weighs all of them
			err := refresh.create(ctx, f, strconv.Itoa(i), grown)
			require.Equal(t, i > 0, errors.Is(err, errFull), "T59 %q %d: %v", user, i, err)
		}
		refresh.require(t, f, nil, "first", "0")
		require.NoError(t, f.RotateRefreshToken(ctx, grown.ID, "0"))
		var others error
		for i := 0; others == nil && i < 200; i++ {
			others = refresh.create(ctx, f, "of another "+strconv.Itoa(i), requestBy("bob", "of another "+strconv.Itoa(i)))
		}
		require.ErrorIs(t, others, errFull)
		require.NoError(t, refresh.create(ctx, f, "after", grown), "a grant that was rotated keeps its room")
	}
}

// TestShareOfCodes: the PKCE session of an evicted code goes with it, and never before it.
func TestShareOfCodes(t *testing.T) {
	t.Parallel()
	f := sharing(t)
	ofCode := []kind{kinds[0], kinds[1], kinds[2]}
	for i := range 101 {
		for _, k := range ofCode {
			require.NoError(t, k.create(t.Context(), f, strconv.Itoa(i), requestBy("alice", "0")))
		}
		if i == 50 {
			require.NoError(t, f.InvalidateAuthorizeCodeSession(t.Context(), "50"))
		}
	}
	for _, k := range ofCode[:2] {
		k.require(t, f, nil, "0", "100")
		k.require(t, f, fosite.ErrNotFound, "50")
	}
	ofCode[2].require(t, f, fosite.ErrNotFound, "0")
	ofCode[2].require(t, f, nil, "50", "100")
}

// TestShareOfPKCESessions: of PKCE sessions without a code none is evicted either.
func TestShareOfPKCESessions(t *testing.T) {
	t.Parallel()
	f := sharing(t)
	create := func(user, key string) error {
		return f.CreatePKCERequestSession(t.Context(), key, requestBy(user, "0"))
	}
	for i := range 200 { // twice the share of codes, since they stay longer
		require.NoError(t, create("alice", strconv.Itoa(i)))
	}
	require.ErrorIs(t, create("alice", "200"), errFull, "T59")
	require.NoError(t, create("bob", "bob's"))
	kinds[1].require(t, f, nil, "0", "199", "bob's")
}

// TestShareOfSmallTables: who has many clients does not fill a small table either.
func TestShareOfSmallTables(t *testing.T) {
	t.Parallel()
	for _, k := range byUser() {
		f := newFixture(func(o *memory.Options) { o.Tokens, o.Codes = 1000, 1000 })
		for i := range 2000 {
			id := strconv.Itoa(i % 20)
			f.set(id, &fosite.DefaultClient{ID: id})
			require.NoError(t, k.create(t.Context(), f, strconv.Itoa(i), requestBy("alice", id)))
		}
		for i := range 9 {
			require.NoError(t, k.create(t.Context(), f, "bob's"+strconv.Itoa(i), requestBy("bob", "0")), "T59")
		}
		k.require(t, f, nil, "1900", "1999")
		k.require(t, f, fosite.ErrNotFound, "1899")
	}
}

// TestShareOfGrants: a grant whose tokens are all used or revoked is evicted before one that lives.
func TestShareOfGrants(t *testing.T) {
	t.Parallel()
	f := sharing(t)
	refresh := kinds[4]
	requests := make([]*fosite.Request, 101)
	for i := range requests {
		requests[i] = requestBy("alice", "0")
		require.NoError(t, refresh.create(t.Context(), f, strconv.Itoa(i), requests[i]))
		if i == 50 || i == 60 {
			require.NoError(t, f.RotateRefreshToken(t.Context(), requests[i].ID, strconv.Itoa(i)))
		}
		if i == 60 { // this one goes on
			require.NoError(t, refresh.create(t.Context(), f, "60 again", requests[i]))
		}
	}
	refresh.require(t, f, fosite.ErrNotFound, "50")
	refresh.require(t, f, fosite.ErrInactiveToken, "60")
	refresh.require(t, f, nil, "0", "60 again", "100")
}

// TestRefreshInALoop: however often a client refreshes, of what it used the last 64 tokens are known, and they
// take nobody's room.
func TestRefreshInALoop(t *testing.T) {
	t.Parallel()
	f := newFixture(func(o *memory.Options) { o.Tokens = 2 })
	request := requestBy("alice", "client")
	require.NoError(t, f.CreateRefreshTokenSession(t.Context(), "0", "", request))
	for i := range 10_000 {
		require.NoError(t, f.RotateRefreshToken(t.Context(), request.ID, strconv.Itoa(i)))
		require.NoError(t, f.CreateRefreshTokenSession(t.Context(), strconv.Itoa(i+1), "", request))
	}
	require.NoError(t, f.CreateRefreshTokenSession(t.Context(), "bob's", "", requestBy("bob", "client")), "T59")
	for signature, want := range map[string]error{
		"0": fosite.ErrNotFound, "9935": fosite.ErrNotFound, "9936": fosite.ErrInactiveToken, "9999": fosite.ErrInactiveToken, "10000": nil,
	} {
		got, err := f.GetRefreshTokenSession(t.Context(), signature, nil)
		require.ErrorIs(t, err, want, signature)
		if !errors.Is(err, fosite.ErrNotFound) {
			require.Equal(t, request.ID, got.GetID(), "reuse ends the grant")
			require.Equal(t, "client", got.GetClient().GetID())
			require.Equal(t, "alice", got.GetSession().GetSubject())
		}
	}
}

// TestReuseDuringARefresh: a token is used twice at once. The second use has the grant revoked before the first one
// has its tokens stored. A third use still finds the token known, and ends what the first one got (ERR-02).
func TestReuseDuringARefresh(t *testing.T) {
	t.Parallel()
	f := newFixture()
	request := f.grant(t, start.Add(time.Hour), "a")
	ctx := t.Context()
	require.NoError(t, f.RotateRefreshToken(ctx, request.ID, "a"))
	revoke := func() { // what fosite does at reuse
		got, err := f.GetRefreshTokenSession(ctx, "a", nil)
		require.ErrorIs(t, err, fosite.ErrInactiveToken)
		require.NoError(t, f.DeleteRefreshTokenSession(ctx, "a"))
		require.NoError(t, f.RevokeRefreshToken(ctx, got.GetID()))
		require.NoError(t, f.RevokeAccessToken(ctx, got.GetID()))
	}
	revoke()
	require.NoError(t, f.CreateRefreshTokenSession(ctx, "b", "", request))
	require.NoError(t, f.CreateAccessTokenSession(ctx, "b", request))
	f.requireTokens(t, "b", nil, nil)
	revoke()
	f.requireTokens(t, "b", fosite.ErrInactiveToken, fosite.ErrNotFound)
}

// TestUsedStaysUsed: writing an entry again does not revive it (SQL-27).
func TestUsedStaysUsed(t *testing.T) {
	t.Parallel()
	f := newFixture()
	ctx, request := t.Context(), f.grant(t, start.Add(time.Hour), "a")
	require.NoError(t, f.CreateAuthorizeCodeSession(ctx, "code", request))
	require.NoError(t, f.InvalidateAuthorizeCodeSession(ctx, "code"))
	require.NoError(t, f.RotateRefreshToken(ctx, request.ID, "a"))
	require.NoError(t, f.CreateAuthorizeCodeSession(ctx, "code", lasting()))
	require.NoError(t, f.CreateRefreshTokenSession(ctx, "a", "", lasting()))
	_, err := f.GetAuthorizeCodeSession(ctx, "code", nil)
	require.ErrorIs(t, err, fosite.ErrInvalidatedAuthorizeCode)
	_, err = f.GetRefreshTokenSession(ctx, "a", nil)
	require.ErrorIs(t, err, fosite.ErrInactiveToken)
}

// TestShareOfClientCredentials: tokens without a user take no room of those with one.
func TestShareOfClientCredentials(t *testing.T) {
	t.Parallel()
	f := sharing(t)
	access := kinds[3]
	create := func(client, key string) error {
		r := requestBy(client, client) // some applications take the client for the subject
		r.Form = url.Values{"grant_type": {[]string{"client_credentials", " client_credentials  "}[len(key)%2]}}
		return access.create(t.Context(), f, key, r)
	}
	require.NoError(t, access.create(t.Context(), f, "alice's", requestBy("alice", "0")))
	require.NoError(t, create("1", "first of 1"))
	for i := range 500 {
		require.NoError(t, create("0", strconv.Itoa(i)))
	}
	access.require(t, f, nil, "alice's", "first of 1", "400", "499")
	access.require(t, f, fosite.ErrNotFound, "0", "10", "399") // however the grant type is spelled
	require.NoError(t, f.DeleteAccessTokenSession(t.Context(), "499"))
	access.require(t, f, fosite.ErrNotFound, "499")
	require.NoError(t, f.RevokeClientGrants(t.Context(), "0"))
	access.require(t, f, fosite.ErrNotFound, "400", "alice's")
	access.require(t, f, nil, "first of 1")
}

type callerKey struct{}

// TestShareOfPushedRequests: a client that authenticates is one owner, a public one is one for each caller.
func TestShareOfPushedRequests(t *testing.T) {
	t.Parallel()
	f := newFixture(func(o *memory.Options) {
		o.Codes = 10_000
		o.Caller = func(ctx context.Context) (string, bool) {
			caller, _ := ctx.Value(callerKey{}).(string)
			return caller, false
		}
	})
	push := func(caller string, public bool, key string, form url.Values) {
		t.Helper()
		r := &fosite.AuthorizeRequest{Request: *lasting()}
		r.Client, r.Form = &fosite.DefaultClient{ID: "client", Public: public}, form
		require.NoError(t, f.CreatePARSession(context.WithValue(t.Context(), callerKey{}, caller), key, r))
	}
	pushed := kinds[5]
	push("honest", true, "honest", nil)
	push("honest", false, "confidential", nil)
	for i := range 200 {
		push("attacker", true, strconv.Itoa(i), nil)
	}
	pushed.require(t, f, nil, "honest", "confidential", "100", "199")
	pushed.require(t, f, fosite.ErrNotFound, "0", "99")
	large := url.Values{"nonce": {strings.Repeat("x", 32<<10)}}
	for i := range 20 { // each counts as nine
		push("attacker", true, "large "+strconv.Itoa(i), large)
	}
	pushed.require(t, f, nil, "honest", "confidential", "large 9", "large 19")
	pushed.require(t, f, fosite.ErrNotFound, "100", "199", "large 8")
	for i := range 200 {
		push("elsewhere", false, "confidential "+strconv.Itoa(i), nil)
	}
	pushed.require(t, f, nil, "honest", "confidential 100", "confidential 199")
	pushed.require(t, f, fosite.ErrNotFound, "confidential", "confidential 99")
	for i := range 3000 { // a caller who has many clients
		r := &fosite.AuthorizeRequest{Request: *lasting()}
		r.Client = &fosite.DefaultClient{ID: strconv.Itoa(i), Public: true}
		f.set(strconv.Itoa(i), r.Client)
		ctx := context.WithValue(t.Context(), callerKey{}, "attacker")
		require.NoError(t, f.CreatePARSession(ctx, "of many "+strconv.Itoa(i), r))
	}
	require.NoError(t, f.DeletePARSession(t.Context(), "honest"))
	pushed.require(t, f, nil, "of many 2000", "of many 2999")
	pushed.require(t, f, fosite.ErrNotFound, "of many 1999")
	require.ErrorIs(t, f.DeletePARSession(t.Context(), "honest"), fosite.ErrNotFound, "SQL-04: it is used once")
}

// TestShareOfAssertions: a client that is over its share is refused, and nothing is forgotten.
func TestShareOfAssertions(t *testing.T) {
	t.Parallel()
	f := sharing(t)
	set := func(key string) error { return f.SetClientAssertionJWT(t.Context(), key, start.Add(time.Hour)) }
	for i := range 100 {
		require.NoError(t, set("dcr.attacker."+strconv.Itoa(i)))
	}
	require.ErrorIs(t, set("dcr.attacker.100"), errFull)
	require.ErrorIs(t, f.ClientAssertionJWTValid(t.Context(), "dcr.attacker.0"), fosite.ErrJTIKnown)
	require.NoError(t, set("dcr.honest.0"))
	for i := range 200 {
		require.NoError(t, set("of another form "+strconv.Itoa(i)))
	}
	f.advance(2 * time.Hour)
	for i := range 50 { // a few expired ones are dropped with each
		require.NoError(t, set("dcr.honest.later "+strconv.Itoa(i)), "%d", i)
	}
}

// TestSlim: a slim session is read without a look at its client, into the session that is given.
func TestSlim(t *testing.T) {
	t.Parallel()
	f := newFixture(func(o *memory.Options) {
		o.Tokens, o.Slims = 1, 2
		o.Slim = func(key string) bool { return strings.HasPrefix(key, "slim") }
	})
	ctx, session := t.Context(), &fosite.DefaultSession{}
	f.fault = errors.New("nobody asks")
	require.NoError(t, f.CreateAccessTokenSession(ctx, "slim 1", lasting()))
	require.NoError(t, f.CreateAccessTokenSession(ctx, "slim 2", requestOf("client", time.Time{})))
	require.ErrorIs(t, f.CreateAccessTokenSession(ctx, "slim 3", lasting()), errFull)
	require.NoError(t, f.CreateAccessTokenSession(ctx, "slim 1", lasting()), "one that is there may be replaced")
	require.NoError(t, f.CreateAccessTokenSession(ctx, "no slim one", lasting()), "each table has its bound to itself")

	got, err := f.GetAccessTokenSession(ctx, "slim 1", session)
	require.NoError(t, err)
	require.Same(t, session, got.GetSession())
	require.Equal(t, start.Add(time.Hour), session.GetExpiresAt(fosite.AccessToken))
	require.Equal(t, "client", got.GetClient().GetID())
	require.Equal(t, fosite.Arguments{"a"}, got.GetGrantedScopes())
	require.Equal(t, start, got.GetRequestedAt())

	f.advance(time.Hour)
	_, err = f.GetAccessTokenSession(ctx, "slim 1", nil)
	require.ErrorIs(t, err, fosite.ErrNotFound)
	_, err = f.GetAccessTokenSession(ctx, "slim 2", nil)
	require.NoError(t, err, "it never expires")
	require.NoError(t, f.DeleteAccessTokenSession(ctx, "slim 2"))
	_, err = f.GetAccessTokenSession(ctx, "slim 2", nil)
	require.ErrorIs(t, err, fosite.ErrNotFound)
	require.NoError(t, f.CreateAccessTokenSession(ctx, "slim 3", lasting()))
}
