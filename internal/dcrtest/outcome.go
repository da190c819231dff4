package dcrtest

import (
	"maps"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	// BadMetadata is the code of a refusal for a member (RFC 7591, section 3.2.2).
	BadMetadata = "invalid_client_metadata"
	// BadRedirect is the code of a refusal for a redirect URI (RFC 7591, section 3.2.2).
	BadRedirect = "invalid_redirect_uri"
)

// Missing stands for a member that is not there.
type Missing struct{}

// Outcome is one registration and all that becomes of it.
type Outcome struct {
	// Name names the subtest.
	Name string
	// Setup changes the server; it may be nil.
	Setup func(*Setup)
	// Send is laid over an ordinary registration (Registration).
	Send map[string]any
	// Raw is sent in place of a registration, unless it is empty.
	Raw string
	// Code is that of a refusal with status 400; without it the client is registered.
	Code string
	// Names occur in the description of a refusal.
	Names []string
	// Back holds members of the answer, to the registration and to a read; Missing stands for one that is not there.
	Back map[string]any
}

// require registers, and requires the outcome.
func (o Outcome) require(t testing.TB, s *Server, store *Ledger) {
	t.Helper()
	var body any = o.Raw
	if o.Raw == "" {
		body = Registration(o.Send)
	}
	answer := s.Post(t, body)
	if o.Code != "" {
		RequireRefusal(t, answer, http.StatusBadRequest, o.Code, o.Names...)
		require.Empty(t, store.Live(t), "a refused registration left a client behind")
		return
	}
	require.Equal(t, http.StatusCreated, answer.Status, answer.Body)
	RequireMembers(t, answer, o.Back)
	require.Equal(t, []string{answer.ID()}, store.Live(t))
	read := s.Manage(t, http.MethodGet, answer, nil)
	require.Equal(t, http.StatusOK, read.Status, read.Body)
	RequireMembers(t, read, o.Back)
}

// RunOutcomes gives each row a server of its own, so that its state is the row's. common comes before a row's Setup; it
// may be nil.
func RunOutcomes(t *testing.T, common func(*Setup), rows []Outcome) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.Name, func(t *testing.T) {
			t.Parallel()
			store := NewLedger()
			setup := Setup{Storage: store}
			for _, change := range []func(*Setup){common, row.Setup} {
				if change != nil {
					change(&setup)
				}
			}
			row.require(t, Start(t, setup), store)
		})
	}
}

// Registration returns an ordinary registration with changes; Missing removes a member.
func Registration(changes map[string]any) map[string]any {
	body := map[string]any{"redirect_uris": []string{RedirectURI}}
	maps.Copy(body, changes)
	maps.DeleteFunc(body, func(_ string, value any) bool { return value == Missing{} })
	return body
}
