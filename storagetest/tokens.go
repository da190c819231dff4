package storagetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// entryScope is what entries are granted here.
const entryScope = "dcr:manage"

// tenYears is what the session of a registration access token says.
const tenYears = 10 * 365 * 24 * time.Hour

// newKey returns a key as those of registration access tokens are.
func newKey() string { return "dcr.registration." + newSignature() }

func newSignature() string { return rand.Text() + "_" + rand.Text()[:16] }

// entryRows are about entries of registration access tokens, which lie among access
// tokens.
func entryRows(o Options) []Row {
	entries := func(check func(e *entries) error) func(context.Context, Storage) error {
		return needing(func(ctx context.Context, s Storage, tokens oauth2.AccessTokenStorage) error {
			return check(&entries{ctx, s, tokens, o})
		})
	}
	rows := []Row{
		{Name: "entry/read_back", Check: entries(entryReadBack),
			Why: "A client's registration access token is refused, or taken for one of another client or another scope."},
		{Name: "entry/unknown", Check: entries(entryUnknown),
			Why: "A token that was revoked is answered as a failure of the server, or works."},
		{Name: "entry/delete", Check: entries(entryDelete),
			Why: "A registration access token that was replaced or revoked still works."},
		{Name: "entry/keys", Check: entries(entryKeys),
			Why: "A registration access token works as an access token, or the other way round, or one client's token as another's."},
		{Name: "entry/several", Check: entries(entrySeveral),
			Why: "When a registration access token is replaced the new one goes with the old one, and the client can never be managed again."},
		{Name: "entry/copied_in", Check: entries(entryCopiedIn),
			Why: "What one request does to a session changes what a stored token is good for."},
		{Name: "entry/copied_out", Check: entries(entryCopiedOut),
			Why: "What one request does to a session changes what a stored token is good for."},
	}
	for i := range rows {
		rows[i].Needs = "oauth2.AccessTokenStorage"
	}
	return rows
}

// entries is what rows about entries work with.
type entries struct {
	ctx     context.Context
	storage Storage
	tokens  oauth2.AccessTokenStorage
	options Options
}

// newClient stores a client that entries can belong to.
func (e *entries) newClient() (*dcr.Client, error) { return created(e.ctx, e.storage, sample("first")) }

// create stores an entry of a new client.
func (e *entries) create(key string) (*fosite.Request, error) {
	c, err := e.newClient()
	if err != nil {
		return nil, err
	}
	request := e.options.request(c)
	return request, e.store(key, request)
}

func (e *entries) store(key string, request *fosite.Request) error {
	if err := e.tokens.CreateAccessTokenSession(e.ctx, key, request); err != nil {
		return fmt.Errorf("CreateAccessTokenSession with the key %q: %w", key, err)
	}
	return nil
}

// holds checks that an entry is there and is that of the client.
func (e *entries) holds(key, clientID string, expires time.Time) error {
	got, err := e.tokens.GetAccessTokenSession(e.ctx, key, e.options.NewSession())
	if err != nil {
		return fmt.Errorf("GetAccessTokenSession with the key %q: %w", key, err)
	}
	switch {
	case got == nil || got.GetClient() == nil || got.GetSession() == nil:
		return errors.New("GetAccessTokenSession: there is no request, or it has no client or no session")
	case got.GetClient().GetID() != clientID:
		return fmt.Errorf("GetAccessTokenSession: the client is %q, not %q", got.GetClient().GetID(), clientID)
	case !slices.Equal(got.GetGrantedScopes(), fosite.Arguments{entryScope}):
		return fmt.Errorf("GetAccessTokenSession: the granted scopes are %q, not %q", got.GetGrantedScopes(), entryScope)
	}
	if end := got.GetSession().GetExpiresAt(fosite.AccessToken); !end.Truncate(time.Second).Equal(expires) {
		return fmt.Errorf("GetAccessTokenSession: the session expires at %v, not at %v", end, expires)
	}
	return nil
}

func (e *entries) gone(key string) error {
	_, err := e.tokens.GetAccessTokenSession(e.ctx, key, e.options.NewSession())
	return expect(fmt.Sprintf("GetAccessTokenSession with the key %q, which has no entry", key), err, fosite.ErrNotFound)
}

