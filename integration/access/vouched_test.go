package access_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/handler/openid"
	"github.com/ory/fosite/token/jwt"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// silent is a rule that lets everybody in and says nothing of the registrant.
var silent = dcr.AccessFunc(func(context.Context, *http.Request) (*dcr.Registrant, error) { return &dcr.Registrant{}, nil })

// TestZeroRegistrant: a registrant of whom a rule says nothing is anonymous in every respect (T64).
func TestZeroRegistrant(t *testing.T) {
	t.Parallel()
	anonymous := dcr.Registrant{Anonymous: true}
	t.Run("TRUST-02/GRANT-01", func(t *testing.T) {
		t.Parallel()
		s, _ := ruled(t, silent)
		dcrtest.RequireMemberRefused(t, s.Post(t, `{"grant_types":["client_credentials"]}`), dcrtest.BadMetadata, "grant_types")
		client := s.Register(t, dcrtest.ServiceRegistration)
		require.Equal(t, []any{"authorization_code", "refresh_token"}, client.Members["grant_types"])
		require.Equal(t, anonymous, originOf(t, s, client))
	})
	t.Run("TRUST-02/GRANT-01/stored_before", func(t *testing.T) {
		t.Parallel()
		s, _ := ruled(t, silent)
		client := s.Register(t, dcrtest.Managed())
		record := dcrtest.RecordOf(t, s.Store, client.ID())
		record.Origin = dcr.Registrant{}
		record.Version++
		require.NoError(t, s.Store.UpdateClient(t.Context(), record, record.Version-1))
		answer := s.Manage(t, http.MethodPut, client, dcrtest.Replacing(client, "grant_types", []string{"client_credentials"}))
		dcrtest.RequireMemberRefused(t, answer, dcrtest.BadMetadata, "grant_types")
	})
	t.Run("TRUST-02/lifetime", func(t *testing.T) {
		t.Parallel()
		s, events := dcrtest.StartClosed(t, func(setup *dcrtest.Setup) { setup.Config.Access, setup.UnusedEnd = silent, true })
		record := dcrtest.RecordOf(t, s.Store, s.Register(t, dcrtest.Managed()).ID())
		require.Equal(t, time.Hour, record.UnusedUntil.Sub(record.CreatedAt).Round(time.Minute))
		require.Equal(t, &anonymous, events.TakeOne(t).Registrant)
	})
	t.Run("TRUST-02/rate", func(t *testing.T) {
		t.Parallel()
		s, _ := dcrtest.StartClosed(t, func(setup *dcrtest.Setup) { setup.Config.Access, setup.CallersLimited = silent, true })
		client := s.Register(t, dcrtest.Managed())
		for range 59 {
			require.Equal(t, http.StatusBadRequest, s.Post(t, `{}`).Status)
		}
		require.Equal(t, http.StatusTooManyRequests, s.Post(t, `{}`).Status)
		for range 60 {
			require.Equal(t, http.StatusUnsupportedMediaType, s.Manage(t, http.MethodPut, client, `{}`, dcrtest.Header("Content-Type", "text/plain")).Status)
		}
	})
	t.Run("TRUST-02/shared", func(t *testing.T) {
		t.Parallel()
		s, _ := dcrtest.StartClosed(t, func(setup *dcrtest.Setup) {
			setup.Config.Access, setup.Config.Registration.ShareIdentical = silent, true
		})
		require.Equal(t, s.Register(t, dcrtest.PublicRegistration).ID(), s.Register(t, dcrtest.PublicRegistration).ID())
	})
	for name, known := range map[string]dcr.Registrant{
		"kind": {Kind: "partner"}, "subject": {Subject: "alice"}, "client": {ClientID: "portal"},
	} {
		t.Run("TRUST-02/known_by_"+name, func(t *testing.T) {
			t.Parallel()
			s, _ := ruled(t, dcr.AccessFunc(func(context.Context, *http.Request) (*dcr.Registrant, error) {
				return &known, nil
			}))
			client := s.Register(t, dcrtest.ServiceRegistration)
			require.Contains(t, client.Members["grant_types"], "client_credentials")
			require.False(t, originOf(t, s, client).Anonymous)
		})
	}
}

// issued is a session that tells its issuer.
type issued struct {
	fosite.DefaultSession
	issuer string
}

func (s *issued) GetIssuer() string { return s.issuer }

func (s *issued) Clone() fosite.Session {
	c := *s
	return &c
}

