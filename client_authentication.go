package dcr

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/keyset"
	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// maxAssertionLifetime bounds how long an assertion is remembered: until its end.
	maxAssertionLifetime = 10 * time.Minute
	maxAssertionLength   = 16 << 10
	maxJTILength         = 256
	clockSkew            = 30 * time.Second
)

// ClientAuthentication is a fosite.ClientAuthenticationStrategy. The provider uses it
// without being asked, unless fosite's configuration has one of the host's own, which
// may call it.
//
// It runs fosite's own and mends what registration could have known. A client
// assertion (RFC 7523) may name as audience the issuer, the token endpoint
// (Config.RefuseTokenEndpointAudience), and at the PAR endpoint that endpoint; several
// audiences only if each is one of these. An omitted token_endpoint_auth_signing_alg
// means any supported algorithm that fits a registered key, with or without "use" and
// "kid". An assertion that ends more than ten minutes from now, or whose jti is longer
// than 256 characters, is refused before anything is stored, and a jti counts per
// client. Credentials in the query and two methods at once are refused. An empty hash
// never authenticates. A storage that fails is a server error.
func (p *Provider) ClientAuthentication(ctx context.Context, r *http.Request, form url.Values) (fosite.Client, error) {
	if err := oneMethod(r, form); err != nil {
		return nil, err
	}
	var client fosite.Client
	var err error
	if form.Get("client_assertion_type") == assertionType && form.Get("client_assertion") != "" {
		client, err = p.authenticateAssertion(ctx, r, form)
	} else {
		client, err = p.DefaultClientAuthenticationStrategy(ctx, r, form)
	}
	return client, translate(nil, err)
}

// oneMethod refuses credentials in the query, where logs and the Referer header carry
// them away (T40), and more than one method (RFC 6749, section 2.3).
func oneMethod(r *http.Request, form url.Values) error {
	if err := noQueryCredentials(r); err != nil {
		return err
	}
	methods := len(form["client_secret"])
	if methods == 1 && form.Get("client_secret") == "" {
		methods = 0
	}
	if form.Has("client_assertion") || form.Has("client_assertion_type") {
		methods += max(1, len(form["client_assertion"]))
	}
	basicID, _, basic := r.BasicAuth()
	if basic {
		methods++
	}
	if methods > 1 {
		return fosite.ErrInvalidRequest.WithHint("The client must not use more than one authentication method in a request.")
	}
	if id, err := url.QueryUnescape(basicID); basic && form.Get("client_id") != "" && (err != nil || id != form.Get("client_id")) {
		return fosite.ErrInvalidRequest.WithHint("The 'client_id' parameter is not the client of the Authorization header.")
	}
	return nil
}

func noQueryCredentials(r *http.Request) error {
	query := r.URL.Query()
	if query.Has("client_secret") || query.Has("client_assertion") {
		return fosite.ErrInvalidRequest.WithHint("Client credentials must not be sent in the query of the URL.")
	}
	return nil
}

// claimedClientID returns who a request says that it comes from.
func claimedClientID(r *http.Request) string {
	if id, _, ok := r.BasicAuth(); ok {
		unescaped, err := url.QueryUnescape(id)
		if err != nil {
			return ""
		}
		return unescaped
	}
	if id := r.PostForm.Get("client_id"); id != "" {
		return id
	}
	if parsed, err := parseAssertion(r.PostForm.Get("client_assertion")); err == nil {
		return parsed.claims.Subject
	}
	return ""
}

// assertion is a client assertion before its signature was checked.
type assertion struct {
	signed *jose.JSONWebSignature
	alg    string
	kid    string
	claims assertionClaims
}

type assertionClaims struct {
	Subject  string
	Audience audience
	Expiry   *unixTime
	ID       string
}

func (c *assertionClaims) decode(payload []byte) error {
	return decodeExactly(payload, map[string]any{"sub": &c.Subject, "aud": &c.Audience, "exp": &c.Expiry, "jti": &c.ID})
}

// decodeExactly reads claims by their exact names, and refuses duplicates. encoding/json
// would take "EXP" for "exp", and two readers would judge different tokens (T18).
func decodeExactly(payload []byte, into map[string]any) error {
	return strictjson.Object(payload, strictjson.Limits{}, func(name string, value strictjson.Value) error {
		if field, ok := into[name]; ok {
			return json.Unmarshal(value.Raw(), field)
		}
		return nil
	})
}

