package dcr

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/capability"
	"github.com/fosite-contrib/fosite-dcr/internal/members"
	"github.com/fosite-contrib/fosite-dcr/internal/plaintext"
	"github.com/fosite-contrib/fosite-dcr/internal/redirecturi"
	"github.com/fosite-contrib/fosite-dcr/internal/request"
	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// Authorization says what fosite's endpoints demand of registered clients.
type Authorization struct {
	// Audience holds what tokens of every registered client may be for. Without it fosite lets a client
	// sign in for an audience and then refuses every refresh. A resource that a request names (RFC 8707),
	// as clients of MCP do, becomes a requested audience if it is among these.
	Audience []string
	// RefuseUnknownResources answers invalid_target to a request for another resource, at the token endpoint also for
	// one that was not granted. By default it is left out: the token is not for that resource, which then refuses it.
	// Handlers of the application's own for codes and refresh tokens do not narrow tokens to what is named.
	RefuseUnknownResources bool
	// DefaultResource is requested for a registered client that names no resource; empty means none. It is an absolute
	// URI without fragment (RFC 8707, section 2), and among Audience.
	DefaultResource string
	// AllowAnyLocalhostPort lets a public client that registered a redirect URI with http and the host localhost come
	// back with another port, as RFC 8252, section 7.3, has it for IP literals; one with a document may anyway. Claude
	// Code and Visual Studio Code need it. Another program of the user's machine could listen there (T50).
	AllowAnyLocalhostPort bool
	// AllowMissingState accepts authorization requests without state if they carry a PKCE challenge, which
	// protects against the same attack (RFC 9700, section 2.1). MCP Inspector and Cursor send none.
	AllowMissingState bool
	// AllowPlainPKCE accepts the challenge method plain from public registered clients where fosite's
	// configuration does too. By default they have to use S256.
	AllowPlainPKCE bool
	// AllowOtherSecretMethod lets a client that registered client_secret_basic or client_secret_post send its secret
	// by the other of the two, as deployed clients do. By default only the registered one authenticates.
	AllowOtherSecretMethod bool
	// RefuseTokenEndpointAudience refuses client assertions whose audience is the URL of the token endpoint
	// instead of the issuer.
	RefuseTokenEndpointAudience bool
}

func (a Authorization) withDefaults() Authorization {
	a.Audience = slices.Clone(a.Audience)
	return a
}

func (a Authorization) problems() []error {
	var found []error
	if slices.Contains(a.Audience, "") {
		found = append(found, errors.New("Config.Authorization.Audience has an empty resource, as after MCPConfig(\"\"): name the resources that tokens are for, "+
			"such as \"https://mcp.example/mcp\""))
	}
	if u, err := url.Parse(a.DefaultResource); a.DefaultResource != "" && (err != nil || !u.IsAbs() || strings.Contains(a.DefaultResource, "#")) {
		found = append(found, fmt.Errorf("Config.Authorization.DefaultResource %q, which MCPConfig takes first, is no absolute URI without fragment (RFC 8707, section 2): "+
			"name the URL of the resource, such as \"https://mcp.example/mcp\"", a.DefaultResource))
	}
	if a.DefaultResource != "" && !slices.Contains(a.Audience, a.DefaultResource) {
		found = append(found, errors.New("Config.Authorization.DefaultResource is not among Config.Authorization.Audience: add it there"))
	}
	return found
}

// Documents returns what lies behind client identifiers that are URLs. Package cimd has one. All types are plain, so that it
// needs to know nothing of this package.
type Documents interface {
	// Document returns what read made of the document at the URL id. An effort of 0 takes a copy that is known, 1 waits for a
	// fetch where that is no longer fresh, 2 fetches anew; where none is known, each waits for a fetch.
	//
	// read is called after each fetch, with what it returned for the copy before (nil: none), and for a copy from a storage, with
	// nil: it gets the document or what failed. Where it returns an error, the copy before stays.
	//
	// An error that is fs.ErrNotExist says that there is no such client, any other that it can't be had now, or what read returned.
	Document(ctx context.Context, id string, effort int, read func(ctx context.Context, previous any, document []byte, failed error) (any, error)) (any, error)
	// AcceptsStrangers reports whether a document could be accepted that the configuration does not name.
	AcceptsStrangers() bool
}

// clients is how a request finds its client: faults differ from unknown clients, clients of another issuer
// and expired ones do not exist, and what a request sees is a copy of the record made for it.
type clients struct {
	storage   fosite.ClientManager
	records   *records
	location  *location
	lifetimes *lifetimes
	can       *capability.Set
	config    Authorization
	documents *documents
	// shows says that the storage's GetClient has returned a registered client.
	shows atomic.Bool
}

