package endpoints_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// wrappingStore returns registered clients from GetClient in a type of its own.
type wrappingStore struct {
	*dcrtest.Ledger
	wrap func(*dcr.Client) fosite.Client
}

func (s wrappingStore) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	found, err := s.Ledger.GetClient(ctx, id)
	if record, ok := found.(*dcr.Client); ok {
		return s.wrap(record), nil
	}
	return found, err
}

// Types around a record: the first two embed it, the third hides what it is.
type (
	embedsPointer struct {
		*dcr.Client
		Tenant string
	}
	embedsValue  struct{ dcr.Client }
	hidesARecord struct{ fosite.Client }
)

// TestWrapperThatEmbeds: a storage that returns the record in a type which embeds it loses no rule.
func TestWrapperThatEmbeds(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(*dcr.Client) fosite.Client{
		"pointer":     func(c *dcr.Client) fosite.Client { return &embedsPointer{Client: c} },
		"in_a_struct": func(c *dcr.Client) fosite.Client { return embedsPointer{Client: c} },
		"value":       func(c *dcr.Client) fosite.Client { return &embedsValue{Client: *c} },
		"twice":       func(c *dcr.Client) fosite.Client { return struct{ *embedsPointer }{&embedsPointer{Client: c}} },
	} {
		start := func(t *testing.T) (*dcrtest.Server, *dcrtest.Clock) {
			clock := new(dcrtest.Clock)
			store := wrappingStore{dcrtest.NewLedger(), wrap}
			return dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: dcr.Config{Now: clock.Now, Lifecycle: dcr.Lifecycle{Maximum: time.Hour}}}), clock
		}
		t.Run("AUTH-15/PKCE-01/"+name, func(t *testing.T) {
			t.Parallel()
			s, _ := start(t)
			client := s.Register(t, dcrtest.Managed("token_endpoint_auth_method", "none"))
			answer := s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "code_challenge", "", "code_challenge_method", ""))
			require.Equal(t, "invalid_request", answer.Location(t).Query().Get("error"), answer.Body)
			code := s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI))
			form := dcrtest.CodeForm(client.ID(), code, dcrtest.RedirectURI)
			form.Del("code_verifier")
			refused := s.Form(t, "/oauth2/token", form)
			require.Equal(t, http.StatusBadRequest, refused.Status, refused.Body)
			require.Equal(t, "invalid_grant", refused.Text("error"))
		})
		t.Run("AUTH-15/INTRO-01/"+name, func(t *testing.T) {
			t.Parallel()
			s, _ := start(t)
			asking, other := s.Register(t, dcrtest.Managed()), s.Register(t, dcrtest.Managed())
			ask := func(token string) dcrtest.Answer {
				return s.Form(t, "/oauth2/introspect", url.Values{"token": {token}}, dcrtest.Basic(asking.ID(), asking.Secret()))
			}
			require.Equal(t, true, ask(dcrtest.SignIn(t, s, asking).Text("access_token")).Members["active"])
			require.Equal(t, dcrtest.Inactive, ask(dcrtest.SignIn(t, s, other).Text("access_token")).Members)
		})
		t.Run("AUTH-15/expiry/"+name, func(t *testing.T) {
			t.Parallel()
			s, clock := start(t)
			client := s.Register(t, dcrtest.Managed())
			s.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI))
			clock.Forward(2 * time.Hour)
			answer := s.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI))
			require.Equal(t, http.StatusUnauthorized, answer.Status, answer.Body)
			require.Contains(t, answer.Body, "invalid_client")
		})
		t.Run("AUTH-15/issuer/"+name, func(t *testing.T) {
			t.Parallel()
			store := wrappingStore{dcrtest.NewLedger(), wrap}
			one, other := dcrtest.Start(t, dcrtest.Setup{Storage: store}), dcrtest.Start(t, dcrtest.Setup{Storage: store})
			client := one.Register(t, dcrtest.Managed())
			one.Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI))
			answer := other.Authorize(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI))
			require.Equal(t, http.StatusUnauthorized, answer.Status, answer.Body)
		})
		t.Run("AUTH-15/consent/"+name, func(t *testing.T) {
			t.Parallel()
			record := &dcr.Client{ID: "c", AlwaysAskConsent: true}
			require.True(t, dcr.IsDynamic(wrap(record)))
			require.Equal(t, consent.Key(record), consent.Key(wrap(record)))
			request := fosite.NewAuthorizeRequest()
			request.RedirectURI, request.Client = &url.URL{Scheme: "https", Host: "client.example"}, wrap(record)
			require.True(t, consent.Needed(request))
		})
	}
	require.False(t, dcr.IsDynamic(&embedsPointer{}), "T64: a wrapper around nothing")
	require.False(t, dcr.IsDynamic(hidesARecord{&dcr.Client{ID: "c"}}))
}

// TestWrapperThatHides: with a wrapper that does not embed the record every registration is undone, and the operator
// is told what to return.
func TestWrapperThatHides(t *testing.T) {
	t.Parallel()
	for name, setup := range map[string]dcrtest.Setup{
		"own":    {},
		"shared": {Config: dcr.Config{Registration: dcr.Registration{ShareIdentical: true}}},
	} {
		t.Run("AUTH-15/hidden/"+name, func(t *testing.T) {
			t.Parallel()
			store := wrappingStore{dcrtest.NewLedger(), func(c *dcr.Client) fosite.Client { return hidesARecord{c} }}
			events := new(dcrtest.Events)
			setup.Storage, setup.Config.Events = store, events
			s := dcrtest.Start(t, setup)
			for range 2 {
				answer := s.Post(t, dcrtest.PublicRegistration)
				require.Equal(t, http.StatusInternalServerError, answer.Status, answer.Body)
				require.Equal(t, "server_error", answer.Text("error"))
				require.NotContains(t, answer.Body, "dcr.Client")
				require.Empty(t, store.Live(t))
				require.Zero(t, store.LiveEntries(t))
				event := events.TakeOne(t)
				require.Equal(t, dcr.EventRefused, event.Kind)
				debug := fosite.ErrorToRFC6749Error(event.Err).DebugField
				require.Contains(t, debug, "return *dcr.Client from the storage's GetClient")
				require.Contains(t, debug, "endpoints_test.hidesARecord")
			}
		})
	}
}
