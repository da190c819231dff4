package memory

import (
	"container/list"
	"strings"
)

const (
	// leastShare is how much of a table everybody may have, in units.
	leastShare = 100
	// unit is how many bytes of parameters count as one entry: a bound on a number is a bound on bytes.
	unit = 4 << 10
)

// share is what one owner may have of a table, in units, so that nobody fills it for everybody else.
type share struct {
	owner  string
	most   int
	refuse bool // nothing is evicted for what is over it
}

// userShares are for what a user agreed to: it is bounded for each user and client, so that one client
// can't use up what a user may have with others, and for each user, who may have many clients.
func userShares(limit int, user, clientID string) []share {
	if user == "" {
		return []share{{"client\x00" + clientID, max(limit/2, leastShare), true}} // whose the oldest is nobody knows
	}
	withClient := max(limit/500, leastShare)
	return []share{
		{"client\x00" + user + "\x00" + clientID, withClient, false},
		{"user\x00" + user, withAll(limit, withClient), false},
	}
}

// withAll is what somebody may have with all clients who may have so much with one.
func withAll(limit, withOne int) int { return min(10*withOne, max(limit/10, leastShare)) }

// clientShares are for what needs no user.
func clientShares(limit int, client string) []share {
	return []share{{client, max(limit/100, leastShare), false}}
}

// callerShares are for what a public client sends, which does not authenticate: they are the caller's, with this client
// and with all.
func callerShares(limit int, client, caller string) []share {
	shares := clientShares(limit, client+"\x00"+caller)
	if caller != "" {
		shares = append(shares, share{"caller\x00" + caller, withAll(limit, shares[0].most), false})
	}
	return shares
}

// assertionShares bound identifiers of assertions for each client, where the key says whose it is:
// "dcr.<client>.<identifier>". Clients with documents are free to make, so all of them have half of the table.
func assertionShares(limit int, key string, document bool) []share {
	rest, ok := strings.CutPrefix(key, "dcr.")
	client, _, whole := strings.Cut(rest, ".")
	if !ok || !whole {
		return nil
	}
	shares := clientShares(limit, client)
	if document {
		shares = append(shares, share{"\x00documents", max(limit/2, leastShare), true})
	}
	return shares
}

// owned is what one owner has of a table, those first that are evicted first.
type owned struct {
	entries list.List // of *entry
	units   int
}

// owners are the owners of the entries of a table.
type owners map[string]*owned

func (o owners) add(e *entry) {
	e.places = make([]*list.Element, len(e.shares))
	for i, s := range e.shares {
		if o[s.owner] == nil {
			o[s.owner] = &owned{}
		}
		o[s.owner].units += e.units()
		e.places[i] = o[s.owner].entries.PushBack(e)
	}
}

func (o owners) remove(e *entry) {
	for i, s := range e.shares {
		has := o[s.owner]
		has.units -= e.units()
		has.entries.Remove(e.places[i])
		if has.entries.Len() == 0 {
			delete(o, s.owner)
		}
	}
}

// spent puts an entry before the live ones of its owners, or behind them again.
func (o owners) spent(e *entry, spent bool) {
	for i, s := range e.shares {
		if spent {
			o[s.owner].entries.MoveToFront(e.places[i])
		} else {
			o[s.owner].entries.MoveToBack(e.places[i])
		}
	}
}

// first returns the entry that is evicted for another one of its owners, and whether nothing may be; nil where they have
// room.
func (o owners) first(e *entry) (first *entry, refuse bool) {
	for _, s := range e.shares {
		if has := o[s.owner]; has != nil && has.units+e.units() > s.most {
			return has.entries.Front().Value.(*entry), s.refuse
		}
	}
	return nil, false
}

// grow has an entry count for more units, or for less.
func (o owners) grow(e *entry, more int) {
	for _, s := range e.shares {
		o[s.owner].units += more
	}
}
