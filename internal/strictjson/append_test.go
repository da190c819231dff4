package strictjson_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

func TestAppendString(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, text, want string }{
		{"empty", "", `""`},
		{"plain", "https://client.example/cb", `"https://client.example/cb"`},
		{"quote_and_backslash", `a"b\c`, `"a\"b\\c"`},
		{"white_space", "\n\r\t ", `"\n\r\t "`},
		{"control", "a\x00\x1f\x7fb", `"a\u0000\u001f\u007fb"`},
		{"html", "</script>&<", `"\u003c/script\u003e\u0026\u003c"`},
		{"separators", "a\u2028b\u2029", `"a\u2028b\u2029"`},
		{"unicode", "ü€😀", `"ü€😀"`},
		{"replacement_character", "\ufffd", `"` + "\ufffd" + `"`},
		{"invalid_utf8", "a\xffb\xc0\xafc\xed\xa0\x80", `"` + "a\ufffdb\ufffd\ufffdc\ufffd\ufffd\ufffd" + `"`},
		{"truncated_utf8", "\xe2\x82", `"` + "\ufffd\ufffd" + `"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, "x:"+row.want, string(strictjson.AppendString([]byte("x:"), row.text)))
		})
	}
}

func TestAppendStrings(t *testing.T) {
	t.Parallel()
	require.Equal(t, `[]`, string(strictjson.AppendStrings(nil, nil)))
	require.Equal(t, `[]`, string(strictjson.AppendStrings(nil, []string{})))
	require.Equal(t, `["a"]`, string(strictjson.AppendStrings(nil, []string{"a"})))
	require.Equal(t, `x["","\u003c","b"]`, string(strictjson.AppendStrings([]byte("x"), []string{"", "<", "b"})))
}
