package dcr

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/ratelimit"
)

// Access decides who may register. It sees the request before its body is read.
// It returns who asks, or an error: ErrMissingToken and ErrInvalidToken (401), ErrInsufficientScope and
// ErrAccessDenied (403), any *fosite.RFC6749Error of its own, or another error for a failure (500). Nobody
// and no error is a refusal, too. It must be safe for many goroutines.
type Access interface {
	// Authorize returns who registers, or an error.
	Authorize(ctx context.Context, r *http.Request) (*Registrant, error)
}

// AccessFunc is a function as an access rule.
type AccessFunc func(ctx context.Context, r *http.Request) (*Registrant, error)

// Authorize calls the function.
func (f AccessFunc) Authorize(ctx context.Context, r *http.Request) (*Registrant, error) {
	return f(ctx, r)
}

// Open lets everybody register. Clients register by the thousand then; see
// Config.Metadata.AnonymousGrantTypes for what they can't have.
func Open() Access { return open{} }

type open struct{}

func (open) Authorize(context.Context, *http.Request) (*Registrant, error) {
	return &Registrant{Kind: KindOpen, Anonymous: true}, nil
}

// lookups is what built-in rules look tokens up with. It exists only after rules were configured, and a
// rule of the application may call built-in ones, so it comes with the context.
type lookups struct {
	introspect func(ctx context.Context, token string) (fosite.TokenUse, fosite.AccessRequester, error)
	// checkIssuer refuses the access token of another issuer.
	checkIssuer func(ctx context.Context, request fosite.AccessRequester) error
	initial     *initialTokens
	scope       string // Config.Registration.Scope
}

type lookupsKey struct{}

var errOutside = errors.New("dcr: a built-in access rule was called outside of a registration")

func lookupsOf(ctx context.Context) (*lookups, error) {
	l, ok := ctx.Value(lookupsKey{}).(*lookups)
	if !ok {
		return nil, failure(errOutside)
	}
	return l, nil
}

// AccessToken lets those register who present an OAuth access token of this server with the scope
// Config.Registration.Scope, compared literally. It is the default, and here to be combined with others. A
// refresh token, an authorization code or an ID token is no access token. A session tells its issuer by a
// method GetIssuer() string, or in the claims of its ID token; the token of another issuer does not register.
func AccessToken() Access { return accessToken{} }

type accessToken struct{}

func (accessToken) Authorize(ctx context.Context, r *http.Request) (*Registrant, error) {
	token, err := BearerToken(r)
	if err != nil {
		return nil, err
	}
	server, err := lookupsOf(ctx)
	if err != nil {
		return nil, err
	}
	use, request, err := server.introspect(ctx, token)
	if err != nil {
		return nil, firstOf(asFault(err), ErrInvalidToken.WithDebug("The token is no active token of this server."))
	}
	if use != fosite.AccessToken || request.GetClient() == nil || isIDToken(token) {
		return nil, ErrInvalidToken.WithDebug("The token is no access token.")
	}
	if err := server.checkIssuer(ctx, request); err != nil {
		return nil, err
	}
	if !slices.Contains(request.GetGrantedScopes(), server.scope) {
		return nil, ErrInsufficientScope
	}
	registrant := &Registrant{Kind: KindAccessToken, ClientID: request.GetClient().GetID()}
	if session := request.GetSession(); session != nil {
		registrant.Subject = session.GetSubject()
	}
	return registrant, nil
}

// isIDToken recognises an ID token, which a stateless validator takes for an access token since one key
// signs both, by claims that only ID tokens have (OpenID Connect Core 1.0, sections 2, 3.1.3.6 and
// 3.3.2.11).
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

// InitialAccessTokens lets those register who present an initial access token (RFC 7591, section
// 1.2) that was minted with Provider.MintInitialAccessToken. A use is counted when the client is
// created: what is refused for its metadata costs none. The storage has to implement InitialAccessTokenStorage.
func InitialAccessTokens() Access { return initialAccess{} }

type initialAccess struct{}

func (initialAccess) Authorize(ctx context.Context, r *http.Request) (*Registrant, error) {
	presented, err := BearerToken(r)
	if err != nil {
		return nil, err
	}
	server, err := lookupsOf(ctx)
	if err != nil {
		return nil, err
	}
	token, err := server.initial.find(ctx, presented)
	if err != nil {
		return nil, err
	}
	return &Registrant{
		Kind: KindInitialAccessToken, Subject: token.Subject, InitialAccessToken: token.ID,
		Policy: token.Policy, GrantTypes: token.GrantTypes,
	}, nil
}

// SignedIn lets users of the application register. The function returns who is signed in, by a cookie of
// the application or otherwise, and an empty string where nobody is.
// A cookie alone would let any page on the web register clients in the name of whoever has it open, so a
// request that a browser sends from another origin is refused (net/http.CrossOriginProtection). Origins
// that may are added to the protection that is given here; nil means none.
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

// AnyOf lets those register whom one of the rules lets, asked in order; the first that does counts. Where
// none does, the answer is that of the first rule that did not just miss a token. A rule that fails ends
// the search. Without rules nobody registers.
// Open comes last, or what stands behind it is never asked. It lets in who came with nothing: a token or a
// user whom an earlier rule has refused is not taken for anonymous.
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
		if _, everybody := rule.(open); everybody && answer != nil && !isMissingToken(answer) {
			continue
		}
		registrant, err := rule.Authorize(ctx, r)
		if err == nil && registrant == nil {
			err = ErrAccessDenied // as admission has it
		}
		switch {
		case err == nil:
			return registrant, nil
		case answerOf(err).CodeField >= 500:
			return nil, err
		case answer == nil || isMissingToken(answer):
			answer = err
		}
	}
	return nil, answer
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

