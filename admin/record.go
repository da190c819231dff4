package admin

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
)

// record is what an operator sees of a client: all that is stored, without hashes,
// signatures and keys.
type record struct {
	ClientID         string                     `json:"client_id"`
	Issuer           string                     `json:"issuer,omitempty"`
	Version          int64                      `json:"version"`
	Origin           dcr.Registrant             `json:"origin"`
	StatementIssuer  string                     `json:"statement_issuer,omitempty"`
	CreatedAt        time.Time                  `json:"created_at"`
	UpdatedAt        time.Time                  `json:"updated_at"`
	LastUsedAt       time.Time                  `json:"last_used_at,omitzero"`
	KeepUntil        time.Time                  `json:"keep_until,omitzero"`
	UnusedUntil      time.Time                  `json:"unused_until,omitzero"`
	ExpiresAt        time.Time                  `json:"expires_at,omitzero"`
	Ends             end                        `json:"ends"`
	HasSecret        bool                       `json:"has_secret"`
	SecretExpiresAt  time.Time                  `json:"secret_expires_at,omitzero"`
	EarlierSecrets   []time.Time                `json:"earlier_secrets_expire_at,omitempty"`
	Managed          bool                       `json:"has_registration_access_token"`
	ManagedUntil     time.Time                  `json:"registration_access_token_expires_at,omitzero"`
	Audience         []string                   `json:"audience,omitempty"`
	AlwaysAskConsent bool                       `json:"always_ask_consent"`
	RequirePKCE      bool                       `json:"require_pkce"`
	Shared           bool                       `json:"shared"`
	Statement        bool                       `json:"has_software_statement"`
	Keys             []key                      `json:"keys,omitempty"`
	Metadata         map[string]json.RawMessage `json:"metadata"`
	Display          display                    `json:"display"`
}

// end tells when a client ceases to exist, and why.
type end struct {
	// At is zero where no end is set.
	At time.Time `json:"at,omitzero"`
	// Why is "unused", "expires" or "idle"; empty where no end is set.
	Why string `json:"why,omitempty"`
	// Ended says that the client does not exist any more, but for its record.
	Ended bool `json:"ended"`
}

// key is what is shown of a key that a client registered.
type key struct {
	ID        string `json:"kid,omitempty"`
	Type      string `json:"kty"`
	Use       string `json:"use,omitempty"`
	Algorithm string `json:"alg,omitempty"`
}

// display is consent.Description without the links.
type display struct {
	Name           string   `json:"name"`
	Named          bool     `json:"named"`
	Language       string   `json:"language,omitempty"`
	RedirectHosts  []string `json:"redirect_hosts,omitempty"`
	IdentifierHost string   `json:"identifier_host,omitempty"`
	LoopbackOnly   bool     `json:"loopback_only"`
	Suspicious     []string `json:"suspicious,omitempty"`
	Verified       bool     `json:"verified"`
	VouchedHow     string   `json:"vouched_how,omitempty"`
	VouchedBy      string   `json:"vouched_by,omitempty"`
	SameName       *int     `json:"same_name,omitempty"` // of one client; lists do not count
}

// newRecord returns what is shown of a client, without the number of others with the same name.
func newRecord(p *dcr.Provider, c *dcr.Client, d consent.Description, now time.Time) *record {
	v := &record{
		ClientID: c.ID, Issuer: c.Issuer, Version: c.Version, Origin: c.Origin, StatementIssuer: c.StatementIssuer,
		CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt, LastUsedAt: c.LastUsedAt, KeepUntil: c.KeepUntil,
		UnusedUntil: c.UnusedUntil, ExpiresAt: c.ExpiresAt, Ends: endOf(p, c, now),
		HasSecret: len(c.SecretHash) > 0, SecretExpiresAt: c.SecretExpiresAt,
		Managed: c.RegistrationToken.Signature != "", ManagedUntil: c.RegistrationToken.ExpiresAt,
		Audience: c.Audience, AlwaysAskConsent: c.AlwaysAskConsent, RequirePKCE: c.RequirePKCE, Shared: c.Shared,
		Statement: c.Metadata.SoftwareStatement != "", Metadata: members(c), Display: newDisplay(d),
	}
	for _, secret := range c.RotatedSecrets {
		v.EarlierSecrets = append(v.EarlierSecrets, secret.ExpiresAt)
	}
	// A statement lets whoever has it register, and keys are shown by name only.
	delete(v.Metadata, "software_statement")
	var set struct {
		Keys []key `json:"keys"`
	}
	if json.Unmarshal(v.Metadata["jwks"], &set) == nil {
		v.Keys = set.Keys
	}
	delete(v.Metadata, "jwks")
	return v
}