// audience is a string or an array of strings (RFC 7519, section 4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// unixTime is a NumericDate (RFC 7519, section 2).
type unixTime float64

func parseAssertion(raw string) (*assertion, error) {
	if raw == "" || len(raw) > maxAssertionLength {
		return nil, errors.New("the assertion is empty or too long")
	}
	signed, err := jose.ParseSigned(raw)
	if err != nil {
		return nil, err
	}
	if len(signed.Signatures) != 1 {
		return nil, errors.New("the assertion has not exactly one signature")
	}
	parsed := &assertion{signed: signed, alg: signed.Signatures[0].Header.Algorithm, kid: signed.Signatures[0].Header.KeyID}
	return parsed, parsed.claims.decode(signed.UnsafePayloadWithoutVerification())
}

// check judges what is said, before anything is looked up or stored.
func (a *assertion) check(now time.Time, audiences []string) error {
	c := a.claims
	switch {
	case c.Expiry == nil:
		return invalidAssertion("has no 'exp'")
	case float64(*c.Expiry) > float64(now.Add(maxAssertionLifetime+clockSkew).Unix()):
		return invalidAssertion("ends too far in the future")
	case c.ID == "" || len(c.ID) > maxJTILength:
		return invalidAssertion("has no 'jti', or one that is too long")
	case len(c.Audience) == 0:
		return invalidAssertion("has no 'aud'")
	}
	for _, aud := range c.Audience {
		if !slices.Contains(audiences, aud) {
			return invalidAssertion("has an 'aud' that is not this authorization server")
		}
	}
	return nil
}

func invalidAssertion(what string) error {
	return fosite.ErrInvalidClient.WithHint("The 'client_assertion' " + what + ".")
}

// authenticateAssertion runs fosite's own check with a view of storage and
// configuration that is made for this assertion.
func (p *Provider) authenticateAssertion(ctx context.Context, r *http.Request, form url.Values) (fosite.Client, error) {
	parsed, err := parseAssertion(form.Get("client_assertion"))
	if err != nil {
		return nil, fosite.ErrInvalidClient.WithHint("Unable to verify the integrity of the 'client_assertion' value.").WithWrap(err)
	}
	audiences := p.audiences(ctx)
	if err := parsed.check(p.registry.now(), audiences); err != nil {
		return nil, err
	}
	store := &assertionStore{Storage: p.Store, assertion: parsed}
	inner := &fosite.Fosite{Store: store, Config: &assertionConfig{
		Configurator: p.Config, audiences: audiences, assertion: parsed, store: store,
	}}
	client, err := inner.DefaultClientAuthenticationStrategy(ctx, r, form)
	switch {
	case err == nil:
		return client, nil
	case store.fault != nil:
		return nil, store.fault
	case asFault(err) != nil, errors.Is(err, fosite.ErrInvalidClient), errors.Is(err, fosite.ErrJTIKnown):
		return nil, err
	}
	// fosite has other names for some of what is wrong with an assertion (RFC 7521,
	// section 4.2.1).
	return nil, fosite.ErrInvalidClient.WithHint("The 'client_assertion' could not be verified.").WithWrap(err)
}

// parEndpoint marks the context of a request at the PAR endpoint.
type parEndpoint struct{}

func atPAREndpoint(ctx context.Context, r *http.Request) context.Context {
	return context.WithValue(ctx, parEndpoint{}, r)
}

// audiences are those that an assertion may be for, at the endpoint of this request.
func (p *Provider) audiences(ctx context.Context) []string {
	r := p.registry
	issuer := r.issuerOf(ctx)
	audiences := []string{issuer}
	if !r.cfg.RefuseTokenEndpointAudience {
		audiences = append(audiences, r.tokenURLs(ctx)...)
	}
	if request, ok := ctx.Value(parEndpoint{}).(*http.Request); ok {
		audiences = append(audiences, r.parEndpoint(ctx, issuer, request.URL.Path))
	}
	return slices.DeleteFunc(audiences, func(s string) bool { return s == "" })
}

