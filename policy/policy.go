// Package policy has the built-in policies of Config.Policies and Config.NamedPolicies: what
// may be registered, on which hosts, for how long.
//
//	dcr.Config{Policies: []dcr.Policy{
//		policy.LimitScopes("openid", "profile"),
//		policy.RequireRedirectHosts("localhost", "127.0.0.1", ".partner.example"),
//		policy.Require("client_name", "contacts"),
//	}}
//
// Policies are asked in order, at a registration and at each update, after all rules for the
// metadata. What they change passes these rules again. A policy of your own is a
// dcr.PolicyFunc.
//
// A policy that was built with a wrong argument, such as a URL instead of a host, has a
// method Problems() []error, which dcr.Extend asks: the mistake is found when the server
// starts. Should such a policy be asked all the same, it fails with status 500.
package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/capability"
)

// All returns one policy that asks several in order, until one refuses. It has the problems of
// all of them, and a nil policy among them is a problem, too.
func All(policies ...dcr.Policy) dcr.Policy { return all(slices.Clone(policies)) }

type all []dcr.Policy

func (policies all) Judge(ctx context.Context, a *dcr.Proposal) error {
	for _, policy := range policies {
		if err := policy.Judge(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// Problems returns what is wrong with the policies inside.
func (policies all) Problems() []error {
	var found []error
	for _, policy := range policies {
		switch p := policy.(type) {
		case nil:
			found = append(found, errNil)
		case dcr.PolicyFunc:
			if p == nil {
				found = append(found, errNil)
			}
		case interface{ Problems() []error }:
			found = append(found, p.Problems()...)
		}
	}
	return found
}

var errNil = errors.New("policy.All has a nil policy")

// mistaken is a policy with an argument that can't have been meant.
type mistaken struct{ problem error }

func (m mistaken) Judge(context.Context, *dcr.Proposal) error { return m.problem }

// Problems returns the one problem.
func (m mistaken) Problems() []error { return []error{m.problem} }

var errNoMetadata = errors.New("policy: the proposal has no metadata")

// judge returns a policy that needs metadata. A policy before it may have taken that away.
func judge(f func(a *dcr.Proposal) error) dcr.Policy {
	return dcr.PolicyFunc(func(_ context.Context, a *dcr.Proposal) error {
		if a == nil || a.Metadata == nil {
			return errNoMetadata
		}
		return f(a)
	})
}

// change returns a policy that refuses nothing.
func change(edit func(a *dcr.Proposal)) dcr.Policy {
	return judge(func(a *dcr.Proposal) error {
		edit(a)
		return nil
	})
}

// LimitScopes leaves out every scope but these. A client whose scopes are all left out is
// registered without scopes.
func LimitScopes(scopes ...string) dcr.Policy {
	return change(func(a *dcr.Proposal) {
		a.Metadata.Scope = strings.Join(among(strings.Fields(a.Metadata.Scope), scopes), " ")
	})
}

// ForceScopes registers these scopes in addition to those that the client asked for. A scope
// that Config.Scopes does not have is not registered.
func ForceScopes(scopes ...string) dcr.Policy {
	return change(func(a *dcr.Proposal) {
		registered := strings.Fields(a.Metadata.Scope)
		for _, scope := range scopes {
			if !slices.Contains(registered, scope) {
				registered = append(registered, scope)
			}
		}
		a.Metadata.Scope = strings.Join(registered, " ")
	})
}

// LimitGrantTypes leaves out every grant type but these, and the response types that need one
// of those left out. A client of which nothing remains is refused.
func LimitGrantTypes(grantTypes ...string) dcr.Policy {
	return change(func(a *dcr.Proposal) {
		m := a.Metadata
		m.GrantTypes = among(m.GrantTypes, grantTypes)
		m.ResponseTypes = capability.Fitting(m.ResponseTypes, m.GrantTypes)
	})
}

// among returns the values of a list that are allowed, in order. It leaves the list itself as
// it is, and what it returns is never nil: an empty list is not an omitted one.
func among(list, allowed []string) []string {
	kept := make([]string, 0, len(list))
	for _, value := range list {
		if slices.Contains(allowed, value) {
			kept = append(kept, value)
		}
	}
	return kept
}

// RequireAuthMethods refuses clients with another token_endpoint_auth_method.
func RequireAuthMethods(methods ...string) dcr.Policy {
	return judge(func(a *dcr.Proposal) error {
		if !slices.Contains(methods, a.Metadata.TokenEndpointAuthMethod) {
			return refuse("token_endpoint_auth_method is not one that this server allows here")
		}
		return nil
	})
}

// Require refuses metadata without these members, such as "contacts" or
// "software_statement". An empty string counts as absent, as does a client_name of which nothing
// can be seen; an empty list counts as present. A member
// that the server does not support may have been left out before policies are asked: it is
// then always missing.
func Require(names ...string) dcr.Policy {
	for _, name := range names {
		if !slices.ContainsFunc(dcr.Members(), func(m dcr.Member) bool { return m.Name == name }) {
			return mistaken{fmt.Errorf("policy.Require: %q is no member of the metadata that this package knows", name)}
		}
	}
	return judge(func(a *dcr.Proposal) error {
		for _, name := range names {
			if a.Metadata.Value(name) == nil || name == "client_name" && dcr.NameKey(a.Metadata.ClientName) == "" {
				return refuse(name + " is required by this server")
			}
		}
		return nil
	})
}

func refuse(description string) error {
	return dcr.ErrInvalidClientMetadata.WithDescription(description + ".")
}

// Defaults registers the members of m that a client leaves out, extension members and names in
// further languages included. An update that leaves a member out gets the default, too, not
// the earlier value (RFC 7592, section 2.2). Members with a default in RFC 7591 have it
// already when policies are asked, so nothing fills them here: see Config.Metadata.DefaultScopes and
// Config.Metadata.DefaultTokenEndpointAuthMethod.
func Defaults(m dcr.ClientMetadata) dcr.Policy {
	m = m.Clone()
	return change(func(a *dcr.Proposal) { a.Metadata.Fill(m) })
}

// Lifetime has clients expire so long after their registration, used or not. The shortest of
// all lifetimes and of Config.Lifecycle.Maximum counts. Zero and below mean no limit by this
// policy. A client with a document was never registered, and has no such end.
func Lifetime(d time.Duration) dcr.Policy {
	return change(func(a *dcr.Proposal) {
		if d > 0 && (a.Lifetime == 0 || d < a.Lifetime) {
			a.Lifetime = d
		}
	})
}

// AlwaysAskConsent has consent.Needed say yes for the client: its users are asked every time,
// whatever they allowed before.
func AlwaysAskConsent() dcr.Policy {
	return change(func(a *dcr.Proposal) { a.AlwaysAskConsent = true })
}

// RequirePKCE has confidential clients use PKCE with S256, as public clients have to anyway
// (RFC 9700, section 2.1.1, recommends it). Registrations fail with status 500 where no
// handler checks PKCE: add compose.OAuth2PKCEFactory.
func RequirePKCE() dcr.Policy {
	return change(func(a *dcr.Proposal) { a.RequirePKCE = true })
}
