// Package members is the engine of a table of JSON members over a struct, such as the metadata of a
// client. A row of the table has all that is to know of one member: its name, its place in the struct, its
// rules. The passes of a registration are methods of the table: Set, Overlay, Fill, Check, Fit, Append.
//
// Where to look: members.go has the rows and the table, place.go the five kinds of member, decode.go and
// passes.go the passes, append.go how members are written, rules.go the rules of one value.
package members

import (
	"encoding/json"
	"iter"

	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// Row is one member: everything about it. The fields that have no default named here may be left at zero.
type Row[T any] struct {
	// Name is the name in JSON, such as "redirect_uris".
	Name string
	// Spec tells where the member is defined.
	Spec string
	// Group is the part of T that has the member. Nil is T itself.
	Group *Group[T]
	// Field returns a pointer to the member's place. Its type is the kind of the member: *string, *[]string,
	// **bool, **int64 or **jose.JSONWebKeySet. It is called only where the group is there. A member is absent
	// where its place holds an empty string, or nil.
	Field func(*T) any
	// Tagged members may carry a language tag (RFC 7591, section 2.2). They are strings.
	Tagged bool
	// Enum members take one of a few values: an empty string is a wrong one. For all others an empty string
	// is an absent member.
	Enum bool
	// List is the name of the member in which a client lists what it can do, for a string whose value the
	// server may choose, such as "subject_types_supported". Empty means that there is none.
	List string
	// Code is what the refusals of this member carry. It may be nil.
	Code error
	// Most tells how many elements a list may have. The default is Limits.Elements.
	Most func(*Limits) int
	// Rules judge a string, or each string of a list, in this order.
	Rules []Rule
	// Support tells what becomes of a value that passes the rules.
	Support Support
	// Values are honoured by every server, for a member whose Support is not Registered. The table does not
	// read them: they are for whoever makes what Fit takes.
	Values []string

	kind  string
	label string // the name as it stands in JSON, with its colon
}

// Group is a part of T that lies behind a pointer, which is nil where nothing of it is registered. The rows
// of one group name the same Group.
type Group[T any] struct {
	// Has reports whether the part is there.
	Has func(*T) bool
	// Make makes the part.
	Make func(*T)
	// Drop sets it to nil.
	Drop func(*T)
}

// Support tells what becomes of a member, or of a value, that the server does not honour.
type Support byte

const (
	// Registered members are kept whatever the server honours.
	Registered Support = iota
	// LeftOut members are those of features. Without the feature they promise nothing, and the answer shows
	// that they were not registered.
	LeftOut
	// Refused members promise security or choose an algorithm. Without support they are an error.
	Refused
)

// String returns "registered", "left out" or "refused".
func (s Support) String() string { return [...]string{"registered", "left out", "refused"}[s] }

// Refusal is the one error of this package: a member whose value is refused.
type Refusal struct {
	// Member is the name, with the index of an element ("redirect_uris[2]") or the language tag
	// ("client_name#fr") where it is about one. It is empty where Phrase is a whole sentence.
	Member string
	// Phrase continues the name: "has a fragment". It repeats nothing of the value.
	Phrase string
	// Code is the Code of the row. It is nil for members without a row.
	Code error
}

// Error returns one sentence without its period.
func (r *Refusal) Error() string {
	if r.Member == "" {
		return r.Phrase
	}
	return r.Member + " " + r.Phrase
}

// Table is a table of members over T. It does not change, and serves any number of callers at once.
type Table[T any] struct {
	rows       []Row[T]
	sections   []section[T]
	named      map[string]*Row[T]
	lists      map[string]*Row[T] // by Row.List
	localized  func(*T) *map[string]string
	extensions func(*T) *map[string]json.RawMessage
}

// section is a run of rows of one group.
type section[T any] struct {
	group *Group[T]
	rows  []Row[T]
}

// NewTable makes a table of rows, which are written in this order. The names of rows differ.
//
// localized returns the place of the members with a language tag, by their full names ("client_name#fr").
// extensions returns the place of the members that have no row, as JSON.
//
// It panics where a Field returns another type than the five: that is a mistake of the program.
func NewTable[T any](localized func(*T) *map[string]string, extensions func(*T) *map[string]json.RawMessage, rows ...Row[T]) *Table[T] {
	t := &Table[T]{
		rows: make([]Row[T], len(rows)), named: make(map[string]*Row[T], len(rows)), lists: map[string]*Row[T]{},
		localized: localized, extensions: extensions,
	}
	copy(t.rows, rows)
	for i, start := 0, 0; i < len(t.rows); i++ {
		row := &t.rows[i]
		row.label = string(append(strictjson.AppendString(nil, row.Name), ':'))
		t.named[row.Name] = row
		if row.List != "" {
			t.lists[row.List] = row
		}
		row.kind = row.make(new(T)).kind()
		if row.Most == nil {
			row.Most = elements
		}
		if next := i + 1; next == len(rows) || rows[next].Group != row.Group {
			t.sections = append(t.sections, section[T]{group: row.Group, rows: t.rows[start:next:next]})
			start = next
		}
	}
	return t
}

func elements(l *Limits) int { return l.Elements }

// Rows returns the rows in order. They must not be changed.
func (t *Table[T]) Rows() iter.Seq[*Row[T]] {
	return func(yield func(*Row[T]) bool) {
		for i := range t.rows {
			if !yield(&t.rows[i]) {
				return
			}
		}
	}
}

// present returns the rows in order whose group m has.
func (t *Table[T]) present(m *T) iter.Seq[*Row[T]] {
	return func(yield func(*Row[T]) bool) {
		for _, s := range t.sections {
			if s.group != nil && !s.group.Has(m) {
				continue
			}
			for i := range s.rows {
				if !yield(&s.rows[i]) {
					return
				}
			}
		}
	}
}

// Row returns the row of a name, without a language tag, or nil. It must not be changed.
func (t *Table[T]) Row(name string) *Row[T] { return t.named[name] }

// Has reports whether m has a member that the table knows.
func (t *Table[T]) Has(m *T, name string) bool {
	row := t.named[name]
	return row != nil && row.Has(m)
}

// Value returns the value of a member: a string, []string, bool, int64 or *jose.JSONWebKeySet. It returns nil
// for a member that is absent or unknown. What a list or a key set holds is shared with m.
func (t *Table[T]) Value(m *T, name string) any {
	if row := t.named[name]; row != nil && row.Has(m) {
		return row.at(m).value()
	}
	return nil
}

// Same reports whether a member has the same value in a and b, or is absent in both. A key set that can not be
// written is like no other.
func (t *Table[T]) Same(name string, a, b *T) bool {
	row := t.named[name]
	return row == nil || row.same(a, b)
}

// Differing returns the names of the members whose values differ, in any order: those of rows, those with a language
// tag, and those that have no row.
func (t *Table[T]) Differing(a, b *T) []string {
	var names []string
	for _, s := range t.sections {
		if s.group != nil && !s.group.Has(a) && !s.group.Has(b) {
			continue
		}
		for i := range s.rows {
			if row := &s.rows[i]; !row.same(a, b) {
				names = append(names, row.Name)
			}
		}
	}
	names = differing(names, *t.localized(a), *t.localized(b))
	return differing(names, *t.extensions(a), *t.extensions(b))
}

// differing adds the names in either map whose values differ.
func differing[V ~string | ~[]byte](names []string, a, b map[string]V) []string {
	for name, value := range a {
		if other, ok := b[name]; !ok || string(value) != string(other) {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	return names
}

// Type returns "string", "array of strings", "boolean", "integer" or "JWK Set", for a row of a table.
func (r *Row[T]) Type() string { return r.kind }

// Has reports whether m has the member.
func (r *Row[T]) Has(m *T) bool {
	return r.hasGroup(m) && !r.at(m).empty()
}

func (r *Row[T]) same(a, b *T) bool {
	has := r.Has(a)
	return has == r.Has(b) && (!has || r.at(a).same(r.at(b)))
}

// Text returns the value of a string member, and "" where it is absent or of another kind.
func (r *Row[T]) Text(m *T) string {
	if !r.hasGroup(m) {
		return ""
	}
	text, _ := r.at(m).(textPlace)
	if text.field == nil {
		return ""
	}
	return *text.field
}

// SetText sets a string member, and makes its group where need be. It does nothing for other kinds.
func (r *Row[T]) SetText(m *T, value string) {
	if r.kind != kindText {
		return
	}
	*r.make(m).(textPlace).field = value
}

// Refuse returns a refusal of the whole member: a phrase that continues its name.
func (r *Row[T]) Refuse(phrase string) *Refusal { return r.refuse(r.Name, phrase) }

// refuse returns a refusal under the name that is shown.
func (r *Row[T]) refuse(shown, phrase string) *Refusal {
	return &Refusal{Member: shown, Phrase: phrase, Code: r.Code}
}

// judge returns the phrase of the first rule that finds something wrong.
func (r *Row[T]) judge(l *Limits, value string) string { return judge(r.Rules, l, value) }

// hasGroup reports whether m has the group of the member.
func (r *Row[T]) hasGroup(m *T) bool { return r.Group == nil || r.Group.Has(m) }

// at returns the member's place in m, which has the group.
func (r *Row[T]) at(m *T) place { return placeOf(r.Field(m)) }

// make returns the member's place in m, whose group is made where need be.
func (r *Row[T]) make(m *T) place {
	if !r.hasGroup(m) {
		r.Group.Make(m)
	}
	return r.at(m)
}
