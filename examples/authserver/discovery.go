package main

import (
	"encoding/json"
	"net/http"

	"github.com/go-jose/go-jose/v3"
)

// metadata serves the metadata document of RFC 8414 and of OpenID Connect Discovery,
// which share their members. What clients may register comes from the provider, so
// the document never promises what registration refuses.
func (s *server) metadata(w http.ResponseWriter, r *http.Request) {
	if !allowGet(w, r) {
		return
	}
	document := s.provider.Metadata(r.Context())
	for member, value := range map[string]any{
		"authorization_endpoint":                s.url("/oauth2/auth"),
		"token_endpoint":                        s.url("/oauth2/token"),
		"introspection_endpoint":                s.url("/oauth2/introspect"),
		"revocation_endpoint":                   s.url("/oauth2/revoke"),
		"pushed_authorization_request_endpoint": s.url("/oauth2/par"),
		"userinfo_endpoint":                     s.url("/userinfo"),
		"jwks_uri":                              s.url("/.well-known/jwks.json"),
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{s.keys.Signing.Algorithm},
		"claims_supported":                      []string{"sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "name", "preferred_username", "email"},
		"prompt_values_supported":               []string{"none", "login", "consent", "select_account"},
		"request_uri_parameter_supported":       false, // true where it is omitted
	} {
		document[member] = value
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	writeJSON(w, http.StatusOK, document)
}

// jwks serves the public part of the signing key.
func (s *server) jwks(w http.ResponseWriter, r *http.Request) {
	if !allowGet(w, r) {
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	writeJSON(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{s.keys.Signing.Public()}})
}

func allowGet(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", "GET, HEAD")
	w.WriteHeader(http.StatusMethodNotAllowed)
	return false
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // fails only where the client is gone
}
