package documents_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// BenchmarkAuthorize reads authorization requests: of a registered client, of one whose document is known, and of clients
// whose documents are fetched for it.
func BenchmarkAuthorize(b *testing.B) {
	host := dcrtest.StartDocumentHost(b)
	s := dcrtest.Start(b, dcrtest.Setup{Config: dcr.Config{Documents: dcrtest.NewDocuments(b, nil)}})
	registered := s.Register(b, publicClient()).ID()
	known := host.Publish(b, "/known", publicClient())
	read := func(b *testing.B, id string) {
		b.Helper()
		r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/oauth2/auth?"+dcrtest.AuthorizeQuery(id, callback).Encode(), nil)
		_, err := s.Provider.NewAuthorizeRequest(b.Context(), r)
		require.NoError(b, err)
	}
	b.Run("registered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			read(b, registered)
		}
	})
	b.Run("known_document", func(b *testing.B) {
		read(b, known)
		b.ReportAllocs()
		for b.Loop() {
			read(b, known)
		}
	})
	b.Run("new_document", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			b.StopTimer()
			i++
			id := host.Publish(b, "/new"+strconv.Itoa(b.N)+"-"+strconv.Itoa(i), publicClient())
			b.StartTimer()
			read(b, id)
		}
	})
}

// BenchmarkRefreshInOutage refreshes every ten seconds for half an hour of the clock while the document's host does not
// answer, and reports how many were refused, and the longest time that one took.
func BenchmarkRefreshInOutage(b *testing.B) {
	for b.Loop() {
		host, clock, hang := dcrtest.StartDocumentHost(b), &dcrtest.Clock{}, make(chan struct{})
		s := dcrtest.Start(b, dcrtest.Setup{
			Config: dcr.Config{Documents: dcrtest.NewDocuments(b, clock.Now), Now: clock.Now},
			Fosite: func(config *fosite.Config) { config.RefreshTokenLifespan = 24 * time.Hour },
		})
		id := host.Publish(b, "/client", publicClient())
		code := s.Code(b, dcrtest.AuthorizeQuery(id, callback, "scope", "profile offline_access"))
		tokens := s.Form(b, "/oauth2/token", dcrtest.CodeForm(id, code, callback))
		host.Handle("/client", func(http.ResponseWriter, *http.Request) { <-hang })
		var times []time.Duration
		refused := 0
		for range 180 {
			clock.Forward(10 * time.Second)
			began := time.Now()
			answer := s.Form(b, "/oauth2/token", dcrtest.RefreshForm(id, tokens.Text("refresh_token")))
			times = append(times, time.Since(began))
			if answer.Status != http.StatusOK {
				refused++
				continue
			}
			tokens = answer
		}
		close(hang)
		slices.Sort(times)
		b.ReportMetric(float64(len(times)), "refreshes/op")
		b.ReportMetric(float64(refused), "refused/op")
		b.ReportMetric(float64(times[len(times)-1].Microseconds())/1000, "ms-longest")
		b.ReportMetric(float64(times[len(times)/2].Microseconds())/1000, "ms-median")
	}
}
