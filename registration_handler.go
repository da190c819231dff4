package dcr

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/capability"
	"github.com/fosite-contrib/fosite-dcr/internal/request"
)

// Registration configures the registration endpoint besides Config.Access, which decides who may register.
type Registration struct {
	Scope string // Scope is the scope of access tokens that may register; default "dcr:register"
	// AllowScope lets clients register Scope for themselves, if Config.Scopes has it. By default a client
	// can't, or one registration would open the door to more (T54).
	AllowScope bool
	// ShareIdentical answers registrations of public clients by anonymous registrants that ask for the very
	// same with one client, which then has no registration access token: what many use, none of them may
	// change. Clients that register anew each time they start, always alike, leave one record then. By
	// default each gets its own. It takes a storage that implements GrantRevoker, since an identifier that
	// was gone may come back.
	ShareIdentical bool
}

const defaultRegistrationScope = "dcr:register"

func (c Registration) withDefaults() Registration {
	setDefault(&c.Scope, defaultRegistrationScope)
	return c
}

// RegistrationRequest is a registration that was let in and whose metadata is fine. Nothing of it is stored
// yet. An application may look at it, or refuse it, before it makes the response.
type RegistrationRequest struct {
	Registrant *Registrant    // Registrant is who registers
	Metadata   ClientMetadata // Metadata is what will be registered

	issuer string
	caller caller
}

// registrar carries out registrations (RFC 7591).
type registrar struct {
	config     Registration
	management bool // clients get a registration access token
	location   *location
	admission  *admission
	rulebook   *rulebook
	secrets    *secrets
	tokens     *registrationTokens
	initial    *initialTokens
	lifetimes  *lifetimes
	creator    *creator
	sharing    *sharing
	journal    *journal
}

// RegistrationHandler returns the handler of the registration endpoint, for any router. It answers every
// method: POST registers, the others get 405. A body that does not arrive by the end of the context is 408,
// unless a wrapper of the ResponseWriter hides the connection, as http.TimeoutHandler does: set ReadTimeout
// of the http.Server, too.
func (s *registrar) RegistrationHandler() http.Handler {
	return s.location.openTo([]string{http.MethodPost}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		defer request.Bound(ctx, w)()
		registration, err := s.NewRegistrationRequest(ctx, r)
		if err != nil {
			s.WriteRegistrationError(ctx, w, err)
			return
		}
		response, err := s.NewRegistrationResponse(ctx, registration)
		if err != nil {
			s.WriteRegistrationError(ctx, w, err)
			return
		}
		s.WriteRegistrationResponse(ctx, w, response)
	}))
}

// NewRegistrationRequest reads a registration (RFC 7591, section 3.1). It writes nothing, so a refusal
// needs no undoing. The error is one for WriteRegistrationError.
//
// The body is read until it ends. RegistrationHandler stops at the end of the context; whoever calls this
// method sets ReadTimeout of the http.Server.
func (s *registrar) NewRegistrationRequest(ctx context.Context, r *http.Request) (_ *RegistrationRequest, err error) {
	who := s.admission.callerOf(r)
	ctx, span := startSpan(withCaller(ctx, who), "dcr.NewRegistrationRequest")
	defer endSpan(span, &err)
	registration, err := s.read(ctx, r, who)
	if err != nil {
		p := problemOf(err)
		p.caller, p.registrant = &who, registration.Registrant
		return nil, p
	}
	return registration, nil
}

// read returns beside an error what it knows of the registration by then.
func (s *registrar) read(ctx context.Context, r *http.Request, from caller) (*RegistrationRequest, error) {
	registration := &RegistrationRequest{caller: from}
	if err := readingError(firstOf(request.Method(r, http.MethodPost), request.JSON(r))); err != nil {
		return registration, err
	}
	var err error
	if registration.Registrant, err = s.admission.admit(ctx, r, from); err != nil {
		return registration, err
	}
	if registration.issuer, err = s.location.realm(ctx); err != nil {
		return registration, err
	}
	if err = s.admission.checkQuotas(ctx, registration.Registrant, registration.issuer, 1); err != nil {
		return registration, err
	}
	body, err := request.Body(ctx, r, s.admission.limits.Body)
	if err != nil {
		return registration, readingError(err)
	}
	return registration, s.rulebook.resolve(ctx, body, source{registrant: registration.Registrant}, &registration.Metadata)
}

// NewRegistrationResponse registers the client. The error is one for WriteRegistrationError.
func (s *registrar) NewRegistrationResponse(ctx context.Context, registration *RegistrationRequest) (_ *ClientInformation, err error) {
	ctx, span := startSpan(withCaller(ctx, registration.caller), "dcr.NewRegistrationResponse")
	defer endSpan(span, &err)
	response, err := s.register(ctx, registration)
	if err != nil {
		p := problemOf(err)
		p.caller, p.registrant = &registration.caller, registration.Registrant
		return nil, p
	}
	spanClient(span, response.ClientID)
	return response, nil
}

