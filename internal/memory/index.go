package memory

// index finds entries by a name that several may have. Most names have one: a set costs
// more than the entry.
type index map[string]named

type named struct {
	one  *entry              // if it is the only one
	more map[*entry]struct{} // otherwise all
}

func (x index) add(name string, e *entry) {
	found := x[name]
	switch {
	case found.more != nil:
		found.more[e] = struct{}{}
	case found.one != nil && found.one != e:
		x[name] = named{more: map[*entry]struct{}{found.one: {}, e: {}}}
	default:
		x[name] = named{one: e}
	}
}

func (x index) remove(name string, e *entry) {
	found := x[name]
	delete(found.more, e)
	if found.one == e || found.one == nil && len(found.more) == 0 {
		delete(x, name)
	}
}

// each calls do with every entry of a name; do may remove it.
func (x index) each(name string, do func(*entry)) {
	found := x[name]
	if found.one != nil {
		do(found.one)
		return
	}
	for e := range found.more {
		do(e)
	}
}

// any reports whether an entry of a name is so.
func (x index) any(name string, is func(*entry) bool) bool {
	found := x[name]
	if found.one != nil {
		return is(found.one)
	}
	for e := range found.more {
		if is(e) {
			return true
		}
	}
	return false
}
