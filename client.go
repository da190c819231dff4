package dcr

import (
	"bytes"
	"cmp"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/capability"
	"github.com/fosite-contrib/fosite-dcr/internal/keyset"
	"github.com/fosite-contrib/fosite-dcr/internal/members"
)

// Client is a registered client: the record that a storage keeps and the fosite.Client that fosite works
// with. It is made from ClientMetadata and never decoded from a request.
//
// encoding/json turns a Client into JSON and back without loss. The record holds a hash of the client
// secret and signatures of registration access tokens, no secret itself; printing a Client with fmt or
// log/slog shows its identifier only.
//
// It implements fosite.Client, fosite.OpenIDConnectClient, fosite.ResponseModeClient and
// fosite.ClientWithSecretRotation, and is honest at the time it is asked: an expired secret is no secret.
type Client struct {
	ID string `json:"id"` // ID is the client identifier
	// Issuer is the issuer under which the client was registered, and under which alone it exists.
	Issuer string `json:"issuer,omitempty"`
	// Version counts the changes of the record, from 1 on. Storages compare it when they update.
	Version int64      `json:"version"`
	Origin  Registrant `json:"origin"` // Origin says who registered the client

	// StatementIssuer is who made the software statement that the client registered with; empty without one.
	StatementIssuer  string   `json:"statement_issuer,omitempty"`
	StatementMembers []string `json:"statement_members,omitempty"` // StatementMembers are what it holds: "redirect_uris"

	CreatedAt time.Time `json:"created_at"` // CreatedAt is the time of registration
	UpdatedAt time.Time `json:"updated_at"` // UpdatedAt is the time of the last update
	// LastUsedAt is when the client last got a token; zero means never. It is exact to a minute.
	LastUsedAt  time.Time `json:"last_used_at,omitzero"`
	KeepUntil   time.Time `json:"keep_until,omitzero"`   // KeepUntil is when its last refresh token expires
	UnusedUntil time.Time `json:"unused_until,omitzero"` // UnusedUntil is when it expires if never used; zero means never
	ExpiresAt   time.Time `json:"expires_at,omitzero"`   // ExpiresAt is when it expires; zero means never

	// SecretHash is the hash of the client secret, as the fosite.Hasher made it; empty where there is none.
	SecretHash      []byte          `json:"secret_hash,omitempty"`
	SecretExpiresAt time.Time       `json:"secret_expires_at,omitzero"` // SecretExpiresAt is when it ends; zero means never
	RotatedSecrets  []RotatedSecret `json:"rotated_secrets,omitempty"`  // RotatedSecrets still authenticate for a while

	RegistrationToken RegistrationTokenRecord `json:"registration_token,omitzero"` // RegistrationToken manages the client
	// PreviousRegistrationToken is the one before, while it may still be used (RegistrationToken.Grace).
	PreviousRegistrationToken RegistrationTokenRecord `json:"previous_registration_token,omitzero"`

	// Audience holds audiences that the application gave this client besides Config.Authorization.Audience,
	// which the provider shows with it and which is not kept here.
	Audience []string `json:"audience,omitempty"`
	// GrantsRevoked counts the beginnings and ends of removals of all grants of a client that stays, so that a token
	// request which was under way then gets nothing. While it is odd the client gets no tokens.
	GrantsRevoked    int64 `json:"grants_revoked,omitempty"`
	AlwaysAskConsent bool  `json:"always_ask_consent,omitempty"` // AlwaysAskConsent is what a policy decided (consent.Needed)
	RequirePKCE      bool  `json:"require_pkce,omitempty"`       // RequirePKCE is what a policy decided of a confidential client
	// Shared says that it answers registrations with the same metadata (Config.Registration.ShareIdentical).
	Shared   bool           `json:"shared,omitempty"`
	Metadata ClientMetadata `json:"metadata"` // Metadata is what the client registered

	view view
}

