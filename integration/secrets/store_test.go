package secrets_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// secretsStore is a MemoryStore that notes what it is given to keep and nobody should see,
// and fails at a call when it is told to.
type secretsStore struct {
	*dcr.MemoryStore
	found *evidence

	mu      sync.Mutex
	calls   int
	failing int             // the call that fails; 0 means none
	names   map[string]bool // of the calls that have failed
}

func newSecretsStore(found *evidence) *secretsStore {
	return &secretsStore{MemoryStore: dcr.NewMemoryStore(), found: found, names: map[string]bool{}}
}

// failAt makes the n-th call from now on fail.
func (s *secretsStore) failAt(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls, s.failing = 0, n
}

// made returns how many calls there were since failAt.
func (s *secretsStore) made() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *secretsStore) call(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.calls == s.failing {
		s.names[name] = true
		return fmt.Errorf("the disk is on fire at %s", name)
	}
	return nil
}

func (s *secretsStore) note(client *dcr.Client) {
	s.found.part("hash of a client secret", string(client.SecretHash))
	for _, rotated := range client.RotatedSecrets {
		s.found.part("hash of an earlier client secret", string(rotated.Hash))
	}
	s.found.part("signature of a registration access token", client.RegistrationToken.Signature)
	s.found.part("signature of an earlier registration access token", client.PreviousRegistrationToken.Signature)
}

// noteKey notes the signature by which an entry is kept: what follows the last dot, with a
// registration access token and with a whole code as well.
func (s *secretsStore) noteKey(what, key string) {
	s.found.part("signature of "+what, key[strings.LastIndexByte(key, '.')+1:])
}

func (s *secretsStore) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	if err := s.call("GetClient"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetClient(ctx, id)
}

func (s *secretsStore) CreateClient(ctx context.Context, client *dcr.Client) error {
	s.note(client)
	if err := s.call("CreateClient"); err != nil {
		return err
	}
	return s.MemoryStore.CreateClient(ctx, client)
}