// admission decides who may register, how often and how many clients.
type admission struct {
	rule    Access
	lookups *lookups
	limits  Limits
	lister  ClientLister // nil where the storage can't count
}

// defaultPerCaller lets a whole office behind one address set up its clients, and keeps a program from
// filling a storage.
var defaultPerCaller = Rate{Count: 60, Per: time.Minute}

// defaultPerSubject is what a user has clients for, with room to spare.
const defaultPerSubject = 100

// callerOf returns who sent a request.
func (a *admission) callerOf(r *http.Request) caller {
	return caller{
		address:  ratelimit.Caller(r, a.limits.TrustedProxies),
		began:    time.Now(),
		prefixes: [2]int{a.limits.Rate.IPv4Prefix, a.limits.Rate.IPv6Prefix},
		unheeded: len(a.limits.TrustedProxies) == 0 && r.Header.Get("X-Forwarded-For") != "",
	}
}

// admit asks the access rule within the limits:
//
//   - A limit for each caller that the application has set counts before the rule is asked.
//   - The default limit counts after it, for anonymous registrants, for those who sign in, and for callers that the
//     rule refuses.
//   - The limit of all callers together counts last, so that one caller can't use it up alone.
func (a *admission) admit(ctx context.Context, r *http.Request, from caller) (*Registrant, error) {
	rate := &a.limits.Rate
	byDefault := rate.PerCaller.Count == 0
	if !byDefault {
		if err := a.take(ctx, "caller:", from, rate.PerCaller); err != nil {
			return nil, err
		}
		if err := a.takeTotal(ctx); err != nil {
			return nil, err
		}
	}
	registrant, refusal := a.ask(ctx, r)
	if !byDefault {
		return registrant, refusal
	}
	if refusal != nil || registrant.isAnonymous() || registrant.signsIn() {
		if err := a.take(ctx, "caller:", from, defaultPerCaller); err != nil {
			return registrant, err
		}
	}
	if err := a.takeTotal(ctx); err != nil {
		return registrant, err
	}
	return registrant, refusal
}

// ask asks the rule. One that says neither yes nor no has said no.
func (a *admission) ask(ctx context.Context, r *http.Request) (*Registrant, error) {
	registrant, err := a.rule.Authorize(context.WithValue(ctx, lookupsKey{}, a.lookups), r)
	switch {
	case err != nil:
		var known *fosite.RFC6749Error
		if errors.As(err, &known) {
			return nil, err
		}
		return nil, failure(err)
	case registrant == nil:
		return nil, ErrAccessDenied.WithDebug("Config.Access returned neither a registrant nor an error.")
	}
	known := *registrant
	known.Anonymous = registrant.isAnonymous()
	return &known, nil
}

// limitUpdate bounds updates as registrations are, each by itself: they cost as much, and may have the
// server fetch what the client points at.
func (a *admission) limitUpdate(ctx context.Context, client *Client, from caller) error {
	bound := a.limits.Rate.PerCaller
	if bound.Count == 0 && (client.Origin.isAnonymous() || client.Origin.signsIn()) {
		bound = defaultPerCaller
	}
	return a.take(ctx, "update:", from, bound)
}

func (a *admission) take(ctx context.Context, kind string, from caller, bound Rate) error {
	if !bound.bounds() {
		return nil
	}
	key := ratelimit.Network(kind, from.address, a.limits.Rate.IPv4Prefix, a.limits.Rate.IPv6Prefix)
	answer := ErrTooManyRequests
	if from.unheeded { // for the operator, from reads the event: a proxy that is taken for one caller
		answer = answer.WithDebug("The peer sent X-Forwarded-For. If it is a proxy of yours, name it in Config.Limits.TrustedProxies, or all behind it are one caller.")
	}
	return a.takeKey(ctx, key, bound, answer)
}

func (a *admission) takeTotal(ctx context.Context) error {
	return a.takeKey(ctx, "total", a.limits.Rate.Total, ErrTooManyRequests)
}

func (a *admission) takeKey(ctx context.Context, key string, bound Rate, answer *fosite.RFC6749Error) error {
	if !bound.bounds() {
		return nil
	}
	wait, err := a.limits.Rate.Limiter.Take(ctx, key, bound)
	switch {
	case err != nil:
		return failure(err)
	case wait > 0:
		return &problem{answer: answer, wait: wait}
	}
	return nil
}

// checkQuotas refuses a registrant who would have more clients than allowed, with more to come. It is asked
// before a client is created, and afterwards again, when the client itself counts: registrations at once
// don't pass a quota together.
func (a *admission) checkQuotas(ctx context.Context, who *Registrant, issuer string, more int) error {
	quotas := a.limits.Quotas
	if quotas.PerSubject == 0 && who.signsIn() && a.lister != nil {
		quotas.PerSubject = defaultPerSubject
	}
	if quotas.PerSubject > 0 && who.Subject != "" {
		if err := a.within(ctx, quotas.PerSubject-more, ClientFilter{Issuer: issuer, Subject: who.Subject}); err != nil {
			return err
		}
	}
	if quotas.PerInitialAccessToken > 0 && who.InitialAccessToken != "" {
		return a.within(ctx, quotas.PerInitialAccessToken-more, ClientFilter{Issuer: issuer, InitialAccessToken: who.InitialAccessToken})
	}
	return nil
}

func (a *admission) within(ctx context.Context, most int, filter ClientFilter) error {
	found, err := a.lister.CountClients(ctx, filter, most+1)
	if err != nil {
		return failure(err)
	}
	if found > most {
		return ErrAccessDenied.WithDescription("The registrant has as many clients as this server allows.").WithWrap(errQuota)
	}
	return nil
}