// register writes in this order. First a use of the initial access token is counted, where there is one,
// which is given back if the client can't be created. The write of its record is the commit point: before
// it nothing is stored, and if the entry of the registration access token can't be stored after it, or a
// quota turns out to be passed, the record goes again. A crash in between leaves a client that nobody can
// use, since nobody received its secret or its token.
//
// The record comes first because entries may have a foreign key on clients.
func (s *registrar) register(ctx context.Context, registration *RegistrationRequest) (*ClientInformation, error) {
	if registration.Registrant == nil {
		return nil, failure(errNilRegistrant)
	}
	if s.isShared(registration) {
		return s.sharing.share(ctx, registration, s.newClient(registration, credentials{}))
	}
	made, err := s.makeCredentials(ctx, registration.Metadata.TokenEndpointAuthMethod)
	if err != nil {
		return nil, err
	}
	client := s.newClient(registration, made)
	if err := s.initial.consume(ctx, registration.Registrant); err != nil {
		return nil, err
	}
	err = s.creator.create(ctx, client)
	for tries := 0; errors.Is(err, ErrClientExists) && tries < createRounds; tries++ {
		client.ID = newClientID() // T06: never the identifier of another client
		err = s.creator.create(ctx, client)
	}
	if err != nil {
		s.initial.giveBack(ctx, registration.Registrant)
		return nil, creationFailed(err)
	}
	s.journal.record(ctx, Event{Kind: EventRegistered, ClientID: client.ID, After: client})
	return information(client, made.secret, made.token, s.location.registrationEndpoint(ctx)), nil
}

// WriteRegistrationResponse sends the client information: 201, never to be cached (RFC 7591, section
// 3.2.1).
func (s *registrar) WriteRegistrationResponse(ctx context.Context, w http.ResponseWriter, response *ClientInformation) {
	if err := writeInformation(w, http.StatusCreated, response); err != nil {
		s.WriteRegistrationError(ctx, w, err)
	}
}

// WriteRegistrationError sends an error (RFC 7591, section 3.2.2). An error of neither this package nor
// fosite is a server error, of which nothing is said.
func (s *registrar) WriteRegistrationError(ctx context.Context, w http.ResponseWriter, err error) {
	s.journal.refused(ctx, err)
	writeError(w, err, http.MethodPost)
}

// credentials are what the server makes for a client: the identifier, the secret where the method needs
// one, and the registration access token.
type credentials struct {
	id            string
	secret        string
	secretHash    []byte
	secretExpires time.Time
	issuedToken
}

// makeCredentials makes what the server chooses for a new client.
func (s *registrar) makeCredentials(ctx context.Context, method string) (made credentials, err error) {
	made.id = newClientID()
	if made.secret, made.secretHash, made.secretExpires, err = s.secrets.issue(ctx, method); err != nil {
		return made, err
	}
	if s.management {
		made.issuedToken, err = s.tokens.issue(ctx)
	}
	return made, err
}

// newClient is the registered client with its credentials.
func (s *registrar) newClient(registration *RegistrationRequest, made credentials) *Client {
	client := newClient(made.id, registration.issuer, registration.Registrant, registration.Metadata, s.lifetimes.now())
	client.UnusedUntil, client.ExpiresAt = s.lifetimes.unusedUntil(registration.Registrant), s.lifetimes.maximum(registration.Metadata.decision.lifetime)
	client.SecretHash, client.SecretExpiresAt, client.RegistrationToken = made.secretHash, made.secretExpires, made.record
	client.view.entry = made.entry
	return client
}

// isShared reports whether a registration may be answered with a client that others have: a public client,
// since there is no secret to hand out twice, and an anonymous registrant.
func (s *registrar) isShared(registration *RegistrationRequest) bool {
	who := registration.Registrant
	return s.config.ShareIdentical && who.isAnonymous() && who.InitialAccessToken == "" && who.Subject == "" &&
		registration.Metadata.TokenEndpointAuthMethod == capability.MethodNone
}

// creator writes new clients. It makes room for them where the storage is full.
type creator struct {
	records   *records
	tokens    *registrationTokens
	admission *admission
	lifetimes *lifetimes
	grants    *grants
	journal   *journal
	// recognise refuses a client that the storage returns in a wrapper.
	recognise func(ctx context.Context, id string) error
}

