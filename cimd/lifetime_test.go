package cimd

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFreshness reads headers as a shared cache does.
func TestFreshness(t *testing.T) {
	t.Parallel()
	const date = "Tue, 14 Nov 2023 22:13:20 GMT"
	now, err := http.ParseTime(date)
	require.NoError(t, err)
	for name, row := range map[string]struct {
		header http.Header
		want   time.Duration
	}{
		"nothing":           {http.Header{}, 0},
		"max_age":           {http.Header{"Cache-Control": {"public, max-age=600"}}, 600},
		"s_maxage_first":    {http.Header{"Cache-Control": {"max-age=600, s-maxage=30"}}, 30},
		"two_headers":       {http.Header{"Cache-Control": {"public", "Max-Age = \"600\""}}, 600},
		"first_of_two":      {http.Header{"Cache-Control": {"max-age=1, max-age=600"}}, 1},
		"less_age":          {http.Header{"Cache-Control": {"max-age=600"}, "Age": {"500"}}, 100},
		"older_than_that":   {http.Header{"Cache-Control": {"max-age=600"}, "Age": {"601"}}, 0},
		"age_that_is_none":  {http.Header{"Cache-Control": {"max-age=600"}, "Age": {"-1"}}, 600},
		"no_store":          {http.Header{"Cache-Control": {"max-age=600, no-store"}}, 0},
		"no_cache":          {http.Header{"Cache-Control": {`no-cache="Set-Cookie", max-age=600`}}, 0},
		"private":           {http.Header{"Cache-Control": {"PRIVATE,max-age=600"}}, 0},
		"expires":           {http.Header{"Expires": {"Tue, 14 Nov 2023 22:23:20 GMT"}, "Date": {date}}, 600},
		"expires_less_age":  {http.Header{"Expires": {"Tue, 14 Nov 2023 22:23:20 GMT"}, "Date": {date}, "Age": {"10"}}, 590},
		"expires_no_date":   {http.Header{"Expires": {"Tue, 14 Nov 2023 22:23:20 GMT"}}, 600},
		"expires_other":     {http.Header{"Expires": {"Tue, 14 Nov 2023 22:23:20 GMT"}, "Date": {"Tue, 14 Nov 2023 22:23:10 GMT"}}, 10},
		"expires_in_past":   {http.Header{"Expires": {"Tue, 14 Nov 2023 22:13:19 GMT"}, "Date": {date}}, 0},
		"expires_0":         {http.Header{"Expires": {"0"}}, 0},
		"max_age_wins":      {http.Header{"Expires": {"0"}, "Cache-Control": {"max-age=600"}}, 600},
		"max_age_malformed": {http.Header{"Cache-Control": {"max-age=-5, =, ,"}}, 0},
		"max_age_empty":     {http.Header{"Cache-Control": {"max-age"}}, 0},
		"max_age_huge":      {http.Header{"Cache-Control": {"max-age=99999999999999999999"}}, 365 * 24 * 60 * 60},
	} {
		t.Run("CIMD-08/"+name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, row.want*time.Second, freshness(row.header, now))
		})
	}
}

// TestLifetimeIsBounded: by what the server wants, whatever a host says.
func TestLifetimeIsBounded(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		control string
		change  func(*Options)
		want    time.Duration
	}{
		"default":      {"", nil, 5 * time.Minute},
		"shorter":      {"max-age=1", nil, 5 * time.Minute},
		"within":       {"max-age=3600", nil, time.Hour},
		"longer":       {"max-age=31536000", nil, 24 * time.Hour},
		"other_bounds": {"max-age=3600", func(o *Options) { o.MinAge, o.MaxAge = time.Second, time.Minute }, time.Minute},
		"no_minimum":   {"max-age=3", func(o *Options) { o.MinAge = time.Second }, 3 * time.Second},
	} {
		t.Run("CIMD-08/"+name, func(t *testing.T) {
			t.Parallel()
			h := serveHost(t, says("one", "Cache-Control", row.control))
			d, clock := newDocuments(t, row.change)
			r := new(reader)
			r.get(t, d, h.id, 1, "one")
			clock.pass(row.want - 1)
			r.get(t, d, h.id, 1, "one")
			require.EqualValues(t, 1, h.fetches.Load())
			clock.pass(1)
			r.get(t, d, h.id, 1, "one")
			require.EqualValues(t, 2, h.fetches.Load())
		})
	}
}
