package dcr

import (
	"context"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"

	"github.com/fosite-contrib/fosite-dcr/internal/keyset"
)

// honoured is how much of a member a provider honours: nothing, some values, or all.
type honoured struct {
	all    bool
	values []string
}

func (h honoured) has(value string) bool { return h.all || slices.Contains(h.values, value) }

// probeMembers finds out what the provider honours of the members that a host may lack.
func (r *registry) probeMembers(ctx context.Context) map[string]honoured {
	found := map[string]honoured{}
	for i := range members {
		if row := &members[i]; len(row.values) > 0 {
			found[row.name] = honoured{values: row.values}
		}
	}
	found["response_modes"] = honoured{values: modeNames(r.can.responseModes)}
	found["require_pushed_authorization_requests"] = honoured{all: r.can.par}
	if slices.ContainsFunc(r.fosite.GetAuthorizeEndpointHandlers(ctx), isOpenID) {
		// fosite holds request objects against the registered algorithm, and the
		// authentication against max_age, which the provider's Store fills in.
		found["request_object_signing_alg"] = honoured{values: keyset.SupportedAlgorithms()}
		found["default_max_age"] = honoured{all: true}
		if alg := r.idTokenAlgorithm(ctx); alg != "" {
			found["id_token_signed_response_alg"] = honoured{values: []string{alg}}
		}
	}
	if slices.Contains(r.can.methods, methodTLSClientAuth) {
		for _, name := range certificateSubjects {
			found[name] = honoured{all: true}
		}
	}
	for name, values := range r.cfg.Supports {
		found[name] = honoured{all: values == nil, values: slices.Concat(found[name].values, values)}
	}
	// A sector is asked for where subjects are pairwise, by a relation.
	found["sector_identifier_uri"] = honoured{all: found["subject_type"].has(subjectPairwise)}
	return found
}

// idTokenAlgorithm finds out by a token for nobody what the host signs ID tokens with.
func (r *registry) idTokenAlgorithm(ctx context.Context) string {
	if r.idTokens == nil {
		return ""
	}
	session := openid.NewDefaultSession()
	session.Subject, session.Claims.Subject = "nobody", "nobody"
	request := fosite.NewAccessRequest(session)
	request.Client = &fosite.DefaultClient{ID: "nobody"}
	token, err := r.idTokens.GenerateIDToken(ctx, time.Minute, request)
	if err != nil {
		return ""
	}
	signed, err := jose.ParseSigned(token)
	if err != nil || len(signed.Signatures) != 1 {
		return ""
	}
	return signed.Signatures[0].Header.Algorithm
}

func isOpenID(h fosite.AuthorizeEndpointHandler) bool {
	switch h.(type) {
	case *openid.OpenIDConnectExplicitHandler, *openid.OpenIDConnectHybridHandler, *openid.OpenIDConnectImplicitHandler:
		return true
	}
	return false
}

// fitMembers leaves out what the provider does not honour, or refuses it where the
// member promises security or chooses an algorithm.
func (r *registry) fitMembers(m *ClientMetadata) error {
	if m.OpenID == nil && m.Companion == nil {
		return nil
	}
	for i := range members {
		row := &members[i]
		place := row.place(m)
		if row.support == registered || place == nil || r.can.members[row.name].covers(place) {
			continue
		}
		if row.support == refused || r.cfg.RefuseUnsupported {
			return refuseMetadata(row.name + " is not supported by this server, or not with this value")
		}
		empty(place)
	}
	m.prune()
	return nil
}

// covers reports whether the provider honours the value. Nothing, and a promise that
// is not made, are honoured by everybody.
func (h honoured) covers(place any) bool {
	switch value := place.(type) {
	case *string:
		return *value == "" || h.has(*value)
	case *[]string:
		return !slices.ContainsFunc(*value, func(s string) bool { return !h.has(s) })
	case **bool:
		return *value == nil || !**value || h.all
	case **int64:
		return *value == nil || h.all
	}
	return true
}

func empty(place any) {
	switch value := place.(type) {
	case *string:
		*value = ""
	case *[]string:
		*value = nil
	case **bool:
		*value = nil
	case **int64:
		*value = nil
	case **jose.JSONWebKeySet:
		*value = nil
	}
}

// prune drops groups of which nothing remains.
func (m *ClientMetadata) prune() {
	holds := map[group]bool{}
	for i := range members {
		row := &members[i]
		if place := row.place(m); place != nil && !isEmpty(place) {
			holds[row.group] = true
		}
	}
	if !holds[openID] {
		m.OpenID = nil
	}
	if !holds[companion] {
		m.Companion = nil
	}
}

func isEmpty(place any) bool {
	switch value := place.(type) {
	case *string:
		return *value == ""
	case *[]string:
		return *value == nil
	case **bool:
		return *value == nil
	case **int64:
		return *value == nil
	case **jose.JSONWebKeySet:
		return *value == nil
	}
	return false
}
