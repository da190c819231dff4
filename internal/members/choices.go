package members

import (
	"slices"
	"strconv"
	"strings"

	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// Choices are lists of what a client can do, by the member whose value is to be chosen from each (OpenID Connect
// Relying Party Metadata Choices 1.0). They are read from a document and never written.
type Choices map[string][]string

// SetChoices puts a list of values, by the name that the row gives it (Row.List), into its place in c. It
// returns false for a name that is none of a list. Null counts as absent. The error is a *Refusal.
func (t *Table[T]) SetChoices(c *Choices, name string, value strictjson.Value, l *Limits) (known bool, err error) {
	row := t.lists[name]
	if row == nil || value.Kind() == strictjson.KindNull {
		return row != nil, nil
	}
	list, ok := value.Texts()
	switch {
	case !ok:
		return true, row.refuse(name, "is not an array of strings")
	case len(list) == 0:
		return true, row.refuse(name, "is empty")
	case len(list) > l.Elements:
		return true, row.refuse(name, "has more than "+strconv.Itoa(l.Elements)+" elements")
	}
	for i, s := range list {
		if phrase := ShortName(l, s); phrase != "" || s == "" {
			return true, row.refuse(name+"["+strconv.Itoa(i)+"]", "is no name of a value")
		}
	}
	setEntry((*map[string][]string)(c), row.Name, list)
	return true, nil
}

// IsList reports whether a name is that of a list.
func (t *Table[T]) IsList(name string) bool { return t.lists[name] != nil }

// Candidates returns the values that a member of m may get, the preferred one first: the one that m has, then
// the one that previous has, then the list in its order. It returns nil where there is no list. A value of m that
// is not in the list is refused. previous may be nil.
func (t *Table[T]) Candidates(m, previous *T, c Choices, name string) ([]string, error) {
	row, list := t.named[name], c[name]
	if list == nil {
		return nil, nil
	}
	single := row.Text(m)
	if single != "" && !slices.Contains(list, single) {
		return nil, row.Refuse("is not among " + row.List)
	}
	candidates := []string{}
	if single != "" {
		candidates = append(candidates, single)
	}
	if previous != nil && slices.Contains(list, row.Text(previous)) {
		candidates = append(candidates, row.Text(previous))
	}
	return WithoutRepeats(append(candidates, list...)), nil
}

// RefuseList returns the refusal of the list of a member that has none of these values.
func (t *Table[T]) RefuseList(name string, wanted []string) *Refusal {
	row := t.named[name]
	return row.refuse(row.List, "has none of what this server supports: "+strings.Join(wanted, ", "))
}

// Choose sets each member of m that has a list to the first of its candidates that can be had. Where there is
// none the member is left out, or the list is refused where needs returns values of which it has to have one.
// The error is a *Refusal.
func (t *Table[T]) Choose(m, previous *T, c Choices, can func(name, value string) bool, needs func(name string) []string) error {
	for row := range t.Rows() {
		candidates, err := t.Candidates(m, previous, c, row.Name)
		if err != nil {
			return err
		}
		if candidates == nil {
			continue
		}
		chosen := slices.IndexFunc(candidates, func(value string) bool { return can(row.Name, value) })
		switch wanted := needs(row.Name); {
		case chosen >= 0:
			row.SetText(m, candidates[chosen])
		case wanted != nil:
			return t.RefuseList(row.Name, wanted)
		case row.Has(m):
			row.SetText(m, "")
		}
	}
	t.Prune(m)
	return nil
}