// find returns the client that fosite works with.
func (c *clients) find(ctx context.Context, id string) (fosite.Client, error) {
	if !request.IsIdentifier(id) {
		return nil, fosite.ErrNotFound
	}
	found, err := c.storage.GetClient(ctx, id)
	switch {
	case errors.Is(err, fosite.ErrNotFound) && c.documents.has(id):
		found, err = c.documents.find(ctx, id)
	case err != nil:
		err = c.hidden(ctx, id, err)
	}
	if err != nil {
		return nil, tagFault(err)
	}
	holder, ok := found.(recordHolder)
	if found == nil || ok && holder.record() == nil {
		return nil, tagFault(errNilClient)
	}
	if !ok {
		noteClient(ctx, found)
		return found, nil
	}
	c.shows.Store(true)
	client := c.present(holder.record())
	if realm := c.location.realmOrNone(ctx); client.Issuer != realm {
		return nil, &otherIssuer{client.Issuer, realm}
	}
	noteClient(ctx, client)
	c.presentMethod(ctx, client)
	if c.lifetimes.expiry().Expired(client) {
		return nil, fosite.ErrNotFound
	}
	if asked, ok := ctx.Value(fosite.AuthorizeRequestContextKey).(fosite.AuthorizeRequester); ok {
		c.presentRedirect(client, func() string { return asked.GetRequestForm().Get("redirect_uri") })
		presentDefaults(client, asked.GetRequestForm())
	}
	return client, nil
}

// hidden finds out, until a registered client was seen, whether the storage's GetClient returns them at
// all: where it does not, every client would register and then be unknown, and nobody would know why.
func (c *clients) hidden(ctx context.Context, id string, err error) error {
	if c.shows.Load() || !errors.Is(err, fosite.ErrNotFound) {
		return err
	}
	if _, lookUp := c.records.get(ctx, id); lookUp != nil {
		return err
	}
	return errHiddenClients
}

// recognise finds out, until a registered client was seen, whether GetClient returns the one that was just
// registered in a form that shows its registration. A wrapper around it would lose every rule (T64).
func (c *clients) recognise(ctx context.Context, id string) error {
	if c.shows.Load() {
		return nil
	}
	found, err := c.storage.GetClient(ctx, id)
	if err != nil || found == nil {
		return nil // which find says when the client comes
	}
	if !IsDynamic(found) {
		return fmt.Errorf("%w, but a %T", errWrappedClients, found)
	}
	c.shows.Store(true)
	return nil
}

