package main

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// Application is a static client: it comes from our configuration, and has more fields than a
// registered one.
type Application struct {
	fosite.DefaultClient
	Team string
}

// Storage is the fosite storage that we have already. Registration adds one map to it, and the
// methods of registration.go. It is kept short: it never removes expired tokens.
type Storage struct {
	mu           sync.Mutex
	applications map[string]*Application
	registered   map[string]*dcr.Client     // new
	tokens       map[string]*fosite.Request // by signature
	assertions   map[string]time.Time       // identifiers of client assertions, and when they expire
}

var (
	_ fosite.Storage            = (*Storage)(nil)
	_ oauth2.AccessTokenStorage = (*Storage)(nil)
)

// NewStorage returns a storage that has our own applications.
func NewStorage(applications ...*Application) *Storage {
	s := &Storage{
		applications: map[string]*Application{},
		registered:   map[string]*dcr.Client{},
		tokens:       map[string]*fosite.Request{},
		assertions:   map[string]time.Time{},
	}
	for _, application := range applications {
		s.AddApplication(application)
	}
	return s
}

// AddApplication adds one of our own applications.
func (s *Storage) AddApplication(application *Application) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.applications[application.ID] = application
}

// GetClient returns one of our own applications or, which is new, a registered client.
func (s *Storage) GetClient(_ context.Context, id string) (fosite.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if application, ok := s.applications[id]; ok {
		return application, nil
	}
	if client, ok := s.registered[id]; ok { // new
		return client.Clone(), nil
	}
	return nil, fosite.ErrNotFound
}

// ClientAssertionJWTValid returns fosite.ErrJTIKnown for the identifier of a client assertion that
// was used before.
func (s *Storage) ClientAssertionJWTValid(_ context.Context, jti string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.unknownAssertion(jti)
}

// SetClientAssertionJWT records the identifier of a client assertion. Of two calls at once one
// returns fosite.ErrJTIKnown.
func (s *Storage) SetClientAssertionJWT(_ context.Context, jti string, expires time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.unknownAssertion(jti); err != nil {
		return err
	}
	s.assertions[jti] = expires.Add(time.Second) // fosite accepts one in its last second
	return nil
}

// unknownAssertion returns fosite.ErrJTIKnown for a recorded identifier, and removes those that have
// expired. The caller holds the lock.
func (s *Storage) unknownAssertion(jti string) error {
	now := time.Now()
	maps.DeleteFunc(s.assertions, func(_ string, expires time.Time) bool { return !now.Before(expires) })
	if _, known := s.assertions[jti]; known {
		return fosite.ErrJTIKnown
	}
	return nil
}

// CreateAccessTokenSession stores an access token. It copies the request, since fosite
// and its handlers may change theirs later.
func (s *Storage) CreateAccessTokenSession(_ context.Context, signature string, request fosite.Requester) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tokens[signature] = copyOf(request)
	return nil
}

// GetAccessTokenSession returns a copy of the request of an access token.
func (s *Storage) GetAccessTokenSession(_ context.Context, signature string, _ fosite.Session) (fosite.Requester, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	request, ok := s.tokens[signature]
	if !ok {
		return nil, fosite.ErrNotFound
	}
	return copyOf(request), nil
}

// DeleteAccessTokenSession removes an access token.
func (s *Storage) DeleteAccessTokenSession(_ context.Context, signature string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.tokens, signature)
	return nil
}

// copyOf returns a deep copy of a request.
func copyOf(request fosite.Requester) *fosite.Request {
	c := fosite.NewRequest()
	c.Merge(request)
	c.Session = c.Session.Clone()
	return c
}
