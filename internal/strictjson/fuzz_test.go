package strictjson_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// FuzzObject holds what Object accepts against encoding/json, which has to read the same.
func FuzzObject(f *testing.F) {
	for _, seed := range []string{
		registration,
		`{"a":1,"\u0061":2}`,
		`{"a":[{"b":1,"b":2}]}`,
		`{"a":"\ud800"}`,
		"\ufeff{}",
		`{"a":["x","\"]",[]],"b":-0.5e+10,"c":null}`,
		` { } x`,
		strings.Repeat("[", 40),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		got := map[string]strictjson.Value{}
		err := strictjson.Object(data, strictjson.Limits{}, func(name string, value strictjson.Value) error {
			require.NotContains(t, got, name)
			got[name] = value
			return nil
		})
		require.Equal(t, before, data)
		if err != nil {
			requirePhrase(t, err)
			return
		}
		var want map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(data, &want))
		require.Len(t, got, len(want))
		for name, raw := range want {
			require.Contains(t, got, name)
			require.Equal(t, string(raw), string(got[name].Raw()))
			requireSame(t, got[name])
		}
	})
}

// requirePhrase makes sure that an error may become an error_description.
func requirePhrase(t *testing.T, err error) {
	t.Helper()
	require.IsType(t, strictjson.Error(""), err)
	require.Less(t, len(err.Error()), 200)
	require.Less(t, strings.IndexFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }), 0)
}

// requireSame makes sure that a value reads the same through encoding/json.
func requireSame(t *testing.T, v strictjson.Value) {
	t.Helper()
	text, isText := v.Text()
	requireRead(t, v, isText, text, v.Kind() == strictjson.KindString)
	b, isBool := v.Bool()
	requireRead(t, v, isBool, b, v.Kind() == strictjson.KindBool)
	integer, isInteger := v.Integer()
	requireRead(t, v, isInteger, integer, isInteger)
	texts, isTexts := v.Texts()
	requireRead(t, v, isTexts, texts, isTexts)
	if v.Kind() == strictjson.KindArray {
		// encoding/json takes null for a string.
		var all []*string
		require.Equal(t, isTexts, json.Unmarshal(v.Raw(), &all) == nil && !hasNil(all))
	}
}

func requireRead[T any](t *testing.T, v strictjson.Value, ok bool, got T, wantOK bool) {
	t.Helper()
	require.Equal(t, wantOK, ok)
	if ok {
		var want T
		require.NoError(t, json.Unmarshal(v.Raw(), &want))
		require.Equal(t, want, got)
	}
}

func hasNil(list []*string) bool {
	for _, s := range list {
		if s == nil {
			return true
		}
	}
	return false
}

// FuzzAppendString makes sure that what is appended is read back by encoding/json.
func FuzzAppendString(f *testing.F) {
	for _, seed := range []string{"", "plain", "</script>\u2028", "a\xffb", "\x00\x1f\x7f", `"\`, "😀"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		appended := strictjson.AppendString([]byte("x"), text)
		require.Equal(t, byte('x'), appended[0])
		require.True(t, utf8.Valid(appended))
		require.False(t, bytes.ContainsAny(appended, "<>&\u2028\u2029"))
		var got string
		require.NoError(t, json.Unmarshal(appended[1:], &got))
		require.Equal(t, string([]rune(text)), got)
	})
}
