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

// record is what an operator sees of a client: all that is stored except hashes, signatures, keys
// and the software statement.
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
	Expiry           expiry                     `json:"expiry"`
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

// expiry says when a client expires, and why.
type expiry struct {
	// At is when the client expires if nothing happens to it; zero where no date is set.
	At time.Time `json:"at,omitzero"`
	// Reason is "unused", "idle" or "lifetime"; empty where no date is set.
	Reason string `json:"reason,omitempty"`
	// Expired says that the client has expired: only its record is still stored.
	Expired bool `json:"expired"`
}

// key is what is shown of a key that a client registered.
type key struct {
	ID        string `json:"kid,omitempty"`
	Type      string `json:"kty"`
	Use       string `json:"use,omitempty"`
	Algorithm string `json:"alg,omitempty"`
}

// display is a consent.Description without the links.
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

// newRecord returns what is shown of a client, without the number of clients with the same name.
func newRecord(p *dcr.Provider, c *dcr.Client, d consent.Description, now time.Time) *record {
	v := &record{
		ClientID: c.ID, Issuer: c.Issuer, Version: c.Version, Origin: c.Origin, StatementIssuer: c.StatementIssuer,
		CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt, LastUsedAt: c.LastUsedAt, KeepUntil: c.KeepUntil,
		UnusedUntil: c.UnusedUntil, ExpiresAt: c.ExpiresAt, Expiry: expiryOf(p, c, now),
		HasSecret: len(c.SecretHash) > 0, SecretExpiresAt: c.SecretExpiresAt,
		Managed: c.RegistrationToken.Signature != "", ManagedUntil: c.RegistrationToken.ExpiresAt,
		Audience: c.Audience, AlwaysAskConsent: c.AlwaysAskConsent, RequirePKCE: c.RequirePKCE, Shared: c.Shared,
		Statement: c.Metadata.SoftwareStatement != "", Display: newDisplay(d),
	}
	for _, secret := range c.RotatedSecrets {
		v.EarlierSecrets = append(v.EarlierSecrets, secret.ExpiresAt)
	}
	v.Metadata, v.Keys = shown(c)
	return v
}

// shown returns the metadata of a client as it may be shown. Whoever has a software statement can register
// with it. Of keys only the names are shown.
func shown(c *dcr.Client) (metadata map[string]json.RawMessage, keys []key) {
	metadata = members(c)
	delete(metadata, "software_statement")
	var set struct {
		Keys []key `json:"keys"`
	}
	if json.Unmarshal(metadata["jwks"], &set) == nil {
		keys = set.Keys
	}
	delete(metadata, "jwks")
	return metadata, keys
}

// expiryOf returns when a client expires if nothing happens to it, and why.
func expiryOf(p *dcr.Provider, c *dcr.Client, now time.Time) expiry {
	e := expiry{At: p.ExpiresAt(c)}
	switch {
	case e.At.IsZero():
		return expiry{}
	case e.At.Equal(c.ExpiresAt):
		e.Reason = "lifetime"
	case c.LastUsedAt.IsZero():
		e.Reason = "unused"
	default:
		e.Reason = "idle"
	}
	e.Expired = !e.At.After(now)
	return e
}

func newDisplay(d consent.Description) display {
	return display{
		Name: d.Name, Named: d.Named, Language: d.Language, RedirectHosts: d.RedirectHosts, IdentifierHost: d.IdentifierHost,
		LoopbackOnly: d.LoopbackOnly, Suspicious: d.Suspicious, Verified: d.Verified, VouchedHow: d.VouchedHow, VouchedBy: d.VouchedBy,
	}
}

// whole is one client with its history.
type whole struct {
	*record
	// HistoryKept says whether the server keeps a history.
	HistoryKept bool `json:"history_kept"`
	// Complete says that the history had the registration; otherwise it is from the record.
	Complete bool `json:"-"`
	// History begins with the registration.
	History []Entry `json:"history"`
}

// find returns one client of the issuer with its history.
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
	if err != nil {
		return nil, err
	}
	history, complete := withRegistration(history, client)
	return &whole{v, a.options.History != nil, complete, history}, nil
}

// history returns the events of one client that are kept.
func (a *admin) history(ctx context.Context, id string) ([]Entry, error) {
	if a.options.History == nil {
		return nil, nil
	}
	return a.options.History.ClientEvents(ctx, id)
}

// pastOf returns the history of a client that was removed, if it was one of this issuer (T41).
func (a *admin) pastOf(ctx context.Context, id string) ([]Entry, error) {
	history, err := a.history(ctx, id)
	issuer, _ := a.provider.Metadata(ctx)["issuer"].(string)
	if err != nil || len(history) == 0 || history[0].Issuer != issuer || issuer == "" {
		return nil, err
	}
	return history, nil
}

const (
	mostOthers        = 200
	mostRegistrations = 100
)

// latest returns the latest registrations, and the latest events without a client, the latest
// first. listed reports whether the storage can list clients: without that there are no
// registrations. Each kind has a bound of its own, so that one does not push out the other.
func (a *admin) latest(ctx context.Context) (entries []Entry, listed bool, err error) {
	if entries, err = a.others(ctx); err != nil {
		return nil, false, err
	}
	page, err := a.provider.ListClients(ctx, dcr.ClientFilter{}, "", mostRegistrations)
	if err != nil && !errors.Is(err, dcr.ErrNotSupported) {
		return nil, false, err
	}
	if listed = err == nil; listed {
		for _, client := range page.Clients {
			entries = append(entries, registration(client))
		}
	}
	slices.SortStableFunc(entries, func(a, b Entry) int { return b.Time.Compare(a.Time) })
	return entries, listed, nil
}

// others returns the events without a client. A client that is not registered under this issuer is
// not named, and neither is its user (T41). A document has no issuer: whoever sees documents sees all.
func (a *admin) others(ctx context.Context) ([]Entry, error) {
	if a.options.History == nil {
		return []Entry{}, nil
	}
	entries, err := a.options.History.OtherEvents(ctx, mostOthers)
	entries = append([]Entry{}, entries...) // the application may share its own
	known := map[string]bool{"": true}
	for i := range entries {
		id := entries[i].ClientID
		if _, asked := known[id]; !asked && err == nil && a.ofDocument(id) {
			known[id] = true
		} else if !asked && err == nil {
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

// token is what is shown of the record of an initial access token.
type token struct {
	ID         string    `json:"id"`
	Label      string    `json:"label,omitempty"`
	Subject    string    `json:"subject,omitempty"`
	Policy     string    `json:"policy,omitempty"`
	GrantTypes []string  `json:"grant_types,omitzero"`
	CreatedAt  time.Time `json:"created_at"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	Expired    bool      `json:"expired"`
	MaxUses    int       `json:"max_uses"` // 0: no limit
	Uses       int       `json:"uses"`
	Usable     bool      `json:"usable"` // neither expired nor used up
}

func newToken(t *dcr.InitialAccessToken, now time.Time) token {
	return token{
		ID: t.ID, Label: t.Label, Subject: t.Subject, Policy: t.Policy, GrantTypes: t.GrantTypes,
		CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt, MaxUses: t.MaxUses, Uses: t.Uses,
		Usable: t.Usable(now), Expired: !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(now),
	}
}
