package members

import (
	"maps"
	"slices"
	"strings"
)

// Check holds each value against the rules of its row. Lists lose their repeats: the first of equal elements
// stays. An integer must not be negative. The error is the *Refusal of the first member at fault.
func (t *Table[T]) Check(m *T, l *Limits) error {
	for row := range t.present(m) {
		if element, phrase := row.at(m).check(row.Rules, row.Most, l); phrase != "" {
			return row.refuse(row.Name+element, phrase)
		}
	}
	return t.checkLocalized(m, l)
}

// checkLocalized judges the members with a language tag, which are in no order. So that one document gets
// one answer, the first name at fault is refused. Case means nothing in a tag (RFC 5646, section 2.1.1), so
// two that differ by it are one member sent twice.
func (t *Table[T]) checkLocalized(m *T, l *Limits) error {
	var found *Refusal
	times := map[string]int{}
	for name := range *t.localized(m) {
		times[strings.ToLower(name)]++
	}
	for name, value := range *t.localized(m) {
		var refusal *Refusal
		if row := t.taggedRow(name); row == nil {
			refusal = &Refusal{Member: name, Phrase: "is no member with a language tag"}
		} else if phrase := row.judge(l, value); phrase != "" {
			refusal = row.refuse(name, phrase)
		} else if times[strings.ToLower(name)] > 1 {
			refusal = row.refuse(name, "occurs twice, in upper and lower case")
		}
		if refusal != nil && (found == nil || name < found.Member) {
			found = refusal
		}
	}
	if found == nil {
		return nil
	}
	return found
}

// Honoured is how much of a member a server honours: nothing, some values, or all. The zero value is nothing.
type Honoured struct {
	// All is set where every value is honoured. A boolean that is true and an integer need it.
	All bool
	// Values are those that are honoured, where All is not set.
	Values []string
}

// Has reports whether a value is honoured.
func (h Honoured) Has(value string) bool { return h.All || slices.Contains(h.Values, value) }

// Fit leaves out what the server does not honour, or refuses it where the member promises security or chooses
// an algorithm (Refused), or where refuse is set. It asks about members whose Support is not Registered, and
// prunes what remains. The error is a *Refusal.
func (t *Table[T]) Fit(m *T, honoured map[string]Honoured, refuse bool) error {
	for row := range t.present(m) {
		if row.Support == Registered {
			continue
		}
		place := row.at(m)
		if place.empty() || place.covered(honoured[row.Name]) {
			continue
		}
		if row.Support == Refused || refuse {
			return row.Refuse("is not supported by this server, or not with this value")
		}
		place.clear()
	}
	t.Prune(m)
	return nil
}

// Prune drops the groups of which nothing remains.
func (t *Table[T]) Prune(m *T) {
	for _, s := range t.sections {
		if s.group != nil && s.group.Has(m) && !t.holds(m, s.group) {
			s.group.Drop(m)
		}
	}
}

// holds reports whether m has a member of a group.
func (t *Table[T]) holds(m *T, group *Group[T]) bool {
	for row := range t.present(m) {
		if row.Group == group && !row.at(m).empty() {
			return true
		}
	}
	return false
}

// Overlay lays every member that over has over that of m. A member that is replaced loses its tagged forms in
// m: a name in another language is another name. Then the localized members of over are added. Its extension
// members are not. Afterwards m shares lists, pointers and key sets with over.
//
// Before each member of a row may is asked, with m as it is then: its first error ends the pass and is
// returned. A nil may allows all.
func (t *Table[T]) Overlay(m, over *T, may func(row *Row[T]) error) error {
	for row := range t.present(over) {
		value := row.at(over)
		if value.empty() {
			continue
		}
		if may != nil {
			if err := may(row); err != nil {
				return err
			}
		}
		row.make(m).copy(value)
		if row.Tagged {
			t.dropTagged(m, row.Name)
		}
	}
	for name, value := range *t.localized(over) {
		maps.DeleteFunc(*t.localized(m), func(other, _ string) bool {
			return strings.EqualFold(other, name) && !hasEntry(*t.localized(over), other)
		})
		setEntry(t.localized(m), name, value)
	}
	return nil
}

// dropTagged removes the tagged forms of a member.
func (t *Table[T]) dropTagged(m *T, member string) {
	maps.DeleteFunc(*t.localized(m), func(name, _ string) bool {
		base, _, _ := strings.Cut(name, "#")
		return base == member
	})
}

// Unshare makes a copy of a struct a deep one: lists, pointers, key sets and maps are m's own afterwards. The
// groups are the caller's to copy.
func (t *Table[T]) Unshare(m *T) {
	for row := range t.present(m) {
		row.at(m).unshare()
	}
	*t.localized(m), *t.extensions(m) = maps.Clone(*t.localized(m)), maps.Clone(*t.extensions(m))
}

// Fill copies into m every member of from that m does not have, members with a language tag and extension
// members included. Afterwards m shares lists, pointers, key sets and JSON with from: clone it before where
// that matters.
func (t *Table[T]) Fill(m, from *T) {
	for row := range t.present(from) {
		value := row.at(from)
		if value.empty() {
			continue
		}
		if place := row.make(m); place.empty() {
			place.copy(value)
		}
	}
	for name, value := range *t.localized(from) {
		if !slices.ContainsFunc(sortedNames(*t.localized(m)), func(other string) bool { return strings.EqualFold(other, name) }) {
			setEntry(t.localized(m), name, value)
		}
	}
	fillEntries(t.extensions(m), *t.extensions(from))
}

// fillEntries adds the entries whose names are not there yet.
func fillEntries[V any](place *map[string]V, from map[string]V) {
	for name, value := range from {
		if !hasEntry(*place, name) {
			setEntry(place, name, value)
		}
	}
}

// hasEntry reports whether a map has a name.
func hasEntry[V any](entries map[string]V, name string) bool {
	_, ok := entries[name]
	return ok
}
