package strictjson_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// members walks data and returns the names and the raw values in order.
func members(data string, limits strictjson.Limits) ([]string, error) {
	list := []string{}
	err := strictjson.Object([]byte(data), limits, func(name string, value strictjson.Value) error {
		list = append(list, name+"="+string(value.Raw()))
		return nil
	})
	return list, err
}

func TestObjectAccepts(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, data string
		want       []string
	}{
		{"7591-3.1-01/empty_object", `{}`, []string{}},
		{"7591-3.1-01/order", `{"b":1,"a":"x","c":null}`, []string{"b=1", `a="x"`, "c=null"}},
		{"7591-3.1-01/white_space", " \r\n\t{ \"a\" :\t[ 1 , 2 ] ,\n\"b\":{ } } \n", []string{"a=[ 1 , 2 ]", "b={ }"}},
		{"7591-3.1-01/literals", `{"a":true,"b":false,"c":-1.5e3,"d":{"e":[{}]}}`, []string{"a=true", "b=false", "c=-1.5e3", `d={"e":[{}]}`}},
		{"7591-3.1-03/escaped_name", `{"client\u005fname":"\u0041"}`, []string{`client_name="\u0041"`}},
		{"7591-3.1-03/case_differs", `{"a":1,"A":2}`, []string{"a=1", "A=2"}},
		{"7591-3.1-03/same_name_elsewhere", `{"a":{"a":1},"b":[{"a":1},{"a":2}]}`, []string{`a={"a":1}`, `b=[{"a":1},{"a":2}]`}},
		{"7591-3.1-03/surrogate_pair", `{"a":"\ud83d\ude00","b":"` + "\U0001f600" + `"}`, []string{`a="\ud83d\ude00"`, `b="` + "\U0001f600" + `"`}},
		{"7591-3.1-03/empty_name", `{"":1}`, []string{"=1"}},
		{"7591-3.1-03/brackets_in_strings", `{"a":"` + strings.Repeat(`{[\"`, 100) + `"}`, []string{`a="` + strings.Repeat(`{[\"`, 100) + `"`}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := members(row.data, strictjson.Limits{})
			require.NoError(t, err)
			require.Equal(t, row.want, got)
		})
	}
}

