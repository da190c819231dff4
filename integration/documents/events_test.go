package documents_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// TestFailuresHaveReasons: an operator can tell a bot challenge from a missing document, and a stranger can't (CIMD-24).
func TestFailuresHaveReasons(t *testing.T) {
	t.Parallel()
	host, events := dcrtest.StartDocumentHost(t), &dcrtest.Events{}
	var log bytes.Buffer
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
		Documents: dcrtest.NewDocuments(t, nil), Events: dcr.EventSinks(events, dcr.LogEvents(slog.New(slog.NewTextHandler(&log, nil)))),
	}})
	host.Handle("/challenge", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusForbidden)
	})
	host.Handle("/page", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") })
	host.PublishBytes("/text", []byte("hello"))
	host.Publish(t, "/rule", with("redirect_uris", []string{"http://app.example/"}))
	for _, row := range []struct{ path, reason, log, answer string }{
		{"/missing", "status", "level=INFO .*event=document_failed .*error=status .*cause=.*404", "temporarily_unavailable: .*The document at the client_id can not be fetched\\.\n?$"},
		{"/challenge", "status", "error=status .*cause=.*403", "temporarily_unavailable: .*The document at the client_id can not be fetched\\.\n?$"},
		{"/page", "media_type", "error=media_type .*cause=.*text/html", "temporarily_unavailable: .*The document at the client_id can not be fetched\\.\n?$"},
		{"/text", "json", "error=json ", "temporarily_unavailable: .*The document at the client_id can not be fetched\\.\n?$"},
		{"/rule", "invalid_redirect_uri", "error=invalid_redirect_uri description=\"redirect_uris\\[0\\]", "invalid_client: .*redirect_uris\\[0\\]"},
	} {
		log.Reset()
		answer := s.Authorize(t, dcrtest.AuthorizeQuery(host.URL+row.path, callback))
		require.Regexp(t, row.answer, string(answer.Body), "CIMD-24%s", row.path)
		event := events.TakeOne(t)
		require.Equal(t, dcr.EventDocumentFailed, event.Kind)
		require.Equal(t, host.URL+row.path, event.ClientID)
		require.Equal(t, row.reason, event.Reason())
		require.Regexp(t, row.log, log.String())
	}
}