func entryReadBack(e *entries) error {
	key := newKey()
	request, err := e.create(key)
	if err != nil {
		return err
	}
	return e.holds(key, request.Client.GetID(), expiryOf(request))
}

func entryUnknown(e *entries) error { return e.gone(newKey()) }

func entryDelete(e *entries) error {
	key := newKey()
	if _, err := e.create(key); err != nil {
		return err
	}
	if err := e.tokens.DeleteAccessTokenSession(e.ctx, key); err != nil {
		return fmt.Errorf("DeleteAccessTokenSession: %w", err)
	}
	if err := e.tokens.DeleteAccessTokenSession(e.ctx, key); err != nil && !errors.Is(err, fosite.ErrNotFound) {
		return expect("DeleteAccessTokenSession of an entry that is gone", err, fosite.ErrNotFound)
	}
	return e.gone(key)
}

// entryKeys: keys are compared from the first to the last of up to 120 characters.
func entryKeys(e *entries) error {
	signature := newSignature()
	key := "dcr.registration." + signature
	long := key + "-" + strings.Repeat("x", 118-len(key))
	neighbours := []string{
		signature, "registration." + signature, key[:len(key)-1], key + ".", strings.ToLower(key),
		long + "a", long + "b",
	}
	ids := map[string]*fosite.Request{}
	for _, k := range append(neighbours, key) {
		if err := e.gone(k); err != nil {
			return err
		}
		request, err := e.create(k)
		if err != nil {
			return err
		}
		ids[k] = request
	}
	for k, request := range ids {
		if err := e.holds(k, request.Client.GetID(), expiryOf(request)); err != nil {
			return err
		}
	}
	return nil
}

func entrySeveral(e *entries) error {
	c, err := e.newClient()
	if err != nil {
		return err
	}
	before, after := newKey(), newKey()
	request := e.options.request(c)
	if err := e.store(before, request); err != nil {
		return err
	}
	if err := e.store(after, e.options.request(c)); err != nil {
		return err
	}
	if err := e.holds(before, c.ID, expiryOf(request)); err != nil {
		return err
	}
	if err := e.tokens.DeleteAccessTokenSession(e.ctx, before); err != nil {
		return fmt.Errorf("DeleteAccessTokenSession: %w", err)
	}
	return e.holds(after, c.ID, expiryOf(request))
}

func entryCopiedIn(e *entries) error {
	key := newKey()
	request, err := e.create(key)
	if err != nil {
		return err
	}
	id, expires := request.Client.GetID(), expiryOf(request)
	spoilRequest(request)
	return e.holds(key, id, expires)
}

func entryCopiedOut(e *entries) error {
	key := newKey()
	request, err := e.create(key)
	if err != nil {
		return err
	}
	id, expires := request.Client.GetID(), expiryOf(request)
	got, err := e.tokens.GetAccessTokenSession(e.ctx, key, e.options.NewSession())
	if err != nil {
		return fmt.Errorf("GetAccessTokenSession: %w", err)
	}
	spoilRequest(got)
	return e.holds(key, id, expires)
}

func spoilRequest(request fosite.Requester) {
	request.GrantScope("spoiled")
	if scopes := request.GetGrantedScopes(); len(scopes) > 0 {
		scopes[0] = "spoiled"
	}
	if session := request.GetSession(); session != nil {
		session.SetExpiresAt(fosite.AccessToken, time.Now())
	}
}

// request returns one as fosite stores them, of a client and good for every kind of
// token.
func (o Options) request(c *dcr.Client) *fosite.Request {
	r := fosite.NewRequest()
	r.ID = newID()
	r.RequestedAt = time.Now().UTC().Truncate(time.Second)
	r.Client = c.Clone()
	r.RequestedScope, r.GrantedScope = fosite.Arguments{entryScope}, fosite.Arguments{entryScope}
	r.Session = o.NewSession()
	for _, kind := range []fosite.TokenType{
		fosite.AccessToken, fosite.RefreshToken, fosite.AuthorizeCode, fosite.PushedAuthorizeRequestContext,
	} {
		r.Session.SetExpiresAt(kind, r.RequestedAt.Add(tenYears))
	}
	return r
}

func expiryOf(r *fosite.Request) time.Time { return r.Session.GetExpiresAt(fosite.AccessToken) }
