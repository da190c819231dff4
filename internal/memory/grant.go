package memory

import (
	"maps"
	"slices"
	"time"

	"github.com/ory/fosite"
)

const (
	// remembered is how long a refresh token that never expires is remembered after it was
	// used, so that its reuse is noticed.
	remembered = 30 * 24 * time.Hour
	// spentTokens is how many used refresh tokens of a grant are remembered, the latest.
	spentTokens = 64
	// repeatable is how many of these may be good for another use, the latest.
	repeatable = 4
)

// grant is what a client holds by one request of a user: its refresh tokens. Of those that were used nothing
// is kept but the signature, and of the latest their request if there is a grace.
type grant struct {
	live  map[string]liveToken
	spent []spentToken // in the order in which they were used
}

// weight is that of the requests that are kept.
func (g *grant) weight() (sum int) {
	for _, token := range g.live {
		sum += token.weight
	}
	for _, token := range g.spent {
		if token.request != nil {
			sum += token.weight
		}
	}
	return sum
}

// holds reports whether a token of the grant can be used.
func (g *grant) holds(now time.Time) bool {
	for _, token := range g.live {
		if !past(now, token.at) {
			return true
		}
	}
	return false
}

type liveToken struct {
	request *fosite.Request // without the client
	at      time.Time       // from which it is expired; zero means never
	weight  int             // bytes of its parameters
	partner string          // the access token that was issued with it
}

type spentToken struct {
	signature string
	at        time.Time // from which it is forgotten

	request *fosite.Request // nil for one that may not be used again
	weight  int             // bytes of its parameters
	until   time.Time       // when it may be used again
	left    int             // how often
}

func (s *spentToken) repeatable(now time.Time) bool {
	return s.request != nil && s.left > 0 && now.Before(s.until)
}

// grants is a table of grants by the identifier of their request, and finds them by their refresh tokens.
type grants struct {
	table
	bySignature map[string]*entry
	grace       time.Duration
	graceUses   int
}

func (t *grants) init(limit int, full func() error) {
	t.table.init(limit, full)
	t.bySignature = map[string]*entry{}
	t.removed = func(e *entry) {
		for signature := range e.grant.live {
			delete(t.bySignature, signature)
		}
		for _, token := range e.grant.spent {
			delete(t.bySignature, token.signature)
		}
	}
}

// find returns the grant of a token that has not expired; live says whether it is one that can be used.
func (t *grants) find(now time.Time, signature string) (e *entry, token liveToken, live bool) {
	e = t.bySignature[signature]
	if e == nil {
		return nil, token, false
	}
	if token, live = e.grant.live[signature]; live {
		if past(now, token.at) {
			return nil, token, false
		}
		return e, token, true
	}
	for _, spent := range e.grant.spent {
		if spent.signature == signature && !past(now, spent.at) {
			return e, token, false
		}
	}
	return nil, token, false
}

// get returns the entry of a refresh token. Of one that was used it has the identifier of the request, the
// client and the user.
func (t *grants) get(now time.Time, signature string) (entry, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	e, token, live := t.find(now, signature)
	if e == nil {
		return entry{}, fosite.ErrNotFound
	}
	found := *e
	if live {
		found.request = token.request
		return found, nil
	}
	found.inactive = true
	if again := e.grant.again(now, signature); again != nil {
		found.inactive, found.request = false, again.request
	}
	return found, nil
}

// again returns a token that was used and may be used again, or nil.
func (g *grant) again(now time.Time, signature string) *spentToken {
	for i := range g.spent {
		if s := &g.spent[i]; s.signature == signature && s.repeatable(now) {
			return s
		}
	}
	return nil
}

// put adds a refresh token to the grant of its request, in place of one with that signature. One that was
// used stays used.
func (t *grants) put(now time.Time, signature string, e *entry) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drop(now)
	if old, _, live := t.find(now, signature); old != nil && !live {
		return nil
	}
	t.discard(signature)
	added := liveToken{e.request, e.at, e.weight, e.partner}
	g := t.entries[e.key]
	if g != nil {
		if err := t.grow(g, e.weight); err != nil {
			return err
		}
	} else {
		e.request = &fosite.Request{ID: e.key, Session: &fosite.DefaultSession{Subject: e.user()}}
		e.grant, g = &grant{live: map[string]liveToken{}}, e
		if err := t.place(e); err != nil {
			return err
		}
	}
	g.grant.live[signature], t.bySignature[signature] = added, g
	t.changed(g)
	return nil
}

