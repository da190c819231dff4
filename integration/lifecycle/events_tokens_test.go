package lifecycle_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// TestRefusedTokensAreExplained: the log says what is wrong with a token and which client it was shown for, and the
// answer does not (LIFE-05). What is no identifier is not repeated: it may be a secret.
func TestRefusedTokensAreExplained(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
		Access: dcr.AnyOf(dcr.InitialAccessTokens(), dcr.Open()),
		Events: dcr.LogEvents(slog.New(slog.NewTextHandler(&log, nil))),
	}})
	client, other, gone, expired := s.Register(t, dcrtest.Managed()), s.Register(t, dcrtest.Managed()), s.Register(t, dcrtest.Managed()), s.Register(t, dcrtest.Managed())
	require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", gone, nil).Status)
	dcrtest.Expire(t, s, expired.ID())
	token, record, err := s.Provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{Uses: 1})
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, s.Post(t, dcrtest.PlainRegistration, dcrtest.Bearer(token)).Status)
	unknown := s.Post(t, dcrtest.PlainRegistration, dcrtest.Bearer("unknown"))

	read := func(client dcrtest.Answer, edits ...dcrtest.Edit) func() dcrtest.Answer {
		return func() dcrtest.Answer { return s.Manage(t, "GET", client, nil, edits...) }
	}
	for name, row := range map[string]struct {
		send func() dcrtest.Answer
		says string
	}{
		"garbage": {read(client, dcrtest.Bearer("garbage")), `client \"` + client.ID() + `\": this server did not make the token, or its GlobalSecret has changed.`},
		"others":  {read(client, dcrtest.Bearer(other.Token())), `client \"` + client.ID() + `\": the token is another client's, or a newer one took its place.`},
		"gone":    {read(gone), `client \"` + gone.ID() + `\": there is no such client.`},
		"expired": {read(expired), `client \"` + expired.ID() + `\": the client has expired.`},
		"not_one": {func() dcrtest.Answer {
			return s.Do(t, "GET", "/register/a-secret", nil, dcrtest.Bearer(client.Token()))
		}, `client \"?\": there is no such client.`},
		"used_up": {func() dcrtest.Answer { return s.Post(t, dcrtest.PlainRegistration, dcrtest.Bearer(token)) },
			`The initial access token \"` + record.ID + `\" has expired, or no use is left.`},
	} {
		log.Reset() // in turn: they share the log
		answer := row.send()
		require.Equal(t, http.StatusUnauthorized, answer.Status, name)
		require.Equal(t, unknown.Body, answer.Body, name)
		require.Contains(t, log.String(), "event=authentication_failed", name)
		require.Contains(t, log.String(), row.says, name)
	}
}
