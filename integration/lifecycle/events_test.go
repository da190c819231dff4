package lifecycle_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// TestEvents: each thing that happens is one event that says to whom and why (LIFE-05,
// T38, T39).
func TestEvents(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T) (*dcrtest.Events, *dcrtest.Server, dcrtest.Answer) {
		events := &dcrtest.Events{}
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Events: events}})
		client := s.Register(t, dcrtest.Managed())
		return events, s, client
	}
	t.Run("LIFE-05/registered", func(t *testing.T) {
		t.Parallel()
		events, _, client := start(t)
		event := events.TakeOne(t)
		require.Equal(t, dcr.EventRegistered, event.Kind)
		require.Equal(t, client.ID(), event.ClientID)
		require.Equal(t, "open", event.After.Origin.Kind, "who")
		require.Equal(t, client.ID(), event.After.ID)
		require.Nil(t, event.Before)
		require.NoError(t, event.Err)
	})
	t.Run("LIFE-05/updated", func(t *testing.T) {
		t.Parallel()
		events, s, client := start(t)
		events.Take()
		body := dcrtest.Replacing(client, "redirect_uris", []string{"https://elsewhere.example/cb"}, "token_endpoint_auth_method", "none")
		require.Equal(t, http.StatusOK, s.Manage(t, "PUT", client, body).Status)
		told := events.Take()
		require.Len(t, told, 2)
		require.Equal(t, dcr.EventTokenRotated, told[1].Kind)
		require.Equal(t, client.ID(), told[1].ClientID)
		event := told[0]
		require.Equal(t, dcr.EventUpdated, event.Kind)
		require.Equal(t, client.ID(), event.ClientID)
		require.Equal(t, []string{dcrtest.RedirectURI}, event.Before.GetRedirectURIs(), "T39")
		require.Equal(t, []string{"https://elsewhere.example/cb"}, event.After.GetRedirectURIs(), "T39")
		require.Equal(t, "client_secret_basic", event.Before.GetTokenEndpointAuthMethod(), "T38")
		require.Equal(t, "none", event.After.GetTokenEndpointAuthMethod(), "T38")
		require.NoError(t, event.Err)
	})
	t.Run("LIFE-05/deleted", func(t *testing.T) {
		t.Parallel()
		events, s, client := start(t)
		events.Take()
		require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", client, nil).Status)
		event := events.TakeOne(t)
		require.Equal(t, dcr.EventDeleted, event.Kind)
		require.Equal(t, client.ID(), event.ClientID)
		require.Equal(t, "open", event.Before.Origin.Kind)
		require.Nil(t, event.After)
	})
	t.Run("LIFE-05/read", func(t *testing.T) {
		t.Parallel()
		events, s, client := start(t)
		events.Take()
		require.Equal(t, http.StatusOK, s.Manage(t, "GET", client, nil).Status)
		require.Empty(t, events.Take())
	})
}

// TestRefusalEvents: every refusal and every failed authentication is an event with the
// reason, and with the client where the token says which one it is (LIFE-05).
func TestRefusalEvents(t *testing.T) {
	t.Parallel()
	events := &dcrtest.Events{}
	store := dcrtest.NewWatchedStore()
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Events: events, Management: dcr.Management{ForbidDelete: true}}})
	client := s.Register(t, dcrtest.Managed())
	failing := func() dcrtest.Answer {
		store.Watch(dcrtest.FailCall("UpdateClient"))
		defer store.Watch(nil)
		return s.Manage(t, "PUT", client, dcrtest.Replacing(client))
	}
	rows := []struct {
		name string
		send func() dcrtest.Answer
		code string
		why  string
		who  string
	}{
		{"registration/metadata", func() dcrtest.Answer { return s.Post(t, dcrtest.Managed("contacts", 1)) }, "invalid_client_metadata", "contacts", ""},
		{"registration/redirect", func() dcrtest.Answer { return s.Post(t, dcrtest.Managed("redirect_uris", nil)) }, "invalid_redirect_uri", "redirect_uris", ""},
		{"registration/media_type", func() dcrtest.Answer {
			return s.Post(t, dcrtest.Managed(), dcrtest.Header("Content-Type", "text/plain"))
		}, "invalid_request", "application/json", ""},
		{"registration/method", func() dcrtest.Answer { return s.Do(t, "GET", "/register", nil) }, "invalid_request", "method", ""},
		{"management/token", func() dcrtest.Answer { return s.Manage(t, "GET", client, nil, dcrtest.Bearer("garbage")) }, "invalid_token", "token", ""},
		{"management/no_token", func() dcrtest.Answer { return s.Do(t, "GET", client.URI(), nil) }, "invalid_token", "token", ""},
		{"management/metadata", func() dcrtest.Answer { return s.Manage(t, "PUT", client, dcrtest.Replacing(client, "contacts", 1)) }, "invalid_client_metadata", "contacts", client.ID()},
		{"management/forbidden", func() dcrtest.Answer { return s.Manage(t, "DELETE", client, nil) }, "access_denied", "allow", client.ID()},
		{"management/failure", failing, "server_error", "condition", client.ID()},
	}
	for _, row := range rows { // in turn: they share the sink
		events.Take()
		answer := row.send()
		require.GreaterOrEqual(t, answer.Status, 400, row.name)
		event := events.TakeOne(t)
		kind := dcr.EventRefused
		if row.name == "management/token" {
			kind = dcr.EventAuthenticationFailed
		}
		require.Equal(t, kind, event.Kind, row.name)
		require.Equal(t, "127.0.0.1", event.Address.String(), row.name)
		var refusal *fosite.RFC6749Error
		require.ErrorAs(t, event.Err, &refusal, row.name)
		require.Equal(t, row.code, refusal.ErrorField, row.name)
		require.Contains(t, refusal.DescriptionField, row.why, row.name)
		require.Nil(t, event.After, row.name)
		t.Run("LIFE-05/who/"+row.name, func(t *testing.T) { require.Equal(t, row.who, event.ClientID) })
	}
}

