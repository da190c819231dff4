package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"github.com/fosite-contrib/fosite-dcr"
)

// access is the rule of -registration.
func (s *server) access() dcr.Access {
	switch s.options.registration {
	case registrationToken:
		// The fixed token of the command line, an OAuth access token with the registration scope, or one
		// that an operator minted on the pages under /admin.
		return dcr.AnyOf(fixedToken(s.options.initialAccessToken), dcr.AccessToken(), dcr.InitialAccessTokens())
	case registrationUser:
		// A browser sends the cookie of the session from any page, so SignedIn refuses
		// requests of other origins; nil means no exception from that.
		return dcr.SignedIn(s.signedInUser, nil)
	}
	return dcr.Open()
}

// fixedToken is an access rule that an application writes itself.
func fixedToken(want string) dcr.AccessFunc {
	return func(_ context.Context, r *http.Request) (*dcr.Registrant, error) {
		token, err := dcr.BearerToken(r)
		if err != nil {
			return nil, err
		}
		if want == "" || !sameSecret(token, want) {
			return nil, dcr.ErrMissingToken // so that the next rule of AnyOf decides
		}
		return &dcr.Registrant{Kind: "initial_access_token"}, nil
	}
}

func (s *server) signedInUser(r *http.Request) (string, error) {
	if login := s.sessions.login(r); login != nil {
		return login.user, nil
	}
	return "", nil
}

// sameSecret compares hashes, so that the time that it takes shows neither where the two
// differ nor how long the secret is.
func sameSecret(got, want string) bool {
	a, b := sha256.Sum256([]byte(got)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}
