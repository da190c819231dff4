package strictjson

import (
	"bytes"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Kind is what a JSON value is. The zero Kind is that of the zero [Value], which is no JSON.
type Kind byte

// The kinds of JSON values.
const (
	KindNull Kind = 1 + iota
	KindBool
	KindNumber
	KindString
	KindArray
	KindObject
)

// Value is one JSON value of a document that [Object] walks. Until the walk is done without an error,
// what surrounds it may still turn out to be faulty.
type Value struct {
	raw  []byte
	kind Kind
}

func newValue(raw []byte) Value { return Value{raw: raw, kind: kindOf(raw[0])} }

// kindOf tells the kind of valid JSON text by its first byte.
func kindOf(first byte) Kind {
	switch first {
	case 'n':
		return KindNull
	case 't', 'f':
		return KindBool
	case '"':
		return KindString
	case '[':
		return KindArray
	case '{':
		return KindObject
	}
	return KindNumber
}

// Kind returns what the value is.
func (v Value) Kind() Kind { return v.kind }

// Raw returns the value as it stands in the document: valid JSON text without white space around it, in
// which no name is a duplicate. It aliases the document; bytes.Clone makes it independent.
func (v Value) Raw() []byte { return v.raw }

// Text returns the string without quotes and escapes; false where the value is no string. It is a copy.
func (v Value) Text() (string, bool) {
	if v.kind != KindString {
		return "", false
	}
	return unquote(v.raw), true
}

// Texts returns the strings of an array, never nil; false where the value is no array, or where an
// element is no string. They are copies.
func (v Value) Texts() ([]string, bool) {
	if v.kind != KindArray {
		return nil, false
	}
	texts := make([]string, 0, min(bytes.Count(v.raw, []byte(`"`))/2, 64))
	rest := skipFiller(v.raw[1:])
	for rest[0] != ']' {
		if rest[0] != '"' {
			return nil, false
		}
		end := quotedLength(rest)
		texts = append(texts, unquote(rest[:end]))
		rest = skipFiller(rest[end:])
	}
	return texts, true
}

// Bool returns the truth value; ok is false where the value is neither true nor false.
func (v Value) Bool() (b, ok bool) {
	return v.kind == KindBool && v.raw[0] == 't', v.kind == KindBool
}

// Integer returns the number; false where the value is no number, has a fraction or an exponent, even
// one that changes nothing ("1.0", "1e2"), or does not fit an int64.
func (v Value) Integer() (int64, bool) {
	if v.kind != KindNumber {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v.raw), 10, 64)
	return n, err == nil
}

// unquote decodes valid JSON text of a string.
func unquote(quoted []byte) string {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	// The walk has validated the text: there is no error to see.
	text, _ := jsontext.AppendUnquote(make([]byte, 0, len(inner)), quoted)
	return string(text)
}

// quotedLength returns the length of the string with which valid JSON text begins.
func quotedLength(b []byte) int {
	for i := 1; ; i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
}

// skipFiller drops the white space and the commas in front of an element of valid JSON text.
func skipFiller(b []byte) []byte {
	return bytes.TrimLeft(b, " \t\r\n,")
}
