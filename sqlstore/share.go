package sqlstore

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// What one may hold, so that nobody fills the database for everybody else: about what dcr.MemoryStore gives each by default,
// and more where many requests at once are usual. Who is over a share loses what expires first of his own.
const (
	mostCodes  = 200    // grants of a user with one client that end with a code, as one does that was not exchanged
	mostGrants = 1000   // grants of a user with one client that last longer
	withAll    = 10     // so many times more one has with all: a user or caller with all clients, all clients with documents
	mostPushed = 10_000 // pushed requests of a client, or of a caller with a public client
	mostTokens = 20_000 // access tokens of a client without a user
	// mostAssertions is how many identifiers of assertions a client may have. Who has as many is refused: what is removed
	// could be used again.
	mostAssertions = 50_000
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
func (s *Store) trim(ctx context.Context, k kind, key []byte, r fosite.Requester, caller []byte, end int64) error {
	if key[0]%once != 0 {
		return nil
	}
	client := digest(clientID(r))
	switch {
	case k == code:
		return s.trimGrants(ctx, client, subjectOf(r), end)
	case k == machineToken:
		return s.trimTokens(ctx, s.sql.TrimTokens, mostTokens, client, int(k))
	case k == pushedRequest && caller == nil:
		return s.trimTokens(ctx, s.sql.TrimTokens, mostPushed, client, int(k))
	case k == pushedRequest:
		return errors.Join(
			s.trimTokens(ctx, s.sql.TrimOfCaller, mostPushed, client, caller),
			s.trimTokens(ctx, s.sql.TrimCaller, withAll*mostPushed, caller))
	}
	return nil
}

// trimTokens makes room for one more within a share.
func (s *Store) trimTokens(ctx context.Context, statement string, most int, of ...any) error {
	_, err := s.change(ctx, statement, append([]any{most - 1}, of...)...)
	return err
}

// callerOf is the digest of the network from which a request in the name of a public client is pushed, nil for other rows and
// where it is not known. Anybody may have many clients with documents, so they count as public.
func callerOf(ctx context.Context, k kind, r fosite.Requester) []byte {
	client := r.GetClient()
	if k != pushedRequest || client == nil || !client.IsPublic() && !isURL(client.GetID()) {
		return nil
	}
	network, _ := dcr.CallerOf(ctx)
	return digestOrNull(network)
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

// allDocuments owns what all clients with documents have together. It is no digest.
const allDocuments = "documents"

// ownerOf says for whom the identifier of an assertion counts: by chance, one of 32 for its client and one of 32 for all
// clients with documents, each as 32. The others count for nobody, so that few rows are in the index, and few are counted.
// The chance is not in the key, which the client chooses. A share that is full is dcr.ErrFull until a row has expired.
func (s *Store) ownerOf(ctx context.Context, jti string, now int64) ([]byte, error) {
	client, ok := clientOfAssertion(jti)
	if !ok {
		return nil, nil
	}
	owners := []string{client}
	if _, document := dcr.CallerOf(ctx); document {
		owners = append(owners, allDocuments)
	}
	for _, owner := range owners {
		if until, full := s.full.Load(owner); full && now < until.(int64) {
			return nil, errShareUsed
		}
	}
	if n := rand.IntN(once); n < len(owners) {
		return []byte(owners[n]), s.requireShare(ctx, owners[n], now)
	}
	return nil, nil
}

var errShareUsed = fmt.Errorf("%w for another client assertion, in the share of its client or of all clients with documents", dcr.ErrFull)

// requireShare looks whether an owner has room for another row that counts for it.
func (s *Store) requireShare(ctx context.Context, owner string, now int64) error {
	most := mostAssertions
	if owner == allDocuments {
		most = withAll * mostAssertions
	}
	var until int64 // when the first of as many as the owner may have expires
	err := s.read(ctx, func(ctx context.Context, q querier) error {
		return q.QueryRowContext(ctx, s.sql.ShareUsed, []byte(owner), now, most/once-1).Scan(&until)
	})
	if err != nil {
		return ignoreMissing(err)
	}
	s.full.Store(owner, until)
	return errShareUsed
}

// clientOfAssertion returns the digest of the client in the key of an assertion (dcr.ClientStorage).
func clientOfAssertion(jti string) (client string, ok bool) {
	rest, ok := strings.CutPrefix(jti, "dcr.")
	text, _, whole := strings.Cut(rest, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(text)
	return string(decoded), ok && whole && err == nil
}
