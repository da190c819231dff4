package dcr

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"
)

// InitialAccessToken is the record of an initial access token (RFC 7591, section 1.2)
// that the host has minted for somebody: a developer, a partner, a batch of devices. It
// holds a hash, never the token.
type InitialAccessToken struct {
	// ID names the token for the host; it is no secret.
	ID string `json:"id"`
	// Hash is that of the token.
	Hash []byte `json:"hash"`
	// Issuer is the issuer under which the token was minted, and under which alone it
	// works.
	Issuer string `json:"issuer,omitempty"`
	// Label is the host's own note.
	Label string `json:"label,omitempty"`
	// Subject is kept with the clients that the token registers (Client.Origin).
	Subject string `json:"subject,omitempty"`
	// Policy names one of Config.NamedPolicies, which binds these clients and their later
	// updates; empty means none.
	Policy string `json:"policy,omitempty"`
	// GrantTypes bounds what these clients may register; nil means everything that the
	// provider has.
	GrantTypes []string `json:"grant_types,omitzero"`

	CreatedAt time.Time `json:"created_at"`
	// ExpiresAt is when the token ceases to work; zero means never.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// MaxUses is how many clients the token may register; 0 means any number. Uses is how
	// many it has registered.
	MaxUses int `json:"max_uses,omitempty"`
	Uses    int `json:"uses,omitempty"`
}

// String shows the identifier and nothing else.
func (t InitialAccessToken) String() string { return "dcr.InitialAccessToken(" + t.ID + ")" }

// Format prints String, whatever the verb.
func (t InitialAccessToken) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.String()) }

// LogValue is String.
func (t InitialAccessToken) LogValue() slog.Value { return slog.StringValue(t.String()) }

// Usable reports whether the token registers clients at this time, if it was not revoked.
func (t *InitialAccessToken) Usable(now time.Time) bool {
	return (t.ExpiresAt.IsZero() || now.Before(t.ExpiresAt)) && (t.MaxUses == 0 || t.Uses < t.MaxUses)
}

// initialAccessTokenPrefix tells these tokens from others at a glance. Behind it stands
// the identifier and, after an underscore, 256 random bits.
const initialAccessTokenPrefix = "dcri_"

// InitialAccessTokens lets those register who present an initial access token that was
// minted with Provider.MintInitialAccessToken. A use is counted when the client is
// created: what is refused for its metadata costs none.
//
// The storage has to implement InitialAccessTokenStorage.
func InitialAccessTokens() Access { return initialAccess{} }

type initialAccess struct{}

func (initialAccess) Authorize(ctx context.Context, r *http.Request) (*Registrant, error) {
	presented, err := BearerToken(r)
	if err != nil {
		return nil, err
	}
	bound, err := boundTo(ctx)
	if err != nil {
		return nil, err
	}
	token, err := bound.registry.findInitialAccessToken(ctx, presented)
	if err != nil {
		return nil, err
	}
	return &Registrant{
		Kind: KindInitialAccessToken, Subject: token.Subject, InitialAccessToken: token.ID,
		Policy: token.Policy, GrantTypes: token.GrantTypes,
	}, nil
}

// findInitialAccessToken returns the record of a token that may be used. Every refusal is
// the same.
func (r *registry) findInitialAccessToken(ctx context.Context, presented string) (*InitialAccessToken, error) {
	if r.initialTokens == nil {
		return nil, failure(errNoInitialTokens)
	}
	id, _, ok := strings.Cut(strings.TrimPrefix(presented, initialAccessTokenPrefix), "_")
	if !ok || !strings.HasPrefix(presented, initialAccessTokenPrefix) || len(presented) > 128 {
		return nil, ErrInvalidToken
	}
	token, err := r.initialTokens.GetInitialAccessToken(ctx, id)
	if errors.Is(err, fosite.ErrNotFound) {
		return nil, ErrInvalidToken
	} else if err != nil {
		return nil, failure(err)
	}
	issuer, err := r.issuer(ctx)
	if err != nil {
		return nil, err
	}
	fits := subtle.ConstantTimeCompare(token.Hash, hashToken(presented)) == 1
	if !fits || token.Issuer != issuer || !token.Usable(r.now()) {
		return nil, ErrInvalidToken
	}
	return token, nil
}

