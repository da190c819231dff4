package registration_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// TestOwnRefusal: what an application makes of an error is the answer, and the event names the caller of the
// error inside (LIFE-05).
func TestOwnRefusal(t *testing.T) {
	t.Parallel()
	events := &dcrtest.Events{}
	s := dcrtest.Start(t, dcrtest.Setup{Closed: true, Config: dcr.Config{Events: events}})
	_, err := s.Provider.NewRegistrationRequest(t.Context(), dcrtest.JSONPost(t.Context(), dcrtest.PlainRegistration))
	require.Error(t, err)
	w := httptest.NewRecorder()
	s.Provider.WriteRegistrationError(t.Context(), w, dcr.ErrAccessDenied.WithDescription("Come back on Monday.").WithWrap(err))
	require.Equal(t, http.StatusForbidden, w.Code)
	require.Contains(t, w.Body.String(), "Come back on Monday.")
	seen := events.Take()
	require.Equal(t, []dcr.EventKind{dcr.EventRefused}, dcrtest.KindsOf(seen))
	require.True(t, seen[0].Address.IsValid())
}

// TestRequestOfTheApplication: a registration that the application made itself has no caller, and no time at
// which it began (LIFE-05).
func TestRequestOfTheApplication(t *testing.T) {
	t.Parallel()
	events := &dcrtest.Events{}
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Events: events}})
	_, err := s.Provider.NewRegistrationResponse(t.Context(), &dcr.RegistrationRequest{
		Registrant: &dcr.Registrant{Kind: "import"},
		Metadata:   dcr.ClientMetadata{TokenEndpointAuthMethod: "none", RedirectURIs: []string{dcrtest.RedirectURI}},
	})
	require.NoError(t, err)
	seen := events.Take()
	require.Equal(t, []dcr.EventKind{dcr.EventRegistered}, dcrtest.KindsOf(seen))
	require.Zero(t, seen[0].Elapsed)
	require.False(t, seen[0].Address.IsValid())
}

// TestSharedConsentEnds: where all grants of a shared client were revoked, no consent of before counts for the
// client that takes its place (CONS-02).
func TestSharedConsentEnds(t *testing.T) {
	t.Parallel()
	s := dcrtest.StartSharing(t, func(setup *dcrtest.Setup) { setup.UnusedEnd = true })
	id := s.Register(t, dcrtest.Shareable()).ID()
	key := func() string { return consent.Key(dcrtest.RecordOf(t, s.Store, id)) }
	first := key()
	require.NoError(t, s.Provider.RevokeTokens(context.Background(), id))
	require.NotEqual(t, first, key())
	s.Clock.Forward(3 * time.Hour)
	require.Equal(t, id, s.Register(t, dcrtest.Shareable()).ID())
	require.NotEqual(t, first, key())
}
