package dcr

import (
	"slices"
	"strings"

	"github.com/ory/fosite"
)

// requestResources takes the resources that a request names (RFC 8707) for audiences,
// which fosite knows by another parameter, where they are among the client's
// (Config.Audience), byte by byte but for a slash at the end; what is requested then is the
// audience as it stands there. Others are left out, as fosite ignores them all, or refused
// by Config.RefuseUnknownResources. fosite's own parameter goes by its
// AudienceMatchingStrategy, whose default lets everything below an audience pass.
//
// The host grants what was requested, as with fosite's own parameter.
func (p *Provider) requestResources(request fosite.Requester) error {
	audience := request.GetRequestedAudience()
	for _, resource := range fosite.RemoveEmpty(request.GetRequestForm()["resource"]) {
		known := request.GetClient().GetAudience()
		i := slices.IndexFunc(known, func(audience string) bool {
			return strings.TrimSuffix(audience, "/") == strings.TrimSuffix(resource, "/")
		})
		switch {
		case i >= 0:
			audience = append(audience, known[i])
		case p.registry.cfg.RefuseUnknownResources:
			return ErrInvalidTarget
		}
	}
	request.SetRequestedAudience(withoutRepeats(slices.Clone(audience)))
	return nil
}
