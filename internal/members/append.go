package members

import (
	"slices"
	"strconv"
	"time"

	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// Append writes the members of m into the JSON object that dst ends in, which is open: dst has at least its
// brace. Each member follows a comma where it is not the first. Members come in the order of the rows, then
// the localized members and the extension members by name. What is absent is left out, an empty list is not:
// it says something.
//
// The error is that of a key set that can not be written.
func (t *Table[T]) Append(dst []byte, m *T) ([]byte, error) {
	var err error
	for row := range t.present(m) {
		if dst, err = row.append(dst, m); err != nil {
			return nil, err
		}
	}
	localized := *t.localized(m)
	for _, name := range sortedNames(localized) {
		dst = strictjson.AppendString(AppendName(dst, name), localized[name])
	}
	extensions := *t.extensions(m)
	for _, name := range sortedNames(extensions) {
		dst = append(AppendName(dst, name), extensions[name]...)
	}
	return dst, nil
}

// sortedNames returns the names in a map, and allocates nothing for an empty one.
func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// append writes one member, where m has it.
func (r *Row[T]) append(dst []byte, m *T) ([]byte, error) {
	if !r.hasGroup(m) {
		return dst, nil
	}
	place := r.at(m)
	if place.empty() {
		return dst, nil
	}
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return place.append(append(dst, r.label...))
}

// AppendName writes the name of a member and its colon into the open JSON object that dst ends in, behind a
// comma where the member is not the first.
func AppendName(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(strictjson.AppendString(dst, name), ':')
}

// AppendText writes a member whose value is a string, as AppendName does, and nothing for an empty one.
func AppendText(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return strictjson.AppendString(AppendName(dst, name), value)
}

// AppendTime writes a member whose value is a time in seconds since the epoch, as AppendName does. The zero
// time is 0, which stands for never (RFC 7591, section 3.2.1).
func AppendTime(dst []byte, name string, t time.Time) []byte {
	var seconds int64
	if !t.IsZero() {
		seconds = t.Unix()
	}
	return strconv.AppendInt(AppendName(dst, name), seconds, 10)
}

// WithoutRepeats keeps the first of equal values, in order. Where it removes one it changes the list in place.
func WithoutRepeats(list []string) []string {
	for i := 1; i < len(list); i++ {
		if slices.Contains(list[:i], list[i]) {
			return removeRepeats(list)
		}
	}
	return list
}

func removeRepeats(list []string) []string {
	seen := make(map[string]bool, len(list))
	return slices.DeleteFunc(list, func(s string) bool {
		if seen[s] {
			return true
		}
		seen[s] = true
		return false
	})
}

// Keep returns the elements that fit, in a new list that is never nil.
func Keep[E any](list []E, fits func(E) bool) []E {
	kept := make([]E, 0, len(list))
	for _, element := range list {
		if fits(element) {
			kept = append(kept, element)
		}
	}
	return kept
}
