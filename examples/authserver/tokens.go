package main

import (
	"errors"
	"net/http"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/token/jwt"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// session is what fosite keeps with a token: the claims of ID tokens, and what a JWT
// access token says.
type session struct {
	*openid.DefaultSession

	// ClientID is there because fosite's JWT strategy does not write the client of a
	// token into it, which RFC 9068 requires and introspection needs.
	ClientID string `json:"client_id"`
}

func newSession() *session { return &session{DefaultSession: openid.NewDefaultSession()} }

// newUserSession is that of a user who has allowed a request.
func newUserSession(who *login, request fosite.AuthorizeRequester) *session {
	s := newSession()
	s.ClientID = request.GetClient().GetID()
	s.Subject, s.Username = who.user, who.user
	s.Claims = &jwt.IDTokenClaims{
		Subject:                         who.user,
		AuthTime:                        who.at,
		RequestedAt:                     request.GetRequestedAt(),
		AuthenticationMethodsReferences: []string{"pwd"},
	}
	return s
}

// Clone is needed because the one of DefaultSession loses what is added here.
func (s *session) Clone() fosite.Session {
	if s == nil {
		return nil
	}
	return &session{DefaultSession: s.DefaultSession.Clone().(*openid.DefaultSession), ClientID: s.ClientID}
}

// GetJWTClaims returns the claims of a JWT access token (RFC 9068, section 2.2) that
// fosite does not add: it knows iss, aud, exp, iat, jti and scope. They are made anew
// for each token, or a refreshed one would carry the time of the first.
func (s *session) GetJWTClaims() jwt.JWTClaimsContainer {
	claims := &jwt.JWTClaims{Subject: s.Subject, Extra: map[string]any{"client_id": s.ClientID}}
	if at := s.IDTokenClaims().AuthTime; !at.IsZero() {
		claims.Extra["auth_time"] = at.Unix()
	}
	return claims
}

// GetJWTHeader says that the JWT is an access token, so that it is not accepted as an ID
// token, which is signed with the same key.
func (s *session) GetJWTHeader() *jwt.Headers {
	return &jwt.Headers{Extra: map[string]any{"typ": "at+jwt"}}
}

// token is the token endpoint.
func (s *server) token(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	session := newSession()
	request, err := s.provider.NewAccessRequest(ctx, r, session)
	if err != nil {
		s.refused(r, err)
		s.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	if request.GetGrantTypes().ExactOne("client_credentials") {
		// No user takes part in this, so the client is its own subject. In the other
		// grants fosite grants what the user has allowed.
		session.Subject, session.ClientID = request.GetClient().GetID(), request.GetClient().GetID()
		s.grantAll(request)
	}
	response, err := s.provider.NewAccessResponse(ctx, request)
	if err != nil {
		s.refused(r, err)
		s.provider.WriteAccessError(ctx, w, request, err)
		return
	}
	s.provider.WriteAccessResponse(ctx, w, request, response)
}

// introspect is the introspection endpoint (RFC 7662). The provider answers clients
// that registered themselves about their own tokens only.
func (s *server) introspect(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	response, err := s.provider.NewIntrospectionRequest(ctx, r, newSession())
	if err != nil {
		s.refused(r, err)
		s.provider.WriteIntrospectionError(ctx, w, err)
		return
	}
	s.provider.WriteIntrospectionResponse(ctx, w, response)
}

// revoke is the revocation endpoint (RFC 7009).
func (s *server) revoke(w http.ResponseWriter, r *http.Request) {
	err := s.provider.NewRevocationRequest(r.Context(), r)
	if err != nil {
		s.refused(r, err)
	}
	s.provider.WriteRevocationResponse(r.Context(), w, err)
}

// pushAuthorization is the pushed authorization request endpoint (RFC 9126).
func (s *server) pushAuthorization(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	request, err := s.provider.NewPushedAuthorizeRequest(ctx, r)
	if err != nil {
		s.refused(r, err)
		s.provider.WritePushedAuthorizeError(ctx, w, request, err)
		return
	}
	response, err := s.provider.NewPushedAuthorizeResponse(ctx, request, newSession())
	if err != nil {
		s.refused(r, err)
		s.provider.WritePushedAuthorizeError(ctx, w, request, err)
		return
	}
	s.provider.WritePushedAuthorizeResponse(ctx, w, request, response)
}

// userinfo answers with the claims that the user has allowed the client to see (OpenID Connect Core
// 1.0, section 5.3).
func (s *server) userinfo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	token, err := dcr.BearerToken(r)
	if errors.Is(err, dcr.ErrMissingToken) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	// An empty token, where the header has no single one, is unknown like any other. fosite looks among the
	// refresh tokens too: only access tokens are accepted here.
	use, request, err := s.provider.IntrospectToken(r.Context(), token, fosite.AccessToken, newSession())
	switch {
	case err != nil && fosite.ErrorToRFC6749Error(err).CodeField >= 500:
		s.refused(r, err)
		s.provider.WriteAccessError(r.Context(), w, nil, err)
	case err != nil || use != fosite.AccessToken:
		writeBearerError(w, http.StatusUnauthorized, "invalid_token")
	case !request.GetGrantedScopes().Has("openid") || !s.users.exists(request.GetSession().GetSubject()):
		writeBearerError(w, http.StatusForbidden, "insufficient_scope")
	default:
		writeJSON(w, http.StatusOK, s.users.claims(request.GetSession().GetSubject(), request.GetGrantedScopes()))
	}
}

// writeBearerError refuses a token (RFC 6750, section 3).
func writeBearerError(w http.ResponseWriter, status int, code string) {
	w.Header().Set("WWW-Authenticate", `Bearer error="`+code+`"`)
	writeJSON(w, status, map[string]string{"error": code})
}
