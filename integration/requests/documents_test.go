package requests_test

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/cimd"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// documentRule is a rule that documents have and registrations have not.
type documentRule struct {
	why     string // begins with the row of the rule
	applies func(row requestRow, document []byte) bool
	refused string // empty: the document counts as unavailable
}

// documentRules are all such rules; the first that applies to a row decides.
var documentRules = []documentRule{
	{"CIMD-07: 5 KiB", func(_ requestRow, document []byte) bool { return len(document) > 5<<10 }, ""},
	{"CIMD-02: the media type", hasOtherType, ""},
	{"CIMD-10: what is no JSON object is no document", isNoObject, ""},
	{"CIMD-03: the identifier", sends("client_id"), "client_id is not the URL of the document"},
	{"CIMD-04: no secret", sends("client_secret"), "client_secret can not be in a document"},
	{"CIMD-04: no time of a secret", sends("client_secret_expires_at"), "client_secret_expires_at can not be in a document"},
	{"CIMD-04: no method with a secret", namesSecretMethod, "token_endpoint_auth_method is a shared secret"},
	{"CIMD-19: a name", hasNullName, "client_name is missing"},
}

// documentRuleFor returns the rule that decides on a row, or nil where nothing differs from a registration.
func documentRuleFor(row requestRow, document []byte) *documentRule {
	at := slices.IndexFunc(documentRules, func(rule documentRule) bool { return rule.applies(row, document) })
	if at < 0 {
		return nil
	}
	return &documentRules[at]
}

func hasOtherType(row requestRow, _ []byte) bool {
	return !strings.HasPrefix(row.contentType(), "application/json")
}

func isNoObject(row requestRow, _ []byte) bool { return !row.isUpdate() || row.sent() == nil }

func hasNullName(row requestRow, document []byte) bool {
	return sends("client_name")(row, document) && row.sent()["client_name"] == nil
}

func sends(member string) func(requestRow, []byte) bool {
	return func(row requestRow, _ []byte) bool {
		_, ok := row.sent()[member]
		return ok
	}
}

// namesSecretMethod: a method that is there twice is refused as in a registration.
func namesSecretMethod(row requestRow, document []byte) bool {
	const member = "token_endpoint_auth_method"
	secret := []any{"client_secret_basic", "client_secret_post", "client_secret_jwt"}
	return bytes.Count(document, []byte(`"`+member+`"`)) == 1 && slices.Contains(secret, row.sent()[member])
}

// TestRequestsAsDocuments publishes the same as documents (CIMD-05): what a registration is refused for a document is
// refused for, in the same words, and otherwise both are one and the same client, but for documentRules. The server's
// method for clients that name none is that of documents.
func TestRequestsAsDocuments(t *testing.T) {
	t.Parallel()
	guardTrap(t)
	host := dcrtest.StartDocumentHost(t)
	every := func(requestRow) bool { return true }
	forEachRequest(t, every, func(t *testing.T, s *requestServer, row requestRow) {
		id, document := host.URL+"/"+row.Name, row.document(host.URL+"/"+row.Name)
		host.Handle("/"+row.Name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", row.contentType())
			_, _ = w.Write(document)
		})
		if rule := documentRuleFor(row, document); rule != nil {
			s.requireRefused(t, id, rule.refused, rule.why)
			return
		}
		requireAlike(t, s, id, s.Post(t, document))
	}, func(c *dcr.Config) {
		c.Metadata.DefaultTokenEndpointAuthMethod = "none"
		c.Documents = dcrtest.NewDocuments(t, nil, func(o *cimd.Options) { o.Fetches, o.HostFetches = 1000, 1000 })
	})
}

// TestDocumentRules: each rule decides on some rows, and no rule on most.
func TestDocumentRules(t *testing.T) {
	t.Parallel()
	rows, decided := 0, map[string]int{}
	for _, class := range requestClasses {
		for _, row := range loadRequests(t, class) {
			rows++
			if rule := documentRuleFor(row, row.document("https://client.example.com/")); rule != nil {
				decided[rule.why]++
			}
		}
	}
	sum := 0
	for _, rule := range documentRules {
		require.NotZero(t, decided[rule.why], rule.why)
		sum += decided[rule.why]
	}
	require.Less(t, sum, rows/5, "%v of %d", decided, rows)
}

// requireAlike compares the client of a document with the answer to its registration.
func requireAlike(t *testing.T, s *requestServer, id string, registration dcrtest.Answer) {
	t.Helper()
	if registration.Status != http.StatusCreated {
		require.Equal(t, http.StatusBadRequest, registration.Status, registration.Body)
		require.NotEmpty(t, registration.Text("error_description"))
		s.requireRefused(t, id, registration.Text("error_description"), "as a registration")
		return
	}
	s.registered(registration)
	redirect := registration.Members["redirect_uris"].([]any)[0].(string)
	require.Equal(t, s.outcome(t, registration.ID(), redirect), s.outcome(t, id, redirect))
}

// requireRefused signs in with a document that is refused for a reason; without one it counts as unavailable.
func (s *requestServer) requireRefused(t *testing.T, id, reason, why string) {
	t.Helper()
	answer := s.Authorize(t, dcrtest.AuthorizeQuery(id, "https://client.example.com/cb"))
	status, text := http.StatusUnauthorized, "The document of the client is refused: "+reason
	if reason == "" {
		status, text = http.StatusServiceUnavailable, "The document at the client_id can not be fetched."
	}
	require.Equal(t, status, answer.Status, "%s\n%s", why, answer.Body)
	require.Contains(t, answer.Body, text, why)
	require.Empty(t, answer.Header.Get("Location"), why)
}

// outcome is what the authorization endpoint makes of a client.
type outcome struct {
	status   int
	location string // without what differs from time to time
	body     string
	metadata dcr.ClientMetadata
}

func (s *requestServer) outcome(t *testing.T, id, redirect string) outcome {
	t.Helper()
	answer := s.Authorize(t, dcrtest.AuthorizeQuery(id, redirect))
	location, _, _ := strings.Cut(answer.Header.Get("Location"), "code=")
	found, err := s.Provider.Store.GetClient(t.Context(), id)
	require.NoError(t, err, answer.Body)
	client, ok := dcr.RegisteredClient(found)
	require.True(t, ok)
	return outcome{answer.Status, location, answer.Body, client.Metadata}
}

// document returns the body with the identifier, and with a name where it has none. Every other byte stays.
func (row requestRow) document(id string) []byte {
	if !row.isUpdate() {
		return row.body()
	}
	body := row.updateBody(id)
	if _, ok := row.sent()["client_name"]; ok {
		return body
	}
	return slices.Insert(slices.Clone(body), bytes.IndexByte(body, '{')+1, []byte(`"client_name":"Documented",`)...)
}
