package main

import (
	"crypto/x509"
	"encoding/json"
	"net/http"
	"time"

	"github.com/fosite-contrib/fosite-dcr/cimd"
)

// documentPath is where the client publishes what it is. The whole address is its identifier.
const documentPath = "/notes-on-the-desk.json"

// documentHost serves the document of the client (draft-ietf-oauth-client-id-metadata-document). What the authorization
// server fetches there is in the transcript.
func (w *world) documentHost() http.Handler {
	return http.HandlerFunc(func(answer http.ResponseWriter, r *http.Request) {
		if r.URL.Path != documentPath {
			http.NotFound(answer, r)
			return
		}
		w.line(serverName, hostName, "GET "+documentPath+" 200", "the client's document")
		answer.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(answer).Encode(map[string]any{
			"client_id":                  w.documentURL(),
			"client_name":                appName,
			"redirect_uris":              []string{"http://127.0.0.1/callback"}, // it comes back with a port
			"grant_types":                []string{"authorization_code", "refresh_token"},
			"response_types":             []string{"code"},
			"token_endpoint_auth_method": "none",
		})
	})
}

func (w *world) documentURL() string { return w.host.URL + documentPath }

// documents takes documents of every public host, and of the one in this process, which is neither public nor has a
// certificate that others know. A server on the internet needs no options.
func (w *world) documents() (*cimd.Documents, error) {
	roots := x509.NewCertPool()
	roots.AddCert(w.host.Certificate())
	return cimd.New(cimd.Options{
		AllowPrivate: []string{w.documentURL()},
		RootCAs:      roots,
		Now:          func() time.Time { return time.Now().Add(time.Duration(w.later.Load())) },
	})
}
