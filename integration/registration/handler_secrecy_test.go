package registration_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// printed is a value in every form in which it may reach a log.
func printed(value any) map[string]string {
	forms := formatted(value)
	var text, json bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("x", "value", value, slog.Group("group", "value", value))
	slog.New(slog.NewJSONHandler(&json, nil)).Info("x", "value", value, slog.Group("group", "value", value))
	forms["slog text"], forms["slog JSON"] = text.String(), json.String()
	return forms
}

// formatted is a value in the forms of package fmt.
func formatted(value any) map[string]string {
	forms := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		forms[verb] = fmt.Sprintf(verb, value)
	}
	forms["panic"] = fmt.Sprint(value)
	forms["inside a struct"] = fmt.Sprintf("%+v", struct{ Value any }{value})
	forms["inside a list"] = fmt.Sprintf("%#v", []any{value})
	return forms
}

// requireNoSecrets looks for secrets in every form, also as bytes in decimal or
// hexadecimal notation.
func requireNoSecrets(t *testing.T, forms map[string]string, secrets []string) {
	t.Helper()
	for form, text := range forms {
		for _, secret := range secrets {
			decimal := strings.Trim(fmt.Sprint([]byte(secret[:12])), "[]")
			for _, spelling := range []string{secret, decimal, hex.EncodeToString([]byte(secret[:12]))} {
				require.NotContains(t, text, spelling, form)
			}
		}
	}
}

func TestNothingPrintsSecrets(t *testing.T) {
	t.Parallel()
	events := &dcrtest.Events{}
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Events: events}})
	answer := s.Register(t, dcrtest.PlainRegistration)
	client, err := s.Store.GetDynamicClient(context.Background(), answer.ID())
	require.NoError(t, err)
	client.RotatedSecrets = []dcr.RotatedSecret{{Hash: []byte("$hash-of-an-earlier-secret"), ExpiresAt: time.Now()}}
	client.PreviousRegistrationToken.Signature = "signature-of-an-earlier-token"
	secrets := []string{
		answer.Secret(), answer.Token(), string(client.SecretHash), client.RegistrationToken.Signature,
		"$hash-of-an-earlier-secret", "signature-of-an-earlier-token",
	}
	for _, secret := range secrets {
		require.Greater(t, len(secret), 12)
	}
	information := &dcr.ClientInformation{
		ClientID: answer.ID(), ClientSecret: answer.Secret(), RegistrationAccessToken: answer.Token(), Metadata: client.Metadata,
	}
	for name, value := range map[string]any{
		"Client": client, "Client_by_value": *client,
		"ClientInformation": information, "ClientInformation_by_value": *information,
		"Event": dcr.Event{Kind: dcr.EventRegistered, After: client}, "Event_pointer": &dcr.Event{Before: client, After: client},
		"error": fmt.Errorf("client %v: %w", client, dcr.ErrConflict),
	} {
		t.Run("T26/"+name, func(t *testing.T) {
			t.Parallel()
			requireNoSecrets(t, printed(value), secrets)
		})
	}
	t.Run("T26/inside_others", func(t *testing.T) {
		t.Parallel()
		requireNoSecrets(t, formatted([]*dcr.Client{client}), secrets)
		requireNoSecrets(t, formatted([]*dcr.ClientInformation{information}), secrets)
	})
	t.Run("T26/events", func(t *testing.T) {
		t.Parallel()
		require.NotEmpty(t, events.All())
		for _, event := range events.All() {
			requireNoSecrets(t, printed(event), secrets)
		}
	})
	t.Run("T26/identifier_is_shown", func(t *testing.T) {
		t.Parallel()
		for form, text := range printed(client) {
			if form != "%x" {
				require.Contains(t, text, answer.ID(), form)
			}
		}
	})
}

func TestLogsHoldNoSecrets(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	store := dcrtest.NewLedger()
	handler := slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Events: dcr.LogEvents(slog.New(handler))}})
	answer := s.Register(t, dcrtest.Registration(map[string]any{"client_name": "Client\u00a0X"}))
	record, err := store.GetDynamicClient(context.Background(), answer.ID())
	require.NoError(t, err)
	updated := s.Manage(t, http.MethodPut, answer, dcrtest.Registration(map[string]any{"client_id": answer.ID(), "client_secret": answer.Secret()}))
	require.Equal(t, http.StatusOK, updated.Status, updated.Body)
	const chosen = "a-secret-that-the-caller-chose"
	wrong := s.Manage(t, http.MethodPut, updated, dcrtest.Registration(map[string]any{"client_id": answer.ID(), "client_secret": chosen}))
	require.Equal(t, http.StatusBadRequest, wrong.Status, wrong.Body)
	s.Post(t, dcrtest.Registration(map[string]any{"client_secret": chosen, "logo_uri": "https://user:" + chosen + "@client.example/\r\ninjected=1"}))
	store.BeforeEntry = func() error { return dcrtest.ErrDatabase }
	s.Post(t, dcrtest.PlainRegistration)
	t.Run("T26/LIFE-05", func(t *testing.T) {
		require.GreaterOrEqual(t, strings.Count(log.String(), "\n"), 5, log.String())
		for _, secret := range []string{
			answer.Secret(), answer.Token(), updated.Token(), chosen,
			string(record.SecretHash), record.RegistrationToken.Signature,
		} {
			require.NotContains(t, log.String(), secret)
		}
		require.Contains(t, log.String(), answer.ID())
	})
	t.Run("T45", func(t *testing.T) {
		require.NotContains(t, log.String(), "\ninjected")
		require.Contains(t, log.String(), dcrtest.ErrDatabase.Error(), "the operator is told the cause")
	})
}

// failingWriter sends nothing, and holds what it was given, as a stream may that was reset.
type failingWriter struct {
	*httptest.ResponseRecorder
	held []byte
}

func (w *failingWriter) Write(b []byte) (int, error) {
	w.held = b
	return 0, io.ErrClosedPipe
}

// TestAnswersStayApart: buffers serve one answer after the other, and none has anything of another. That of an answer that
// could not be sent serves no more.
func TestAnswersStayApart(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	named := func(i int) members {
		return members{"redirect_uris": []string{"https://client.example/cb"}, "client_name": strings.Repeat(fmt.Sprint(i, "-"), 1+20*(i%7))}
	}
	post := func(w http.ResponseWriter, i int) {
		body, err := json.Marshal(named(i))
		require.NoError(t, err)
		request := httptest.NewRequest(http.MethodPost, "/register", bytes.NewReader(body))
		request.Header.Set("Content-Type", "application/json")
		s.Handler().ServeHTTP(w, request)
	}
	for i := range 20 {
		lost := &failingWriter{ResponseRecorder: httptest.NewRecorder()}
		post(lost, i)
		before := string(lost.held)
		require.Contains(t, before, "client_secret")
		post(httptest.NewRecorder(), i+1)
		require.Equal(t, before, string(lost.held))
	}
	for i, answer := range dcrtest.AllAtOnce(200, func(i int) dcrtest.Answer { return s.Register(t, named(i)) }) {
		require.Equal(t, named(i)["client_name"], answer.Text("client_name"))
		require.Equal(t, http.StatusOK, s.Manage(t, http.MethodGet, answer, nil).Status, "the token is the client's own")
	}
}