// TestLogEvents: one line an event; what the server failed at is an error and says the
// cause, everything else is information.
func TestLogEvents(t *testing.T) {
	t.Parallel()
	client := &dcr.Client{ID: "ONE", SecretHash: []byte("hash"), RegistrationToken: dcr.RegistrationTokenRecord{Signature: "signature"}}
	rows := []struct {
		event dcr.Event
		want  string
	}{
		{dcr.Event{Kind: dcr.EventRegistered, ClientID: "ONE", After: client}, `level=INFO msg="client registration" event=registered client_id=ONE`},
		{dcr.Event{Kind: dcr.EventUpdated, ClientID: "ONE", Before: client, After: client}, `level=INFO msg="client registration" event=updated client_id=ONE`},
		{dcr.Event{Kind: dcr.EventDeleted, ClientID: "ONE", Before: client}, `level=INFO msg="client registration" event=deleted client_id=ONE`},
		{dcr.Event{Kind: dcr.EventRefused, Err: dcr.ErrInvalidToken}, `level=INFO msg="client registration" event=refused error=invalid_token description="` + dcr.ErrInvalidToken.DescriptionField + `"`},
		{dcr.Event{Kind: dcr.EventRefused, Err: dcr.ErrInvalidClientMetadata.WithDescription("a\nlevel=ERROR b")}, `level=INFO msg="client registration" event=refused error=invalid_client_metadata description="a\nlevel=ERROR b"`},
	}
	for _, row := range rows {
		t.Run("LIFE-05/"+string(row.event.Kind), func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			dcr.LogEvents(slog.New(slog.NewTextHandler(&out, nil))).Record(t.Context(), row.event)
			_, line, _ := strings.Cut(out.String(), " ") // after the time
			require.Equal(t, row.want+"\n", line)
		})
	}
	t.Run("LIFE-05/failure", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		store := dcrtest.NewWatchedStore()
		s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Events: dcr.LogEvents(slog.New(slog.NewTextHandler(&out, nil)))}})
		store.Watch(func(context.Context, string, func() error) error { return dcrtest.ErrBroken })
		require.Equal(t, http.StatusInternalServerError, s.Post(t, dcrtest.Managed()).Status)
		require.Contains(t, out.String(), "level=ERROR")
		require.Contains(t, out.String(), "event=refused origin=open address=127.0.0.1 error=server_error")
		require.Contains(t, out.String(), dcrtest.ErrBroken.Error(), "the operator reads the cause")
	})
}

// written is a log that can be read while it is written.
type written struct {
	mu  sync.Mutex
	out bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(p)
}

// everyWay records an event in every way that a host might print it.
type everyWay struct {
	out *written
	dcr.EventSink
}

func (e everyWay) Record(ctx context.Context, event dcr.Event) {
	e.EventSink.Record(ctx, event)
	_, _ = fmt.Fprintf(e.out, "%v %+v %#v\n", event, event, event)
	for _, handler := range []slog.Handler{slog.NewTextHandler(e.out, nil), slog.NewJSONHandler(e.out, nil)} {
		slog.New(handler).InfoContext(ctx, "event", "event", event, "before", event.Before, "after", event.After)
		if event.Err != nil {
			slog.New(handler).InfoContext(ctx, "event", "err", event.Err)
		}
	}
}