// claiming is a session with the claims of an ID token.
func claiming(issuer string) fosite.Session {
	session := openid.NewDefaultSession()
	session.Claims = &jwt.IDTokenClaims{Issuer: issuer}
	return session
}

// tokenWith puts the access token of a client into the store, with a session.
func tokenWith(t *testing.T, s *dcrtest.Server, client fosite.Client, session fosite.Session) string {
	t.Helper()
	session.SetExpiresAt(fosite.AccessToken, time.Now().Add(time.Hour))
	request := fosite.NewRequest()
	request.Client, request.Session = client, session
	request.GrantScope("dcr:register")
	token, signature, err := compose.NewOAuth2HMACStrategy(s.Fosite).GenerateAccessToken(t.Context(), request)
	require.NoError(t, err)
	require.NoError(t, s.Store.CreateAccessTokenSession(t.Context(), signature, request))
	return token
}

// TestTokenIssuer: the access token of another issuer does not register, and where there are several issuers a token
// has to tell whose it is (T41, T64).
func TestTokenIssuer(t *testing.T) {
	t.Parallel()
	const ours, theirs, idTokens = "https://a.example", "https://b.example", "https://id.example"
	for _, row := range []struct {
		name          string
		session       func() fosite.Session
		one, several  int  // status where the server has one issuer, and where it may have several
		ofARegistered bool // client
	}{
		{"silent", func() fosite.Session { return new(fosite.DefaultSession) }, 201, 401, false},
		{"silent_openid", func() fosite.Session { return claiming("") }, 201, 401, false},
		{"registered_client", func() fosite.Session { return new(fosite.DefaultSession) }, 201, 201, true},
		{"ours", func() fosite.Session { return &issued{issuer: ours} }, 201, 201, false},
		{"ours_with_a_slash", func() fosite.Session { return &issued{issuer: ours + "/"} }, 201, 201, false},
		{"another", func() fosite.Session { return &issued{issuer: theirs} }, 401, 401, false},
		{"another_of_a_registered_client", func() fosite.Session { return &issued{issuer: theirs} }, 401, 401, true},
		{"ours_by_id_token", func() fosite.Session { return claiming(ours) }, 201, 201, false},
		{"another_by_id_token", func() fosite.Session { return claiming(theirs) }, 401, 401, false},
		{"name_of_id_tokens", func() fosite.Session { return claiming(idTokens) }, 201, 401, false},
	} {
		for several, want := range map[bool]int{false: row.one, true: row.several} {
			name := map[bool]string{false: "one_issuer", true: "several_issuers"}[several]
			t.Run("TRUST-02/"+row.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				s, events := dcrtest.StartClosed(t, func(setup *dcrtest.Setup) {
					setup.Fosite = func(c *fosite.Config) { c.AccessTokenIssuer, c.IDTokenIssuer = ours, idTokens }
					setup.Config.Metadata.AnonymousGrantTypes = []string{"client_credentials"}
					if several {
						setup.Config.Endpoints.Issuer = func(context.Context) string { return ours }
					}
				}, "dcr:register")
				client, err := s.Store.GetClient(t.Context(), dcrtest.PortalID)
				require.NoError(t, err)
				if row.ofARegistered {
					record := &dcr.Client{ID: "registered", Issuer: ours, Version: 1, CreatedAt: time.Now()}
					require.NoError(t, s.Store.CreateClient(t.Context(), record))
					client = record
				}
				answer := s.Post(t, dcrtest.PlainRegistration, dcrtest.Bearer(tokenWith(t, s, client, row.session())))
				require.Equal(t, want, answer.Status, answer.Body)
				if want == http.StatusUnauthorized {
					dcrtest.RequireChallenge(t, answer, http.StatusUnauthorized, "invalid_token")
					require.NotContains(t, answer.Body, "ssuer")
					require.Contains(t, fosite.ErrorToRFC6749Error(events.TakeOne(t).Err).DebugField, "issuer")
				}
			})
		}
	}
	t.Run("TRUST-02/client_is_gone", func(t *testing.T) {
		t.Parallel()
		s, _ := dcrtest.StartClosed(t, func(setup *dcrtest.Setup) {
			setup.Config.Endpoints.Issuer = func(context.Context) string { return ours }
		}, "dcr:register")
		token := tokenWith(t, s, &fosite.DefaultClient{ID: "gone"}, new(fosite.DefaultSession))
		dcrtest.RequireChallenge(t, s.Post(t, dcrtest.PlainRegistration, dcrtest.Bearer(token)), http.StatusUnauthorized, "invalid_token")
	})
}
