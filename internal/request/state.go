package request

import (
	"crypto/rand"
	"net/http"

	"github.com/ory/fosite"
)

// LendState gives a request without state, which fosite insists on, one of its own, where PKCE does what
// state is for. It returns what it lent.
func LendState(r *http.Request) string {
	if r.Form.Get("state") != "" || r.Form.Get("code_challenge") == "" {
		return ""
	}
	lent := rand.Text()
	r.Form.Set("state", lent)
	return lent
}

// TakeBackState takes a state that was lent out of the request again, as fosite has read it.
func TakeBackState(r *http.Request, ar fosite.AuthorizeRequester, lent string) {
	if lent == "" {
		return
	}
	r.Form.Del("state")
	if ar, ok := ar.(*fosite.AuthorizeRequest); ok && ar.State == lent {
		ar.State = ""
		ar.Form.Del("state")
	}
}
