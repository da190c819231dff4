package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/handler/pkce"
	"github.com/redis/go-redis/v9"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// Storage is a fosite storage with registered clients in Redis. What expires has a time to live there. Keys of
// sessions are digests: a dump of the database holds no token, code or request URI. It is for one Redis with its
// replicas, not for a cluster: a script writes several keys.
//
//	client:ID          the record of a client, JSON
//	due, used          the clients in the order in which they expire, and in that of their last use
//	session:KIND:KEY   a hash: the request as JSON, its client, and whether it was used
//	request:ID         the sessions of one grant that were not used, in the order in which they expire
//	grants:ID          those of one client, but for its registration access tokens
//	jti:KEY            the identifier of an assertion
type Storage struct {
	redis      redis.UniversalClient
	newSession func() fosite.Session // an empty session of the type that is stored
	static     sync.Map              // of identifier to fosite.Client: the clients of our own
}

var (
	_ fosite.Storage                     = (*Storage)(nil)
	_ oauth2.CoreStorage                 = (*Storage)(nil)
	_ oauth2.TokenRevocationStorage      = (*Storage)(nil)
	_ pkce.PKCERequestStorage            = (*Storage)(nil)
	_ openid.OpenIDConnectRequestStorage = (*Storage)(nil)
	_ fosite.PARStorage                  = (*Storage)(nil)
	_ dcr.ClientStorage                  = (*Storage)(nil)
	_ dcr.UseRecorder                    = (*Storage)(nil)
	_ dcr.ExpiredDeleter                 = (*Storage)(nil)
	_ dcr.GrantRevoker                   = (*Storage)(nil)
)

// NewStorage returns a storage in a Redis, with static clients of our own beside the registered ones.
func NewStorage(client redis.UniversalClient, newSession func() fosite.Session, static ...fosite.Client) *Storage {
	s := &Storage{redis: client, newSession: newSession}
	for _, c := range static {
		s.addStatic(c)
	}
	return s
}

func (s *Storage) addStatic(client fosite.Client) { s.static.Store(client.GetID(), client) }

// explained says of an error of Redis what it means: nothing there, a context that is done, or a Redis that is away.
func explained(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redis.Nil):
		return fosite.ErrNotFound
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", dcr.ErrUnavailable, err)
}

// swap stores a record in place of another one, both as JSON, if that is still there; "" stands for none. It keeps the
// order of the clients.
var swap = redis.NewScript(`
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('ZREM', 'due', ARGV[3])
redis.call('ZREM', 'used', ARGV[3])
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2])
if ARGV[4] ~= '' then redis.call('ZADD', 'due', ARGV[4], ARGV[3]) end
if ARGV[5] ~= '' then redis.call('ZADD', 'used', ARGV[5], ARGV[3]) end
return 1`)

func (s *Storage) swap(ctx context.Context, id, stored string, next *dcr.Client) (swapped bool, err error) {
	text, due, used := "", "", ""
	if next != nil {
		encoded, err := json.Marshal(next)
		if err != nil {
			return false, err
		}
		text, due, used = string(encoded), score(dueAt(next)), score(next.LastUsedAt)
	}
	done, err := swap.Run(ctx, s.redis, []string{"client:" + id}, stored, text, id, due, used).Int()
	return done == 1, explained(ctx, err)
}

// dueAt is when a client expires if nobody uses it, however long idle clients live; the zero time means never.
func dueAt(c *dcr.Client) time.Time {
	due := c.ExpiresAt
	if c.LastUsedAt.IsZero() && !c.UnusedUntil.IsZero() && (due.IsZero() || c.UnusedUntil.Before(due)) {
		due = c.UnusedUntil
	}
	return due
}

func score(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.Unix(), 10)
}

// load returns a record as it is stored, and what it says.
func (s *Storage) load(ctx context.Context, id string) (stored string, client *dcr.Client, err error) {
	if stored, err = s.redis.Get(ctx, "client:"+id).Result(); err != nil {
		return "", nil, explained(ctx, err)
	}
	err = json.Unmarshal([]byte(stored), &client)
	return stored, client, err
}