// tagFault marks every error but "unknown", and but a refusal that the application means, as a failure of the
// server's own. fosite would answer invalid_client, on which clients throw a good registration away (T52).
func tagFault(err error) error {
	ended := errors.Is(err, ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	if errors.Is(err, fosite.ErrNotFound) || errors.Is(err, fosite.ErrInvalidClient) && !ended {
		return err
	}
	return &fault{err}
}

// present returns a copy of a record for one request.
func (c *clients) present(record *Client) *Client {
	client := *record
	client.view = view{now: c.lifetimes.now, responseModes: c.can.ResponseModes}
	if len(c.config.Audience) > 0 {
		client.Audience = members.WithoutRepeats(slices.Concat(client.Audience, c.config.Audience))
	}
	return &client
}

// presentRedirect lets the copy show the one redirect URI that the request names, where it is a registered one
// or differs from it in the port only, and otherwise none: fosite would parse them all (T61). It is asked when
// fosite compares: a request object may have changed what is requested.
func (c *clients) presentRedirect(client *Client, requested func() string) {
	client.view.redirectURIs = func() []string {
		if uri := requested(); uri != "" {
			return slices.DeleteFunc([]string{uri}, func(uri string) bool { return !c.redirectMatches(client, uri) })
		}
		return client.Metadata.RedirectURIs
	}
}

// presentDefaults fills in what a client registered to hold where a request is silent: late enough for the
// client to be known, early enough for fosite to act on it.
func presentDefaults(client *Client, form url.Values) {
	if m := client.Metadata.OpenID; m != nil && m.DefaultMaxAge != nil && form.Get("max_age") == "" {
		form.Set("max_age", strconv.FormatInt(*m.DefaultMaxAge, 10))
	}
}

// presentMethod lets the copy show the secret method that the request uses, where that may be another one than the
// registered one (Authorization.AllowOtherSecretMethod).
func (c *clients) presentMethod(ctx context.Context, client *Client) {
	crossing := crossingOf(ctx)
	if c.config.AllowOtherSecretMethod && crossing != nil && crossing.secretMethod != "" && capability.UsesSecret(client.Metadata.TokenEndpointAuthMethod) {
		client.view.secretMethod = crossing.secretMethod
	}
}

// redirectMatches judges a redirect URI as this package does: by every byte but the port of a loopback
// address. fosite's own matching lets more differ.
func (c *clients) redirectMatches(client *Client, requested string) bool {
	anyLocalhostPort := client.IsPublic() && (c.config.AllowAnyLocalhostPort || client.isDocument())
	return slices.Contains(client.Metadata.RedirectURIs, requested) || slices.ContainsFunc(client.Metadata.RedirectURIs, func(registered string) bool {
		return redirecturi.Matches(registered, requested, anyLocalhostPort)
	})
}

// documents are the clients whose identifiers are URLs of documents.
type documents struct {
	source   Documents // nil where there are none
	rulebook *rulebook
	location *location
	journal  *journal
	grants   *grants // what to revoke where redirect URIs change; nil for none
	now      func() time.Time
}

// How far Documents may go.
const (
	takeCopy = iota
	awaitFetch
	fetchAnew
)

func (d *documents) has(id string) bool { return d.source != nil && isURL(id) }

// find returns the client of a document. The endpoints at which a user signs in wait for a document that is no longer
// fresh; at the others a client that is known does not depend on its host. Within one request it is looked for once.
func (d *documents) find(ctx context.Context, id string) (fosite.Client, error) {
	effort, c := takeCopy, crossingOf(ctx)
	if c != nil && c.document != nil && c.document.ID == id {
		return c.document, nil
	}
	if ctx.Value(fosite.AuthorizeRequestContextKey) != nil || c != nil && c.parPath != "" {
		effort = awaitFetch
	}
	client, err := d.fetch(ctx, id, effort)
	if err == nil && c != nil {
		c.document = client
	}
	return client, err
}

// fetch returns the client of a document.
func (d *documents) fetch(ctx context.Context, id string, effort int) (*Client, error) {
	found, err := d.source.Document(ctx, id, effort, func(ctx context.Context, previous any, body []byte, failed error) (any, error) {
		return d.read(ctx, id, previous, body, failed)
	})
	if err == nil {
		return found.(*Client), nil
	}
	var refusal *fosite.RFC6749Error
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %w", fosite.ErrNotFound, err)
	case asFault(err) == nil && errors.As(err, &refusal):
		rule := plaintext.Description(descriptionOf(refusal))
		return nil, &refusedDocument{fosite.ErrInvalidClient.WithHint("The document of the client is refused: " + rule).WithWrap(err).WithDebug(rule)}
	}
	return nil, fmt.Errorf("%w: %w", ErrDocumentUnavailable, err)
}

// keys fetches the document of a client anew, for a key that its copy lacks.
func (d *documents) keys(ctx context.Context, id string) (*jose.JSONWebKeySet, error) {
	client, err := d.fetch(ctx, id, fetchAnew)
	if err != nil {
		return nil, err
	}
	return client.Metadata.JWKS, nil
}

// read makes the client of a document that was fetched, and records what is to be known of it.
func (d *documents) read(ctx context.Context, id string, previous any, body []byte, failed error) (any, error) {
	var client *Client
	err := failed
	if failed != nil {
		failed = fmt.Errorf("%w: %w", ErrDocumentUnavailable, failed)
	} else if client, err = d.resolve(ctx, id, body); err != nil {
		failed = err
	}
	if failed != nil {
		d.journal.record(ctx, Event{Kind: EventDocumentFailed, ClientID: id, Err: answerOf(failed)})
		return nil, err
	}
	if before, ok := previous.(*Client); ok && !before.sameRegistration(client) {
		if d.grants != nil && !slices.Equal(before.Metadata.RedirectURIs, client.Metadata.RedirectURIs) {
			d.grants.revoke(ctx, id) // T39, T49
		}
		d.journal.record(ctx, Event{Kind: EventDocumentChanged, ClientID: id, Before: before, After: client})
	}
	return client, nil
}

// resolve makes a client of a document, as a registration makes one.
func (d *documents) resolve(ctx context.Context, id string, body []byte) (*Client, error) {
	realm, err := d.location.realm(ctx)
	if err != nil {
		return nil, err
	}
	who, said := &Registrant{Kind: KindDocument, ClientID: id, Anonymous: true}, documentMembers{id: id}
	var m ClientMetadata
	err = d.rulebook.resolve(ctx, body, source{registrant: who, server: said.read}, &m)
	if err = firstOf(err, said.check(&m)); err != nil {
		return nil, err
	}
	return newClient(id, realm, who, m, d.now()), nil
}

