package main

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"
)

// sessions recognises browsers by cookies with random values. The cookie of a session leads to the login
// of a user. The one of a visit, from before somebody signs in, leads nowhere, and only binds the pages
// that are shown to that browser. Two pages that a browser fetches before it has a cookie make two visits,
// each with a cookie of its own name, so that both forms can be used.
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
	s := &sessions{cookie: "authserver_session", secure: secure, logins: newShelf[login](100, 8*time.Hour)}
	if secure {
		// Browsers accept a cookie of this name only from the host itself, over TLS, so that
		// no other host of the domain can set one.
		s.cookie = "__Host-" + s.cookie
	}
	return s
}

// id returns the value of the session's cookie; empty where the browser has none, or one that this server
// did not make.
func (s *sessions) id(r *http.Request) string {
	cookie, err := r.Cookie(s.cookie)
	if err != nil || !isID(cookie) {
		return ""
	}
	return cookie.Value
}

func isID(cookie *http.Cookie) bool { return len(cookie.Value) == len(rand.Text()) }

// visits are the cookies of a browser from before somebody signed in.
func (s *sessions) visits(r *http.Request) []*http.Cookie {
	visits := slices.DeleteFunc(r.Cookies(), func(cookie *http.Cookie) bool {
		return !strings.HasPrefix(cookie.Name, s.cookie+"_") || !isID(cookie)
	})
	return visits[:min(len(visits), 10)]
}

// browser returns the value that stands for a browser: that of its session, or of its visit, which begins
// now if it has none.
func (s *sessions) browser(w http.ResponseWriter, r *http.Request) string {
	if s.login(r) != nil {
		return s.id(r)
	}
	name, value := s.cookie+"_"+rand.Text()[:6], rand.Text()
	if visits := s.visits(r); len(visits) > 0 {
		name, value = visits[0].Name, visits[0].Value
	}
	s.set(w, name, value, pageLifetime)
	return value
}

// all returns every value that may stand for a browser.
func (s *sessions) all(r *http.Request) []string {
	values := []string{s.id(r)}
	for _, visit := range s.visits(r) {
		values = append(values, visit.Value)
	}
	return values
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
	s.end(r)
	id := rand.Text()
	s.logins.put(user, id, login{user, time.Now()})
	s.set(w, s.cookie, id, 0)
	return id
}

// signOut removes the login, and the cookie of the session.
func (s *sessions) signOut(w http.ResponseWriter, r *http.Request) {
	s.end(r)
	s.set(w, s.cookie, "", -time.Second)
}

func (s *sessions) end(r *http.Request) {
	if who := s.login(r); who != nil {
		s.logins.remove(who.user, s.id(r))
	}
}

// set writes a cookie; without a lifetime it stays until the browser is closed. Lax lets a client's link to
// the authorization endpoint carry it, and no form or script of another site.
func (s *sessions) set(w http.ResponseWriter, name, value string, lifetime time.Duration) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(lifetime.Seconds()),
		HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteLaxMode,
	})
}
