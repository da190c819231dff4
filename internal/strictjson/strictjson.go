// Package strictjson walks one JSON object, once and strictly, and appends JSON strings.
//
// The parsers of a request must not differ in what they read: the one that checks a document has to
// see what the one that stores it sees. What JSON parsers are known to disagree about is refused here:
// duplicate names, invalid UTF-8, unpaired surrogates, a byte-order mark, data after the object. What
// makes a parser work without bound is refused too: deep nesting, very many members, very long names.
//
//	err := strictjson.Object(body, strictjson.Limits{}, func(name string, value strictjson.Value) error {
//		...
//	})
//
// [Object] is in this file, [Value] in value.go, the way back to JSON in append.go.
package strictjson

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// The defaults of [Limits].
const (
	DefaultDepth      = 32
	DefaultMembers    = 2000
	DefaultNameLength = 512
)

// Limits bounds what [Object] accepts. A field that is zero or negative has its default. The length of
// the document is the caller's to bound.
type Limits struct {
	// Depth is how many levels of objects and arrays lie within each other, the top object included.
	// The default is DefaultDepth.
	Depth int
	// Members is how many members the top object has. The default is DefaultMembers.
	Members int
	// NameLength is the length of a member's name in the top object, in bytes and without escapes.
	// The default is DefaultNameLength.
	NameLength int
}

// Error is why a document was refused. It is a short phrase in ASCII, without quotes or backslashes,
// that continues the name of the document ("is not valid JSON"). Of the input it repeats at most one
// name of letters, digits and a few marks.
type Error string

// Error returns the phrase.
func (e Error) Error() string { return string(e) }

// What does not depend on the input.
const (
	errEmpty    Error = "is empty"
	errMark     Error = "begins with a byte-order mark"
	errNoObject Error = "is not a JSON object"
	errTrailing Error = "has more data after the JSON object"
	errUTF8     Error = "is not valid UTF-8"
	errTwice    Error = "has a member twice"
)

// Object calls member for each member of the one JSON object that data consists of, in order. The name
// is free of escapes, as is a comparison of names: \u0061 and a are duplicates.
//
// It returns an [Error] for anything but one object with white space around it, and at any depth for a
// duplicate name, invalid UTF-8 and an unpaired surrogate escape. An error that member returns stops the
// walk and is returned as it is; what comes later in data has not been judged then.
//
// The walk is a single one, so member may have been called before a later fault is found. On any error
// the caller discards all that it has collected.
//
// Values alias data, which must not change as long as they are in use. Member may call Object.
func Object(data []byte, limits Limits, member func(name string, value Value) error) error {
	limits = limits.withDefaults()
	if err := precheck(data, limits.Depth); err != nil {
		return err
	}
	w := walkers.Get().(*walker)
	defer w.release()
	w.open(data)
	return w.walk(limits, member)
}

func (l Limits) withDefaults() Limits {
	if l.Depth <= 0 {
		l.Depth = DefaultDepth
	}
	if l.Members <= 0 {
		l.Members = DefaultMembers
	}
	if l.NameLength <= 0 {
		l.NameLength = DefaultNameLength
	}
	return l
}

// precheck refuses what is better told, or cheaper found, before parsing.
func precheck(data []byte, depth int) error {
	switch {
	case len(data) == 0:
		return errEmpty
	case bytes.HasPrefix(data, []byte("\ufeff")):
		return errMark
	case deeper(data, depth):
		return Error("is nested more than " + strconv.Itoa(depth) + " levels deep")
	}
	return nil
}

// deeper reports whether data opens more than depth objects and arrays without closing them. Of invalid
// JSON it may say either.
func deeper(data []byte, depth int) bool {
	if bytes.Count(data, []byte("{"))+bytes.Count(data, []byte("[")) <= depth {
		return false
	}
	open, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case quoted:
		case c == '{' || c == '[':
			if open++; open > depth {
				return true
			}
		case c == '}' || c == ']':
			open--
		}
	}
	return false
}

