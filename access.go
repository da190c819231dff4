package dcr

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/ory/fosite"
)

// Access decides who may register. It sees the request before its body is read.
//
// It returns who asks, or an error: ErrMissingToken and ErrInvalidToken (401),
// ErrInsufficientScope and ErrAccessDenied (403), any *fosite.RFC6749Error of its
// own, or another error for a failure (500). Nobody and no error is a refusal, too.
// It must be safe for many goroutines.
type Access interface {
	Authorize(ctx context.Context, r *http.Request) (*Registrant, error)
}

// AccessFunc is a function as an access rule.
type AccessFunc func(ctx context.Context, r *http.Request) (*Registrant, error)

// Authorize calls the function.
func (f AccessFunc) Authorize(ctx context.Context, r *http.Request) (*Registrant, error) {
	return f(ctx, r)
}

// Registrant is who registers a client. It is kept with the client (Client.Origin),
// and bounds its later updates too.
type Registrant struct {
	// Kind names the access rule that let the registration pass: KindOpen, KindAccessToken,
	// KindSignedIn, KindInitialAccessToken, or what a rule of the host's calls itself.
	Kind string `json:"kind,omitempty"`
	// Subject is the user or service who registers, where known.
	Subject string `json:"subject,omitempty"`
	// ClientID is the client whose access token allows the registration.
	ClientID string `json:"client_id,omitempty"`
	// InitialAccessToken is the identifier of the initial access token that the registrant
	// came with. One use of it is counted with the registration.
	InitialAccessToken string `json:"initial_access_token,omitempty"`
	// Anonymous says that nobody vouches for the registrant. Such clients get grants
	// in which a user takes part, and those of Config.AnonymousGrantTypes.
	Anonymous bool `json:"anonymous,omitempty"`
	// GrantTypes bounds what the registrant may register; nil means everything that
	// the provider has.
	GrantTypes []string `json:"grant_types,omitzero"`
	// Policy names one of Config.NamedPolicies that the registrant has to pass before all
	// others, with later updates too.
	Policy string `json:"policy,omitempty"`
}

// What the built-in rules call themselves.
const (
	KindOpen               = "open"
	KindAccessToken        = "access_token"
	KindSignedIn           = "signed_in"
	KindInitialAccessToken = "initial_access_token"
)

// introspect looks an access token up, as the provider's introspection does.
type introspect func(ctx context.Context, token string) (fosite.TokenUse, fosite.AccessRequester, error)

// binding is what built-in rules need of the provider, which exists only after they were
// configured. It comes with the context, so that a rule of the host's may call them.
type binding struct {
	look     introspect
	registry *registry
}

type bindingKey struct{}

var errUnbound = errors.New("dcr: a built-in access rule was called outside of a registration")

func boundTo(ctx context.Context) (binding, error) {
	b, ok := ctx.Value(bindingKey{}).(binding)
	if !ok {
		return b, failure(errUnbound)
	}
	return b, nil
}

// Open lets everybody register. Clients register by the thousand then; see
// Config.AnonymousGrantTypes for what they can't have.
func Open() Access { return open{} }

type open struct{}

func (open) Authorize(context.Context, *http.Request) (*Registrant, error) {
	return &Registrant{Kind: KindOpen, Anonymous: true}, nil
}

// AccessToken lets those register who present an OAuth access token of this server
// with the scope Config.RegistrationScope, compared literally. It is the default,
// and here to be combined with others. A refresh token, an authorization code or an
// ID token is no access token.
func AccessToken() Access { return accessToken{} }

type accessToken struct{}

func (accessToken) Authorize(ctx context.Context, r *http.Request) (*Registrant, error) {
	token, err := BearerToken(r)
	if err != nil {
		return nil, err
	}
	bound, err := boundTo(ctx)
	if err != nil {
		return nil, err
	}
	use, request, err := bound.look(ctx, token)
	if err != nil {
		if f := asFault(err); f != nil {
			return nil, f
		}
		return nil, ErrInvalidToken
	}
	if use != fosite.AccessToken || isIDToken(token) {
		return nil, ErrInvalidToken
	}
	if !slices.Contains(request.GetGrantedScopes(), bound.registry.cfg.RegistrationScope) {
		return nil, ErrInsufficientScope
	}
	registrant := &Registrant{Kind: KindAccessToken, ClientID: request.GetClient().GetID()}
	if session := request.GetSession(); session != nil {
		registrant.Subject = session.GetSubject()
	}
	return registrant, nil
}

