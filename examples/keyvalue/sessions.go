package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ory/fosite"
	"github.com/redis/go-redis/v9"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// What a session is for.
const (
	codes      = "code"
	challenges = "pkce"
	openIDs    = "openid"
	access     = "access"
	refresh    = "refresh"
	pushed     = "pushed"
)

// session is what is stored of a request. Its client is looked up at each read, so that its present registration
// counts.
type session struct {
	RequestedAt       time.Time
	RequestedScope    fosite.Arguments
	GrantedScope      fosite.Arguments
	RequestedAudience fosite.Arguments
	GrantedAudience   fosite.Arguments
	Form              url.Values
	Session           json.RawMessage

	// Of a pushed request.
	ResponseTypes, HandledResponseTypes fosite.Arguments
	RedirectURI, State                  string
	ResponseMode, DefaultResponseMode   fosite.ResponseModeType
}

func key(kind, signature string) string {
	sum := sha256.Sum256([]byte(signature))
	return "session:" + kind + ":" + base64.RawURLEncoding.EncodeToString(sum[:])
}

// create stores a session, unless it is there and was used. ARGV: request, identifier of the request, client, the time
// at which it expires in milliseconds ("" for never), "1" for a grant of its client, and the time that is.
var create = redis.NewScript(`
if redis.call('HGET', KEYS[1], 'used') then return 0 end
redis.call('HSET', KEYS[1], 'request', ARGV[1], 'id', ARGV[2], 'client', ARGV[3])
if ARGV[4] ~= '' then redis.call('PEXPIREAT', KEYS[1], ARGV[4]) else redis.call('PERSIST', KEYS[1]) end
if ARGV[5] == '' then return 1 end
for _, set in ipairs({'request:' .. ARGV[2], 'grants:' .. ARGV[3]}) do
  redis.call('ZADD', set, ARGV[4] ~= '' and ARGV[4] or '+inf', KEYS[1])
  redis.call('ZREMRANGEBYSCORE', set, '-inf', ARGV[6])
  local last = redis.call('ZRANGE', set, -1, -1, 'WITHSCORES')[2]
  if last and last ~= 'inf' then redis.call('PEXPIREAT', set, last) else redis.call('PERSIST', set) end
end
return 1`)

// margin is how much longer than its code a PKCE or OpenID Connect session is kept: fosite redeems a code that has no
// PKCE session without a verifier.
const margin = time.Minute

func (s *Storage) create(ctx context.Context, kind, signature string, r fosite.Requester) error {
	stored := session{
		RequestedAt: r.GetRequestedAt(), RequestedScope: r.GetRequestedScopes(), GrantedScope: r.GetGrantedScopes(),
		RequestedAudience: r.GetRequestedAudience(), GrantedAudience: r.GetGrantedAudience(), Form: r.GetRequestForm(),
	}
	var err error
	if stored.Session, err = json.Marshal(r.GetSession()); err != nil {
		return err
	}
	if asked, ok := r.(fosite.AuthorizeRequester); ok {
		stored.ResponseTypes, stored.State, stored.ResponseMode = asked.GetResponseTypes(), asked.GetState(), asked.GetResponseMode()
		stored.DefaultResponseMode = asked.GetDefaultResponseMode()
		if uri := asked.GetRedirectURI(); uri != nil {
			stored.RedirectURI = uri.String()
		}
	}
	text, err := json.Marshal(stored)
	if err != nil {
		return err
	}
	end, grant := "", "1"
	if expires := expiryOf(kind, r.GetSession()); !expires.IsZero() {
		end = strconv.FormatInt(expires.UnixMilli(), 10)
	}
	if dcr.IsRegistrationTokenEntry(signature) {
		grant = ""
	}
	err = create.Run(ctx, s.redis, []string{key(kind, signature)}, text, r.GetID(), r.GetClient().GetID(), end, grant, time.Now().UnixMilli()).Err()
	return explained(ctx, err)
}

func expiryOf(kind string, session fosite.Session) time.Time {
	kinds := map[string]fosite.TokenType{
		codes: fosite.AuthorizeCode, challenges: fosite.AuthorizeCode, openIDs: fosite.AuthorizeCode,
		access: fosite.AccessToken, refresh: fosite.RefreshToken, pushed: fosite.PushedAuthorizeRequestContext,
	}
	var end time.Time
	if session != nil {
		end = session.GetExpiresAt(kinds[kind])
	}
	if end.IsZero() && kind != access && kind != refresh {
		end = time.Now().Add(15 * time.Minute)
	}
	if kind == challenges || kind == openIDs {
		end = end.Add(margin)
	}
	return end
}

