package request_test

import (
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/request"
)

func TestIsIdentifierAndIsToken(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		text              string
		identifier, token bool
	}{
		"empty": {"", true, true}, "words": {"a client", true, true}, "umlaut": {"käse", true, true},
		"nul": {"a\x00", false, false}, "newline": {"a\n", false, false}, "delete": {"\x7f", false, false},
		"c1": {"\u0085", false, false}, "invalid": {"\xff", false, false}, "surrogate": {"\xed\xa0\x80", false, false},
		"2048": {strings.Repeat("a", 2048), true, true}, "2049": {strings.Repeat("a", 2049), false, true},
		"16384": {strings.Repeat("a", 16384), false, true}, "16385": {strings.Repeat("a", 16385), false, false},
	} {
		t.Run("AUTH-12/"+name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, row.identifier, request.IsIdentifier(row.text))
			require.Equal(t, row.token, request.IsToken(row.text))
		})
	}
}

func TestFormReplacesWhatCanBeNothing(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"client_id", "code", "refresh_token", "token", "device_code"} {
		t.Run("AUTH-12/"+name, func(t *testing.T) {
			t.Parallel()
			body := url.Values{name: {"a\x00"}, "client_secret": {"a\x00"}}
			r := httptest.NewRequest("POST", "/", strings.NewReader(body.Encode()))
			r.Header.Set("Content-Type", urlencoded)
			require.NoError(t, request.Form(r, request.AnyForm))
			require.Equal(t, "-", r.Form.Get(name))
			require.Equal(t, "-", r.PostForm.Get(name))
			require.Equal(t, "a\x00", r.Form.Get("client_secret"), "what refers to nothing stays")
		})
	}
}