func TestObjectRefuses(t *testing.T) {
	t.Parallel()
	const noObject, more, utf8 = "is not a JSON object", "has more data after the JSON object", "is not valid UTF-8"
	for _, row := range []struct{ name, data, phrase string }{
		{"7591-3.1-01/empty", "", "is empty"},
		{"7591-3.1-01/white_space", " \n", "is empty"},
		{"7591-3.1-01/array", `[{"a":1}]`, noObject},
		{"7591-3.1-01/string", `"a"`, noObject},
		{"7591-3.1-01/number", `201`, noObject},
		{"7591-3.1-01/null", `null`, noObject},
		{"7591-3.1-01/true", `true`, noObject},
		{"7591-3.1-01/form", `a=b&c=d`, "is not valid JSON (byte 0)"},
		{"7591-3.1-01/truncated_name", `{"a":1,"b`, "is not valid JSON (byte 9)"},
		{"7591-3.1-01/truncated_value", `{"a":[1`, "is not valid JSON (byte 7), in the member a"},
		{"7591-3.1-01/unclosed", `{"a":1`, "is not valid JSON (byte 6)"},
		{"7591-3.1-01/trailing_object", `{"a":1}{"b":2}`, more},
		{"7591-3.1-01/trailing_line", "{\"a\":1}\n{\"b\":2}\n", more},
		{"7591-3.1-01/trailing_letter", `{"a":1} x`, more},
		{"7591-3.1-01/trailing_brace", `{"a":1}}`, more},
		{"7591-3.1-01/trailing_nul", "{\"a\":1}\x00", more},
		{"7591-3.1-01/trailing_comma", `{"a":1,}`, "is not valid JSON (byte 6)"},
		{"7591-3.1-01/comment", `{/* c */"a":1}`, "is not valid JSON (byte 1)"},
		{"7591-3.1-01/single_quotes", `{'a':1}`, "is not valid JSON (byte 1)"},
		{"7591-3.1-01/no_colon", `{"a" 1}`, "is not valid JSON (byte 5), in the member a"},
		{"7591-3.1-01/number_for_name", `{1:1}`, "is not valid JSON (byte 1)"},
		{"7591-3.1-01/nan", `{"a":NaN}`, "is not valid JSON (byte 5), in the member a"},
		{"7591-3.1-01/leading_zero", `{"a":01}`, "is not valid JSON (byte 6)"},
		{"7591-3.1-01/bad_escape", `{"a":"\x41"}`, "is not valid JSON (byte 6), in the member a"},
		{"7591-3.1-01/raw_newline", "{\"a\":\"\n\"}", "is not valid JSON (byte 6), in the member a"},
		{"7591-3.1-01/raw_nul", "{\"a\":\"\x00\"}", "is not valid JSON (byte 6), in the member a"},
		{"7591-3.1-01/utf16", "{\x00\"\x00a\x00", "is not valid JSON (byte 1)"},
		{"7591-3.1-03/mark", "\ufeff{}", "begins with a byte-order mark"},
		{"7591-3.1-03/mark_inside", "{\ufeff}", "is not valid JSON (byte 1)"},
		{"7591-3.1-03/duplicate", `{"scope":"a","scope":"b"}`, "has the member scope twice"},
		{"7591-3.1-03/duplicate_same_value", `{"a":1,"b":2,"a":1}`, "has the member a twice"},
		{"7591-3.1-03/duplicate_escaped", `{"a":1,"\u0061":2}`, "has the member a twice"},
		{"7591-3.1-03/duplicate_tagged", `{"client_name#fr-CA":1,"client_name#fr-CA":2}`, "has the member client_name#fr-CA twice"},
		{"7591-3.1-03/duplicate_nested", `{"x":[{"y":{"b":1,"b":2}}]}`, "has the member b twice, in the member x"},
		{"7591-3.1-03/duplicate_nested_escaped", `{"x":{"b":1,"\u0062":2}}`, "has the member b twice, in the member x"},
		{"7591-3.1-03/duplicate_unsafe_name", `{"<\"\\>":1,"<\"\\>":2}`, "has a member twice"},
		{"7591-3.1-03/duplicate_empty_name", `{"":1,"":2}`, "has a member twice"},
		{"7591-3.1-03/duplicate_long_name", `{"` + strings.Repeat("a", 65) + `":1,"` + strings.Repeat("a", 65) + `":2}`, "has a member twice"},
		{"7591-3.1-03/invalid_utf8_value", "{\"a\":\"\xc0\xaf\"}", utf8 + ", in the member a"},
		{"7591-3.1-03/invalid_utf8_name", "{\"\xff\":1}", utf8},
		{"7591-3.1-03/invalid_utf8_nested", "{\"a\":[{\"b\":\"\xed\xa0\x80\"}]}", utf8 + ", in the member a"},
		{"7591-3.1-03/lone_high_surrogate", `{"a":"\ud800"}`, "is not valid JSON (byte 6), in the member a"},
		{"7591-3.1-03/lone_low_surrogate", `{"a":"\udc00x"}`, "is not valid JSON (byte 6), in the member a"},
		{"7591-3.1-03/two_high_surrogates", `{"a":"\ud83d\ud83d"}`, "is not valid JSON (byte 6), in the member a"},
		{"7591-3.1-03/lone_surrogate_name", `{"\udfff":1}`, "is not valid JSON (byte 2)"},
		{"7591-3.1-03/lone_surrogate_nested", `{"a":[["\ud800"]]}`, "is not valid JSON (byte 8), in the member a"},
		{"7591-3.1-03/deep_array", `{"a":` + nested("[", "]", 32) + `}`, "is nested more than 32 levels deep"},
		{"7591-3.1-03/deep_object", nested(`{"a":`, "}", 33), "is nested more than 32 levels deep"},
		{"7591-3.1-03/deep_unclosed", strings.Repeat("[", 60000), "is nested more than 32 levels deep"},
		{"7591-3.1-03/deep_objects_unclosed", strings.Repeat(`{"a":`, 40000), "is nested more than 32 levels deep"},
		{"7591-3.1-03/too_many_members", many(2001), "has more than 2000 members"},
		{"7591-3.1-03/long_name", `{"` + strings.Repeat("m", 513) + `":1}`, "has a member name of more than 512 bytes"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, err := members(row.data, strictjson.Limits{})
			require.Equal(t, strictjson.Error(row.phrase), err)
			require.EqualError(t, err, row.phrase)
		})
	}
}

