package lifecycle_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"testing"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// TestNothingPanics: nil fields of public types, and no client at all, lead to an answer or an error (T44).
func TestNothingPanics(t *testing.T) {
	t.Parallel()
	none := (*dcr.Client)(nil)
	t.Run("T44/consent", func(t *testing.T) {
		t.Parallel()
		for _, client := range []fosite.Client{nil, none} {
			require.NotEqual(t, consent.Key(client), consent.Key(client), "nothing is remembered for nobody")
			request := fosite.NewAuthorizeRequest()
			request.Client, request.RedirectURI = client, &url.URL{Scheme: "https", Host: "a.example"}
			require.True(t, consent.Needed(request))
			require.False(t, dcr.IsDynamic(client))
		}
		_, err := consent.Describe(t.Context(), nil, none)
		require.Error(t, err)
		for _, record := range []*dcr.Client{{}, {Metadata: dcr.ClientMetadata{JWKS: new(jose.JSONWebKeySet), OpenID: new(dcr.OpenIDMetadata), Companion: new(dcr.CompanionMetadata)}}} {
			require.NotEmpty(t, consent.Key(record))
			d, err := consent.Describe(t.Context(), nil, record)
			require.NoError(t, err)
			require.Empty(t, d.Name)
		}
	})
	t.Run("T44/printed", func(t *testing.T) {
		t.Parallel()
		log := new(bytes.Buffer)
		logger := slog.New(slog.NewJSONHandler(log, nil))
		for _, value := range []any{
			none, dcr.Client{}, dcr.Event{}, (*dcr.Event)(nil), dcr.Registrant{}, (*dcr.Registrant)(nil), dcr.InitialAccessToken{}, (*dcr.InitialAccessToken)(nil),
			dcr.ClientMetadata{}, (*dcr.ClientMetadata)(nil), dcr.Proposal{}, dcr.RotatedSecret{}, dcr.RegistrationTokenRecord{}, (*dcr.ClientInformation)(nil), dcr.ClientInformation{},
		} {
			_ = fmt.Sprintf("%v %+v %#v %s", value, value, value, value)
			logger.Info("x", "value", value)
			_, err := json.Marshal(value)
			require.NoError(t, err, "%T", value)
		}
		for _, kind := range []dcr.EventKind{dcr.EventRegistered, dcr.EventUpdated, dcr.EventDeleted, dcr.EventRefused, dcr.EventCleanupFailed, dcr.EventAuthenticationFailed, "unknown"} {
			dcr.LogEvents(logger).Record(t.Context(), dcr.Event{Kind: kind})
		}
		require.NotEmpty(t, log.String())
	})
	t.Run("T44/empty_record", func(t *testing.T) {
		t.Parallel()
		record := new(dcr.Client)
		require.NotNil(t, record.Clone())
		for _, value := range []any{
			record.GetHashedSecret(), record.GetRotatedHashes(), record.GetRedirectURIs(), record.RedirectHosts(), record.GetAudience(),
			record.GetRequestURIs(), record.GetJSONWebKeys(),
		} {
			require.Empty(t, value)
		}
		require.NotEmpty(t, record.GetTokenEndpointAuthSigningAlgorithm())
		require.Nil(t, (*dcr.ClientMetadata)(nil).Value("client_name"))
	})
	t.Run("T44/policies", func(t *testing.T) {
		t.Parallel()
		require.Error(t, policy.Require("client_name").Judge(t.Context(), new(dcr.Proposal)))
	})
	t.Run("T44/steps", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{})
		_, err := s.Provider.NewRegistrationResponse(t.Context(), new(dcr.RegistrationRequest))
		require.Equal(t, http.StatusInternalServerError, fosite.ErrorToRFC6749Error(err).CodeField)
	})
}