func (s *secretsStore) GetDynamicClient(ctx context.Context, id string) (*dcr.Client, error) {
	if err := s.call("GetDynamicClient"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetDynamicClient(ctx, id)
}

func (s *secretsStore) UpdateClient(ctx context.Context, client *dcr.Client, version int64) error {
	s.note(client)
	if err := s.call("UpdateClient"); err != nil {
		return err
	}
	return s.MemoryStore.UpdateClient(ctx, client, version)
}

func (s *secretsStore) DeleteClient(ctx context.Context, id string) error {
	if err := s.call("DeleteClient"); err != nil {
		return err
	}
	return s.MemoryStore.DeleteClient(ctx, id)
}

func (s *secretsStore) TouchClient(ctx context.Context, id string, used, keep time.Time) error {
	if err := s.call("TouchClient"); err != nil {
		return err
	}
	return s.MemoryStore.TouchClient(ctx, id, used, keep)
}

func (s *secretsStore) RevokeClientGrants(ctx context.Context, id string) error {
	if err := s.call("RevokeClientGrants"); err != nil {
		return err
	}
	return s.MemoryStore.RevokeClientGrants(ctx, id)
}

func (s *secretsStore) CreateInitialAccessToken(ctx context.Context, token *dcr.InitialAccessToken) error {
	s.found.part("hash of an initial access token", string(token.Hash))
	if err := s.call("CreateInitialAccessToken"); err != nil {
		return err
	}
	return s.MemoryStore.CreateInitialAccessToken(ctx, token)
}

func (s *secretsStore) GetInitialAccessToken(ctx context.Context, id string) (*dcr.InitialAccessToken, error) {
	if err := s.call("GetInitialAccessToken"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetInitialAccessToken(ctx, id)
}

func (s *secretsStore) UseInitialAccessToken(ctx context.Context, id string, now time.Time) error {
	if err := s.call("UseInitialAccessToken"); err != nil {
		return err
	}
	return s.MemoryStore.UseInitialAccessToken(ctx, id, now)
}

func (s *secretsStore) ReturnInitialAccessToken(ctx context.Context, id string) error {
	if err := s.call("ReturnInitialAccessToken"); err != nil {
		return err
	}
	return s.MemoryStore.ReturnInitialAccessToken(ctx, id)
}

func (s *secretsStore) ClientAssertionJWTValid(ctx context.Context, jti string) error {
	if err := s.call("ClientAssertionJWTValid"); err != nil {
		return err
	}
	return s.MemoryStore.ClientAssertionJWTValid(ctx, jti)
}

func (s *secretsStore) SetClientAssertionJWT(ctx context.Context, jti string, ends time.Time) error {
	if err := s.call("SetClientAssertionJWT"); err != nil {
		return err
	}
	return s.MemoryStore.SetClientAssertionJWT(ctx, jti, ends)
}

func (s *secretsStore) CreateAuthorizeCodeSession(ctx context.Context, key string, request fosite.Requester) error {
	s.noteKey("a code", key)
	if err := s.call("CreateAuthorizeCodeSession"); err != nil {
		return err
	}
	return s.MemoryStore.CreateAuthorizeCodeSession(ctx, key, request)
}

func (s *secretsStore) GetAuthorizeCodeSession(ctx context.Context, key string, session fosite.Session) (fosite.Requester, error) {
	if err := s.call("GetAuthorizeCodeSession"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetAuthorizeCodeSession(ctx, key, session)
}

func (s *secretsStore) InvalidateAuthorizeCodeSession(ctx context.Context, key string) error {
	if err := s.call("InvalidateAuthorizeCodeSession"); err != nil {
		return err
	}
	return s.MemoryStore.InvalidateAuthorizeCodeSession(ctx, key)
}

func (s *secretsStore) CreatePKCERequestSession(ctx context.Context, key string, request fosite.Requester) error {
	s.noteKey("a code", key)
	if err := s.call("CreatePKCERequestSession"); err != nil {
		return err
	}
	return s.MemoryStore.CreatePKCERequestSession(ctx, key, request)
}

func (s *secretsStore) GetPKCERequestSession(ctx context.Context, key string, session fosite.Session) (fosite.Requester, error) {
	if err := s.call("GetPKCERequestSession"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetPKCERequestSession(ctx, key, session)
}

func (s *secretsStore) CreateOpenIDConnectSession(ctx context.Context, key string, request fosite.Requester) error {
	s.noteKey("a code", key)
	if err := s.call("CreateOpenIDConnectSession"); err != nil {
		return err
	}
	return s.MemoryStore.CreateOpenIDConnectSession(ctx, key, request)
}

func (s *secretsStore) GetOpenIDConnectSession(ctx context.Context, key string, request fosite.Requester) (fosite.Requester, error) {
	if err := s.call("GetOpenIDConnectSession"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetOpenIDConnectSession(ctx, key, request)
}

func (s *secretsStore) CreateAccessTokenSession(ctx context.Context, key string, request fosite.Requester) error {
	s.noteKey("an access token", key)
	if err := s.call("CreateAccessTokenSession"); err != nil {
		return err
	}
	return s.MemoryStore.CreateAccessTokenSession(ctx, key, request)
}

func (s *secretsStore) GetAccessTokenSession(ctx context.Context, key string, session fosite.Session) (fosite.Requester, error) {
	if err := s.call("GetAccessTokenSession"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetAccessTokenSession(ctx, key, session)
}

func (s *secretsStore) DeleteAccessTokenSession(ctx context.Context, key string) error {
	if err := s.call("DeleteAccessTokenSession"); err != nil {
		return err
	}
	return s.MemoryStore.DeleteAccessTokenSession(ctx, key)
}

func (s *secretsStore) RevokeAccessToken(ctx context.Context, id string) error {
	if err := s.call("RevokeAccessToken"); err != nil {
		return err
	}
	return s.MemoryStore.RevokeAccessToken(ctx, id)
}

func (s *secretsStore) CreateRefreshTokenSession(ctx context.Context, key, access string, request fosite.Requester) error {
	s.noteKey("a refresh token", key)
	if err := s.call("CreateRefreshTokenSession"); err != nil {
		return err
	}
	return s.MemoryStore.CreateRefreshTokenSession(ctx, key, access, request)
}

func (s *secretsStore) GetRefreshTokenSession(ctx context.Context, key string, session fosite.Session) (fosite.Requester, error) {
	if err := s.call("GetRefreshTokenSession"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetRefreshTokenSession(ctx, key, session)
}

func (s *secretsStore) RevokeRefreshToken(ctx context.Context, id string) error {
	if err := s.call("RevokeRefreshToken"); err != nil {
		return err
	}
	return s.MemoryStore.RevokeRefreshToken(ctx, id)
}

func (s *secretsStore) RotateRefreshToken(ctx context.Context, id, key string) error {
	if err := s.call("RotateRefreshToken"); err != nil {
		return err
	}
	return s.MemoryStore.RotateRefreshToken(ctx, id, key)
}

func (s *secretsStore) CreatePARSession(ctx context.Context, uri string, request fosite.AuthorizeRequester) error {
	if err := s.call("CreatePARSession"); err != nil {
		return err
	}
	return s.MemoryStore.CreatePARSession(ctx, uri, request)
}

func (s *secretsStore) GetPARSession(ctx context.Context, uri string) (fosite.AuthorizeRequester, error) {
	if err := s.call("GetPARSession"); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetPARSession(ctx, uri)
}

func (s *secretsStore) DeletePARSession(ctx context.Context, uri string) error {
	if err := s.call("DeletePARSession"); err != nil {
		return err
	}
	return s.MemoryStore.DeletePARSession(ctx, uri)
}
