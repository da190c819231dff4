package strictjson_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// value returns what Object makes of one value.
func value(t *testing.T, raw string) strictjson.Value {
	t.Helper()
	var got strictjson.Value
	err := strictjson.Object([]byte(`{"a": `+raw+` }`), strictjson.Limits{}, func(_ string, v strictjson.Value) error {
		got = v
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, raw, string(got.Raw()))
	return got
}

// Each value answers to the methods of its own kind, and to no others.
func TestValue(t *testing.T) {
	t.Parallel()
	type outcome struct {
		kind    strictjson.Kind
		text    any
		texts   any
		boolean any
		integer any
	}
	for _, row := range []struct {
		name, raw string
		want      outcome
	}{
		{"null", `null`, outcome{kind: strictjson.KindNull}},
		{"true", `true`, outcome{kind: strictjson.KindBool, boolean: true}},
		{"false", `false`, outcome{kind: strictjson.KindBool, boolean: false}},
		{"string", `"plain"`, outcome{kind: strictjson.KindString, text: "plain"}},
		{"string_empty", `""`, outcome{kind: strictjson.KindString, text: ""}},
		{"string_true", `"true"`, outcome{kind: strictjson.KindString, text: "true"}},
		{"string_escapes", `"\"\\\/\b\f\n\r\t\u0041\u0000\ud83d\ude00"`, outcome{kind: strictjson.KindString, text: "\"\\/\b\f\n\r\tA\x00\U0001f600"}},
		{"string_unicode", `"ü€😀"`, outcome{kind: strictjson.KindString, text: "ü€😀"}},
		{"array_empty", `[ ]`, outcome{kind: strictjson.KindArray, texts: []string{}}},
		{"array_strings", `["a" , "b,]\"[" ,"\\","\u0063"]`, outcome{kind: strictjson.KindArray, texts: []string{"a", `b,]"[`, `\`, "c"}}},
		{"array_number", `["a",1]`, outcome{kind: strictjson.KindArray}},
		{"array_null", `[null]`, outcome{kind: strictjson.KindArray}},
		{"array_nested", `["a",["b"]]`, outcome{kind: strictjson.KindArray}},
		{"array_object", `[{"a":"b"}]`, outcome{kind: strictjson.KindArray}},
		{"object", `{"b":"c"}`, outcome{kind: strictjson.KindObject}},
		{"number", `201`, outcome{kind: strictjson.KindNumber, integer: int64(201)}},
		{"number_zero", `0`, outcome{kind: strictjson.KindNumber, integer: int64(0)}},
		{"number_negative_zero", `-0`, outcome{kind: strictjson.KindNumber, integer: int64(0)}},
		{"number_least", `-9223372036854775808`, outcome{kind: strictjson.KindNumber, integer: int64(-9223372036854775808)}},
		{"number_greatest", `9223372036854775807`, outcome{kind: strictjson.KindNumber, integer: int64(9223372036854775807)}},
		{"number_too_great", `9223372036854775808`, outcome{kind: strictjson.KindNumber}},
		{"number_fraction", `1.5`, outcome{kind: strictjson.KindNumber}},
		{"number_empty_fraction", `1.0`, outcome{kind: strictjson.KindNumber}},
		{"number_exponent", `1e2`, outcome{kind: strictjson.KindNumber}},
		{"number_huge_exponent", `1e999999`, outcome{kind: strictjson.KindNumber}},
	} {
		t.Run("7591-3.1-07/"+row.name, func(t *testing.T) {
			t.Parallel()
			v, got := value(t, row.raw), outcome{}
			got.kind = v.Kind()
			if text, ok := v.Text(); ok {
				got.text = text
			}
			if texts, ok := v.Texts(); ok {
				got.texts = texts
			}
			if boolean, ok := v.Bool(); ok {
				got.boolean = boolean
			}
			if integer, ok := v.Integer(); ok {
				got.integer = integer
			}
			require.Equal(t, row.want, got)
		})
	}
}

func TestZeroValue(t *testing.T) {
	t.Parallel()
	var v strictjson.Value
	require.Zero(t, v.Kind())
	require.Nil(t, v.Raw())
	_, isText := v.Text()
	_, isTexts := v.Texts()
	_, isBool := v.Bool()
	_, isInteger := v.Integer()
	require.False(t, isText || isTexts || isBool || isInteger)
}
