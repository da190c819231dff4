package request_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/request"
)

func TestMethod(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		method  string
		allowed []string
		want    error
	}{
		{"POST", []string{"POST"}, nil},
		{"PUT", []string{"GET", "PUT"}, nil},
		{"GET", []string{"POST"}, request.ErrMethod},
		{"post", []string{"POST"}, request.ErrMethod},
		{"HEAD", []string{"GET"}, request.ErrMethod},
		{"GET", nil, request.ErrMethod},
	} {
		t.Run(row.method, func(t *testing.T) {
			t.Parallel()
			require.ErrorIs(t, request.Method(&http.Request{Method: row.method}, row.allowed...), row.want)
		})
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		header http.Header
		want   error
	}{
		"plain":         {http.Header{"Content-Type": {"application/json"}}, nil},
		"charset":       {http.Header{"Content-Type": {"application/json; charset=utf-8"}}, nil},
		"upper_case":    {http.Header{"Content-Type": {"Application/JSON"}}, nil},
		"none":          {nil, request.ErrMediaType},
		"empty":         {http.Header{"Content-Type": {""}}, request.ErrMediaType},
		"two":           {http.Header{"Content-Type": {"application/json", "application/json"}}, request.ErrMediaType},
		"form":          {http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, request.ErrMediaType},
		"suffix":        {http.Header{"Content-Type": {"application/jwk+json"}}, request.ErrMediaType},
		"malformed":     {http.Header{"Content-Type": {"application/json; charset"}}, request.ErrMediaType},
		"gzip":          {http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, request.ErrMediaType},
		"coding_absent": {http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.ErrorIs(t, request.JSON(&http.Request{Header: row.header}), row.want)
		})
	}
}

func TestBearer(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		headers     []string
		token       string
		present, ok bool
	}{
		"none":          {nil, "", false, false},
		"token":         {[]string{"Bearer abc"}, "abc", true, true},
		"case":          {[]string{"bEARER abc"}, "abc", true, true},
		"spaces_before": {[]string{"Bearer   abc"}, "abc", true, true},
		"basic":         {[]string{"Basic abc"}, "", false, false},
		"basic_first":   {[]string{"Basic abc", "Bearer abc"}, "", false, false},
		"no_token":      {[]string{"Bearer"}, "", true, false},
		"empty_token":   {[]string{"Bearer "}, "", true, false},
		"space_after":   {[]string{"Bearer abc "}, "", true, false},
		"two_tokens":    {[]string{"Bearer abc def"}, "", true, false},
		"tab":           {[]string{"Bearer abc\tdef"}, "", true, false},
		"list":          {[]string{"Bearer abc,def"}, "", true, false},
		"several":       {[]string{"Bearer abc", "Bearer abc"}, "", true, false},
		"prefix":        {[]string{"Bearertoken abc"}, "", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/?access_token=query", nil)
			r.Header["Authorization"] = row.headers
			token, present, ok := request.Bearer(r)
			require.Equal(t, row.token, token)
			require.Equal(t, row.present, present)
			require.Equal(t, row.ok, ok)
		})
	}
}

func TestOneToken(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		header, query string
		want          error
	}{
		"header": {"Bearer a", "", nil}, "query": {"", "?access_token=a", nil}, "neither": {"", "", nil},
		"both": {"Bearer a", "?access_token=a", request.ErrRepeated}, "empty": {"Bearer a", "?access_token", request.ErrRepeated},
	} {
		t.Run("ERR-01/"+name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("GET", "/"+row.query, nil)
			if row.header != "" {
				r.Header.Set("Authorization", row.header)
			}
			require.ErrorIs(t, request.OneToken(r), row.want)
		})
	}
}
