package capability

import (
	"strings"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"
)

// SessionIssuer returns the issuer that a session tells, by a method of its own or in the claims of the ID token that
// goes with it; empty where it does not tell.
func SessionIssuer(session fosite.Session) string {
	switch s := session.(type) {
	case interface{ GetIssuer() string }:
		return s.GetIssuer()
	case openid.Session:
		return s.IDTokenClaims().Issuer
	}
	return ""
}

// SameIssuer reports whether two names of an issuer differ by no more than a slash at the end.
func SameIssuer(a, b string) bool { return strings.TrimSuffix(a, "/") == strings.TrimSuffix(b, "/") }