func (r *registry) parEndpoint(ctx context.Context, issuer, path string) string {
	if r.cfg.PushedAuthorizationRequestEndpoint != nil {
		return r.cfg.PushedAuthorizationRequestEndpoint(ctx)
	}
	u, err := url.Parse(issuer)
	if err != nil || issuer == "" {
		return ""
	}
	return u.Scheme + "://" + u.Host + path
}

// assertionView is what a client shows for one assertion: the algorithm that it may
// use and the keys that may have signed it.
type assertionView struct {
	algorithm string
	keys      *jose.JSONWebKeySet
}

// assertionStore shows fosite the client with the keys that fit, counts a jti per
// client, and keeps the failure that fosite would turn into jti_known.
type assertionStore struct {
	fosite.Storage

	assertion *assertion
	clientID  string
	fault     error
}

func (s *assertionStore) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	found, err := s.Storage.GetClient(ctx, id)
	if err != nil {
		return nil, err
	}
	s.clientID = id
	client, ok := found.(*Client)
	if !ok {
		return found, nil
	}
	shown := &assertionView{algorithm: client.Metadata.TokenEndpointAuthSigningAlg}
	if shown.algorithm == "" && slices.Contains(keyset.SupportedAlgorithms(), s.assertion.alg) {
		shown.algorithm = s.assertion.alg
	}
	if client.Metadata.JWKS != nil {
		shown.keys = s.assertion.fittingKeys(client.Metadata.JWKS)
	}
	client.view.assertion = shown
	return client, nil
}

// maxTriedKeys bounds how many keys one assertion is tried against: a client that has
// more for one algorithm says by "kid" which (T13).
const maxTriedKeys = 4

// fittingKeys returns the keys that may have signed the assertion; of several the one
// that did, since fosite tries only the first.
func (a *assertion) fittingKeys(set *jose.JSONWebKeySet) *jose.JSONWebKeySet {
	keys := keyset.Select(set, a.alg, a.kid)
	if len(keys) > 1 {
		for _, key := range keys[:min(len(keys), maxTriedKeys)] {
			if _, err := a.signed.Verify(key.Key); err == nil {
				keys = []jose.JSONWebKey{key}
				break
			}
		}
	}
	return keyset.ForSignatures(&jose.JSONWebKeySet{Keys: keys})
}

func (s *assertionStore) ClientAssertionJWTValid(ctx context.Context, jti string) error {
	return s.note(s.Storage.ClientAssertionJWTValid(ctx, s.perClient(jti)))
}

func (s *assertionStore) SetClientAssertionJWT(ctx context.Context, jti string, exp time.Time) error {
	return s.note(s.Storage.SetClientAssertionJWT(ctx, s.perClient(jti), exp))
}

// note keeps a failure. That an assertion was used before is none.
func (s *assertionStore) note(err error) error {
	if err != nil && !errors.Is(err, fosite.ErrJTIKnown) {
		s.fault = failure(err)
		return s.fault
	}
	return err
}

// perClient keeps the assertions of one client from those of another, in a key of
// bounded length.
func (s *assertionStore) perClient(jti string) string {
	sum := sha256.Sum256([]byte(s.clientID + "\x00" + jti))
	return "dcr." + base64.RawURLEncoding.EncodeToString(sum[:])
}

// assertionConfig shows fosite the right audiences, and the keys at a jwks_uri that
// fit.
type assertionConfig struct {
	fosite.Configurator

	audiences []string
	assertion *assertion
	store     *assertionStore
}

func (c *assertionConfig) GetTokenURLs(context.Context) []string { return c.audiences }

func (c *assertionConfig) GetJWKSFetcherStrategy(context.Context) fosite.JWKSFetcherStrategy {
	return c
}

// Resolve fetches keys. A host of keys that is down says nothing about the client.
func (c *assertionConfig) Resolve(ctx context.Context, location string, ignoreCache bool) (*jose.JSONWebKeySet, error) {
	set, err := c.Configurator.GetJWKSFetcherStrategy(ctx).Resolve(ctx, location, ignoreCache)
	if err != nil {
		c.store.fault = failure(errors.Join(ErrUnavailable, err))
		return nil, c.store.fault
	}
	return c.assertion.fittingKeys(set), nil
}
