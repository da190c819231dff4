package members

import (
	"slices"

	"github.com/fosite-contrib/fosite-dcr/internal/packed"
)

// Pack writes the members of m, or reads them into an m that has none. It leaves out key sets and members of these names,
// which are the caller's to keep, and groups that have no member. m has lists, pointers, JSON and maps of its own
// afterwards.
func (t *Table[T]) Pack(c *packed.Codec, m *T, elsewhere ...string) {
	if c.Reading() {
		for n := c.Number(0); n > 0 && n <= uint64(len(t.rows)); n = c.Number(0) {
			row := &t.rows[n-1]
			if !row.hasGroup(m) {
				row.Group.Make(m)
			}
			row.pack(c, m)
		}
	} else {
		t.packRows(c, m, elsewhere)
	}
	packed.Map(c, t.localized(m))
	packed.Map(c, t.extensions(m))
}

// packRows writes each member behind the number of its row, and 0 behind the last one.
func (t *Table[T]) packRows(c *packed.Codec, m *T, elsewhere []string) {
	first, keys := 1, keysPlace{}.kind()
	for _, s := range t.sections {
		if s.group == nil || s.group.Has(m) {
			for i := range s.rows {
				if row := &s.rows[i]; row.kind != keys && !row.at(m).empty() && !slices.Contains(elsewhere, row.Name) {
					c.Number(uint64(first + i))
					row.pack(c, m)
				}
			}
		}
		first += len(s.rows)
	}
	c.Number(0)
}

// pack writes or reads the value of one member. It is no method of place: a Codec that goes through an interface is
// allocated, with its buffer.
func (r *Row[T]) pack(c *packed.Codec, m *T) {
	switch field := r.Field(m).(type) {
	case *string:
		c.Texts(field)
	case *[]string:
		c.Lists(field)
	case **bool:
		packPointer(c, field)
		c.Flags(*field)
	case **int64:
		packPointer(c, field)
		c.Ints(*field)
	}
}

func packPointer[T any](c *packed.Codec, field **T) {
	if c.Reading() {
		*field = new(T)
	}
}
