package dcrtest

import "slices"

// ServerMember reports whether only the server may set a member of the client metadata (RFC 7591, section
// 3.2.1; RFC 7592, section 2.2).
func ServerMember(name string) bool {
	return slices.Contains([]string{
		"client_id", "client_secret", "client_id_issued_at", "client_secret_expires_at",
		"registration_access_token", "registration_client_uri",
	}, name)
}
