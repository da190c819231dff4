package storage_test

import (
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"
	"weak"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// TestMemoryStoreSessionsKeepNoRecord: the store packs a record into one string, and what sessions, events and fetchers of
// keys remember of a client is no part of it: small things would keep each version of a large record alive.
func TestMemoryStoreSessionsKeepNoRecord(t *testing.T) {
	t.Parallel()
	ctx, s := t.Context(), dcr.NewMemoryStore()
	record := &dcr.Client{
		ID: "client", Issuer: "https://as.example", Version: 1, Origin: dcr.Registrant{Subject: "alice"}, Audience: []string{"https://api.example"},
		Metadata: dcr.ClientMetadata{
			ClientName: "some name", Scope: "some scope", RedirectURIs: []string{"https://client.example/cb?a=b"}, JWKSURI: "https://client.example/keys",
		},
	}
	require.NoError(t, s.CreateClient(ctx, record))
	kept := []string{}
	version := func() weak.Pointer[byte] {
		client, err := s.GetDynamicClient(ctx, "client")
		require.NoError(t, err)
		kept = append(kept, client.ID, client.Issuer, client.Origin.Subject, client.GetJSONWebKeysURI())
		request := grantOf(client, time.Now().Add(time.Hour))
		request.RequestedScope, request.GrantedScope = client.GetScopes(), client.GetScopes()
		request.RequestedAudience, request.GrantedAudience = client.GetAudience(), client.GetAudience()
		for _, kind := range memoryKinds {
			require.NoError(t, kind.create(ctx, s, "key", request))
		}
		pushed := &fosite.AuthorizeRequest{Request: *request}
		pushed.RedirectURI, err = url.Parse(client.GetRedirectURIs()[0])
		require.NoError(t, err)
		require.NoError(t, s.CreatePARSession(ctx, "urn:key", pushed))
		require.NoError(t, s.CreateAccessTokenSession(ctx, "dcr.registration.key", request))
		return weak.Make(unsafe.StringData(client.Metadata.ClientName))
	}()
	runtime.GC()
	require.NotNil(t, version.Value(), "the store has it")
	record.Version = 2
	require.NoError(t, s.UpdateClient(ctx, record, 1))
	runtime.GC()
	require.Nil(t, version.Value(), "the record that was replaced is kept by something")
	require.Contains(t, strings.Join(kept, " "), "https://client.example/keys")
	runtime.KeepAlive(s)
}
