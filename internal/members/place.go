package members

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/go-jose/go-jose/v3"

	"github.com/fosite-contrib/fosite-dcr/internal/keyset"
	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// place is where a struct has one member. Each kind of member implements it, and nothing else asks which
// kind it is. A place holds one pointer, so that none is allocated.
type place interface {
	// kind returns the name of the kind, for documents.
	kind() string
	// empty reports whether the member is absent.
	empty() bool
	// clear makes it absent.
	clear()
	// value returns the value of a member that is there.
	value() any
	// read takes a value that is not null. It returns a phrase where the value is of another kind.
	read(v strictjson.Value, l *Limits) string
	// check judges the value. It returns what the name of the member is followed by ("[2]") and a phrase, or
	// two empty strings.
	check(rules []Rule, most func(*Limits) int, l *Limits) (element, phrase string)
	// covered reports whether the value is honoured. Nothing, and a promise that is not made, always are.
	covered(h Honoured) bool
	// same compares the value with that of a place of the same kind; both are there.
	same(as place) bool
	// append writes the value of a member that is there.
	append(dst []byte) ([]byte, error)
	// copy takes the value of a place of the same kind.
	copy(from place)
	// unshare gives the place a value of its own, where it shares one with a copy of the struct.
	unshare()
}

// placeOf turns what Row.Field returns into a place.
func placeOf(field any) place {
	switch field := field.(type) {
	case *string:
		return textPlace{field}
	case *[]string:
		return listPlace{field}
	case **bool:
		return boolPlace{field}
	case **int64:
		return integerPlace{field}
	}
	return keysPlace{field.(**jose.JSONWebKeySet)}
}

// clone returns a copy of what a pointer points to, and nil for nil.
func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	c := *p
	return &c
}

const kindText = "string"

type textPlace struct{ field *string }

func (p textPlace) kind() string       { return kindText }
func (p textPlace) empty() bool        { return *p.field == "" }
func (p textPlace) clear()             { *p.field = "" }
func (p textPlace) value() any         { return *p.field }
func (p textPlace) copy(from place)    { *p.field = *from.(textPlace).field }
func (p textPlace) same(as place) bool { return *p.field == *as.(textPlace).field }
func (p textPlace) unshare()           {}

func (p textPlace) read(v strictjson.Value, _ *Limits) (phrase string) {
	*p.field, phrase = readText(v)
	return phrase
}

func readText(v strictjson.Value) (text, phrase string) {
	text, ok := v.Text()
	if !ok {
		return "", "is not a string"
	}
	return text, ""
}

func (p textPlace) check(rules []Rule, _ func(*Limits) int, l *Limits) (element, phrase string) {
	if *p.field == "" {
		return "", ""
	}
	return "", judge(rules, l, *p.field)
}

func (p textPlace) covered(h Honoured) bool { return *p.field == "" || h.Has(*p.field) }

func (p textPlace) append(dst []byte) ([]byte, error) {
	return strictjson.AppendString(dst, *p.field), nil
}

type listPlace struct{ field *[]string }

func (p listPlace) kind() string       { return "array of strings" }
func (p listPlace) empty() bool        { return *p.field == nil }
func (p listPlace) clear()             { *p.field = nil }
func (p listPlace) value() any         { return *p.field }
func (p listPlace) copy(from place)    { *p.field = *from.(listPlace).field }
func (p listPlace) same(as place) bool { return slices.Equal(*p.field, *as.(listPlace).field) }
func (p listPlace) unshare()           { *p.field = slices.Clone(*p.field) }

func (p listPlace) read(v strictjson.Value, _ *Limits) string {
	list, ok := v.Texts()
	if !ok {
		return "is not an array of strings"
	}
	*p.field = list
	return ""
}

func (p listPlace) check(rules []Rule, most func(*Limits) int, l *Limits) (element, phrase string) {
	list := *p.field
	if bound := most(l); len(list) > bound {
		return "", "has more than " + strconv.Itoa(bound) + " elements"
	}
	for i, s := range list {
		if phrase := judge(rules, l, s); phrase != "" {
			return "[" + strconv.Itoa(i) + "]", phrase
		}
	}
	*p.field = WithoutRepeats(list)
	return "", ""
}

