package storagetest

import (
	"fmt"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"
)

const saysNumbers = "A session comes back as it went in; whole numbers keep their value."

// sessionRows are about the sessions of access tokens.
func sessionRows(o Options) []Row {
	return group("oauth2.AccessTokenStorage", "entry/read_back", []Row{
		{Name: "session/numbers", Check: o.entries(sessionNumbers), Says: saysNumbers,
			Why: "A claim that is a number of the application, such as an account, is that of another account."},
	})
}

// exact is the least whole number that a float64 can't hold.
const exact = 1<<53 + 1

func sessionNumbers(e *entries) error {
	session, ok := e.options.NewSession().(openid.Session)
	if !ok {
		return notRun("the session of the test does not implement openid.Session")
	}
	c, err := e.newClient()
	if err != nil {
		return err
	}
	request := e.options.request(c)
	session.IDTokenClaims().Add("number", int64(exact))
	session.SetExpiresAt(fosite.AccessToken, request.Session.GetExpiresAt(fosite.AccessToken))
	request.Session = session
	key := newSignature()
	if err := e.store(key, request); err != nil {
		return err
	}
	got, err := e.tokens.GetAccessTokenSession(e.ctx, key, e.options.NewSession())
	if err != nil {
		return fmt.Errorf("GetAccessTokenSession: %w", err)
	}
	read, ok := got.GetSession().(openid.Session)
	if !ok {
		return fmt.Errorf("GetAccessTokenSession: the session is a %T, and has to be a %T", got.GetSession(), session)
	}
	if number := fmt.Sprint(read.IDTokenClaims().Get("number")); number != fmt.Sprint(exact) {
		return fmt.Errorf("GetAccessTokenSession: the claim is %s, and has to be %d", number, exact)
	}
	return nil
}
