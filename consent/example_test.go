package consent_test

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
)

// An authorization handler decides whether to show a consent page, and what is on it.
func Example() {
	client := &dcr.Client{ID: "dZ3pQ9", Metadata: dcr.ClientMetadata{
		ClientName: "Photo Print", TokenEndpointAuthMethod: "client_secret_basic",
		RedirectURIs: []string{"https://print.example/cb"}, Scope: "photos",
	}}
	consents := map[string][]string{} // the application's table

	authorize := func(user string, request fosite.AuthorizeRequester, scopes ...string) {
		client := request.GetClient()
		key := user + " " + consent.Key(client)
		covered := !slices.ContainsFunc(scopes, func(scope string) bool { return !slices.Contains(consents[key], scope) })
		if consent.Needed(request) || client.IsPublic() || !covered {
			if registered, ok := client.(*dcr.Client); ok {
				var provider consent.Counter // a *dcr.Provider; without one, names are not counted
				shown, _ := consent.Describe(context.Background(), provider, registered, "en")
				fmt.Printf("%q wants %v, and returns to %s\n", shown.Name, scopes, consent.Host(request.GetRedirectURI()))
			}
			consents[key] = scopes // the user pressed Allow
			return
		}
		fmt.Println("allowed before")
	}

	request := fosite.NewAuthorizeRequest()
	request.Client = client
	request.RedirectURI = &url.URL{Scheme: "https", Host: "print.example", Path: "/cb"}
	authorize("alice", request, "photos")
	authorize("alice", request, "photos")
	client.Metadata.ClientName = "Your Bank"
	authorize("alice", request, "photos")
	// Output:
	// "Photo Print" wants [photos], and returns to print.example
	// allowed before
	// "Your Bank" wants [photos], and returns to print.example
}
