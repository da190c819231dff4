package memory

import (
	"maps"
	"slices"
	"strings"

	"github.com/ory/fosite"
)

// copyRequest copies everything but the client.
func copyRequest(r fosite.Requester) *fosite.Request {
	c := &fosite.Request{
		ID:                r.GetID(),
		RequestedAt:       r.GetRequestedAt(),
		RequestedScope:    slices.Clone(r.GetRequestedScopes()),
		GrantedScope:      slices.Clone(r.GetGrantedScopes()),
		RequestedAudience: slices.Clone(r.GetRequestedAudience()),
		GrantedAudience:   slices.Clone(r.GetGrantedAudience()),
		Form:              maps.Clone(r.GetRequestForm()),
	}
	for name, values := range c.Form {
		c.Form[name] = slices.Clone(values)
	}
	if session := r.GetSession(); session != nil {
		c.Session = cloneSession(session)
	}
	if localized, ok := r.(fosite.G11NContext); ok {
		c.Lang = localized.GetLang()
	}
	return c
}

// cloneSession is session.Clone, but for fosite's own session where it holds plain values
// only: its Clone works by reflection and costs more than the rest of an entry. Every
// registration access token has such a session.
func cloneSession(session fosite.Session) fosite.Session {
	plain, ok := session.(*fosite.DefaultSession)
	if !ok || plain == nil || len(plain.Extra) > 0 {
		return session.Clone()
	}
	c := *plain
	c.ExpiresAt, c.Extra = maps.Clone(plain.ExpiresAt), maps.Clone(plain.Extra)
	return &c
}

// copyAuthorizeRequest copies what an authorization request has besides base.
func copyAuthorizeRequest(r fosite.AuthorizeRequester, base *fosite.Request) *fosite.AuthorizeRequest {
	c := &fosite.AuthorizeRequest{
		ResponseTypes:       slices.Clone(r.GetResponseTypes()),
		State:               r.GetState(),
		ResponseMode:        r.GetResponseMode(),
		DefaultResponseMode: r.GetDefaultResponseMode(),
		Request:             *base,
	}
	if uri := r.GetRedirectURI(); uri != nil {
		u := *uri
		for _, part := range []*string{&u.Scheme, &u.Opaque, &u.Host, &u.Path, &u.RawPath, &u.RawQuery, &u.Fragment, &u.RawFragment} {
			*part = strings.Clone(*part) // it may be part of the client's record, which is not to be kept with it
		}
		c.RedirectURI = &u
	}
	if request, ok := r.(*fosite.AuthorizeRequest); ok {
		c.HandledResponseTypes = slices.Clone(request.HandledResponseTypes)
	}
	return c
}
