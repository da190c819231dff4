package main

import (
	"context"
	"maps"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
)

// clock is the time of the simulation. One goroutine moves it and serves all requests.
//
// The package and the memory store take it as their clock. fosite has none to set: it
// gives time.Now plus a lifespan to the session and compares with time.Now later. So the
// session turns what fosite says into simulated time, in which everything is stored, and
// the strategy turns it back where fosite looks. What is left on the real clock is the
// expires_in of token answers, which no program here reads.
type clock struct{ now time.Time }

// Now returns the simulated time (dcr.Config.Now).
func (c *clock) Now() time.Time { return c.now }

// simulated turns a time that fosite has computed from time.Now into simulated time. Lifespans are
// whole minutes, so rounding removes what passed in between, and runs are identical.
func (c *clock) simulated(t time.Time) time.Time {
	return c.now.Add(time.Until(t).Round(time.Minute))
}

// real turns a simulated time into one that fosite may compare with time.Now.
func (c *clock) real(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.Now().Add(t.Sub(c.now))
}

// session is a fosite.Session of a user or a service, with expiries in simulated time.
type session struct {
	clock   *clock
	subject string
	expiry  map[fosite.TokenType]time.Time
}

func newSession(c *clock, subject string) *session {
	return &session{clock: c, subject: subject, expiry: map[fosite.TokenType]time.Time{}}
}

func (s *session) SetExpiresAt(kind fosite.TokenType, t time.Time) {
	s.expiry[kind] = s.clock.simulated(t)
}

func (s *session) GetExpiresAt(kind fosite.TokenType) time.Time { return s.expiry[kind] }
func (s *session) GetUsername() string                          { return s.subject }
func (s *session) GetSubject() string                           { return s.subject }

func (s *session) Clone() fosite.Session {
	return &session{clock: s.clock, subject: s.subject, expiry: maps.Clone(s.expiry)}
}

// strategy is a strategy of fosite that sees expiries in real time.
type strategy struct {
	oauth2.CoreStrategy
	clock *clock
}

func (s strategy) ValidateAccessToken(ctx context.Context, r fosite.Requester, token string) error {
	return s.CoreStrategy.ValidateAccessToken(ctx, realRequest{r, s.clock}, token)
}

func (s strategy) ValidateRefreshToken(ctx context.Context, r fosite.Requester, token string) error {
	return s.CoreStrategy.ValidateRefreshToken(ctx, realRequest{r, s.clock}, token)
}

func (s strategy) ValidateAuthorizeCode(ctx context.Context, r fosite.Requester, code string) error {
	return s.CoreStrategy.ValidateAuthorizeCode(ctx, realRequest{r, s.clock}, code)
}

// realRequest shows the session of a request in real time.
type realRequest struct {
	fosite.Requester
	clock *clock
}

func (r realRequest) GetSession() fosite.Session {
	return realSession{r.Requester.GetSession(), r.clock}
}

type realSession struct {
	fosite.Session
	clock *clock
}

func (s realSession) GetExpiresAt(kind fosite.TokenType) time.Time {
	return s.clock.real(s.Session.GetExpiresAt(kind))
}
