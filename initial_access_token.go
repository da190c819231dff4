package dcr

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fosite-contrib/fosite-dcr/internal/cursor"
	"github.com/ory/fosite"
)

// initialAccessTokenPrefix tells these tokens from others at a glance. Behind it stands the identifier and,
// after an underscore, 256 random bits.
const initialAccessTokenPrefix = "dcri_"

// initialTokens mints, finds and counts initial access tokens.
type initialTokens struct {
	storage    InitialAccessTokenStorage // nil where the storage keeps none
	location   *location
	journal    *journal
	now        func() time.Time
	grantTypes []string          // what clients can register
	policies   map[string]Policy // Config.NamedPolicies
}

// find returns the record of a token that may be used. Every refusal is the same, but for its cause in the log.
func (t *initialTokens) find(ctx context.Context, presented string) (*InitialAccessToken, error) {
	if t.storage == nil {
		return nil, failure(errNoInitialTokens)
	}
	id, _, ok := strings.Cut(strings.TrimPrefix(presented, initialAccessTokenPrefix), "_")
	if !ok || !strings.HasPrefix(presented, initialAccessTokenPrefix) || len(presented) > 128 {
		return nil, ErrInvalidToken.WithDebug("The token is no initial access token.")
	}
	token, err := t.storage.GetInitialAccessToken(ctx, id)
	if errors.Is(err, fosite.ErrNotFound) {
		return nil, ErrInvalidToken.WithDebugf("There is no initial access token %q.", loggable(id))
	} else if err != nil {
		return nil, failure(err)
	}
	issuer, err := t.location.realm(ctx)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(token.Hash, hashToken(presented)) != 1 {
		return nil, ErrInvalidToken.WithDebugf("It is not the initial access token %q.", token.ID)
	}
	if !token.Usable(t.now()) {
		return nil, ErrInvalidToken.WithDebugf("The initial access token %q has expired, or no use is left.", token.ID)
	}
	if token.Issuer != issuer {
		return nil, ErrInvalidToken.WithWrap(&otherIssuer{token.Issuer, issuer})
	}
	return token, nil
}

func hashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// consume counts a use, where the registrant came with an initial access token. Of requests at once no more
// pass than uses remain (T31).
func (t *initialTokens) consume(ctx context.Context, who *Registrant) error {
	if who.InitialAccessToken == "" {
		return nil
	}
	err := t.storage.UseInitialAccessToken(ctx, who.InitialAccessToken, t.now())
	if errors.Is(err, fosite.ErrNotFound) || errors.Is(err, ErrExhausted) {
		return ErrInvalidToken.WithDebugf("Of the initial access token %q no use is left.", who.InitialAccessToken)
	} else if err != nil {
		return failure(err)
	}
	return nil
}

// giveBack returns a use whose client could not be created.
func (t *initialTokens) giveBack(ctx context.Context, who *Registrant) {
	if who.InitialAccessToken == "" {
		return
	}
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	if err := t.storage.ReturnInitialAccessToken(cleanup, who.InitialAccessToken); err != nil {
		t.journal.record(ctx, Event{Kind: EventCleanupFailed, Registrant: who, InitialAccessToken: who.InitialAccessToken, Err: failure(err)})
	}
}

// InitialAccessTokenRequest says what token to mint.
type InitialAccessTokenRequest struct {
	Label      string        // Label is a note of the application
	Subject    string        // Subject is kept with the clients that the token registers
	Policy     string        // Policy names one of Config.NamedPolicies; empty means none
	GrantTypes []string      // GrantTypes bounds what these clients may register; nil means all
	Lifetime   time.Duration // Lifetime is how long the token works; 0 means for ever
	Uses       int           // Uses is how many clients it may register; 0 means any number
}

var (
	errNoInitialTokens = fmt.Errorf("%w: it does not implement InitialAccessTokenStorage", ErrNotSupported)
	errBadInitialToken = fmt.Errorf("%w: an initial access token needs a policy that Config.NamedPolicies has, grant types that the provider has, and no number below zero", ErrBadArgument)
)

// MintInitialAccessToken makes an initial access token. The token itself is returned once and stored
// nowhere; the record is for the application to list and to revoke by. Whether it is accepted is for
// Config.Access to say: see InitialAccessTokens.
func (t *initialTokens) MintInitialAccessToken(ctx context.Context, request InitialAccessTokenRequest) (token string, record *InitialAccessToken, err error) {
	if t.storage == nil {
		return "", nil, errNoInitialTokens
	}
	_, known := t.policies[request.Policy]
	unknown := func(grant string) bool { return !slices.Contains(t.grantTypes, grant) }
	if request.Policy != "" && !known || request.Lifetime < 0 || request.Uses < 0 || slices.ContainsFunc(request.GrantTypes, unknown) {
		return "", nil, errBadInitialToken
	}
	issuer, err := t.location.realm(ctx)
	if err != nil {
		return "", nil, err
	}
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails: it ends the program instead
	record = &InitialAccessToken{
		ID: newClientID(), Issuer: issuer, Label: request.Label, Subject: request.Subject, Policy: request.Policy,
		GrantTypes: request.GrantTypes, CreatedAt: t.now(), MaxUses: request.Uses,
	}
	if request.Lifetime > 0 {
		record.ExpiresAt = record.CreatedAt.Add(request.Lifetime)
	}
	token = initialAccessTokenPrefix + record.ID + "_" + base64.RawURLEncoding.EncodeToString(secret[:])
	record.Hash = hashToken(token)
	if err := t.storage.CreateInitialAccessToken(ctx, record); err != nil {
		return "", nil, err
	}
	t.journal.record(ctx, Event{Kind: EventInitialAccessTokenMinted, InitialAccessToken: record.ID})
	return token, record, nil
}

// RevokeInitialAccessToken revokes a token at once; the clients that it registered stay. An unknown one is
// fosite.ErrNotFound.
func (t *initialTokens) RevokeInitialAccessToken(ctx context.Context, id string) error {
	if t.storage == nil {
		return errNoInitialTokens
	}
	issuer, err := t.location.realm(ctx)
	if err != nil {
		return err
	}
	token, err := t.storage.GetInitialAccessToken(ctx, id)
	if err != nil {
		return err
	}
	if token == nil || token.Issuer != issuer { // T41
		return fosite.ErrNotFound
	}
	if err := t.storage.DeleteInitialAccessToken(ctx, id); err != nil {
		return err
	}
	t.journal.record(ctx, Event{Kind: EventInitialAccessTokenRevoked, InitialAccessToken: id})
	return nil
}

// ListInitialAccessTokens returns up to limit records of the issuer in the order of their identifiers, from
// the one after a given identifier on; an empty one means from the beginning. A limit of 0 means 50, at
// most 1000.
func (t *initialTokens) ListInitialAccessTokens(ctx context.Context, after string, limit int) ([]*InitialAccessToken, error) {
	if t.storage == nil {
		return nil, errNoInitialTokens
	}
	issuer, err := t.location.realm(ctx)
	if err != nil {
		return nil, err
	}
	limit = cursor.Limit(limit)
	read := max(limit, 500) // those of other issuers are passed over
	var found []*InitialAccessToken
	for {
		page, err := t.storage.ListInitialAccessTokens(ctx, after, read)
		if err = firstOf(err, ctx.Err()); err != nil {
			return nil, err
		}
		last := after
		for _, token := range page {
			if after = token.ID; token.Issuer == issuer {
				found = append(found, token)
			}
		}
		if len(found) >= limit || len(page) < read || after <= last {
			return found[:min(len(found), limit)], nil
		}
	}
}