// documentMembers are those that the document of a client has for itself: who it is.
type documentMembers struct {
	id    string
	named bool
}

// read reads a member of a document. What a server would set otherwise means nothing there, but a secret is none
// where everybody reads it.
func (d *documentMembers) read(name string, value strictjson.Value) error {
	switch text, _ := value.Text(); {
	case name == memberClientID && text != d.id:
		return refuseMetadata("client_id is not the URL of the document")
	case name == memberClientID:
		d.named = true
	case name == memberClientSecret, name == memberClientSecretExpiresAt:
		return refuseMetadata(name + " can not be in a document, which everybody can read")
	}
	return nil
}

// check refuses a document that lacks what it has to have.
func (d *documentMembers) check(m *ClientMetadata) error {
	switch {
	case !d.named:
		return refuseMetadata("client_id is missing")
	case m.ClientName == "":
		return refuseMetadata("client_name is missing")
	}
	return nil
}

// providerStore stands before the storage where fosite looks clients up.
type providerStore struct {
	storage fosite.Storage
	clients *clients
}

var _ fosite.Storage = (*providerStore)(nil)

// GetClient returns the client that fosite works with.
func (s *providerStore) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	return s.clients.find(ctx, id)
}

// ClientAssertionJWTValid asks the storage. Its error means that the assertion was seen before or that the
// storage failed; fosite can't distinguish the two.
func (s *providerStore) ClientAssertionJWTValid(ctx context.Context, jti string) error {
	return s.storage.ClientAssertionJWTValid(ctx, jti)
}

// SetClientAssertionJWT notes an assertion in the storage.
func (s *providerStore) SetClientAssertionJWT(ctx context.Context, jti string, exp time.Time) error {
	return s.storage.SetClientAssertionJWT(ctx, jti, exp)
}

// parProviderStore is a providerStore for a storage that keeps pushed requests. There are two types because
// fosite asserts fosite.PARStorage.
type parProviderStore struct {
	*providerStore
	par fosite.PARStorage
}

var _ fosite.PARStorage = (*parProviderStore)(nil)

func newProviderStore(storage fosite.Storage, c *clients) fosite.Storage {
	store := &providerStore{storage: storage, clients: c}
	if par, ok := storage.(fosite.PARStorage); ok {
		return &parProviderStore{store, par}
	}
	return store
}

// CreatePARSession stores a pushed request in the storage.
func (s *parProviderStore) CreatePARSession(ctx context.Context, requestURI string, request fosite.AuthorizeRequester) error {
	return s.par.CreatePARSession(ctx, requestURI, request)
}

// GetPARSession returns a pushed request, with its client as it is now: fosite would take the one from the
// session, which may have been deleted since (T36).
func (s *parProviderStore) GetPARSession(ctx context.Context, requestURI string) (fosite.AuthorizeRequester, error) {
	if !request.IsIdentifier(requestURI) {
		return nil, fosite.ErrNotFound
	}
	pushed, err := s.par.GetPARSession(ctx, requestURI)
	if err != nil {
		return nil, tagFault(err)
	}
	if pushed.GetClient() == nil {
		return nil, fosite.ErrNotFound
	}
	client, err := s.clients.find(withoutRequest(ctx), pushed.GetClient().GetID())
	if err != nil {
		return nil, err
	}
	if registered, ok := RegisteredClient(client); ok {
		registered.view.pushed = true
		if uri := pushed.GetRedirectURI(); uri != nil {
			s.clients.presentRedirect(registered, uri.String)
		}
	}
	return withClient(pushed, client), nil
}

// DeletePARSession removes a pushed request from the storage. fosite.ErrNotFound says that another request was faster.
func (s *parProviderStore) DeletePARSession(ctx context.Context, requestURI string) error {
	return s.par.DeletePARSession(ctx, requestURI)
}

// withoutRequest hides the request at the authorization endpoint, whose redirect_uri means nothing for a
// pushed one.
func withoutRequest(ctx context.Context) context.Context {
	return context.WithValue(ctx, fosite.AuthorizeRequestContextKey, nil)
}

// pushedRequest is a stored request with another client.
type pushedRequest struct {
	fosite.AuthorizeRequester
	client fosite.Client
}

func (r pushedRequest) GetClient() fosite.Client { return r.client }

func withClient(request fosite.AuthorizeRequester, client fosite.Client) fosite.AuthorizeRequester {
	return pushedRequest{request, client}
}
