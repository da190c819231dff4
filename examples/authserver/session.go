package main

import (
	"crypto/rand"
	"net/http"
	"time"
)

// sessions recognises browsers by a cookie with a random value. For a browser whose user is signed
// in, the value leads to the login. For another it leads nowhere, and only binds authorization
// requests to that browser.
type sessions struct {
	cookie string
	secure bool
	logins *shelf[login]
}

// login is a user who is signed in.
type login struct {
	user string
	at   time.Time
}

func newSessions(secure bool) *sessions {
	s := &sessions{cookie: "authserver_session", secure: secure, logins: newShelf[login](10_000, 8*time.Hour)}
	if secure {
		// Browsers accept a cookie of this name only from the host itself, over TLS, so that
		// no other host of the domain can set one.
		s.cookie = "__Host-" + s.cookie
	}
	return s
}

// id returns the value of the browser's cookie; empty where it has none, or one that this server
// did not make.
func (s *sessions) id(r *http.Request) string {
	cookie, err := r.Cookie(s.cookie)
	if err != nil || len(cookie.Value) != len(rand.Text()) {
		return ""
	}
	return cookie.Value
}

// identify returns the value of the browser's cookie and gives it one if it has none.
func (s *sessions) identify(w http.ResponseWriter, r *http.Request) string {
	if id := s.id(r); id != "" {
		return id
	}
	return s.renew(w)
}

// login returns who is signed in, or nil.
func (s *sessions) login(r *http.Request) *login {
	if found, ok := s.logins.get(s.id(r)); ok {
		return &found
	}
	return nil
}

// signIn records who is signed in, under a new value: an attacker may know the one
// from before (session fixation).
func (s *sessions) signIn(w http.ResponseWriter, r *http.Request, user string) string {
	s.logins.take(s.id(r))
	id := s.renew(w)
	s.logins.put(id, login{user, time.Now()})
	return id
}

// signOut removes the login, and the cookie of the browser.
func (s *sessions) signOut(w http.ResponseWriter, r *http.Request) {
	s.logins.take(s.id(r))
	s.set(w, "", -1)
}

func (s *sessions) renew(w http.ResponseWriter) string {
	id := rand.Text()
	s.set(w, id, 0)
	return id
}

// set writes the cookie. Lax lets a client's link to the authorization endpoint carry
// it, and no form or script of another site.
func (s *sessions) set(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{
		Name: s.cookie, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteLaxMode,
	})
}
