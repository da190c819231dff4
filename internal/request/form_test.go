package request_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/request"
)

const urlencoded = "application/x-www-form-urlencoded"

// many returns n parameters with short names and values.
func many(n int) string {
	form := url.Values{}
	for i := range n {
		form.Set("p"+strconv.Itoa(i), "v")
	}
	return form.Encode()
}

func TestForm(t *testing.T) {
	t.Parallel()
	const boundary = "multipart/form-data; boundary=b"
	part := "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n%\r\n--b--\r\n"
	for name, row := range map[string]struct {
		query, media string
		body         io.Reader
		limit        int
		want         error
	}{
		"query":             {"a=1", "", nil, 100, nil},
		"body":              {"b=1", urlencoded, strings.NewReader("a=1"), 100, nil},
		"multipart":         {"", boundary, strings.NewReader(strings.Replace(part, "%", "1", 1)), 1000, nil},
		"other_media_type":  {"a=1", "text/plain", strings.NewReader("a=2"), 100, nil},
		"query_too_long":    {"a=" + strings.Repeat("x", 100), "", nil, 100, request.ErrTooLarge},
		"body_too_long":     {"", urlencoded, strings.NewReader("a=" + strings.Repeat("x", 100)), 100, request.ErrTooLarge},
		"T15/multipart":     {"", boundary, strings.NewReader(strings.Replace(part, "%", strings.Repeat("x", 1000), 1)), 1000, request.ErrTooLarge},
		"128_parameters":    {many(128), "", nil, request.StoredForm, nil},
		"ERR-01/repeated":   {"a=1&a=1", "", nil, 100, request.ErrRepeated},
		"ERR-01/elsewhere":  {"a=1", urlencoded, strings.NewReader("a=1"), 100, request.ErrRepeated},
		"ERR-01/empty":      {"a=&a=", "", nil, 100, request.ErrRepeated},
		"ERR-01/resources":  {"a=1&resource=a&resource=b&audience=a&audience=b", "", nil, 100, nil},
		"T61/values":        {"scope=" + strings.Repeat("+s", 499), "", nil, request.AnyForm, nil},
		"T61/more_values":   {"", urlencoded, strings.NewReader("scope=" + strings.Repeat("+s", 500)), request.AnyForm, request.ListError("scope")},
		"T61/split":         {"audience=" + strings.Repeat("+s", 250), urlencoded, strings.NewReader("audience=" + strings.Repeat("+s", 250)), request.AnyForm, request.ListError("audience")},
		"T15/long_list":     {"response_type=" + strings.Repeat("x", 8<<10+1), "", nil, request.AnyForm, request.ListError("response_type")},
		"T15/list":          {"response_type=" + strings.Repeat("x", 8<<10), "", nil, request.AnyForm, nil},
		"129_parameters":    {many(129), "", nil, request.StoredForm, request.ErrTooLarge},
		"T15/split":         {many(64), urlencoded, strings.NewReader(many(65)), request.StoredForm, request.ErrTooLarge},
		"query_unreadable":  {"a=%zz", "", nil, 100, request.ErrUnreadable},
		"T60/nul":           {"state=a%00", "", nil, 100, request.ErrUnreadable},
		"T60/nul_in_a_name": {"a%00=b", "", nil, 100, request.ErrUnreadable},
		"T60/no_utf8":       {"", urlencoded, strings.NewReader("scope=a%ff"), 100, request.ErrUnreadable},
		"T60/secret":        {"", urlencoded, strings.NewReader("a=1&client_secret=%00%ff"), 100, nil},
		"body_unreadable":   {"", urlencoded, strings.NewReader("a=%zz"), 100, request.ErrUnreadable},
		"body_broken":       {"", urlencoded, iotest.ErrReader(errBroken), 100, request.ErrUnreadable},
		"multipart_cut_off": {"", boundary, strings.NewReader(part[:52] + "value"), 1000, request.ErrUnreadable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodPost, "/", row.body)
			r.URL.RawQuery = row.query
			r.Header.Set("Content-Type", row.media)
			err := request.Form(r, row.limit)
			require.ErrorIs(t, err, row.want)
			switch {
			case name == "body":
				require.Equal(t, url.Values{"a": {"1"}, "b": {"1"}}, r.Form)
				require.Equal(t, url.Values{"a": {"1"}}, r.PostForm)
			case row.want == nil && row.limit == 100:
				require.Equal(t, "1", r.Form.Get("a"))
			case errors.Is(err, request.ErrUnreadable):
				require.NotEqual(t, request.ErrUnreadable, err, "the cause is wrapped")
			}
		})
	}
}
