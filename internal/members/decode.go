package members

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// Set puts one member of a document into its place in m. It knows no rule but those of size and type. Null
// counts as absent.
//
// A member with a well-formed language tag goes to the localized members, where its row allows a tag. Any
// other unknown member is kept as it stands where l names it, and ignored otherwise (RFC 7591, section 3.1).
// The error is a *Refusal. After an error m holds a part of the document.
func (t *Table[T]) Set(m *T, name string, value strictjson.Value, l *Limits) error {
	row, tagged := t.named[name], false
	if row == nil {
		if row = t.taggedRow(name); row == nil {
			return t.setExtension(m, name, value, l)
		}
		tagged = true
	}
	if value.Kind() == strictjson.KindNull {
		return nil
	}
	if tagged {
		return t.setLocalized(m, row, name, value, l)
	}
	place := row.make(m)
	if phrase := place.read(value, l); phrase != "" {
		return row.Refuse(phrase)
	}
	if row.Enum && place.empty() {
		return row.Refuse("is empty")
	}
	return nil
}

// setExtension keeps a member that the application has named, and ignores all others (RFC 7591, section
// 3.1; T07).
func (t *Table[T]) setExtension(m *T, name string, value strictjson.Value, l *Limits) error {
	if !l.AnyExtension && !slices.Contains(l.Extensions, name) || value.Kind() == strictjson.KindNull {
		return nil
	}
	if len(value.Raw()) > l.Extension {
		return &Refusal{Member: name, Phrase: "is longer than " + strconv.Itoa(l.Extension) + " bytes"}
	}
	setEntry(t.extensions(m), name, json.RawMessage(bytes.Clone(value.Raw())))
	return nil
}

func (t *Table[T]) setLocalized(m *T, row *Row[T], name string, value strictjson.Value, l *Limits) error {
	text, phrase := readText(value)
	switch {
	case phrase != "":
		return row.refuse(name, phrase)
	case text == "" && row.Enum:
		return row.refuse(name, "is empty")
	case text == "":
		return nil
	}
	place := t.localized(m)
	if len(*place) >= l.Localized {
		return &Refusal{Phrase: "There are too many members with a language tag, " + row.Name + " among them"}
	}
	setEntry(place, name, text)
	return nil
}

// setEntry puts an entry into a map that is made where need be.
func setEntry[V any](place *map[string]V, name string, value V) {
	if *place == nil {
		*place = map[string]V{}
	}
	(*place)[name] = value
}

// taggedRow finds the row of a member with a language tag. One whose tag is malformed (RFC 5646, section 2.1)
// is unknown, and so ignored.
func (t *Table[T]) taggedRow(name string) *Row[T] {
	base, tag, ok := strings.Cut(name, "#")
	if !ok || !LanguageTag(tag) {
		return nil
	}
	if row := t.named[base]; row != nil && row.Tagged {
		return row
	}
	return nil
}

// LanguageTag reports whether tag has the form of a language tag: subtags of one to eight letters and
// digits, the first of letters only, in 35 characters at most (RFC 5646, sections 2.1 and 4.4.1).
func LanguageTag(tag string) bool {
	if len(tag) > 35 {
		return false
	}
	first := true
	for subtag := range strings.SplitSeq(tag, "-") {
		if len(subtag) < 1 || len(subtag) > 8 {
			return false
		}
		for _, c := range []byte(subtag) {
			letter := c|0x20 >= 'a' && c|0x20 <= 'z'
			if !letter && (first || c < '0' || c > '9') {
				return false
			}
		}
		first = false
	}
	return true
}