// walker is a decoder and the input it reads from. The decoder parses a bytes.Buffer in place: nothing
// is copied, and the input is never written to.
type walker struct {
	data    []byte
	input   bytes.Buffer
	decoder jsontext.Decoder
}

var walkers = sync.Pool{New: func() any { return new(walker) }}

func (w *walker) open(data []byte) {
	w.data = data
	w.input = *bytes.NewBuffer(data)
	w.decoder.Reset(&w.input)
}

// release gives the walker back, without a reference to the document.
func (w *walker) release() {
	w.open(nil)
	walkers.Put(w)
}

func (w *walker) walk(limits Limits, member func(name string, value Value) error) error {
	if err := w.begin(); err != nil {
		return err
	}
	for n := 0; w.decoder.PeekKind() != jsontext.KindEndObject; n++ {
		name, value, err := w.next(limits)
		if err != nil {
			return err
		}
		if n == limits.Members {
			return Error("has more than " + strconv.Itoa(limits.Members) + " members")
		}
		if err := member(name, value); err != nil {
			return err
		}
	}
	return w.end()
}

// begin reads the brace that opens the object.
func (w *walker) begin() error {
	token, err := w.decoder.ReadToken()
	if err == io.EOF {
		return errEmpty
	}
	if err != nil {
		return w.refusal(err)
	}
	if token.Kind() != jsontext.KindBeginObject {
		return errNoObject
	}
	return nil
}

// next reads one member.
func (w *walker) next(limits Limits) (string, Value, error) {
	token, err := w.decoder.ReadToken()
	if err != nil {
		return "", Value{}, w.refusal(err)
	}
	name := token.String()
	if len(name) > limits.NameLength {
		return "", Value{}, Error("has a member name of more than " + strconv.Itoa(limits.NameLength) + " bytes")
	}
	raw, err := w.decoder.ReadValue()
	if err != nil {
		return "", Value{}, within(name, w.refusal(err))
	}
	// The decoder's slice lives until its next call only; the same bytes of the input live on.
	end := int(w.decoder.InputOffset())
	return name, newValue(w.data[end-len(raw) : end : end]), nil
}

// end reads the brace that closes the object, and makes sure that nothing follows.
func (w *walker) end() error {
	if _, err := w.decoder.ReadToken(); err != nil {
		return w.refusal(err)
	}
	if _, err := w.decoder.ReadToken(); err != io.EOF {
		return errTrailing
	}
	return nil
}

// refusal puts an error of the decoder, which quotes the input, into our words.
func (w *walker) refusal(err error) error {
	var syntactic *jsontext.SyntacticError
	switch {
	case !utf8.Valid(w.data):
		return errUTF8
	case !errors.As(err, &syntactic):
		return Error("is not valid JSON")
	case errors.Is(err, jsontext.ErrDuplicateName):
		return twice(syntactic.JSONPointer.LastToken())
	}
	return Error("is not valid JSON (byte " + strconv.FormatInt(syntactic.ByteOffset, 10) + ")")
}

// within tells in whose value the fault lies, where the name is fit to be repeated.
func within(name string, fault error) error {
	if !repeatable(name) {
		return fault
	}
	return Error(fault.Error() + ", in the member " + name)
}

// twice names the member that occurs twice, where its name is fit to be repeated.
func twice(name string) Error {
	if !repeatable(name) {
		return errTwice
	}
	return Error("has the member " + name + " twice")
}

func repeatable(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	for _, c := range []byte(name) {
		if !plain(c) {
			return false
		}
	}
	return true
}

func plain(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c == '_' || c == '-' || c == '#' || c == '.'
}

// Strings reads a document that is one array of strings.
func Strings(data []byte) ([]string, error) {
	var list []string
	wrapped := append(append([]byte(`{"a":`), data...), '}')
	err := Object(wrapped, Limits{}, func(name string, value Value) error {
		texts, ok := value.Texts()
		if !ok || name != "a" {
			return Error("is not an array of strings")
		}
		list = texts
		return nil
	})
	return list, err
}