// create writes the record and then the token's entry; both or none. Where the storage is full the oldest
// client that was never used is evicted.
func (c *creator) create(ctx context.Context, client *Client) error {
	_, err := c.write(ctx, client, c.records.create)
	for tries := 0; errors.Is(err, ErrFull) && c.records.evicter != nil && tries < createRounds; tries++ {
		var evicted *Client
		if evicted, err = c.evictAndCreate(ctx, client, err); evicted == nil {
			return err
		}
		// Otherwise there may be no room for the entry of the token, which the next client to be evicted
		// makes.
	}
	return err
}

// evictAndCreate writes a client in the place of another one, which it returns. full is the error of the
// storage that has no room. A storage that fails to evict leaves it at that: it is full.
func (c *creator) evictAndCreate(ctx context.Context, client *Client, full error) (evicted *Client, err error) {
	committed, err := c.write(ctx, client, func(ctx context.Context, client *Client) (err error) {
		if evicted, err = c.records.evicter.CreateClientEvicting(ctx, client, c.lifetimes.evictable()); err != nil {
			return err
		}
		return c.removeEntries(ctx, evicted) // first, since it may be the entries that have no room
	})
	switch {
	case evicted != nil && (committed || c.records.transactions == nil):
		c.grants.expired(ctx, evicted)
	case evicted == nil && err != nil && !errors.Is(err, ErrFull) && !errors.Is(err, ErrClientExists):
		c.journal.cleanupFailed(ctx, "", err)
		err = full
	}
	return evicted, err
}

// removeEntries removes the entries of a client that was evicted, which may be nil. In a transaction a
// failure is one of the whole; otherwise it is an event, since the tokens are dead all the same.
func (c *creator) removeEntries(ctx context.Context, evicted *Client) error {
	if evicted == nil {
		return nil
	}
	if c.records.transactions == nil {
		c.tokens.clear(ctx, evicted.ID, evicted.tokenRecords()...)
		return nil
	}
	for _, token := range evicted.tokenRecords() {
		if err := c.tokens.remove(ctx, token); err != nil {
			return err
		}
	}
	return nil
}

// write writes the record, by create, and the token's entry. Where one of them fails, or a quota turns out
// to be passed, both are taken back; committed says that a transaction was committed before that.
func (c *creator) write(ctx context.Context, client *Client, create func(context.Context, *Client) error) (committed bool, err error) {
	created := false
	err = c.records.inTransaction(ctx, func(ctx context.Context) error {
		if err := create(ctx, client); err != nil {
			return err
		}
		created = true
		if client.RegistrationToken.Signature == "" {
			return nil
		}
		return c.tokens.store(ctx, client)
	})
	if err == nil {
		// Not in the transaction, in which others may not be seen.
		if err = firstOf(c.recognise(ctx, client.ID), c.admission.checkQuotas(ctx, &client.Origin, client.Issuer, 0)); err != nil {
			c.undo(ctx, client)
		}
		return true, err
	}
	// A storage that failed may have created the record all the same. Under an identifier that others share
	// it is left: nobody received it, and the next to ask takes it up.
	mayBeThere := created || !client.Shared && !errors.Is(err, ErrFull)
	if mayBeThere && !errors.Is(err, ErrClientExists) && c.records.transactions == nil {
		c.undo(ctx, client)
	}
	return false, err
}

// undo takes back what may have been written, by a storage that failed in the middle too. Should that fail,
// it stays as a client that nobody can use.
func (c *creator) undo(ctx context.Context, client *Client) {
	ctx, cancel := cleanupContext(ctx)
	defer cancel()
	if err := c.records.delete(ctx, client.ID); err != nil && !errors.Is(err, fosite.ErrNotFound) {
		c.journal.cleanupFailed(ctx, client.ID, err)
		return
	}
	c.tokens.clear(ctx, client.ID, client.tokenRecords()...)
}

// creationFailed: a quota refuses, anything else is a failure of the server.
func creationFailed(err error) error {
	if errors.Is(err, errQuota) {
		return err
	}
	return failure(err)
}

// sharing answers registrations that are alike down to the byte with one client
// (Registration.ShareIdentical; RFC 7591, section 3.2.1, lets a server answer one identifier to several).
// Its identifier is computed from what is registered, so that the storage's own check for a taken
// identifier finds the client, whichever process registered it.
type sharing struct {
	location  *location
	records   *records
	creator   *creator
	lifetimes *lifetimes
	grants    *grants
	journal   *journal
}

// id returns the identifier for what is registered, and for what policies decided of it. Without the secret
// of the server nobody can compute it.
func (s *sharing) id(ctx context.Context, registration *RegistrationRequest) (string, error) {
	metadata, err := registration.Metadata.MarshalJSON()
	if err != nil {
		return "", failure(err)
	}
	secret, err := s.location.fosite.GetGlobalSecret(ctx)
	if err != nil {
		return "", failure(err)
	}
	mac := hmac.New(sha256.New, secret)
	who, decided := registration.Registrant, registration.Metadata.decision
	said := fmt.Sprintf("lifetime=%d consent=%t pkce=%t", decided.lifetime, decided.alwaysAskConsent, decided.requirePKCE)
	for _, part := range []string{"dcr shared client", registration.issuer, who.Kind, who.Policy, said, string(metadata)} {
		mac.Write([]byte(part))
		mac.Write([]byte{0}) // none of them has one
	}
	return base32.StdEncoding.EncodeToString(mac.Sum(nil))[:len(newClientID())], nil
}

