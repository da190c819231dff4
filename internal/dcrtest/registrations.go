package dcrtest

import (
	"fmt"
	"maps"
)

const (
	// RedirectURI is the redirect URI of an ordinary client.
	RedirectURI = "https://client.example/cb"
	// LoopbackURI is the redirect URI of a native client, whose port may differ (RFC 8252, section 7.3).
	LoopbackURI = "http://127.0.0.1/callback"
)

// Registrations as JSON.
const (
	// PlainRegistration is the shortest that an ordinary server accepts.
	PlainRegistration = `{"redirect_uris":["https://client.example/cb"]}`
	// ScopedRegistration names scopes.
	ScopedRegistration = `{"redirect_uris":["https://app.example/cb"],"scope":"profile email"}`
	// ServiceRegistration names the grants that an ordinary server has, client_credentials too.
	ServiceRegistration = `{"redirect_uris":["https://app.example/cb"],"grant_types":["authorization_code","refresh_token","client_credentials"]}`
	// PublicRegistration is what an ordinary native client sends.
	PublicRegistration = `{"client_name":"Some Editor","redirect_uris":["http://127.0.0.1:33418/callback","https://editor.example/redirect"],` +
		`"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"none",` +
		`"client_uri":"https://editor.example/","scope":"openid profile","application_type":"native"}`
	// BasicRegistration is the same from a confidential web client.
	BasicRegistration = `{"client_name":"Some Service","redirect_uris":["https://service.example/callback","https://service.example/other"],` +
		`"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"client_secret_basic",` +
		`"client_uri":"https://service.example/","scope":"openid profile","application_type":"web"}`
)

// With returns metadata, or a key, with more members.
func With(base, more map[string]any) map[string]any {
	joined := maps.Clone(base)
	maps.Copy(joined, more)
	return joined
}

// NumberedUpdate returns the body of an update. Each of its members says which one it is.
func NumberedUpdate(client Answer, i int) map[string]any {
	return Replacing(client, "client_name", fmt.Sprintf("Update %d", i), "software_version", fmt.Sprint(i),
		"client_uri", fmt.Sprintf("https://client.example/%d", i), "redirect_uris", []string{fmt.Sprintf("https://client.example/cb/%d", i)})
}

// Managed returns the metadata of the client that most tests of management register. Pairs
// of name and value replace what is there.
func Managed(pairs ...any) map[string]any {
	metadata := map[string]any{
		"client_name":   "Managed",
		"redirect_uris": []string{RedirectURI},
		"grant_types":   []string{"authorization_code", "refresh_token"},
		"scope":         "openid profile",
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		metadata[pairs[i].(string)] = pairs[i+1]
	}
	return metadata
}

// Replacing returns the body of an update of client, with the metadata of Managed.
func Replacing(client Answer, pairs ...any) map[string]any {
	return Managed(append([]any{"client_id", client.ID()}, pairs...)...)
}
