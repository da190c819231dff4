package sqlstore

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// kind is what a row of the tokens is.
type kind int

const (
	code kind = iota + 1
	challenge
	openIDSession
	accessToken
	refreshToken
	pushedRequest
	// registrationToken is an entry of a registration access token, which fosite keeps among the access tokens. It is no
	// grant, and no revocation of grants removes it.
	registrationToken
	// machineToken is an access token without a user. It has the key of an access token.
	machineToken
)

// The states of a row.
const (
	good = iota
	used
	revoked
)

// hasGrant reports whether the session is that of a user who agreed to something, so that it is kept once for all that came
// of it. An access token may have come of a grant or not.
func (k kind) hasGrant() bool {
	return k == code || k == challenge || k == openIDSession || k == refreshToken
}

// accessKind returns the kind of what fosite keeps among the access tokens.
func accessKind(signature string) kind {
	if dcr.IsRegistrationTokenEntry(signature) {
		return registrationToken
	}
	return accessToken
}

const (
	// short is the lifetime of codes, of what belongs to them and of pushed requests, where the session has no expiry.
	short = 15 * time.Minute
	// margin is how much longer than its code a session stays that belongs to the code: fosite redeems a code without its
	// PKCE session without a verifier. It is also how much longer the identifier of an assertion is kept, since clocks
	// differ.
	margin = time.Minute
	// reuse is how long a refresh token that never expires is kept after its use, so that a second use is noticed.
	reuse = 30 * 24 * time.Hour
)

// end returns when a row of this kind expires; the zero time means never.
func (k kind) end(session fosite.Session, now time.Time) time.Time {
	of := map[kind]fosite.TokenType{
		code: fosite.AuthorizeCode, challenge: fosite.AuthorizeCode, openIDSession: fosite.AuthorizeCode,
		accessToken: fosite.AccessToken, registrationToken: fosite.AccessToken,
		refreshToken: fosite.RefreshToken, pushedRequest: fosite.PushedAuthorizeRequestContext,
	}[k]
	var end time.Time
	if session != nil {
		end = session.GetExpiresAt(of)
	}
	if end.IsZero() && of != fosite.AccessToken && of != fosite.RefreshToken {
		end = now.Add(short)
	}
	if k == challenge || k == openIDSession {
		end = end.Add(margin)
	}
	return end
}

// key is what is stored in place of fosite's key, which may be a secret: a whole code or a request_uri.
func (k kind) key(text string) []byte { return digest(string(rune('0'+k)) + text) }

// create stores a row. It replaces one with the same key, but none that was used or revoked.
func (s *Store) create(ctx context.Context, k kind, key string, r fosite.Requester) error {
	return s.createWith(ctx, k, key, nil, r)
}

// createWith stores a row that has a partner.
func (s *Store) createWith(ctx context.Context, k kind, key string, partner []byte, r fosite.Requester) error {
	request, session, err := encodeRequest(k, r)
	if err != nil {
		return err
	}
	stored := k
	if k == accessToken && withoutUser(r) {
		stored = machineToken
	}
	client, grant := digest(clientID(r)), digest(r.GetID())
	bodyDigest := sha256.Sum256(session)
	expires := endColumn(k.end(r.GetSession(), s.options.Now()))
	epoch := int64(0)
	if k == registrationToken {
		epoch = never
	}
	var founder []byte
	if k.hasGrant() {
		if founder, err = encode(storedRequest{ID: r.GetID(), Client: clientID(r), RequestedAt: notYet}); err != nil {
			return err
		}
	}
	caller := callerOf(ctx, k, r)
	if err := s.trim(ctx, stored, k.key(key), r, caller, expires); err != nil {
		return err
	}
	values := []any{k.key(key), int(stored), grant, client, epoch, expires, partner, request, bodyDigest[:], session, caller}
	switch {
	case founder != nil && s.sql.CreateFounding != "":
		_, err = s.change(ctx, s.sql.CreateFounding, append(values, founder, subjectOf(r))...)
	case founder != nil:
		err = s.changeBoth(ctx, s.sql.FoundGrant, []any{grant, client, expires, bodyDigest[:], founder, session, subjectOf(r)}, s.sql.CreateToken, values)
	case stored == accessToken && s.sql.CreateJoining != "":
		_, err = s.change(ctx, s.sql.CreateJoining, values...)
	case stored == accessToken:
		err = s.changeBoth(ctx, s.sql.JoinGrant, []any{grant, expires}, s.sql.CreateToken, values)
	default:
		_, err = s.change(ctx, s.sql.CreateToken, values...)
	}
	return err
}

func (s *Store) changeBoth(ctx context.Context, first string, of []any, second string, values []any) error {
	return s.atomically(ctx, func(ctx context.Context, q querier) error {
		if _, err := q.ExecContext(ctx, first, of...); err != nil {
			return err
		}
		_, err := q.ExecContext(ctx, second, values...)
		return err
	})
}

// row is what is read of a token.
type row struct {
	state           int
	spentAt, uses   int64
	request         []byte
	session         []byte
	grant           []byte
	grantRevoked    int64
	record          []byte
	lastUsed, until int64
}