// read returns a session with its client as it is now, and with the error used where it was used.
func (s *Storage) read(ctx context.Context, kind, signature string, used error) (*fosite.AuthorizeRequest, error) {
	found, err := s.redis.HGetAll(ctx, key(kind, signature)).Result()
	if err != nil {
		return nil, explained(ctx, err)
	}
	if found["request"] == "" {
		return nil, fosite.ErrNotFound
	}
	var stored session
	if err := json.Unmarshal([]byte(found["request"]), &stored); err != nil {
		return nil, err
	}
	r := fosite.NewAuthorizeRequest()
	r.Request = fosite.Request{
		ID: found["id"], RequestedAt: stored.RequestedAt, RequestedScope: stored.RequestedScope, GrantedScope: stored.GrantedScope,
		RequestedAudience: stored.RequestedAudience, GrantedAudience: stored.GrantedAudience, Form: stored.Form, Session: s.newSession(),
	}
	decoder := json.NewDecoder(bytes.NewReader(stored.Session))
	decoder.UseNumber() // whole numbers keep their value
	if err := decoder.Decode(r.Session); err != nil {
		return nil, err
	}
	r.ResponseTypes, r.State, r.ResponseMode, r.DefaultResponseMode = stored.ResponseTypes, stored.State, stored.ResponseMode, stored.DefaultResponseMode
	if stored.RedirectURI != "" {
		if r.RedirectURI, err = url.Parse(stored.RedirectURI); err != nil {
			return nil, err
		}
	}
	if r.Client, err = s.clientOf(ctx, found["client"]); err != nil {
		return nil, err
	}
	if found["used"] != "" {
		return r, used
	}
	return r, nil
}

// clientOf returns the client of a session. A client whose identifier is the URL of its document is in no storage: the
// provider knows it.
func (s *Storage) clientOf(ctx context.Context, id string) (fosite.Client, error) {
	client, err := s.GetClient(ctx, id)
	if errors.Is(err, fosite.ErrNotFound) {
		return dcr.ResolveClient(ctx, id)
	}
	return client, err
}

// request is read for what is no authorization request.
func (s *Storage) request(ctx context.Context, kind, signature string, used error) (fosite.Requester, error) {
	r, err := s.read(ctx, kind, signature, used)
	if r == nil {
		return nil, err
	}
	return &r.Request, err
}

// use marks a session as used, once. One that never expires is remembered for 30 days.
var use = redis.NewScript(`
if redis.call('HEXISTS', KEYS[1], 'request') == 0 then return -1 end
if redis.call('HSETNX', KEYS[1], 'used', '1') == 0 then return 0 end
redis.call('ZREM', 'request:' .. redis.call('HGET', KEYS[1], 'id'), KEYS[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], 2592000) end
return 1`)

func (s *Storage) use(ctx context.Context, sessionKey string, already error) error {
	done, err := use.Run(ctx, s.redis, []string{sessionKey}).Int()
	switch {
	case err != nil:
		return explained(ctx, err)
	case done < 0:
		return fosite.ErrNotFound
	case done == 0:
		return already
	}
	return nil
}

// each calls do with the sessions of a kind in a set; "" means any kind.
func (s *Storage) each(ctx context.Context, set, kind string, do func(sessionKey string) error) error {
	keys, err := s.redis.ZRange(ctx, set, 0, -1).Result()
	if err != nil {
		return explained(ctx, err)
	}
	for _, k := range keys {
		if !strings.HasPrefix(k, "session:"+kind) {
			continue
		}
		if err := do(k); err != nil && !errors.Is(err, fosite.ErrNotFound) {
			return err
		}
	}
	return nil
}

func (s *Storage) delete(ctx context.Context, sessionKey string) error {
	removed, err := s.redis.Del(ctx, sessionKey).Result()
	if err == nil && removed == 0 {
		return fosite.ErrNotFound
	}
	return explained(ctx, err)
}

// RevokeClientGrants removes what a client was granted.
func (s *Storage) RevokeClientGrants(ctx context.Context, clientID string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.each(ctx, "grants:"+clientID, "", func(k string) error { return s.delete(ctx, k) })
}

// CreateAuthorizeCodeSession stores the session of a code.
func (s *Storage) CreateAuthorizeCodeSession(ctx context.Context, code string, r fosite.Requester) error {
	return s.create(ctx, codes, code, r)
}

// GetAuthorizeCodeSession returns the session of a code.
func (s *Storage) GetAuthorizeCodeSession(ctx context.Context, code string, _ fosite.Session) (fosite.Requester, error) {
	return s.request(ctx, codes, code, fosite.ErrInvalidatedAuthorizeCode)
}

// InvalidateAuthorizeCodeSession marks a code as used, once.
func (s *Storage) InvalidateAuthorizeCodeSession(ctx context.Context, code string) error {
	return s.use(ctx, key(codes, code), fosite.ErrInvalidatedAuthorizeCode)
}

// CreatePKCERequestSession stores the PKCE session of a code.
func (s *Storage) CreatePKCERequestSession(ctx context.Context, code string, r fosite.Requester) error {
	return s.create(ctx, challenges, code, r)
}

// GetPKCERequestSession returns the PKCE session of a code.
func (s *Storage) GetPKCERequestSession(ctx context.Context, code string, _ fosite.Session) (fosite.Requester, error) {
	return s.request(ctx, challenges, code, nil)
}