// TestNoSecretsInEvents takes a client through its whole life and searches what was
// logged for every secret, token, signature and hash (T26).
func TestNoSecretsInEvents(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"opaque", "jwt"} {
		t.Run("T26/"+kind, func(t *testing.T) {
			t.Parallel()
			log, out := &written{}, &written{}
			sink := everyWay{out, dcr.LogEvents(slog.New(slog.NewJSONHandler(log, nil)))}
			s := dcrtest.Start(t, dcrtest.Setup{JWT: kind == "jwt", Config: dcr.Config{Events: sink}})
			client := s.Register(t, dcrtest.Managed())
			record, err := s.Store.GetDynamicClient(t.Context(), client.ID())
			require.NoError(t, err)
			tokens := dcrtest.SignIn(t, s, client)
			s.Post(t, dcrtest.Managed("client_secret", "a chosen secret", "contacts", "a chosen secret"))
			s.Manage(t, "GET", client, nil, dcrtest.Bearer(tokens.Text("access_token")))
			s.Manage(t, "PUT", client, dcrtest.Replacing(client, "client_secret", client.Secret(), "registration_access_token", client.Token()))
			s.Manage(t, "PUT", client, dcrtest.Replacing(client, "client_secret", "a wrong secret"))
			updated := s.Manage(t, "PUT", client, dcrtest.Replacing(client, "client_secret", client.Secret()))
			require.Equal(t, http.StatusOK, updated.Status, updated.Body)
			s.Manage(t, "GET", client, nil) // with the token that is dead
			s.Do(t, "GET", client.URI()+"?access_token="+updated.Token(), nil)
			require.Equal(t, http.StatusNoContent, s.Manage(t, "DELETE", updated, nil).Status)

			_, signature, _ := strings.Cut(client.Token(), ".")
			_, next, _ := strings.Cut(updated.Token(), ".")
			secrets := []string{client.Secret(), client.Token(), updated.Token(), signature, next, string(record.SecretHash),
				tokens.Text("access_token"), tokens.Text("refresh_token"), "a chosen secret", "a wrong secret"}
			for name, text := range map[string]string{"log_events": log.out.String(), "printed": out.out.String()} {
				t.Run(name, func(t *testing.T) {
					require.Contains(t, text, client.ID(), "the search would find something")
					requireSecretFree(t, text, secrets...)
				})
			}
		})
	}
}

// requireSecretFree searches a text for secrets, as they are and as bytes are printed.
func requireSecretFree(t *testing.T, text string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		require.NotEmpty(t, secret)
		for _, spelling := range []string{secret, jsonBase64(secret), strings.Trim(fmt.Sprint([]byte(secret)), "[]"), fmt.Sprintf("%x", secret)} {
			require.NotContains(t, text, spelling, "of %q", secret)
		}
	}
}

// TestPrinting: what the package hands to a host prints without secrets, in whatever way
// (T26).
func TestPrinting(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	client := s.Register(t, dcrtest.Managed())
	record, err := s.Store.GetDynamicClient(t.Context(), client.ID())
	require.NoError(t, err)
	body := bytes.NewReader(dcrtest.JSONBody(t, dcrtest.Replacing(client, "client_secret", client.Secret())))
	r := httptest.NewRequestWithContext(t.Context(), "PUT", "/register/"+client.ID(), body)
	r.Header = http.Header{"Authorization": {"Bearer " + client.Token()}, "Content-Type": {"application/json"}}
	management, err := s.Provider.NewManagementRequest(t.Context(), r)
	require.NoError(t, err)
	r = httptest.NewRequestWithContext(t.Context(), "POST", "/register", bytes.NewReader(dcrtest.JSONBody(t, dcrtest.Managed())))
	r.Header = http.Header{"Content-Type": {"application/json"}}
	registration, err := s.Provider.NewRegistrationRequest(t.Context(), r)
	require.NoError(t, err)
	information, err := s.Provider.NewRegistrationResponse(t.Context(), registration)
	require.NoError(t, err)
	stored, err := s.Store.GetDynamicClient(t.Context(), information.ClientID)
	require.NoError(t, err)
	_, signature, _ := strings.Cut(client.Token(), ".")
	secrets := []string{client.Secret(), client.Token(), signature, string(record.SecretHash), information.ClientSecret,
		information.RegistrationAccessToken, string(stored.SecretHash), stored.RegistrationToken.Signature}
	values := map[string]any{
		"client": record, "client_value": *record, "clients": []*dcr.Client{record},
		"information": information, "information_value": *information,
		"management_request": management, "management_request_value": *management, "registration_request": registration,
		"error": errors.Join(dcr.ErrInvalidToken, fmt.Errorf("of %v", record)),
	}
	for name, value := range values {
		t.Run("T26/"+name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			_, _ = fmt.Fprintf(&out, "%v %+v %#v %s", value, value, value, value)
			slog.New(slog.NewTextHandler(&out, nil)).Info("value", "value", value)
			requireSecretFree(t, out.String(), secrets...)
		})
	}
}

func jsonBase64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
