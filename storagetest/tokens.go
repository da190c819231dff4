package storagetest

import (
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

const (
	// entryScope is what entries are granted here.
	entryScope = "dcr:manage"
	// entryPrefix begins the keys of registration access tokens.
	entryPrefix = "dcr.registration."
	// tenYears is what the session of a registration access token says.
	tenYears = 10 * 365 * 24 * time.Hour
)

// newKey returns a key as those of registration access tokens are.
func newKey() string { return entryPrefix + newSignature() }

func newSignature() string { return rand.Text() + "_" + rand.Text()[:16] }

const (
	saysEntry       = "An entry comes back with the identifier of its client, its granted scopes and, to the second, the expiry of its session, ten years ahead."
	saysEntryKeys   = "Keys have up to 120 characters, with dots, and are compared byte by byte."
	saysEntryCopied = "An entry is copied on its way in and out."
	saysPurge       = "A purge of old sessions spares the entries of registration access tokens (dcr.IsRegistrationTokenEntry)."
	whyEntryCopied  = "What one request does to a session changes what a stored token is good for."
)

// entryRows are about entries of registration access tokens, which lie among access
// tokens.
func entryRows(o Options) []Row {
	return based("oauth2.AccessTokenStorage", "create/read_back", []Row{
		{Name: "entry/read_back", Check: o.entries(entryReadBack), Says: saysEntry,
			Why: "A client's registration access token is refused, or taken for one of another client or another scope."},
		{Name: "entry/unknown", Check: o.entries(entryUnknown), Says: "A missing entry is fosite.ErrNotFound.",
			Why: "A token that was revoked is answered as a failure of the server, or works."},
		{Name: "entry/delete", Check: o.entries(entryDelete), Says: "A deleted entry is missing, and deleting a missing one is fosite.ErrNotFound or no error.",
			Why: "A registration access token that was replaced or revoked still works."},
		{Name: "entry/keys", Check: o.entries(entryKeys), Says: saysEntryKeys,
			Why: "A registration access token works as an access token, or the other way round, or one client's token as another's."},
		{Name: "entry/several", Check: o.entries(entrySeveral), Says: "A client may have several entries at once, and deleting one leaves the others.",
			Why: "When a registration access token is replaced the new one goes with the old one, and the client can never be managed again."},
		{Name: "entry/copied_in", Check: o.entries(entryCopiedIn), Says: saysEntryCopied, Why: whyEntryCopied},
		{Name: "entry/copied_out", Check: o.entries(entryCopiedOut), Says: saysEntryCopied, Why: whyEntryCopied},
		{Name: "entry/purge", Check: o.entries(entryPurge), Says: saysPurge, Needs: "oauth2.AccessTokenStorage and Options.PurgeSessions",
			Why: "A client that was registered a while ago can't be managed any more."},
	})
}

// entries makes a check of one that works with entries.
func (o Options) entries(do func(e *entries) error) check {
	return needing(func(b *bench, tokens oauth2.AccessTokenStorage) error { return do(&entries{*b, tokens, o}) })
}

// entries is what rows about entries work with.
type entries struct {
	bench
	tokens  oauth2.AccessTokenStorage
	options Options
}

// newClient stores a client that entries can belong to.
func (e *entries) newClient() (*dcr.Client, error) { return e.add(sample("first")) }

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

func (e *entries) remove(key string) error {
	if err := e.tokens.DeleteAccessTokenSession(e.ctx, key); err != nil {
		return fmt.Errorf("DeleteAccessTokenSession with the key %q: %w", key, err)
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
		return fmt.Errorf("GetAccessTokenSession with the key %q: there is no request, or it has no client or no session", key)
	case got.GetClient().GetID() != clientID:
		return fmt.Errorf("GetAccessTokenSession with the key %q: the client is %q, and has to be %q", key, got.GetClient().GetID(), clientID)
	case !slices.Equal(got.GetGrantedScopes(), fosite.Arguments{entryScope}):
		return fmt.Errorf("GetAccessTokenSession with the key %q: the granted scopes are %q, and have to be %q", key, got.GetGrantedScopes(), entryScope)
	}
	if end := got.GetSession().GetExpiresAt(fosite.AccessToken); !end.Truncate(time.Second).Equal(expires) {
		return fmt.Errorf("GetAccessTokenSession with the key %q: the session expires at %v, and has to at %v", key, end, expires)
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
	if err := e.remove(key); err != nil {
		return err
	}
	if err := e.tokens.DeleteAccessTokenSession(e.ctx, key); err != nil && !errors.Is(err, fosite.ErrNotFound) {
		return expect("DeleteAccessTokenSession of an entry that is gone", err, fosite.ErrNotFound)
	}
	return e.gone(key)
}

// entryKeys: keys are compared from the first to the last of up to 120 characters.
func entryKeys(e *entries) error {
	signature := newSignature()
	key := entryPrefix + signature
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
	second := e.options.request(c)
	if err := e.store(after, second); err != nil {
		return err
	}
	if err := e.holds(before, c.ID, expiryOf(request)); err != nil {
		return err
	}
	if err := e.remove(before); err != nil {
		return err
	}
	return e.holds(after, c.ID, expiryOf(second))
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
	got, err := e.tokens.GetAccessTokenSession(e.ctx, key, e.options.NewSession())
	if err != nil {
		return fmt.Errorf("GetAccessTokenSession: %w", err)
	}
	spoilRequest(got)
	return e.holds(key, request.Client.GetID(), expiryOf(request))
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

// entryPurge: a purge removes what is old, but no entry.
func entryPurge(e *entries) error {
	if e.options.PurgeSessions == nil {
		return notSet("PurgeSessions")
	}
	c, err := e.newClient()
	if err != nil {
		return err
	}
	key, signature := newKey(), newSignature()
	request := e.options.request(c)
	request.RequestedAt = twoMonthsBefore
	for _, k := range []string{key, signature} {
		if err := e.store(k, request); err != nil {
			return err
		}
	}
	if err := e.options.PurgeSessions(e.ctx, e.s, sweepTime); err != nil {
		return fmt.Errorf("the option PurgeSessions: %w", err)
	}
	if err := e.gone(signature); err != nil {
		return fmt.Errorf("an access token that was requested before the time of the purge: %w", err)
	}
	if err := e.holds(key, c.ID, expiryOf(request)); err != nil {
		return fmt.Errorf("after a purge, the entry of a registration access token: %w", err)
	}
	return nil
}

// longestAssertion is how far ahead assertions expire at the most.
const longestAssertion = 10*time.Minute + 30*time.Second

const saysKnown = "ClientAssertionJWTValid and SetClientAssertionJWT return fosite.ErrJTIKnown for an identifier that is known and has not expired."

// assertionRows are about the identifiers of client assertions.
var assertionRows = group("", "create/plain", []Row{
	{Name: "assertion/unknown", Check: on(assertionUnknown), Says: "ClientAssertionJWTValid returns nil for an identifier that is unknown.",
		Why: "A client that authenticates with its key is refused."},
	{Name: "assertion/known", Check: on(assertionKnown), Says: saysKnown,
		Why: "Whoever overhears a client assertion authenticates with it, too."},
	{Name: "assertion/expired", Check: on(assertionExpired), Says: "An hour after its expiry, at the latest, an identifier is unknown again.",
		Why: "Identifiers of assertions are kept for ever."},
	{Name: "race/assertion", Check: repeated(on(raceAssertion)), Says: "Of several calls of SetClientAssertionJWT at once exactly one succeeds.",
		Why: "Whoever overhears a client assertion and is fast authenticates with it, too."},
})

func assertionUnknown(b *bench) error {
	if err := b.s.ClientAssertionJWTValid(b.ctx, newID()); err != nil {
		return fmt.Errorf("ClientAssertionJWTValid of an unknown identifier: %w", err)
	}
	return nil
}

func assertionKnown(b *bench) error {
	jti, expires := newID(), time.Now().Add(longestAssertion)
	if err := b.s.SetClientAssertionJWT(b.ctx, jti, expires); err != nil {
		return fmt.Errorf("SetClientAssertionJWT: %w", err)
	}
	for range 3 {
		if err := b.s.SetClientAssertionJWT(b.ctx, newID(), expires); err != nil {
			return fmt.Errorf("SetClientAssertionJWT: %w", err)
		}
	}
	if err := expect("ClientAssertionJWTValid of a known identifier", b.s.ClientAssertionJWTValid(b.ctx, jti), fosite.ErrJTIKnown); err != nil {
		return err
	}
	return expect("SetClientAssertionJWT of a known identifier", b.s.SetClientAssertionJWT(b.ctx, jti, expires), fosite.ErrJTIKnown)
}

func assertionExpired(b *bench) error {
	jti := newID()
	for range 2 {
		if err := b.s.SetClientAssertionJWT(b.ctx, jti, time.Now().Add(-2*time.Hour)); err != nil {
			return fmt.Errorf("SetClientAssertionJWT of an identifier that has expired: %w", err)
		}
	}
	if err := b.s.ClientAssertionJWTValid(b.ctx, jti); err != nil {
		return fmt.Errorf("ClientAssertionJWTValid of an identifier that has expired: %w", err)
	}
	return nil
}

func raceAssertion(b *bench) error {
	jti, expires := newID(), time.Now().Add(longestAssertion)
	_, err := oneWins("SetClientAssertionJWT", fosite.ErrJTIKnown, func(int) error {
		return b.s.SetClientAssertionJWT(b.ctx, jti, expires)
	})
	return err
}