// nested returns n levels around nothing, or around a number where the level is an object.
func nested(open, end string, n int) string {
	inner := ""
	if strings.HasPrefix(open, "{") {
		inner = "1"
	}
	return strings.Repeat(open, n) + inner + strings.Repeat(end, n)
}

// many returns an object with n members.
func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"unknown_%d":%d`, i, i)
	}
	return "{" + b.String()[1:] + "}"
}

func TestLimits(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		limits strictjson.Limits
		good   string
		bad    string
		phrase string
	}{
		{"7591-3.1-03/default_depth", strictjson.Limits{}, nested(`{"a":`, "}", 32), nested(`{"a":`, "}", 33), "is nested more than 32 levels deep"},
		{"7591-3.1-03/depth", strictjson.Limits{Depth: 2}, `{"a":[],"b":[]}`, `{"a":[[]],"b":[]}`, "is nested more than 2 levels deep"},
		{"7591-3.1-03/depth_after_wide", strictjson.Limits{Depth: 2}, `{"a":["[","\"{"],"b":{}}`, `{"a":[1],"b":{"c":{}}}`, "is nested more than 2 levels deep"},
		{"7591-3.1-03/default_members", strictjson.Limits{}, many(2000), many(2001), "has more than 2000 members"},
		{"7591-3.1-03/members", strictjson.Limits{Members: 1}, `{"a":{"b":1,"c":2}}`, `{"a":1,"b":2}`, "has more than 1 members"},
		{"7591-3.1-03/default_name", strictjson.Limits{Depth: -1}, `{"` + strings.Repeat("m", 512) + `":1}`, `{"` + strings.Repeat("m", 513) + `":1}`, "has a member name of more than 512 bytes"},
		{"7591-3.1-03/name", strictjson.Limits{NameLength: 3}, `{"ab\u0063":1}`, `{"abcd":1}`, "has a member name of more than 3 bytes"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, err := members(row.good, row.limits)
			require.NoError(t, err)
			_, err = members(row.bad, row.limits)
			require.EqualError(t, err, row.phrase)
		})
	}
}

func TestObjectStopsAtAnError(t *testing.T) {
	t.Parallel()
	stop, calls := errors.New("stop"), 0
	err := strictjson.Object([]byte(`{"a":1,"b":2,"a":3`), strictjson.Limits{}, func(string, strictjson.Value) error {
		calls++
		return stop
	})
	require.Same(t, stop, err)
	require.Equal(t, 1, calls)
}

// A value stays as it was when later members have been read and the decoder serves another document.
func TestValuesOutliveTheWalk(t *testing.T) {
	t.Parallel()
	var kept []strictjson.Value
	data := []byte(`{"a":"first","b":["second"],"c":{"d":"third"}}`)
	err := strictjson.Object(data, strictjson.Limits{}, func(name string, value strictjson.Value) error {
		kept = append(kept, value)
		return nil
	})
	require.NoError(t, err)
	for i := range 100 {
		_, err := members(`{"`+strconv.Itoa(i)+`":"`+strings.Repeat("x", 100)+`"}`, strictjson.Limits{})
		require.NoError(t, err)
	}
	require.Equal(t, `"first"`, string(kept[0].Raw()))
	require.Equal(t, `["second"]`, string(kept[1].Raw()))
	require.Equal(t, `{"d":"third"}`, string(kept[2].Raw()))
	require.Equal(t, `{"a":"first","b":["second"],"c":{"d":"third"}}`, string(data))
}

func TestObjectWithinObject(t *testing.T) {
	t.Parallel()
	var names []string
	err := strictjson.Object([]byte(`{"a":{"b":1},"c":{"d":2}}`), strictjson.Limits{}, func(name string, value strictjson.Value) error {
		names = append(names, name)
		return strictjson.Object(value.Raw(), strictjson.Limits{}, func(name string, _ strictjson.Value) error {
			names = append(names, name)
			return nil
		})
	})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c", "d"}, names)
}
