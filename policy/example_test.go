package policy_test

import (
	"context"
	"fmt"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// One policy for all registrations, in Config.Policies or under a name in Config.NamedPolicies.
func Example() {
	partners := policy.All(
		policy.RequireRedirectHosts("localhost", "127.0.0.1", ".partner.example"),
		policy.Require("client_name"),
		policy.LimitScopes("openid", "profile"),
	)
	judge := func(m dcr.ClientMetadata) {
		err := partners.Judge(context.Background(), &dcr.Proposal{Metadata: &m})
		fmt.Printf("scope=%q err=%v\n", m.Scope, err != nil)
	}
	judge(dcr.ClientMetadata{ClientName: "App", RedirectURIs: []string{"https://app.partner.example/cb"}, Scope: "openid admin"})
	judge(dcr.ClientMetadata{ClientName: "App", RedirectURIs: []string{"https://evil.example/cb"}, Scope: "openid"})
	// Output:
	// scope="openid" err=false
	// scope="openid" err=true
}
