package telemetry_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/telemetry"
)

// TestDocuments: failed fetches are counted by their reason, so that a bot challenge is told from a missing document, and
// no host can create time series.
func TestDocuments(t *testing.T) {
	t.Parallel()
	writes := func(status int, mediaType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}
	}
	for name, row := range map[string]struct {
		answer http.HandlerFunc
		counts string // the attributes beside the kind
		spans  string
	}{
		"challenge": {writes(403, "text/html", "<!DOCTYPE html>"), "error.type=status,http.response.status_code=403", ""},
		"missing":   {http.NotFound, "error.type=status,http.response.status_code=404", ""},
		"invented":  {writes(599, "text/html", ""), "error.type=status", "error.type=status,http.response.status_code=599"},
		"html":      {writes(200, "text/html", "<!DOCTYPE html>"), "error.type=media_type", "error.type=media_type,http.response.status_code=200"},
		"rule":      {writes(200, "application/json", `{"client_name":"x","redirect_uris":["ftp://app.example/"]}`), "error.type=invalid_redirect_uri", ""},
		"member":    {writes(200, "application/json", `{"client_name":"x","redirect_uris":["https://app.example/"],"contacts":1}`), "error.type=invalid_client_metadata", ""},
	} {
		t.Run("CIMD-24/"+name, func(t *testing.T) {
			t.Parallel()
			host := dcrtest.StartDocumentHost(t)
			host.Handle("/client", row.answer)
			o := observe(t, dcrtest.Setup{Config: dcr.Config{Documents: dcrtest.NewDocuments(t, nil)}}, telemetry.Options{})
			id := host.URL + "/client"
			o.Form(t, "/oauth2/token", dcrtest.RefreshForm(id, "none"))
			counted := o.counted(t)
			require.EqualValues(t, 1, counted["dcr.event.kind=document_failed,"+row.counts], counted)
			if row.spans == "" {
				row.spans = row.counts
			}
			require.Contains(t, o.told(), spanEvent{"Fosite.NewAccessRequest", "dcr.document_failed", "dcr.event.kind=document_failed," + row.spans + ",oauth.client_id=" + id})
		})
	}
}

// reasoned is an error with a reason of its own, as fosite's are.
type reasoned struct{ error }

func (reasoned) Reason() string { return "eve" }

// TestOtherReasons: a document may be refused for what is no fetch, and other events are no fetches.
func TestOtherReasons(t *testing.T) {
	t.Parallel()
	o := observe(t, dcrtest.Setup{}, telemetry.Options{})
	hint := fosite.ErrInvalidClient.WithHint("eve")
	for _, event := range []dcr.Event{
		{Kind: dcr.EventDocumentFailed, Err: hint}, {Kind: dcr.EventDocumentFailed, Err: reasoned{errors.New("x")}},
		{Kind: dcr.EventDocumentChanged, Registrant: &dcr.Registrant{Kind: dcr.KindDocument}, Elapsed: time.Second},
	} {
		o.sink.Record(background, event)
	}
	require.Equal(t, map[string]int64{
		"dcr.event.kind=document_failed,error.type=invalid_client":     1,
		"dcr.event.kind=document_failed,error.type=_OTHER":             1,
		"dcr.event.kind=document_changed,dcr.registrant.kind=document": 1,
	}, o.counted(t))
	require.Empty(t, o.measured(t), "a fetch is no request")
}
