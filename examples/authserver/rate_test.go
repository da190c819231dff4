package main

import (
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

func TestRateOption(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]dcr.Rate{
		"60/1m": {Count: 60, Per: time.Minute}, "1/1s": {Count: 1, Per: time.Second}, "1000/1h30m": {Count: 1000, Per: 90 * time.Minute}, "5/300ms": {Count: 5, Per: 300 * time.Millisecond},
	} {
		t.Run("7591-3-05/"+value, func(t *testing.T) {
			t.Parallel()
			o, err := parseOptions([]string{"-rate", value}, io.Discard)
			require.NoError(t, err)
			require.Equal(t, want, o.rate)
		})
	}
	for _, value := range []string{
		"", "60", "60/", "/1m", "60/1", "60/m", "sixty/1m", "0/1m", "-1/1m", "60/0s", "60/-1m", "60/1m/1", "6.5/1m", "60 /1m", "60/ 1m",
		"99999999999999999999/1m", "60/99999999999h",
	} {
		t.Run("7591-3-05/refused/"+value, func(t *testing.T) {
			t.Parallel()
			_, err := parseOptions([]string{"-rate", value}, io.Discard)
			require.ErrorContains(t, err, "want COUNT/DURATION, such as 60/1m")
		})
	}
}

// TestRate: with -rate the limit holds for each caller, and without it no caller on this
// machine has one.
func TestRate(t *testing.T) {
	t.Parallel()
	client := object{"redirect_uris": []string{loopbackURI}}
	t.Run("7591-3-05/limited", func(t *testing.T) {
		t.Parallel()
		b := start(t, func(o *options) { o.rate = dcr.Rate{Count: 3, Per: time.Hour} }).browser(t)
		for range 3 {
			b.register(client)
		}
		for i := range 3 {
			answer := b.tryRegister(client, "X-Forwarded-For", "203.0.113."+strconv.Itoa(i))
			require.Equal(t, http.StatusTooManyRequests, answer.status, answer.body)
			require.Equal(t, "temporarily_unavailable", answer.json(t)["error"])
			seconds, err := strconv.Atoi(answer.header.Get("Retry-After"))
			require.NoError(t, err)
			require.Positive(t, seconds)
			require.LessOrEqual(t, seconds, 20*60)
		}
	})
	t.Run("7591-3-05/loopback", func(t *testing.T) {
		t.Parallel()
		b := start(t).browser(t)
		for range 100 {
			b.register(client)
		}
	})
	t.Run("7591-3-05/elsewhere", func(t *testing.T) {
		t.Parallel()
		s := &server{options: defaultOptions()}
		require.Equal(t, -1, s.callerRate().Count)
		s.options.addr = "0.0.0.0:443"
		require.Zero(t, s.callerRate(), "the default of the package")
		s.options.rate = dcr.Rate{Count: 3, Per: time.Hour}
		require.Equal(t, s.options.rate, s.callerRate())
	})
}
