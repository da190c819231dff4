package memory

import (
	"container/list"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"
)

const (
	// short is how long an entry that is short-lived by its nature stays, where its
	// session does not say.
	short = 15 * time.Minute
	// margin is how much longer an entry stays whose absence would weaken a check: a code
	// without its PKCE session is redeemed without a verifier.
	margin = time.Minute
)

// entry is one entry of a table. Of an entry in a table only inactive, at and places
// change, under the lock of the table.
type entry struct {
	timed    // its key, and the time from which it is expired; zero means never
	inactive bool

	clientID string
	client   fosite.Client            // as it came, where it has no identifier
	request  *fosite.Request          // without the client; nil for an assertion
	pushed   *fosite.AuthorizeRequest // of a pushed request, besides
	grant    *grant                   // of a grant with refresh tokens, besides

	weight  int    // bytes of its parameters and lists
	partner string // of a refresh token: the access token that was issued with it
	shares  []share
	places  []*list.Element // with its owners, in the order of shares
}

// perValue is what a value of a list takes besides its text, in bytes.
const perValue = 16

// newEntry copies a request for storage.
func newEntry(now time.Time, key string, request fosite.Requester, x expiry) *entry {
	e := &entry{timed: timed{key: key}, request: copyRequest(request)}
	if client := request.GetClient(); client != nil {
		e.clientID = client.GetID()
		if e.clientID == "" {
			e.client = client
		}
	}
	for name, values := range e.request.Form {
		for _, value := range values {
			e.weight += len(name) + len(value)
		}
	}
	r := e.request
	for _, list := range []fosite.Arguments{r.RequestedScope, r.RequestedAudience, r.GrantedScope, r.GrantedAudience} {
		for _, value := range list {
			e.weight += len(value) + perValue
		}
	}
	e.at = x.at(now, e.request.Session)
	return e
}

// units is what an entry counts.
func (e *entry) units() int { return unitsOf(e.weight) }

func unitsOf(weight int) int { return 1 + weight/unit }

// user is whose session it is, "" for nobody's.
func (e *entry) user() string {
	if e.request.Session == nil {
		return ""
	}
	return e.request.Session.GetSubject()
}

// withoutUser reports whether the session of an access token needed no user.
func (e *entry) withoutUser() bool {
	return slices.Equal(strings.Fields(e.request.Form.Get("grant_type")), []string{"client_credentials"}) // fosite splits it too
}

// expiry says when an entry expires: when the session has a kind of token expire, or
// otherwise after a time, or never; and so much later.
type expiry struct {
	of        fosite.TokenType
	otherwise time.Duration
	margin    time.Duration
}

var (
	ofCode    = expiry{of: fosite.AuthorizeCode, otherwise: short}
	ofPushed  = expiry{of: fosite.PushedAuthorizeRequestContext, otherwise: short}
	ofAccess  = expiry{of: fosite.AccessToken}
	ofRefresh = expiry{of: fosite.RefreshToken}
	// afterCode is for what may not be gone before its code.
	afterCode = expiry{of: fosite.AuthorizeCode, otherwise: short, margin: margin}
)

func (x expiry) at(now time.Time, session fosite.Session) time.Time {
	var end time.Time
	if session != nil {
		end = session.GetExpiresAt(x.of)
	}
	switch {
	case !end.IsZero():
		return end.Add(x.margin)
	case x.otherwise > 0:
		return now.Add(x.otherwise + x.margin)
	}
	return time.Time{}
}
