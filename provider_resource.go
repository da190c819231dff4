package dcr

import (
	"context"
	"slices"

	"github.com/ory/fosite"
)

// requestResources takes the resources that a request names (RFC 8707) for audiences,
// which fosite knows by another parameter. A client may ask for those of its audiences
// (Config.Audience); another one is invalid_target. Where a client has no audiences at
// all, resources are ignored, as fosite does.
//
// The host grants what was requested, as with fosite's own parameter.
func (p *Provider) requestResources(ctx context.Context, request fosite.Requester) error {
	resources := fosite.RemoveEmpty(request.GetRequestForm()["resource"])
	allowed := request.GetClient().GetAudience()
	if len(resources) == 0 || len(allowed) == 0 {
		return nil
	}
	if err := p.Config.GetAudienceStrategy(ctx)(allowed, resources); err != nil {
		return ErrInvalidTarget.WithWrap(err)
	}
	request.SetRequestedAudience(withoutRepeats(slices.Concat(request.GetRequestedAudience(), resources)))
	return nil
}