// share answers with the client that is registered already, or registers fresh, which has no identifier
// yet. There is no registration access token: nobody may change or delete what others use.
func (s *sharing) share(ctx context.Context, registration *RegistrationRequest, fresh *Client) (_ *ClientInformation, err error) {
	if fresh.ID, err = s.id(ctx, registration); err != nil {
		return nil, err
	}
	fresh.Shared = true
	for range createRounds {
		client, event, err := s.once(ctx, fresh)
		switch {
		case err == nil:
			s.journal.record(ctx, Event{Kind: event, ClientID: client.ID, After: client})
			return information(client, "", "", ""), nil
		case !errors.Is(err, ErrClientExists) && !errors.Is(err, ErrConflict) && !errors.Is(err, fosite.ErrNotFound):
			return nil, failure(err)
		}
	}
	return nil, failure(errSharedOvertaken)
}

var errSharedOvertaken = fmt.Errorf("%w: other requests got ahead with a shared client", ErrUnavailable)

// once takes up the client that is there, or an expired one, or creates it. The error is ErrClientExists,
// ErrConflict or fosite.ErrNotFound where another request got ahead.
func (s *sharing) once(ctx context.Context, fresh *Client) (*Client, EventKind, error) {
	found, err := s.records.get(ctx, fresh.ID)
	switch {
	case err == nil && s.lifetimes.expiry().Expired(found):
		return s.revive(ctx, found, fresh)
	case err == nil:
		client, err := s.renew(ctx, found, fresh)
		return client, EventShared, err
	case !errors.Is(err, fosite.ErrNotFound):
		return nil, "", err
	}
	// An earlier client may have had this identifier: what it left must not come alive.
	if err := s.grants.revoker.RevokeClientGrants(ctx, fresh.ID); err != nil {
		return nil, "", err
	}
	return fresh, EventRegistered, s.creator.create(ctx, fresh)
}

// renew gives a client at least the time of a new one, and its eviction grace.
func (s *sharing) renew(ctx context.Context, found, fresh *Client) (*Client, error) {
	if !found.LastUsedAt.IsZero() {
		return found, s.renewUsed(ctx, found, fresh)
	}
	step := touchInterval
	if grace := s.lifetimes.lifecycle.EvictionGrace; grace > 0 {
		step = min(step, grace/2)
	}
	if fresh.UpdatedAt.Before(found.UpdatedAt.Add(step)) {
		return found, nil
	}
	next := found.Clone()
	next.Version++
	next.UnusedUntil, next.UpdatedAt = fresh.UnusedUntil, fresh.UpdatedAt
	return next, s.records.update(ctx, next, found.Version)
}

// renewUsed keeps a client that has been idle from expiring under whoever registers it now.
func (s *sharing) renewUsed(ctx context.Context, found, fresh *Client) error {
	idleUntil := s.lifetimes.idleUntil(found)
	if idleUntil.IsZero() {
		return nil
	}
	until := fresh.UnusedUntil
	if until.IsZero() {
		until = s.lifetimes.now().Add(s.lifetimes.lifecycle.Idle)
	}
	if !idleUntil.Add(touchInterval).Before(until) {
		return nil
	}
	return s.lifetimes.uses.TouchClient(ctx, found.ID, time.Time{}, until)
}

// revive registers anew what has expired and was not swept yet, in the place of its record: a deletion
// could hit what another process has registered meanwhile. Its grants go first. One that was used counts as
// used now, and expires by Lifecycle.Idle or Maximum.
func (s *sharing) revive(ctx context.Context, found, fresh *Client) (*Client, EventKind, error) {
	if err := s.grants.revoker.RevokeClientGrants(ctx, fresh.ID); err != nil {
		return nil, "", err
	}
	next := fresh.Clone()
	next.Version = found.Version + 1
	next.GrantsRevoked = found.GrantsRevoked + found.GrantsRevoked%2 + 2 // no consent of before counts
	if !found.LastUsedAt.IsZero() {
		next.LastUsedAt = fresh.CreatedAt // a storage keeps the later one, which is long ago
	}
	if err := s.records.update(ctx, next, found.Version); err != nil {
		return nil, "", err
	}
	s.journal.record(ctx, Event{Kind: EventExpired, ClientID: found.ID, Before: found})
	return next, EventRegistered, nil
}
