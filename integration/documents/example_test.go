package documents_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/cimd"
	"github.com/fosite-contrib/fosite-dcr/consent"
)

type eventFunc func(context.Context, dcr.Event)

func (f eventFunc) Record(ctx context.Context, e dcr.Event) { f(ctx, e) }

// revokeRenamed ends what was granted to a client that calls itself something else than before.
func revokeRenamed(provider func() *dcr.Provider) dcr.EventSink {
	return eventFunc(func(ctx context.Context, e dcr.Event) {
		if e.Kind == dcr.EventDocumentChanged && e.Before.Metadata.ClientName != e.After.Metadata.ClientName {
			if err := provider().RevokeTokens(ctx, e.ClientID); err != nil {
				slog.ErrorContext(ctx, "tokens not revoked", "client_id", e.ClientID, "error", err)
			}
		}
	})
}

// A server takes clients that come with a document beside those that register.
func Example() {
	ctx, store := context.Background(), dcr.NewMemoryStore()
	documents, err := cimd.New(cimd.Options{
		Storage: store, // known documents outlive the process, where the storage keeps them: dcr.MemoryStore, sqlstore
	})
	if err != nil {
		log.Fatal(err)
	}
	config := dcr.MCPConfig("https://mcp.example/mcp", "mcp:tools")
	config.Documents = documents

	var provider *dcr.Provider
	renamed := revokeRenamed(func() *dcr.Provider { return provider })
	config.Events = dcr.EventSinks(renamed, eventFunc(func(_ context.Context, e dcr.Event) { fmt.Println(e.Kind, e.ClientID) }))
	fositeConfig := &fosite.Config{GlobalSecret: []byte("thirty-two bytes or more, kept safe"), AccessTokenIssuer: "https://as.example"}
	provider, err = dcr.Extend(compose.Compose(fositeConfig, store, compose.NewOAuth2HMACStrategy(fositeConfig),
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2RefreshTokenGrantFactory, compose.OAuth2PKCEFactory, dcr.NewFactory(config),
	))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(provider.Metadata(ctx)["client_id_metadata_document_supported"])

	client := &dcr.Client{ID: "https://app.example/client.json", Origin: dcr.Registrant{Kind: dcr.KindDocument, Anonymous: true}, Metadata: dcr.ClientMetadata{
		ClientName: "App", RedirectURIs: []string{"http://localhost/callback"},
	}}
	description, err := consent.Describe(ctx, provider, client)
	// description.IdentifierHost first and whole, then description.Name as a claim, then where the browser goes
	fmt.Println(description.IdentifierHost, description.Name, description.RedirectHosts, err)

	before := client.Clone()
	client.Metadata.ClientName = "Another"
	renamed.Record(ctx, dcr.Event{Kind: dcr.EventDocumentChanged, ClientID: client.ID, Before: before, After: client})
	// Output:
	// true
	// app.example App [localhost] <nil>
	// grants_revoked https://app.example/client.json
}