// DeletePKCERequestSession keeps the session until it expires: fosite calls it before it has compared the verifier,
// and redeems a code that has no PKCE session without one.
func (s *Storage) DeletePKCERequestSession(context.Context, string) error { return nil }

// CreateOpenIDConnectSession stores the OpenID Connect session of a code.
func (s *Storage) CreateOpenIDConnectSession(ctx context.Context, code string, r fosite.Requester) error {
	return s.create(ctx, openIDs, code, r)
}

// GetOpenIDConnectSession returns the OpenID Connect session of a code.
func (s *Storage) GetOpenIDConnectSession(ctx context.Context, code string, _ fosite.Requester) (fosite.Requester, error) {
	return s.request(ctx, openIDs, code, nil)
}

// DeleteOpenIDConnectSession removes the OpenID Connect session of a code.
func (s *Storage) DeleteOpenIDConnectSession(ctx context.Context, code string) error {
	return s.delete(ctx, key(openIDs, code))
}

// CreateAccessTokenSession stores an access token, or the entry of a registration access token.
func (s *Storage) CreateAccessTokenSession(ctx context.Context, signature string, r fosite.Requester) error {
	return s.create(ctx, access, signature, r)
}

// GetAccessTokenSession returns an access token.
func (s *Storage) GetAccessTokenSession(ctx context.Context, signature string, _ fosite.Session) (fosite.Requester, error) {
	return s.request(ctx, access, signature, nil)
}

// DeleteAccessTokenSession removes an access token.
func (s *Storage) DeleteAccessTokenSession(ctx context.Context, signature string) error {
	return s.delete(ctx, key(access, signature))
}

// RevokeAccessToken removes the access tokens of a grant.
func (s *Storage) RevokeAccessToken(ctx context.Context, requestID string) error {
	return s.each(ctx, "request:"+requestID, access, func(k string) error { return s.delete(ctx, k) })
}

// CreateRefreshTokenSession stores a refresh token.
func (s *Storage) CreateRefreshTokenSession(ctx context.Context, signature, _ string, r fosite.Requester) error {
	return s.create(ctx, refresh, signature, r)
}

// GetRefreshTokenSession returns a refresh token.
func (s *Storage) GetRefreshTokenSession(ctx context.Context, signature string, _ fosite.Session) (fosite.Requester, error) {
	return s.request(ctx, refresh, signature, fosite.ErrInactiveToken)
}

// DeleteRefreshTokenSession keeps the token as a used one, so that its reuse is noticed.
func (s *Storage) DeleteRefreshTokenSession(ctx context.Context, signature string) error {
	return s.use(ctx, key(refresh, signature), nil)
}

// RevokeRefreshToken marks the refresh tokens of a grant as used.
func (s *Storage) RevokeRefreshToken(ctx context.Context, requestID string) error {
	return s.each(ctx, "request:"+requestID, refresh, func(k string) error { return s.use(ctx, k, nil) })
}

// RotateRefreshToken marks a refresh token as used, once, and removes the rest of its grant.
func (s *Storage) RotateRefreshToken(ctx context.Context, requestID, signature string) error {
	if err := s.use(ctx, key(refresh, signature), fosite.ErrInactiveToken); err != nil {
		return err
	}
	return errors.Join(s.RevokeRefreshToken(ctx, requestID), s.RevokeAccessToken(ctx, requestID))
}

// CreatePARSession stores a pushed request.
func (s *Storage) CreatePARSession(ctx context.Context, uri string, r fosite.AuthorizeRequester) error {
	return s.create(ctx, pushed, uri, r)
}

// GetPARSession returns a pushed request.
func (s *Storage) GetPARSession(ctx context.Context, uri string) (fosite.AuthorizeRequester, error) {
	r, err := s.read(ctx, pushed, uri, nil)
	if r == nil {
		return nil, err
	}
	return r, err
}

// DeletePARSession removes a pushed request, once.
func (s *Storage) DeletePARSession(ctx context.Context, uri string) error {
	return s.delete(ctx, key(pushed, uri))
}

// ClientAssertionJWTValid says whether an assertion was seen before.
func (s *Storage) ClientAssertionJWTValid(ctx context.Context, jti string) error {
	seen, err := s.redis.Exists(ctx, "jti:"+jti).Result()
	if err == nil && seen > 0 {
		return fosite.ErrJTIKnown
	}
	return explained(ctx, err)
}

// SetClientAssertionJWT records an assertion, once.
func (s *Storage) SetClientAssertionJWT(ctx context.Context, jti string, expires time.Time) error {
	left := time.Until(expires.Add(margin))
	if left <= 0 {
		return nil
	}
	recorded, err := s.redis.SetNX(ctx, "jti:"+jti, 1, left).Result()
	if err == nil && !recorded {
		return fosite.ErrJTIKnown
	}
	return explained(ctx, err)
}