// grow makes room for what another token adds to a grant, as place does for an entry.
func (t *grants) grow(g *entry, weight int) error {
	more := unitsOf(g.grant.weight()+weight) - g.units()
	if more <= 0 {
		return nil
	}
	t.owners.spent(g, false)
	defer func() { t.owners.spent(g, len(g.grant.live) == 0) }()
	for i, s := range g.shares {
		has := t.owners[s.owner]
		for has.units+more > s.most && has.entries.Front() != g.places[i] {
			if s.refuse {
				return t.full()
			}
			t.remove(has.entries.Front().Value.(*entry))
		}
	}
	if t.units+more > t.limit {
		return t.full()
	}
	return nil
}

// discard forgets a token. A grant without any goes with its last one.
func (t *grants) discard(signature string) {
	e := t.bySignature[signature]
	if e == nil {
		return
	}
	delete(t.bySignature, signature)
	delete(e.grant.live, signature)
	for i, token := range e.grant.spent {
		if token.signature == signature {
			e.grant.spent = append(e.grant.spent[:i:i], e.grant.spent[i+1:]...)
			break
		}
	}
	if len(e.grant.live)+len(e.grant.spent) == 0 {
		t.remove(e)
		return
	}
	t.changed(e)
}

// delete forgets a refresh token. One that was used stays known: fosite deletes it where it is used again,
// and if it is used once more the grant has to end, whoever got tokens meanwhile.
func (t *grants) delete(now time.Time, signature string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, _, live := t.find(now, signature); e == nil || live {
		t.discard(signature)
	}
}

// rotate spends a refresh token, and without a grace with it the others of its grant. It returns the access token that was
// issued with it, if there is a grace. One that is spent already is fosite.ErrInactiveToken, or is used again.
func (t *grants) rotate(now time.Time, requestID, signature string) (partner string, again bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, token, live := t.find(now, signature)
	switch {
	case e == nil:
		return "", false, fosite.ErrNotFound
	case live && t.grace > 0:
		t.spend(now, e, signature)
		return token.partner, false, nil
	case live:
		t.spendAll(now, e)
		t.spendAll(now, t.entries[requestID])
		return "", false, nil
	}
	if spent := e.grant.again(now, signature); spent != nil {
		spent.left--
		return "", true, nil
	}
	return "", false, fosite.ErrInactiveToken
}

// revoke spends the refresh tokens of a grant, for good.
func (t *grants) revoke(now time.Time, requestID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.entries[requestID]; e != nil {
		t.spendAll(now, e)
		for i := range e.grant.spent {
			e.grant.spent[i].request = nil
		}
	}
}

func (t *grants) spendAll(now time.Time, e *entry) {
	if e != nil && len(e.grant.live) > 0 {
		t.spend(now, e, slices.Collect(maps.Keys(e.grant.live))...)
	}
}

// spend remembers tokens as used.
func (t *grants) spend(now time.Time, e *entry, signatures ...string) {
	g := e.grant
	for _, signature := range signatures {
		token := g.live[signature]
		delete(g.live, signature)
		spent := spentToken{signature: signature, at: token.at}
		if token.at.IsZero() {
			spent.at = now.Add(remembered)
		}
		if t.grace > 0 {
			spent.request, spent.weight, spent.until, spent.left = token.request, token.weight, now.Add(t.grace), t.graceUses
		}
		g.spent = append(g.spent, spent)
	}
	for i := range g.spent {
		if i < len(g.spent)-repeatable || !g.spent[i].repeatable(now) {
			g.spent[i].request = nil
		}
	}
	for _, token := range g.spent[:max(0, len(g.spent)-spentTokens)] {
		delete(t.bySignature, token.signature)
	}
	g.spent = append([]spentToken(nil), g.spent[max(0, len(g.spent)-spentTokens):]...)
	t.changed(e)
}

// changed has a grant expire with the last of its tokens, and weigh what those weigh that can be used. One without such
// a token is evicted first.
func (t *grants) changed(e *entry) {
	at, never := time.Time{}, false
	for _, token := range e.grant.live {
		never = never || token.at.IsZero()
		at = later(at, token.at)
	}
	for _, token := range e.grant.spent {
		at = later(at, token.at)
	}
	if never {
		at = time.Time{}
	}
	if len(e.grant.live) > 0 { // otherwise it keeps its room for the next one
		before := e.units()
		e.weight = e.grant.weight()
		t.units += e.units() - before
		t.owners.grow(e, e.units()-before)
	}
	t.expire(e, at)
	t.owners.spent(e, len(e.grant.live) == 0)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// past reports whether a time has come; the zero time never does.
func past(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }
