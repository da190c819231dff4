package main

import (
	"net/http"

	"github.com/fosite-contrib/fosite-dcr/admin"
)

// adminUser is the one operator of this server.
const adminUser = "admin"

// operators stands for your own operators, and your own way of signing them in. The
// password of the one belongs to the keys, as that of the demo user does. It is sent with every
// request, so only loopback or TLS may be used.
type operators struct{ password string }

// authenticate returns the operator who sends the request, by HTTP Basic.
func (o *operators) authenticate(r *http.Request) (string, error) {
	user, password, _ := r.BasicAuth()
	right := sameSecret(password, o.password)
	if user != adminUser || !right {
		return "", nil
	}
	return adminUser, nil
}

// challenge has a browser ask for the password.
func challenge(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("WWW-Authenticate", `Basic realm="operator", charset="UTF-8"`)
	http.Error(w, "Only the operator may see this.", http.StatusUnauthorized)
}

// adminPages are the operator's pages. A browser that knows the password sends it with
// requests of other sites as well. Package admin refuses those that would change something.
func (s *server) adminPages() (http.Handler, error) {
	return admin.New(s.provider, admin.Options{
		Prefix:       "/admin",
		Authenticate: s.operators.authenticate,
		Deny:         http.HandlerFunc(challenge),
		History:      s.history,
		Documents:    s.documents,
		Log:          s.log,
	})
}
