package registration_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// longRedirects are redirect URIs of 100 characters each, and so fine one by one.
func longRedirects(count int) []string {
	uris := make([]string, count)
	for i := range uris {
		uris[i] = fmt.Sprintf("https://client.example/%s%03d", strings.Repeat("p", 74), i)
	}
	return uris
}

func scopes(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("a-scope-of-thirty-two-signs-%04d", i)
	}
	return list
}

// TestAnonymousRecord: what an anonymous registrant has stored is bounded in all, not member by member alone (T66).
func TestAnonymousRecord(t *testing.T) {
	t.Parallel()
	texts := func(of, length int) map[string]any {
		body := map[string]any{"redirect_uris": []string{dcrtest.RedirectURI}}
		for i := range of {
			body[fmt.Sprintf("client_name#en-x-a%d", i)] = strings.Repeat("n", length)
		}
		return body
	}
	signedIn := func(*http.Request) (string, error) { return "alice", nil }
	for name, row := range map[string]struct {
		config dcr.Config
		body   map[string]any
		status int
	}{
		"ordinary":            {body: dcrtest.Managed(), status: 201},
		"redirects":           {body: map[string]any{"redirect_uris": longRedirects(64)}, status: 201},
		"texts":               {body: texts(20, 1000), status: 400},
		"texts_by_a_policy":   {body: texts(0, 0), config: dcr.Config{Policies: []dcr.Policy{policy.Defaults(largeMetadata())}}, status: 400},
		"small_bound":         {body: map[string]any{"redirect_uris": longRedirects(64)}, config: dcr.Config{Limits: dcr.Limits{AnonymousRecord: 4096}}, status: 400},
		"default_scopes":      {body: texts(0, 0), config: dcr.Config{Scopes: scopes(100), Limits: dcr.Limits{AnonymousRecord: 4096}}, status: 400},
		"large_bound":         {body: texts(20, 1000), config: dcr.Config{Limits: dcr.Limits{AnonymousRecord: 32 << 10}}, status: 201},
		"somebody_vouches":    {body: texts(20, 1000), config: dcr.Config{Access: dcr.SignedIn(signedIn, nil)}, status: 201},
		"longer_when_escaped": {body: map[string]any{"redirect_uris": []string{dcrtest.RedirectURI}, "contacts": quotes(10)}, status: 400},
	} {
		t.Run("T66/"+name, func(t *testing.T) {
			t.Parallel()
			store := dcrtest.NewLedger()
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: row.config})
			answer := s.Post(t, row.body)
			require.Equal(t, row.status, answer.Status, answer.Body)
			if row.status == http.StatusBadRequest {
				dcrtest.RequireRefusal(t, answer, http.StatusBadRequest, dcrtest.BadMetadata, "as a whole", "anonymous")
				require.Empty(t, store.Live(t))
			}
		})
	}
	t.Run("T66/statement_of_before", func(t *testing.T) {
		t.Parallel()
		d := dcrtest.NewDirectory(t, "1")
		setup := dcrtest.Setup{Config: d.Trusted()}
		setup.Config.Limits.AnonymousRecord = 8 << 10
		s := dcrtest.Start(t, setup)
		client := s.Register(t, map[string]any{"software_statement": d.Sign(t, dcrtest.StatementClaims("pad", strings.Repeat("p", 4500)))})
		put := map[string]any{"client_id": client.ID(), "contacts": []string{strings.Repeat("x", 250), strings.Repeat("y", 250)}}
		dcrtest.RequireRefusal(t, s.Manage(t, http.MethodPut, client, put), http.StatusBadRequest, dcrtest.BadMetadata, "as a whole", "anonymous")
	})
	t.Run("T66/largest", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{})
		largest := 0
		for length := 100; ; length += 20 {
			answer := s.Post(t, texts(20, length))
			if answer.Status != http.StatusCreated {
				require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
				break
			}
			stored, err := json.Marshal(dcrtest.RecordOf(t, s.Store, answer.ID()))
			require.NoError(t, err)
			largest = len(stored)
			require.LessOrEqual(t, largest, 16<<10)
		}
		require.Greater(t, largest, 15<<10)
	})
	t.Run("T66/update", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{})
		client := s.Register(t, dcrtest.Managed())
		update := texts(20, 1000)
		update["client_id"] = client.ID()
		dcrtest.RequireRefusal(t, s.Manage(t, http.MethodPut, client, update), http.StatusBadRequest, dcrtest.BadMetadata, "as a whole")
		require.Equal(t, "Managed", dcrtest.RecordOf(t, s.Store, client.ID()).Metadata.ClientName)
	})
}

// largeMetadata are more than an anonymous registrant may have.
func largeMetadata() dcr.ClientMetadata {
	m := dcr.ClientMetadata{Localized: map[string]string{}}
	for i := range 20 {
		m.Localized[fmt.Sprintf("client_name#en-x-a%d", i)] = strings.Repeat("n", 1000)
	}
	return m
}

// quotes are texts that are twice as long in JSON.
func quotes(count int) []string {
	list := make([]string, count)
	for i := range list {
		list[i] = strings.Repeat(`"`, 1000) + fmt.Sprint(i)
	}
	return list
}
