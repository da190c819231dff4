package dcr

import (
	"context"
	"errors"
	"time"
)

// Policy is the application's say about what is registered. It sees metadata that has passed every rule,
// and who registers, and may change or refuse it. What it changes passes the rules again. A policy must be
// safe for many goroutines.
//
// The error is one of the protocol, such as ErrInvalidClientMetadata with a description that names the
// member, or ErrAccessDenied; any other, such as one of errors.New, is a failure of the server (500).
type Policy interface {
	// Judge may change or refuse a proposal.
	Judge(ctx context.Context, p *Proposal) error
}

// PolicyFunc is a function as a policy.
type PolicyFunc func(ctx context.Context, p *Proposal) error

// Judge calls the function.
func (f PolicyFunc) Judge(ctx context.Context, p *Proposal) error { return f(ctx, p) }

// Proposal is a registration or an update as a policy sees it.
type Proposal struct {
	Registrant *Registrant // Registrant is who registers, for an update who registered
	Previous   *Client     // Previous is the client that an update replaces, and nil for a registration
	// Metadata is what would be registered. A policy may change it.
	Metadata *ClientMetadata
	// RotateSecret has an update answer a new client secret, if the client uses one. The old one works for
	// Config.Secrets.Grace beside it. A policy sets it, by the age of the secret for example.
	RotateSecret bool
	// Lifetime is how long a client lives that is registered now, used or not, if that is shorter than
	// Config.Lifecycle.Maximum; 0 means that the policy does not say. An update does not change when the
	// client expires.
	Lifetime time.Duration
	// AlwaysAskConsent has consent.Needed say yes for the client, so that the application asks its users
	// every time.
	AlwaysAskConsent bool
	// RequirePKCE has the client send a code_challenge with S256, as public clients have to anyway.
	RequirePKCE bool

	sent *ClientMetadata
}

// Sent reports whether the client sent a member, by its name in JSON, or its software statement has it; otherwise its
// value was filled in.
func (p *Proposal) Sent(member string) bool { return p.sent != nil && table.Has(p.sent, member) }

// policyProblems says what is wrong with a policy. One that knows says so by itself, by an optional method
// Problems.
func policyProblems(policy Policy) []error {
	if function, ok := policy.(PolicyFunc); policy == nil || ok && function == nil {
		return []error{errors.New("Config.Policies or NamedPolicies has a nil policy")}
	}
	if p, ok := policy.(interface{ Problems() []error }); ok {
		return p.Problems()
	}
	return nil
}
