package capability

import (
	"slices"
	"strings"
)

// UserTakesPart reports whether the tokens of a grant come from the consent of a user. An anonymous
// registrant may have no other grants, since nobody vouches for it (T56). It is false for the implicit
// grant, whose tokens travel in URLs, for the password grant, in which the user gives a password to the
// client, and for grant types that this package does not know.
func UserTakesPart(grant string) bool {
	switch grant {
	case GrantAuthorizationCode, GrantRefreshToken, GrantDeviceCode:
		return true
	}
	return false
}

// YieldsRefreshToken reports whether a grant may yield a refresh token. Of a grant type that this package
// does not know, one of the application, it is assumed that it may.
func YieldsRefreshToken(grant string) bool {
	switch grant {
	case GrantRefreshToken, GrantClientCredentials, GrantImplicit, GrantJWTBearer:
		return false
	}
	return true
}

// Fitting returns the response types whose grant types are in the other list (RFC 7591, section 2.1). The
// result is a new list, never nil.
func Fitting(responseTypes, grantTypes []string) []string {
	return keep(responseTypes, fitsGrants(grantTypes))
}

// Used returns the grant types that one of the response types uses, and those that need none (RFC 7591,
// section 2.1). The result is a new list, never nil.
func Used(grantTypes, responseTypes []string) []string {
	return keep(grantTypes, func(grant string) bool { return isUsed(grant, responseTypes) })
}

// Agree reports whether each response type has its grant types, and each grant type of the authorization
// endpoint has a response type (RFC 7591, section 2.1). Two empty lists agree.
func Agree(grantTypes, responseTypes []string) bool {
	fits := fitsGrants(grantTypes)
	return !slices.ContainsFunc(responseTypes, func(responseType string) bool { return !fits(responseType) }) &&
		!slices.ContainsFunc(grantTypes, func(grant string) bool { return !isUsed(grant, responseTypes) })
}

// fitsGrants reports of a response type whether its grant types are in the list.
func fitsGrants(grantTypes []string) func(responseType string) bool {
	code, implicit := slices.Contains(grantTypes, GrantAuthorizationCode), slices.Contains(grantTypes, GrantImplicit)
	return func(responseType string) bool {
		return (code || !usesCode(responseType)) && (implicit || !usesImplicit(responseType))
	}
}

// isUsed reports whether a response type uses a grant type, or the grant type needs none.
func isUsed(grant string, responseTypes []string) bool {
	switch grant {
	case GrantAuthorizationCode:
		return slices.ContainsFunc(responseTypes, usesCode)
	case GrantImplicit:
		return slices.ContainsFunc(responseTypes, usesImplicit)
	}
	return true
}

// usesCode reports whether a response type needs the authorization code grant.
func usesCode(responseType string) bool {
	return names(responseType, ResponseCode)
}

// usesImplicit reports whether a response type needs the implicit grant.
func usesImplicit(responseType string) bool {
	return names(responseType, "token") || names(responseType, "id_token")
}

func names(responseType, value string) bool {
	for name := range strings.FieldsSeq(responseType) {
		if name == value {
			return true
		}
	}
	return false
}

// keep returns the values that fit, in a new list that is never nil.
func keep(list []string, fits func(string) bool) []string {
	kept := make([]string, 0, len(list))
	for _, value := range list {
		if fits(value) {
			kept = append(kept, value)
		}
	}
	return kept
}

// distinct returns the first of equal values, in order, in a new list; nil where there are none. The lists
// here are short.
func distinct(lists ...[]string) []string {
	var kept []string
	for _, list := range lists {
		for _, value := range list {
			if !slices.Contains(kept, value) {
				kept = append(kept, value)
			}
		}
	}
	return kept
}