// change loads a record and swaps it for another one, again if others get ahead. nil removes it.
func (s *Storage) change(ctx context.Context, id string, change func(*dcr.Client) (*dcr.Client, error)) error {
	for {
		stored, client, err := s.load(ctx, id)
		if err != nil {
			return err
		}
		next, err := change(client)
		if err != nil {
			return err
		}
		if swapped, err := s.swap(ctx, id, stored, next); err != nil || swapped {
			return err
		}
	}
}

// GetClient returns a static client, or a registered one.
func (s *Storage) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	if client, ok := s.static.Load(id); ok {
		return client.(fosite.Client), nil
	}
	client, err := s.GetDynamicClient(ctx, id)
	if err != nil {
		return nil, err
	}
	return client, nil
}

// CreateClient stores a new record.
func (s *Storage) CreateClient(ctx context.Context, client *dcr.Client) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if _, taken := s.static.Load(client.ID); taken {
		return dcr.ErrClientExists
	}
	created, err := s.swap(ctx, client.ID, "", client)
	if err == nil && !created {
		return dcr.ErrClientExists
	}
	return err
}

// GetDynamicClient returns the record of a registered client.
func (s *Storage) GetDynamicClient(ctx context.Context, id string) (*dcr.Client, error) {
	_, client, err := s.load(ctx, id)
	return client, err
}

// UpdateClient replaces a record that has the version.
func (s *Storage) UpdateClient(ctx context.Context, client *dcr.Client, version int64) error {
	return s.change(ctx, client.ID, func(stored *dcr.Client) (*dcr.Client, error) {
		return dcr.Replace(stored, client, version)
	})
}

// DeleteClient removes a record, and the entries of the registration access tokens that it names.
func (s *Storage) DeleteClient(ctx context.Context, id string) error {
	var removed *dcr.Client
	err := s.change(ctx, id, func(stored *dcr.Client) (*dcr.Client, error) {
		removed = stored
		return nil, nil
	})
	if err != nil {
		return err
	}
	for _, entry := range removed.RegistrationTokenEntries() {
		_ = s.DeleteAccessTokenSession(ctx, entry) // what is left works no longer
	}
	return nil
}

// TouchClient records a use.
func (s *Storage) TouchClient(ctx context.Context, id string, lastUsed, keepUntil time.Time) error {
	err := s.change(ctx, id, func(stored *dcr.Client) (*dcr.Client, error) {
		used := stored.Clone()
		used.LastUsedAt, used.KeepUntil = lastUsed, keepUntil
		return dcr.Replace(stored, used, stored.Version)
	})
	if errors.Is(err, fosite.ErrNotFound) {
		return nil
	}
	return err
}

var errStays = errors.New("the client has not expired")

// DeleteExpiredClients removes clients that have expired. It looks at those that are due, and at those that were not
// used for so long that they may be.
func (s *Storage) DeleteExpiredClients(ctx context.Context, e dcr.Expiry, limit int) ([]*dcr.Client, error) {
	var removed []*dcr.Client
	for order, until := range map[string]time.Time{"due": e.Now, "used": e.IdleSince} {
		stay := int64(0) // those that were looked at and stay
		for !until.IsZero() && len(removed) < limit {
			ids, err := s.redis.ZRangeByScore(ctx, order, &redis.ZRangeBy{Min: "-inf", Max: score(until), Offset: stay, Count: 100}).Result()
			if err != nil {
				return removed, explained(ctx, err)
			}
			if len(ids) == 0 {
				break
			}
			for _, id := range ids[:min(len(ids), limit-len(removed))] {
				var gone *dcr.Client
				err := s.change(ctx, id, func(stored *dcr.Client) (*dcr.Client, error) {
					if gone = stored; !e.Expired(stored) {
						return nil, errStays
					}
					return nil, nil
				})
				switch {
				case err == nil:
					removed = append(removed, gone)
				case errors.Is(err, errStays):
					stay++
				case !errors.Is(err, fosite.ErrNotFound): // or another process was faster
					return removed, err
				}
			}
		}
	}
	return removed, ctx.Err()
}
