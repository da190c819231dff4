package assertion

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/keyset"
)

// storeView is the storage that fosite sees for one assertion: a client has the keys that fit, and a jti counts
// per client. It keeps the failure that fosite would turn into jti_known.
type storeView struct {
	fosite.Storage

	assertion *assertion
	keysOf    func(fosite.Client) (Keys, bool)
	clientID  string
	failure   *Failure
}

func (s *storeView) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	found, err := s.Storage.GetClient(ctx, id)
	if err != nil {
		return nil, err
	}
	s.clientID = id
	keys, ok := s.keysOf(found)
	client, also := found.(fosite.OpenIDConnectClient)
	if !ok || !also {
		return found, nil
	}
	if keys.Algorithm == "" && slices.Contains(keyset.SupportedAlgorithms(), s.assertion.alg) {
		keys.Algorithm = s.assertion.alg
	}
	if keys.Set != nil {
		keys.Set = s.assertion.fittingKeys(keys.Set)
	}
	return &clientView{Client: found, OpenIDConnectClient: client, keys: keys}, nil
}

// clientView is the client that fosite sees for one assertion. On the way of an assertion fosite asserts no
// interface of a client but this one.
type clientView struct {
	fosite.Client
	fosite.OpenIDConnectClient

	keys Keys
}

func (c *clientView) GetJSONWebKeys() *jose.JSONWebKeySet { return c.keys.Set }

func (c *clientView) GetTokenEndpointAuthSigningAlgorithm() string { return c.keys.Algorithm }

// unwrap returns the client that the storage has returned.
func unwrap(client fosite.Client) fosite.Client {
	if view, ok := client.(*clientView); ok {
		return view.Client
	}
	return client
}

// maxTriedKeys bounds how many keys one assertion is tried against: a client that has
// more for one algorithm says by "kid" which (T13).
const maxTriedKeys = 4

// fittingKeys returns the keys that may have signed the assertion; of several the one
// that did, since fosite tries only the first.
func (a *assertion) fittingKeys(set *jose.JSONWebKeySet) *jose.JSONWebKeySet {
	keys := keyset.Select(set, a.alg, a.kid)
	if len(keys) > 1 {
		for _, key := range keys[:min(len(keys), maxTriedKeys)] {
			if _, err := a.signed.Verify(key.Key); err == nil {
				keys = []jose.JSONWebKey{key}
				break
			}
		}
	}
	return keyset.ForSignatures(&jose.JSONWebKeySet{Keys: keys})
}

func (s *storeView) ClientAssertionJWTValid(ctx context.Context, jti string) error {
	return s.note(s.Storage.ClientAssertionJWTValid(ctx, s.perClient(jti)))
}

func (s *storeView) SetClientAssertionJWT(ctx context.Context, jti string, exp time.Time) error {
	return s.note(s.Storage.SetClientAssertionJWT(ctx, s.perClient(jti), exp))
}

// note keeps a failure. That an assertion was used before is none.
func (s *storeView) note(err error) error {
	if err != nil && !errors.Is(err, fosite.ErrJTIKnown) {
		s.failure = &Failure{err}
	}
	return err
}

// perClient keeps the assertions of one client from those of another, in a key of
// bounded length.
func (s *storeView) perClient(jti string) string {
	sum := sha256.Sum256([]byte(s.clientID + "\x00" + jti))
	return "dcr." + base64.RawURLEncoding.EncodeToString(sum[:])
}

// configView is the configuration that fosite sees for one assertion: it has the right audiences, and of the keys at
// a jwks_uri those that fit.
type configView struct {
	fosite.Configurator

	audiences []string
	store     *storeView
}

func (c *configView) GetTokenURLs(context.Context) []string { return c.audiences }

func (c *configView) GetJWKSFetcherStrategy(context.Context) fosite.JWKSFetcherStrategy { return c }

// Resolve fetches keys. That a server of keys is down says nothing about the client.
func (c *configView) Resolve(ctx context.Context, location string, ignoreCache bool) (*jose.JSONWebKeySet, error) {
	set, err := c.Configurator.GetJWKSFetcherStrategy(ctx).Resolve(ctx, location, ignoreCache)
	if err != nil {
		c.store.failure = unavailable(err)
		return nil, c.store.failure
	}
	return c.store.assertion.fittingKeys(set), nil
}

func unavailable(err error) *Failure {
	return &Failure{fmt.Errorf("%w: %w", ErrKeysUnavailable, err)}
}
