package dcr

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/redirecturi"
)

// providerStore stands before the host's storage, where fosite looks clients up. It
// mends what a look-up can mend: faults are told from unknown clients, clients of
// another issuer or past their end do not exist, and what a request sees is a copy
// of the record made for it.
type providerStore struct {
	host     fosite.Storage
	registry *registry
	// shows says that the host's GetClient has returned a registered client.
	shows atomic.Bool
}

var _ fosite.Storage = (*providerStore)(nil)

// GetClient returns the client that fosite works with.
func (s *providerStore) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	found, err := s.host.GetClient(ctx, id)
	if err != nil {
		return nil, tagFault(s.hidden(ctx, id, err))
	}
	record, ok := found.(*Client)
	if found == nil || ok && record == nil {
		return nil, &fault{errNilClient}
	}
	if !ok {
		noteClient(ctx, found)
		return found, nil
	}
	s.shows.Store(true)
	client := s.registry.present(record)
	if client.Issuer != s.registry.issuerOf(ctx) {
		return nil, fosite.ErrNotFound
	}
	noteClient(ctx, client)
	if s.registry.expiry().Ended(client) {
		return nil, fosite.ErrNotFound
	}
	if asked, ok := ctx.Value(fosite.AuthorizeRequestContextKey).(fosite.AuthorizeRequester); ok {
		form := asked.GetRequestForm()
		s.registry.presentRedirect(client, form.Get("redirect_uri"))
		presentDefaults(client, form)
	}
	return client, nil
}

// hidden finds out, until a registered client was seen, whether the host's GetClient
// returns them at all: where it does not, every client would register and then be
// unknown, and nobody would know why.
func (s *providerStore) hidden(ctx context.Context, id string, err error) error {
	if s.shows.Load() || !errors.Is(err, fosite.ErrNotFound) {
		return err
	}
	if _, lookUp := s.registry.clients.GetDynamicClient(ctx, id); lookUp != nil {
		return err
	}
	return errHiddenClients
}

// tagFault marks every error but "unknown" as a failure of the server's own. fosite
// would answer invalid_client, on which clients throw a good registration away
// (T52).
func tagFault(err error) error {
	if errors.Is(err, fosite.ErrNotFound) {
		return err
	}
	return &fault{err}
}

// present returns a copy of a record for one request.
func (r *registry) present(record *Client) *Client {
	client := *record
	client.view = view{now: r.cfg.Now, responseModes: r.can.responseModes}
	if len(r.cfg.Audience) > 0 {
		client.Audience = withoutRepeats(slices.Concat(client.Audience, r.cfg.Audience))
	}
	return &client
}

// presentRedirect lets the copy show the one redirect URI that the request names,
// where it differs from a registered one in the port only.
func (r *registry) presentRedirect(client *Client, requested string) {
	if requested == "" || slices.Contains(client.Metadata.RedirectURIs, requested) {
		return
	}
	if r.redirectMatches(client, requested) {
		client.view.redirectURIs = []string{requested}
	}
}

// presentDefaults fills in what a client registered to hold where a request is silent:
// late enough for the client to be known, early enough for fosite to act on it.
func presentDefaults(client *Client, form url.Values) {
	if m := client.Metadata.OpenID; m != nil && m.DefaultMaxAge != nil && form.Get("max_age") == "" {
		form.Set("max_age", strconv.FormatInt(*m.DefaultMaxAge, 10))
	}
}

// redirectMatches judges a redirect URI as this package does: by every byte but the
// port of a loopback address. fosite's own matching lets more differ.
func (r *registry) redirectMatches(client *Client, requested string) bool {
	anyLocalhostPort := r.cfg.AllowAnyLocalhostPort && client.IsPublic()
	return slices.ContainsFunc(client.Metadata.RedirectURIs, func(registered string) bool {
		return redirecturi.Matches(registered, requested, anyLocalhostPort)
	})
}

// ClientAssertionJWTValid asks the host's storage. Its error means that the
// assertion was seen before or that the storage failed; fosite can't tell the two.
func (s *providerStore) ClientAssertionJWTValid(ctx context.Context, jti string) error {
	return s.host.ClientAssertionJWTValid(ctx, jti)
}

// SetClientAssertionJWT notes an assertion in the host's storage.
func (s *providerStore) SetClientAssertionJWT(ctx context.Context, jti string, exp time.Time) error {
	return s.host.SetClientAssertionJWT(ctx, jti, exp)
}

// parProviderStore is a providerStore for a host whose storage keeps pushed
// requests. There are two types because fosite asserts fosite.PARStorage.
type parProviderStore struct {
	*providerStore
	par fosite.PARStorage
}

var _ fosite.PARStorage = (*parProviderStore)(nil)

func newProviderStore(host fosite.Storage, r *registry) fosite.Storage {
	store := &providerStore{host: host, registry: r}
	if par, ok := host.(fosite.PARStorage); ok {
		return &parProviderStore{store, par}
	}
	return store
}

// CreatePARSession stores a pushed request in the host's storage.
func (s *parProviderStore) CreatePARSession(ctx context.Context, requestURI string, request fosite.AuthorizeRequester) error {
	return s.par.CreatePARSession(ctx, requestURI, request)
}

// GetPARSession returns a pushed request, with its client as it is now: fosite would
// take the one from the session, which may have been deleted since (T36).
func (s *parProviderStore) GetPARSession(ctx context.Context, requestURI string) (fosite.AuthorizeRequester, error) {
	request, err := s.par.GetPARSession(ctx, requestURI)
	if err != nil {
		return nil, tagFault(err)
	}
	if request.GetClient() == nil {
		return nil, fosite.ErrNotFound
	}
	client, err := s.GetClient(withoutRequest(ctx), request.GetClient().GetID())
	if err != nil {
		return nil, err
	}
	if registered, ok := client.(*Client); ok {
		registered.view.pushed = true
		if uri := request.GetRedirectURI(); uri != nil {
			s.registry.presentRedirect(registered, uri.String())
		}
	}
	return withClient(request, client), nil
}

// DeletePARSession removes a pushed request from the host's storage.
func (s *parProviderStore) DeletePARSession(ctx context.Context, requestURI string) error {
	return s.par.DeletePARSession(ctx, requestURI)
}

// withoutRequest hides the request at the authorization endpoint, whose redirect_uri
// means nothing for a pushed one.
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
