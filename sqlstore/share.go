package sqlstore

import (
	"context"
	"slices"
	"strings"

	"github.com/ory/fosite"
)

// What one may hold, so that nobody fills the database for everybody else: about what dcr.MemoryStore gives each by default,
// and more where many requests at once are usual. Who is over a share loses what expires first of his own.
const (
	mostCodes  = 200    // grants of a user with one client that end with a code, as one does that was not exchanged
	mostGrants = 1000   // grants of a user with one client that last longer
	withAll    = 10     // so many times more a user has with all clients
	mostPushed = 10_000 // pushed requests of a client, in whose name anybody may push if it is a public one
	mostTokens = 20_000 // access tokens of a client without a user
	// once in how many rows is looked what is over a share. It is exceeded by about as many, and requests pay little.
	once = 32
)

// withoutUser reports whether an access token needed no user.
func withoutUser(r fosite.Requester) bool {
	return slices.Equal(strings.Fields(r.GetRequestForm().Get("grant_type")), []string{"client_credentials"}) // fosite splits it too
}

// subjectOf is the digest of whose session it is, nil for nobody's.
func subjectOf(r fosite.Requester) []byte {
	if session := r.GetSession(); session != nil {
		return digestOrNull(session.GetSubject())
	}
	return nil
}

// trim removes now and then what is over the share of the one for whom a row comes that ends at a time. Each sign-in begins
// with a code, and tokens are stored without any look.
func (s *Store) trim(ctx context.Context, k kind, key []byte, r fosite.Requester, end int64) error {
	if key[0]%once != 0 {
		return nil
	}
	most := mostTokens
	switch {
	case k == code:
		return s.trimGrants(ctx, digest(clientID(r)), subjectOf(r), end)
	case k == pushedRequest:
		most = mostPushed
	case k != machineToken:
		return nil
	}
	_, err := s.change(ctx, s.sql.TrimTokens, digest(clientID(r)), int(k), most-1)
	return err
}

// trimGrants removes the grants over the shares of a user for whom a code comes. What ends no later than the code, such as
// other codes, is one share, and what lasts longer is another one: no number of codes ends what has a refresh token.
func (s *Store) trimGrants(ctx context.Context, client, subject []byte, end int64) error {
	if subject == nil {
		return nil
	}
	now := nanoseconds(s.options.Now())
	return s.atomically(ctx, func(ctx context.Context, q querier) error {
		for _, share := range []struct {
			after, until int64
			most         int
		}{{now, end, mostCodes - 1}, {end, never, mostGrants}} {
			if err := s.dropGrants(ctx, q, s.sql.OverWithClient, client, subject, share.after, share.until, share.most); err != nil {
				return err
			}
			if err := s.dropGrants(ctx, q, s.sql.OverWithAll, subject, share.after, share.until, withAll*share.most); err != nil {
				return err
			}
		}
		return nil
	})
}

// dropGrants removes the grants that a query finds, with what came of them.
func (s *Store) dropGrants(ctx context.Context, q querier, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	var ids [][]byte
	for rows.Next() {
		var id []byte
		if err := rows.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := q.ExecContext(ctx, s.sql.DropTokens, id); err != nil {
			return err
		}
		if _, err := q.ExecContext(ctx, s.sql.DropGrant, id); err != nil {
			return err
		}
	}
	return nil
}