func hashToken(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// consume counts a use, where the registrant came with an initial access token. Of
// requests at once no more pass than uses remain (T31).
func (r *registry) consume(ctx context.Context, who *Registrant) error {
	if who.InitialAccessToken == "" {
		return nil
	}
	err := r.initialTokens.UseInitialAccessToken(ctx, who.InitialAccessToken, r.now())
	if errors.Is(err, fosite.ErrNotFound) || errors.Is(err, ErrExhausted) {
		return ErrInvalidToken
	} else if err != nil {
		return failure(err)
	}
	return nil
}

// giveBack returns a use whose client could not be created.
func (r *registry) giveBack(ctx context.Context, who *Registrant) {
	if who.InitialAccessToken == "" {
		return
	}
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	if err := r.initialTokens.ReturnInitialAccessToken(cleanup, who.InitialAccessToken); err != nil {
		r.tell(ctx, Event{Kind: EventLeftover, Registrant: who, InitialAccessToken: who.InitialAccessToken, Err: failure(err)})
	}
}

// InitialAccessTokenRequest says what token to mint.
type InitialAccessTokenRequest struct {
	// Label, Subject, Policy and GrantTypes are those of the record.
	Label      string
	Subject    string
	Policy     string
	GrantTypes []string
	// Lifetime is how long the token works; 0 means for ever.
	Lifetime time.Duration
	// Uses is how many clients it may register; 0 means any number.
	Uses int
}

var (
	errNoInitialTokens = fmt.Errorf("%w: it does not implement InitialAccessTokenStorage", ErrNotSupported)
	errBadInitialToken = fmt.Errorf("%w: an initial access token needs a policy that Config.NamedPolicies has, grant types that the provider has, and no number below zero", ErrBadArgument)
)

// MintInitialAccessToken makes an initial access token. The token itself is returned once
// and stored nowhere; the record is for the host to list and to revoke by. Whether it is
// accepted is for Config.Access to say: see InitialAccessTokens.
func (p *Provider) MintInitialAccessToken(ctx context.Context, request InitialAccessTokenRequest) (token string, record *InitialAccessToken, err error) {
	r := p.registry
	if r.initialTokens == nil {
		return "", nil, errNoInitialTokens
	}
	_, known := r.cfg.NamedPolicies[request.Policy]
	unknown := func(grant string) bool { return !slices.Contains(r.can.grantTypes, grant) }
	if request.Policy != "" && !known || request.Lifetime < 0 || request.Uses < 0 || slices.ContainsFunc(request.GrantTypes, unknown) {
		return "", nil, errBadInitialToken
	}
	issuer, err := r.issuer(ctx)
	if err != nil {
		return "", nil, err
	}
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // never fails: it ends the program instead
	record = &InitialAccessToken{
		ID: newClientID(), Issuer: issuer, Label: request.Label, Subject: request.Subject, Policy: request.Policy,
		GrantTypes: request.GrantTypes, CreatedAt: r.now(), MaxUses: request.Uses,
	}
	if request.Lifetime > 0 {
		record.ExpiresAt = record.CreatedAt.Add(request.Lifetime)
	}
	token = initialAccessTokenPrefix + record.ID + "_" + base64.RawURLEncoding.EncodeToString(secret[:])
	record.Hash = hashToken(token)
	if err := r.initialTokens.CreateInitialAccessToken(ctx, record); err != nil {
		return "", nil, err
	}
	r.tell(ctx, Event{Kind: EventInitialAccessTokenMinted, InitialAccessToken: record.ID})
	return token, record, nil
}

// RevokeInitialAccessToken ends a token at once; the clients that it registered stay. An
// unknown one is fosite.ErrNotFound.
func (p *Provider) RevokeInitialAccessToken(ctx context.Context, id string) error {
	if p.registry.initialTokens == nil {
		return errNoInitialTokens
	}
	issuer, err := p.registry.issuer(ctx)
	if err != nil {
		return err
	}
	token, err := p.registry.initialTokens.GetInitialAccessToken(ctx, id)
	if err != nil {
		return err
	}
	if token == nil || token.Issuer != issuer { // T41
		return fosite.ErrNotFound
	}
	if err := p.registry.initialTokens.DeleteInitialAccessToken(ctx, id); err != nil {
		return err
	}
	p.registry.tell(ctx, Event{Kind: EventInitialAccessTokenRevoked, InitialAccessToken: id})
	return nil
}

// ListInitialAccessTokens returns up to limit records of the issuer in the order of their
// identifiers, from the one after a given identifier on; an empty one means from the
// beginning. A limit of 0 means 50, at most 1000.
func (p *Provider) ListInitialAccessTokens(ctx context.Context, after string, limit int) ([]*InitialAccessToken, error) {
	r := p.registry
	if r.initialTokens == nil {
		return nil, errNoInitialTokens
	}
	issuer, err := r.issuer(ctx)
	if err != nil {
		return nil, err
	}
	limit = pageLimit(limit)
	read := max(limit, 500) // those of other issuers are passed over
	var found []*InitialAccessToken
	for {
		page, err := r.initialTokens.ListInitialAccessTokens(ctx, after, read)
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