// endOf tells when a client ends if nothing happens to it, and why.
func endOf(p *dcr.Provider, c *dcr.Client, now time.Time) end {
	e := end{At: p.ExpiresAt(c)}
	switch {
	case e.At.IsZero():
		return end{}
	case e.At.Equal(c.ExpiresAt):
		e.Why = "expires"
	case c.LastUsedAt.IsZero():
		e.Why = "unused"
	default:
		e.Why = "idle"
	}
	e.Ended = !e.At.After(now)
	return e
}

func newDisplay(d consent.Description) display {
	return display{
		Name: d.Name, Named: d.Named, Language: d.Language, RedirectHosts: d.RedirectHosts, IdentifierHost: d.IdentifierHost,
		LoopbackOnly: d.LoopbackOnly, Suspicious: d.Suspicious, Verified: d.Verified, VouchedHow: d.VouchedHow, VouchedBy: d.VouchedBy,
	}
}

// whole is one client with its past.
type whole struct {
	*record
	// HistoryKept says whether there is one to read.
	HistoryKept bool    `json:"history_kept"`
	History     []Entry `json:"history,omitempty"`
}

// find returns one client of the issuer with all that is known of it.
func (a *admin) find(ctx context.Context, id string) (*whole, error) {
	client, err := a.provider.FindClient(ctx, id)
	if err != nil {
		return nil, err
	}
	d, err := consent.Describe(ctx, a.provider, client)
	if err != nil {
		return nil, err
	}
	v := newRecord(a.provider, client, d, a.options.Now())
	v.Display.SameName = &d.SameName
	history, err := a.history(ctx, id)
	return &whole{v, a.options.History != nil, history}, err
}

func (a *admin) history(ctx context.Context, id string) ([]Entry, error) {
	if a.options.History == nil {
		return nil, nil
	}
	return a.options.History.ClientEvents(ctx, id)
}

// pastOf returns the history of a client that is gone, if it was one of this issuer (T41).
func (a *admin) pastOf(ctx context.Context, id string) ([]Entry, error) {
	history, err := a.history(ctx, id)
	issuer, _ := a.provider.Metadata(ctx)["issuer"].(string)
	if err != nil || len(history) == 0 || history[0].Issuer != issuer || issuer == "" {
		return nil, err
	}
	return history, nil
}

const mostOthers = 200

// others returns what happened without a client. A client that is none of the issuer's
// registered ones is not named, nor is its user (T41).
func (a *admin) others(ctx context.Context) ([]Entry, error) {
	if a.options.History == nil {
		return nil, nil
	}
	entries, err := a.options.History.OtherEvents(ctx, mostOthers)
	entries = slices.Clone(entries) // the host's may be shared
	known := map[string]bool{"": true}
	for i := range entries {
		id := entries[i].ClientID
		if _, asked := known[id]; !asked && err == nil {
			_, unknown := a.provider.FindClient(ctx, id)
			if known[id] = unknown == nil; unknown != nil && !errors.Is(unknown, fosite.ErrNotFound) {
				err = unknown
			}
		}
		if !known[id] {
			entries[i].ClientID, entries[i].Subject = "", ""
		}
	}
	return entries, err
}

// token is what is shown of an initial access token's record.
type token struct {
	ID         string    `json:"id"`
	Label      string    `json:"label,omitempty"`
	Subject    string    `json:"subject,omitempty"`
	Policy     string    `json:"policy,omitempty"`
	GrantTypes []string  `json:"grant_types,omitzero"`
	CreatedAt  time.Time `json:"created_at"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	MaxUses    int       `json:"max_uses"` // 0: any number
	Uses       int       `json:"uses"`
	Usable     bool      `json:"usable"`
}

func newToken(t *dcr.InitialAccessToken, now time.Time) token {
	return token{
		ID: t.ID, Label: t.Label, Subject: t.Subject, Policy: t.Policy, GrantTypes: t.GrantTypes,
		CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, MaxUses: t.MaxUses, Uses: t.Uses,
		Usable: t.Usable(now),
	}
}
