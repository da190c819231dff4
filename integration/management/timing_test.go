package management_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// countingHasher counts what a request makes it do.
type countingHasher struct {
	dcr.SecretHasher
	compared atomic.Int64
}

func (h *countingHasher) Compare(ctx context.Context, hash, data []byte) error {
	h.compared.Add(1)
	return h.SecretHasher.Compare(ctx, hash, data)
}

// probes are the ways to ask for a client with a token that is not its own: by an identifier that nobody
// has, and by one that exists.
func probes(known, unknown string, tokens map[string]string) map[string][2]probe {
	pairs := map[string][2]probe{}
	for name, token := range tokens {
		pairs[name] = [2]probe{{known, token}, {unknown, token}}
	}
	return pairs
}

type probe struct{ id, token string }

// wrongTokens are what somebody has who has not the token of a client: garbage, the token of another client or
// of one that is gone, and the right one with one character of its signature changed.
func wrongTokens(t testing.TB, s *dcrtest.Server, right string) map[string]string {
	t.Helper()
	other, gone := s.Register(t, dcrtest.Managed()), s.Register(t, dcrtest.Managed())
	require.Equal(t, http.StatusNoContent, s.Manage(t, http.MethodDelete, gone, nil).Status)
	random, signature, ok := strings.Cut(right, ".")
	require.True(t, ok)
	return map[string]string{
		"garbage": "garbage", "other": other.Token(), "gone": gone.Token(),
		"first_byte_wrong": random + "." + flip(signature, 0), "last_byte_wrong": random + "." + flip(signature, len(signature)-2),
	}
}

// flip changes one character to another of the alphabet.
func flip(text string, at int) string {
	changed := []byte(text)
	if changed[at]++; changed[at] == 'z'+1 || changed[at] == 'Z'+1 || changed[at] == '9'+1 || changed[at] == '-'+1 || changed[at] == '_'+1 {
		changed[at] = 'a'
	}
	return string(changed)
}

// TestRefusalsCostAlike: the same is done whether a client exists or not, and wherever a token is wrong.
// BenchmarkRefusals measures that by the clock.
func TestRefusalsCostAlike(t *testing.T) {
	t.Parallel()
	store, hasher := dcrtest.NewWatchedStore(), &countingHasher{}
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Secrets: dcr.Secrets{Hasher: hasher}}})
	known := s.Register(t, dcrtest.Managed())
	tokens := wrongTokens(t, s, known.Token())
	cost := func(method string, p probe) ([]string, int64) {
		before := hasher.compared.Load()
		calls := store.During(func() {
			answer := s.Do(t, method, "/register/"+p.id, []byte(`{"redirect_uris":["https://evil.example/cb"]}`),
				dcrtest.Bearer(p.token), dcrtest.Header("Content-Type", "application/json"))
			dcrtest.RequireUniformRefusal(t, answer)
		})
		return calls, hasher.compared.Load() - before
	}
	for name, pair := range probes(known.ID(), "NOSUCHCLIENTNOSUCHCLIENT22", tokens) { // in turn: they share the lists of calls
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			t.Run("T04/"+name+"/"+method, func(t *testing.T) {
				calls, compared := cost(method, pair[0])
				callsToo, comparedToo := cost(method, pair[1])
				require.Equal(t, calls, callsToo, "the storage is asked the same")
				require.Zero(t, compared, "a slow hash would tell")
				require.Zero(t, comparedToo)
			})
		}
	}
	t.Run("T28/registration_token", func(t *testing.T) {
		first, _ := cost(http.MethodGet, probe{known.ID(), tokens["first_byte_wrong"]})
		last, _ := cost(http.MethodGet, probe{known.ID(), tokens["last_byte_wrong"]})
		require.Equal(t, first, last)
	})
	t.Run("T28/client_secret", func(t *testing.T) {
		secret := known.Secret()
		for _, wrong := range []string{"x", flip(secret, 6), flip(secret, len(secret)-1), secret + "x"} {
			before := hasher.compared.Load()
			calls := store.During(func() {
				answer := s.Form(t, "/oauth2/token", map[string][]string{"grant_type": {"client_credentials"}}, dcrtest.Basic(known.ID(), wrong))
				dcrtest.RequireTokenError(t, answer, http.StatusUnauthorized, "invalid_client")
			})
			require.Equal(t, []string{"GetClient"}, calls, wrong)
			require.EqualValues(t, 1, hasher.compared.Load()-before, "one comparison, however much of %q is right", wrong)
		}
	})
}

// BenchmarkRefusals measures T04 and T28 by the clock. It prints what the median refusal takes, as a share of
// that of another client's token: about 1 where the time tells nothing. An identifier that nobody has must
// not stand out from one that exists, and the last byte of a signature not from its first.
func BenchmarkRefusals(b *testing.B) {
	s := dcrtest.Start(b, dcrtest.Setup{})
	known := s.Register(b, dcrtest.Managed())
	tokens := wrongTokens(b, s, known.Token())
	rows := map[string]probe{
		"others_token": {known.ID(), tokens["other"]}, "unknown_id": {"NOSUCHCLIENTNOSUCHCLIENT22", tokens["other"]},
		"first_byte_wrong": {known.ID(), tokens["first_byte_wrong"]}, "last_byte_wrong": {known.ID(), tokens["last_byte_wrong"]},
		"unknown_id_last_byte_wrong": {"NOSUCHCLIENTNOSUCHCLIENT22", tokens["last_byte_wrong"]},
	}
	handler := s.Provider.ManagementHandler()
	took := map[string][]time.Duration{}
	for b.Loop() {
		for name, row := range rows { // in another order each time, so that no row always follows the same one
			r := httptest.NewRequest(http.MethodGet, "/register/"+row.id, nil)
			r.Header.Set("Authorization", "Bearer "+row.token)
			w := httptest.NewRecorder()
			start := time.Now()
			handler.ServeHTTP(w, r)
			took[name] = append(took[name], time.Since(start))
			require.Equal(b, http.StatusUnauthorized, w.Code)
		}
	}
	median := func(name string) float64 {
		slices.Sort(took[name])
		return float64(took[name][len(took[name])/2])
	}
	for name := range rows {
		b.ReportMetric(median(name)/median("others_token"), name)
	}
}