// isIDToken tells an ID token, which a stateless validator takes for an access token
// since one key signs both, by claims that only ID tokens have (OpenID Connect Core 1.0,
// sections 2, 3.1.3.6 and 3.3.2.11).
func isIDToken(token string) bool {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct {
		AccessTokenHash string `json:"at_hash"`
		CodeHash        string `json:"c_hash"`
		Nonce           string `json:"nonce"`
	}
	if err != nil || json.Unmarshal(payload, &claims) != nil {
		return false
	}
	return claims.AccessTokenHash != "" || claims.CodeHash != "" || claims.Nonce != ""
}

// SignedIn lets users of the host register. The function returns who is signed in,
// by the host's own cookie or otherwise, and an empty string for nobody.
//
// A cookie alone would let any page on the web register clients in the name of
// whoever visits it, so a request that a browser sends from another origin is
// refused (net/http.CrossOriginProtection). Origins that may are added to the
// protection that is given here; nil means none.
func SignedIn(user func(r *http.Request) (subject string, err error), protection *http.CrossOriginProtection) Access {
	if protection == nil {
		protection = http.NewCrossOriginProtection()
	}
	if user == nil {
		return AccessFunc(nil) // Extend says so
	}
	return AccessFunc(func(_ context.Context, r *http.Request) (*Registrant, error) {
		subject, err := user(r)
		if err != nil {
			return nil, err
		}
		if subject == "" {
			return nil, ErrMissingToken.WithDescription("The request needs a signed-in user.")
		}
		if err := protection.Check(r); err != nil {
			return nil, ErrAccessDenied.WithDescription("The request comes from another origin.").WithWrap(err)
		}
		return &Registrant{Kind: KindSignedIn, Subject: subject}, nil
	})
}

// AnyOf lets those register whom one of the rules lets, asked in order; the first that does
// counts. Where none does, the answer is that of the first rule that did not just miss a
// token. A rule that fails ends the search. Without rules nobody registers.
//
// Open comes last, or what stands behind it is never asked. It lets in who came with
// nothing: a token or a user whom an earlier rule has refused is not taken for a stranger.
func AnyOf(rules ...Access) Access {
	var flat anyOf
	for _, rule := range rules {
		if inside, ok := rule.(anyOf); ok {
			flat = append(flat, inside...)
		} else {
			flat = append(flat, rule)
		}
	}
	return flat
}

type anyOf []Access

func (a anyOf) Authorize(ctx context.Context, r *http.Request) (*Registrant, error) {
	var answer error
	for _, rule := range a {
		if _, stranger := rule.(open); stranger && answer != nil && !isMissingToken(answer) {
			continue
		}
		registrant, err := rule.Authorize(ctx, r)
		if err == nil && registrant == nil {
			err = ErrAccessDenied // as askRule has it
		}
		switch {
		case err == nil:
			return registrant, nil
		case protocolError(err).CodeField >= 500:
			return nil, err
		case answer == nil || isMissingToken(answer):
			answer = err
		}
	}
	return nil, answer
}

// authorize asks the rule of the configuration, within the limits.
func (r *registry) authorize(ctx context.Context, request *http.Request) (*Registrant, error) {
	return r.limited(ctx, func() (*Registrant, error) {
		registrant, err := r.askRule(ctx, request)
		if v := visitOf(ctx); v != nil {
			v.registrant = registrant
		}
		return registrant, err
	})
}

// askRule asks the rule. One that says neither yes nor no has said no.
func (r *registry) askRule(ctx context.Context, request *http.Request) (*Registrant, error) {
	ctx = context.WithValue(ctx, bindingKey{}, binding{r.look, r})
	registrant, err := r.cfg.Access.Authorize(ctx, request)
	switch {
	case err != nil:
		var known *fosite.RFC6749Error
		if errors.As(err, &known) {
			return nil, err
		}
		return nil, failure(err)
	case registrant == nil:
		return nil, ErrAccessDenied
	}
	return registrant, nil
}

// hasRule reports whether a rule, or one inside it, is of type R.
func hasRule[R Access](rule Access) bool {
	if outer, ok := rule.(anyOf); ok {
		return slices.ContainsFunc(outer, hasRule[R])
	}
	_, ok := rule.(R)
	return ok
}

// ruleProblems says what is wrong with a rule, or with one inside it.
func ruleProblems(rule Access) []error {
	function, isFunction := rule.(AccessFunc)
	if rule == nil || isFunction && function == nil {
		return []error{errors.New("Config.Access has a rule that is nil, or SignedIn without a function")}
	}
	var found []error
	rules, _ := rule.(anyOf)
	for i, inside := range rules {
		if _, everybody := inside.(open); everybody && i < len(rules)-1 {
			found = append(found, errors.New("Config.Access asks no rule behind dcr.Open(), which lets everybody in: put Open last"))
		}
		found = append(found, ruleProblems(inside)...)
	}
	return found
}