// view is what one request sees in a copy of the record. It is never stored.
type view struct {
	now           func() time.Time
	redirectURIs  func() []string // instead of the registered ones
	pushed        bool            // the request came through the PAR endpoint
	secretMethod  string          // instead of the registered one
	entry         *fosite.Request // of the registration access token that was made for it, without its client yet
	responseModes []fosite.ResponseModeType
}

// RotatedSecret is an earlier client secret that still authenticates until ExpiresAt.
type RotatedSecret struct {
	Hash      []byte    `json:"hash"`       // Hash is that of the secret
	ExpiresAt time.Time `json:"expires_at"` // ExpiresAt is when the secret ceases to authenticate
}

// String says when the secret ends, and nothing of it.
func (s RotatedSecret) String() string {
	return "dcr.RotatedSecret(until " + s.ExpiresAt.Format(time.RFC3339) + ")"
}

// Format prints String, whatever the verb.
func (s RotatedSecret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is String.
func (s RotatedSecret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// RegistrationTokenRecord names a registration access token by its signature.
type RegistrationTokenRecord struct {
	// Signature is what the access token strategy signs the token with; the token can't be computed from
	// it.
	Signature string    `json:"signature"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // ExpiresAt is when it ceases to work; zero means never
}

// String says that there is a token, and nothing of it.
func (r RegistrationTokenRecord) String() string {
	if r.Signature == "" {
		return "dcr.RegistrationTokenRecord()"
	}
	return "dcr.RegistrationTokenRecord(...)"
}

// Format prints String, whatever the verb.
func (r RegistrationTokenRecord) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// LogValue is String.
func (r RegistrationTokenRecord) LogValue() slog.Value { return slog.StringValue(r.String()) }

// Registrant is who registers a client. It is kept with the client (Client.Origin), and bounds its later
// updates too.
type Registrant struct {
	// Kind names the access rule that let the registration pass: KindOpen, KindAccessToken, KindSignedIn,
	// KindInitialAccessToken, or what a rule of the application calls itself.
	Kind     string `json:"kind,omitempty"`
	Subject  string `json:"subject,omitempty"`   // Subject is the user or service who registers, where known
	ClientID string `json:"client_id,omitempty"` // ClientID is the client whose access token it presents
	// InitialAccessToken is the identifier of the initial access token that the registrant came with. One
	// use of it is counted with the registration.
	InitialAccessToken string `json:"initial_access_token,omitempty"`
	// Anonymous says that nobody vouches for the registrant, as for one without Kind, Subject, ClientID and
	// InitialAccessToken. Such clients get grants with a user, and Config.Metadata.AnonymousGrantTypes.
	Anonymous bool `json:"anonymous,omitempty"`
	// GrantTypes bounds what the registrant may register; nil means everything that the provider has.
	GrantTypes []string `json:"grant_types,omitzero"`
	// Policy names one of Config.NamedPolicies that the registrant has to pass before all others, with
	// later updates too.
	Policy string `json:"policy,omitempty"`
}

// isAnonymous: a rule that says nothing of the registrant vouches for nobody (T64).
func (r *Registrant) isAnonymous() bool {
	return r.Anonymous || r.Kind == "" && r.Subject == "" && r.ClientID == "" && r.InitialAccessToken == ""
}

// signsIn: accounts are cheap where everybody may have one, so these registrants have defaults, too (T67).
func (r *Registrant) signsIn() bool { return r.Kind == KindSignedIn || r.Kind == KindAccessToken }

// What the built-in rules call themselves.
const (
	KindOpen               = "open"                 // Open
	KindAccessToken        = "access_token"         // AccessToken
	KindSignedIn           = "signed_in"            // SignedIn
	KindInitialAccessToken = "initial_access_token" // InitialAccessTokens
	KindDocument           = "document"             // not registered: Config.Documents has it; ClientID is the URL
)

// InitialAccessToken is the record of an initial access token (RFC 7591, section 1.2) that the application
// minted: for a developer, a partner, a batch of devices. It holds a hash, never the token.
type InitialAccessToken struct {
	ID   string `json:"id"`   // ID names the token for the application; it is no secret
	Hash []byte `json:"hash"` // Hash is that of the token
	// Issuer is the issuer under which the token was minted, and under which alone it works.
	Issuer string `json:"issuer,omitempty"`
	Label  string `json:"label,omitempty"` // Label is a note of the application
	// Subject is kept with the clients that the token registers (Client.Origin).
	Subject string `json:"subject,omitempty"`
	// Policy names one of Config.NamedPolicies, which binds these clients and their updates; empty means none.
	Policy string `json:"policy,omitempty"`
	// GrantTypes bounds what these clients may register; nil means everything that the provider has.
	GrantTypes []string `json:"grant_types,omitzero"`

	CreatedAt time.Time `json:"created_at"`          // CreatedAt is when the token was minted
	ExpiresAt time.Time `json:"expires_at,omitzero"` // ExpiresAt is when it ceases to work; zero means never
	// MaxUses is how many clients the token may register; 0 means any number.
	MaxUses int `json:"max_uses,omitempty"`
	Uses    int `json:"uses,omitempty"` // Uses is how many it has registered
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

func (t *InitialAccessToken) clone() *InitialAccessToken {
	c := *t
	c.Hash, c.GrantTypes = slices.Clone(t.Hash), slices.Clone(t.GrantTypes)
	return &c
}

// newClient is the one conversion from what a client says to what the server keeps.
func newClient(id, issuer string, who *Registrant, m ClientMetadata, now time.Time) *Client {
	// Storages order by it: no monotonic clock, and no more than the columns of databases hold.
	now = now.Round(0).Truncate(time.Microsecond)
	return &Client{
		ID: id, Issuer: issuer, Version: 1, Origin: *who, CreatedAt: now, UpdatedAt: now, Metadata: m,
		AlwaysAskConsent: m.decision.alwaysAskConsent, RequirePKCE: m.decision.requirePKCE,
		StatementIssuer: m.statementIssuer, StatementMembers: m.statementMembers,
	}
}

var (
	_ fosite.Client                   = (*Client)(nil)
	_ fosite.OpenIDConnectClient      = (*Client)(nil)
	_ fosite.ResponseModeClient       = (*Client)(nil)
	_ fosite.ClientWithSecretRotation = (*Client)(nil)
)

// recordHolder is a *Client, or a type of the application that embeds one and so has its methods.
type recordHolder interface{ record() *Client }

func (c *Client) record() *Client { return c }

// RegisteredClient returns the record of a client that was registered through this package, or what a document is resolved
// to, and false for a static client. A storage may return the record in a type that embeds *Client.
func RegisteredClient(client fosite.Client) (*Client, bool) {
	holder, ok := client.(recordHolder)
	if !ok {
		return nil, false
	}
	record := holder.record()
	return record, record != nil
}

// IsDynamic reports whether a client is one that RegisteredClient returns, as opposed to a static client.
func IsDynamic(client fosite.Client) bool {
	_, ok := RegisteredClient(client)
	return ok
}

// GetID returns the client identifier.
func (c *Client) GetID() string { return c.ID }

// GetHashedSecret returns the hash of the client secret, or nothing where the client has none or it has
// expired.
func (c *Client) GetHashedSecret() []byte {
	if !c.hasSecret() || c.past(c.SecretExpiresAt) {
		return nil
	}
	return c.SecretHash
}

// GetRotatedHashes returns hashes of earlier secrets that still authenticate.
func (c *Client) GetRotatedHashes() [][]byte {
	if !c.hasSecret() {
		return nil
	}
	var hashes [][]byte
	for _, s := range c.RotatedSecrets {
		if len(s.Hash) > 0 && !c.past(s.ExpiresAt) {
			hashes = append(hashes, s.Hash)
		}
	}
	return hashes
}

// GetRedirectURIs returns the registered redirect URIs. A client that came from the provider in the course
// of one authorization request shows just the one that this request names, or none.
func (c *Client) GetRedirectURIs() []string {
	if c.view.redirectURIs != nil {
		return c.view.redirectURIs()
	}
	return c.Metadata.RedirectURIs
}

// RedirectHosts returns the hosts of the registered redirect URIs in lower case, without ports and
// repetitions, for storages to find clients by (ClientFilter.RedirectHost).
func (c *Client) RedirectHosts() []string {
	var hosts []string
	for _, raw := range c.Metadata.RedirectURIs {
		if u, err := url.Parse(raw); err == nil && u.Hostname() != "" {
			hosts = append(hosts, strings.ToLower(u.Hostname()))
		}
	}
	return members.WithoutRepeats(hosts)
}

// GetGrantTypes returns the registered grant types.
func (c *Client) GetGrantTypes() fosite.Arguments { return c.Metadata.GrantTypes }

// GetResponseTypes returns the registered response types. A client without can't ask for authorization.
func (c *Client) GetResponseTypes() fosite.Arguments { return c.Metadata.ResponseTypes }

// GetScopes returns the registered scopes.
func (c *Client) GetScopes() fosite.Arguments { return strings.Fields(c.Metadata.Scope) }

// IsPublic reports whether the client authenticates with nothing ("none").
func (c *Client) IsPublic() bool { return c.Metadata.TokenEndpointAuthMethod == capability.MethodNone }

// GetAudience returns the audiences that the application allows the client.
func (c *Client) GetAudience() fosite.Arguments { return c.Audience }

// GetRequestURIs returns the registered URLs of request objects.
func (c *Client) GetRequestURIs() []string {
	if c.Metadata.OpenID == nil {
		return nil
	}
	return c.Metadata.OpenID.RequestURIs
}

// GetJSONWebKeys returns the keys that were registered by value. A key without "use" is shown as a
// signature key, since fosite considers no others.
func (c *Client) GetJSONWebKeys() *jose.JSONWebKeySet {
	if c.Metadata.JWKS == nil {
		return nil
	}
	return keyset.ForSignatures(c.Metadata.JWKS)
}

// GetJSONWebKeysURI returns the URL of the client's keys.
func (c *Client) GetJSONWebKeysURI() string {
	return strings.Clone(c.Metadata.JWKSURI) // it is remembered for longer than the record, of which it may be part
}

// GetRequestObjectSigningAlgorithm returns the registered algorithm of request objects. Nothing means any
// that fits a registered key.
func (c *Client) GetRequestObjectSigningAlgorithm() string {
	if c.Metadata.OpenID == nil {
		return ""
	}
	return c.Metadata.OpenID.RequestObjectSigningAlg
}

// GetTokenEndpointAuthMethod returns the registered authentication method, or the one that a request may use
// instead (Authorization.AllowOtherSecretMethod).
func (c *Client) GetTokenEndpointAuthMethod() string {
	return cmp.Or(c.view.secretMethod, c.Metadata.TokenEndpointAuthMethod)
}

// GetTokenEndpointAuthSigningAlgorithm returns the registered algorithm of client assertions. Where none was,
// any is right for Provider.ClientAuthentication, and this is the one that fits the first key.
func (c *Client) GetTokenEndpointAuthSigningAlgorithm() string {
	if alg := c.Metadata.TokenEndpointAuthSigningAlg; alg != "" {
		return alg
	}
	if c.Metadata.JWKS != nil {
		for _, key := range c.Metadata.JWKS.Keys {
			if algs := keyset.Algorithms(key); len(algs) > 0 {
				return algs[0]
			}
		}
	}
	return string(jose.RS256)
}

// GetResponseModes returns the registered response modes, or all that the provider has where none was
// registered: fosite refuses every mode to a client without a list.
func (c *Client) GetResponseModes() []fosite.ResponseModeType {
	if m := c.Metadata.Companion; m != nil && len(m.ResponseModes) > 0 {
		modes := make([]fosite.ResponseModeType, len(m.ResponseModes))
		for i, mode := range m.ResponseModes {
			modes[i] = fosite.ResponseModeType(mode)
		}
		return modes
	}
	if c.view.responseModes != nil {
		return c.view.responseModes
	}
	return []fosite.ResponseModeType{
		fosite.ResponseModeQuery, fosite.ResponseModeFragment, fosite.ResponseModeFormPost,
	}
}

// String shows the identifier alone: no hash or signature reaches a log.
func (c Client) String() string { return "dcr.Client(" + c.ID + ")" }

// Format prints String, whatever the verb.
func (c Client) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue shows the identifier and nothing else.
func (c Client) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Clone returns a deep copy, for storages that keep records in memory.
func (c *Client) Clone() *Client {
	d := *c
	d.view = view{}
	d.SecretHash = slices.Clone(c.SecretHash)
	d.RotatedSecrets = slices.Clone(c.RotatedSecrets)
	for i := range d.RotatedSecrets {
		d.RotatedSecrets[i].Hash = slices.Clone(d.RotatedSecrets[i].Hash)
	}
	d.Origin.GrantTypes = slices.Clone(c.Origin.GrantTypes)
	d.Audience, d.StatementMembers = slices.Clone(c.Audience), slices.Clone(c.StatementMembers)
	d.Metadata = c.Metadata.Clone()
	return &d
}

func (c *Client) hasSecret() bool {
	return len(c.SecretHash) > 0 && capability.UsesSecret(c.Metadata.TokenEndpointAuthMethod)
}

func (c *Client) past(t time.Time) bool {
	if t.IsZero() {
		return false
	}
	now := time.Now
	if c.view.now != nil {
		now = c.view.now
	}
	return !now().Before(t)
}

// tokenRecord returns the record with this signature, the current one or the one before; an empty one where
// the client has neither.
func (c *Client) tokenRecord(signature string) RegistrationTokenRecord {
	var found RegistrationTokenRecord
	for _, record := range []RegistrationTokenRecord{c.RegistrationToken, c.PreviousRegistrationToken} {
		if record.Signature != "" && subtle.ConstantTimeCompare([]byte(record.Signature), []byte(signature)) == 1 {
			found = record
		}
	}
	return found
}

// tokenRecords are the records of the client's registration access tokens.
func (c *Client) tokenRecords() []RegistrationTokenRecord {
	return members.Keep([]RegistrationTokenRecord{c.RegistrationToken, c.PreviousRegistrationToken}, func(record RegistrationTokenRecord) bool {
		return record.Signature != ""
	})
}

// requiresPush: a request counts as pushed where the provider's Store says so. The form can't be trusted: a
// request object can put a request_uri into it (T58).
func (c *Client) requiresPush() bool {
	m := c.Metadata.Companion
	return m != nil && m.RequirePushedAuthorizationRequests != nil && *m.RequirePushedAuthorizationRequests
}

// isURL reports whether an identifier can be that of a document.
func isURL(id string) bool {
	return strings.HasPrefix(id, "https://") || strings.HasPrefix(id, "http://")
}

// isDocument reports whether a client has a document, and so no record in a storage.
func (c *Client) isDocument() bool { return c.Origin.Kind == KindDocument }

// sameRegistration reports whether two clients were registered alike.
func (c *Client) sameRegistration(d *Client) bool {
	ours, _ := c.Metadata.MarshalJSON()
	theirs, _ := d.Metadata.MarshalJSON()
	return bytes.Equal(ours, theirs)
}

// needsPKCE: public clients, and those of which a policy wants it.
func (c *Client) needsPKCE() bool { return c.IsPublic() || c.RequirePKCE }