func (p listPlace) covered(h Honoured) bool {
	return !slices.ContainsFunc(*p.field, func(s string) bool { return !h.Has(s) })
}

func (p listPlace) append(dst []byte) ([]byte, error) {
	return strictjson.AppendStrings(dst, *p.field), nil
}

type boolPlace struct{ field **bool }

func (p boolPlace) kind() string       { return "boolean" }
func (p boolPlace) empty() bool        { return *p.field == nil }
func (p boolPlace) clear()             { *p.field = nil }
func (p boolPlace) value() any         { return **p.field }
func (p boolPlace) copy(from place)    { *p.field = *from.(boolPlace).field }
func (p boolPlace) same(as place) bool { return **p.field == **as.(boolPlace).field }
func (p boolPlace) unshare()           { *p.field = clone(*p.field) }

func (p boolPlace) read(v strictjson.Value, _ *Limits) string {
	b, ok := v.Bool()
	if !ok {
		return "is not true or false"
	}
	*p.field = &b
	return ""
}

func (p boolPlace) check([]Rule, func(*Limits) int, *Limits) (element, phrase string) {
	return "", ""
}

func (p boolPlace) covered(h Honoured) bool { return *p.field == nil || !**p.field || h.All }

func (p boolPlace) append(dst []byte) ([]byte, error) {
	return strconv.AppendBool(dst, **p.field), nil
}

type integerPlace struct{ field **int64 }

func (p integerPlace) kind() string       { return "integer" }
func (p integerPlace) empty() bool        { return *p.field == nil }
func (p integerPlace) clear()             { *p.field = nil }
func (p integerPlace) value() any         { return **p.field }
func (p integerPlace) copy(from place)    { *p.field = *from.(integerPlace).field }
func (p integerPlace) same(as place) bool { return **p.field == **as.(integerPlace).field }
func (p integerPlace) unshare()           { *p.field = clone(*p.field) }

func (p integerPlace) read(v strictjson.Value, _ *Limits) string {
	n, ok := v.Integer()
	if !ok {
		return "is not an integer"
	}
	*p.field = &n
	return ""
}

func (p integerPlace) check([]Rule, func(*Limits) int, *Limits) (element, phrase string) {
	if *p.field != nil && **p.field < 0 {
		return "", "is negative"
	}
	return "", ""
}

func (p integerPlace) covered(h Honoured) bool { return *p.field == nil || h.All }

func (p integerPlace) append(dst []byte) ([]byte, error) {
	return strconv.AppendInt(dst, **p.field, 10), nil
}

// maxCertificates bounds those of a set that is registered: each takes 2 KB of memory, however short it is (T66).
const maxCertificates = 10

type keysPlace struct{ field **jose.JSONWebKeySet }

func (p keysPlace) kind() string    { return "JWK Set" }
func (p keysPlace) empty() bool     { return *p.field == nil }
func (p keysPlace) clear()          { *p.field = nil }
func (p keysPlace) value() any      { return *p.field }
func (p keysPlace) copy(from place) { *p.field = *from.(keysPlace).field }

// same takes a set that can not be written for one like no other.
func (p keysPlace) same(as place) bool {
	set, err := p.append(nil)
	other, otherErr := as.append(nil)
	return err == nil && otherErr == nil && bytes.Equal(set, other)
}

func (p keysPlace) unshare() {
	if *p.field != nil {
		*p.field = &jose.JSONWebKeySet{Keys: slices.Clone((*p.field).Keys)}
	}
}

func (p keysPlace) read(v strictjson.Value, l *Limits) string {
	limits := keyset.Limits{Keys: l.Keys, Stored: l.StoredKeys}
	if !l.StoredKeys {
		limits.Certificates = maxCertificates
	}
	set, err := keyset.Parse(v.Raw(), limits)
	if err != nil {
		return err.Error()
	}
	*p.field = set
	return ""
}

func (p keysPlace) check([]Rule, func(*Limits) int, *Limits) (element, phrase string) {
	return "", ""
}

func (p keysPlace) covered(Honoured) bool { return true }

func (p keysPlace) append(dst []byte) ([]byte, error) {
	set, err := json.Marshal(*p.field)
	return append(dst, set...), err
}
