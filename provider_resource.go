package dcr

import (
	"context"
	"slices"

	"github.com/ory/fosite"
)

// requestResources takes the resources that a request names (RFC 8707) for audiences,
// which fosite knows by another parameter, where they are among the client's
// (Config.Audience). Others are left out, as fosite ignores them all, or refused by
// Config.RefuseUnknownResources.
//
// The host grants what was requested, as with fosite's own parameter.
func (p *Provider) requestResources(ctx context.Context, request fosite.Requester) error {
	audience := request.GetRequestedAudience()
	for _, resource := range fosite.RemoveEmpty(request.GetRequestForm()["resource"]) {
		err := p.Config.GetAudienceStrategy(ctx)(request.GetClient().GetAudience(), []string{resource})
		switch {
		case err == nil:
			audience = append(audience, resource)
		case p.registry.cfg.RefuseUnknownResources:
			return ErrInvalidTarget.WithWrap(err)
		}
	}
	request.SetRequestedAudience(withoutRepeats(slices.Clone(audience)))
	return nil
}