// session returns the request of a row, with a session of the type of like and the client as it is now. Of what was used or
// revoked it returns the request and the error spent, or fosite.ErrNotFound where spent is nil.
func (s *Store) session(ctx context.Context, k kind, key string, like fosite.Session, spent error) (*fosite.AuthorizeRequest, error) {
	var row row
	now := s.options.Now()
	err := s.read(ctx, func(ctx context.Context, q querier) error {
		return q.QueryRowContext(ctx, s.sql.GetToken, k.key(key), nanoseconds(now)).Scan(&row.state, &row.spentAt, &row.uses, &row.request,
			&row.session, &row.grant, &row.grantRevoked, &row.record, &row.lastUsed, &row.until)
	})
	if err != nil {
		return nil, err
	}
	if row.grantRevoked == 1 && row.state == good && (k == accessToken || k == refreshToken) {
		row.state = revoked // whatever came of the grant meanwhile
	}
	if row.state != good && spent == nil {
		return nil, fosite.ErrNotFound
	}
	if like == nil {
		like = s.options.NewSession()
	}
	r, stored, err := decodeRequest(row.request, row.session, like)
	if err != nil {
		return nil, err
	}
	if row.grant != nil && stored.ID == "" {
		if err := json.Unmarshal(row.grant, &stored); err != nil {
			return nil, err
		}
		r.ID = stored.ID
	}
	if r.Client, err = s.clientOf(ctx, stored.Client, row); err != nil {
		return nil, err
	}
	if row.state != good && !(k == refreshToken && s.inGrace(now, row)) {
		return r, spent
	}
	return r, nil
}

// clientOf returns the client of a row. Without it a grant does not exist any more; but a client whose identifier is a URL
// of a document is in no table, and neither is none.
func (s *Store) clientOf(ctx context.Context, id string, row row) (fosite.Client, error) {
	if client, static := s.static.Load(id); static {
		return client.(fosite.Client), nil
	}
	if row.record != nil {
		client, err := decodeClient(row.record, row.lastUsed, row.until)
		if err != nil {
			return nil, err
		}
		return client, nil
	}
	if id == "" {
		return &fosite.DefaultClient{}, nil
	}
	return dcr.ResolveClient(ctx, id)
}

// inGrace reports whether a refresh token may be used again.
func (s *Store) inGrace(now time.Time, row row) bool {
	return row.state == used && string(row.request) != noRequest && row.grantRevoked == 0 && row.uses < int64(s.options.RefreshGraceUses) &&
		nanoseconds(now) < row.spentAt+int64(s.options.RefreshGrace)
}

// request is session for all kinds but pushed requests.
func (s *Store) request(ctx context.Context, k kind, key string, like fosite.Session, spent error) (fosite.Requester, error) {
	found, err := s.session(ctx, k, key, like, spent)
	if found == nil {
		return nil, err
	}
	return &found.Request, err
}

// spend marks what may be used once as used. Of several calls at once one succeeds, the others get the error already.
func (s *Store) spend(ctx context.Context, q querier, k kind, key string, already error) error {
	now := s.options.Now()
	keep := 1
	if k == refreshToken && s.options.RefreshGrace == 0 {
		keep = 0
	}
	spent, err := exec(ctx, q, s.sql.SpendToken, k.key(key), nanoseconds(now), nanoseconds(now.Add(reuse)), keep)
	if err != nil || spent > 0 {
		return err
	}
	switch known, err := has(ctx, q, s.sql.TokenLeft, k.key(key), nanoseconds(now)); {
	case err != nil:
		return err
	case known:
		return already
	}
	return fosite.ErrNotFound
}

// end revokes a row. An unknown one is no error.
func (s *Store) end(ctx context.Context, k kind, key string) error {
	if k == registrationToken {
		_, err := s.change(ctx, s.sql.DeleteToken, k.key(key))
		return err
	}
	return ignoreMissing(s.endOnce(ctx, k, key))
}

func (s *Store) endOnce(ctx context.Context, k kind, key string) error {
	now := s.options.Now()
	return missing(s.change(ctx, s.sql.EndToken, k.key(key), nanoseconds(now), nanoseconds(now.Add(reuse))))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fosite.ErrNotFound) {
		return nil
	}
	return err
}

// mostOfGrant is how many rows one revocation changes. A grant has a few that are good; where a grace made many, the others are
// dead with their grant.
const mostOfGrant = 1000

// endOfGrant revokes the rows of two kinds that came of a grant, and reports whether these were all.
func (s *Store) endOfGrant(ctx context.Context, q querier, requestID string, one, other kind) (all bool, err error) {
	now := s.options.Now()
	ended, err := exec(ctx, q, s.sql.EndTokens, digest(requestID), int(one), int(other), nanoseconds(now), nanoseconds(now.Add(reuse)), mostOfGrant)
	return ended < mostOfGrant, err
}

// lockRow lets one transaction at a time change what came of a grant, and keeps the grant from being swept meanwhile.
func lockRow(ctx context.Context, q querier, statement string, key []byte) error {
	if statement == "" {
		return nil
	}
	_, err := has(ctx, q, statement, key)
	return err
}

// RevokeClientGrants ends what a client was granted, at once, however much it is (dcr.GrantRevoker), and of a client that
// stays also what is under way. The rows are removed by and by.
func (s *Store) RevokeClientGrants(ctx context.Context, clientID string) error {
	return s.atomically(ctx, func(ctx context.Context, q querier) error {
		client := digest(clientID)
		stays := s.isStatic(clientID) || isURL(clientID)
		if !stays {
			var err error
			if stays, err = has(ctx, q, s.sql.HasClient, client); err != nil {
				return err
			}
		}
		return s.revokeGrants(ctx, q, client, stays)
	})
}

// revokeGrants ends what a client has. Of one that is gone and has nothing, nothing has to be remembered.
func (s *Store) revokeGrants(ctx context.Context, q querier, client []byte, stays bool) error {
	if !stays {
		if found, err := has(ctx, q, s.sql.HasGrants, client); err != nil || !found {
			return err
		}
	}
	_, err := q.ExecContext(ctx, s.sql.RevokeClient, client, nanoseconds(s.options.Now()))
	return err
}
