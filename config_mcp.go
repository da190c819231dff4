package dcr

import "time"

// MCPConfig returns the settings that the clients of a Model Context Protocol server need:
// Claude, ChatGPT, Visual Studio Code, Cursor, MCP Inspector and others, which register
// themselves as public clients and bring a redirect URI on loopback or of a scheme of their
// own. The resource is the URL of the MCP server, which tokens are for (RFC 8707), the
// scopes are what clients may have.
//
// Registration is open, with what makes that bearable by default: a limit for each caller,
// an end of unused clients after a day, PKCE, no grant without a user. What else a host
// wants it sets in the result; ShareIdentical where many clients register anew, always alike.
func MCPConfig(resource string, scopes ...string) Config {
	return Config{
		Access: Open(),
		// Some people sign in hours after they have added a server. Clients that are never
		// used still end within a day.
		Lifecycle: Lifecycle{Unused: 24 * time.Hour},
		Scopes:    scopes,
		Audience:  []string{resource},
		// MCP Inspector and other clients run in a browser. No credentials go along.
		AllowedOrigins: []string{"*"},
		// Claude Code and Visual Studio Code register http://localhost/callback and come back
		// with a port.
		AllowAnyLocalhostPort: true,
		// MCP Inspector and Cursor send PKCE and no state.
		AllowMissingState: true,
		// The schemes of editors, which have no period as RFC 8252 wants it.
		PrivateUseSchemes: []string{"cursor", "vscode", "vscode-insiders", "windsurf", "oc"},
	}
}
