package sqlstore_test

import (
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/sqlstore"
)

// rounds is how often a race is run; DCR_ROUNDS says another number.
func rounds(t *testing.T) int {
	number := 3
	if text := os.Getenv("DCR_ROUNDS"); text != "" {
		var err error
		number, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	return number
}

// cluster are servers with one issuer, each with a pool of its own, as processes have them.
type cluster []*dcrtest.Server

const clusterIssuer = "https://as.example.com"

func inCluster(setup *dcrtest.Setup) {
	setup.Fosite = func(config *fosite.Config) {
		config.AccessTokenIssuer, config.IDTokenIssuer = clusterIssuer, clusterIssuer
		config.TokenURL = clusterIssuer + "/oauth2/token"
	}
}

func (d database) cluster(t *testing.T, servers int, options sqlstore.Options) cluster {
	t.Helper()
	source := d.create(t)
	all := make(cluster, servers)
	for i := range all {
		all[i] = serve(t, d.open(t, source, options), inCluster)
	}
	return all
}

// atOnce sends one request n times at once, to the servers by turns, and counts the answers.
func (c cluster) atOnce(n int, send func(s *dcrtest.Server) dcrtest.Answer) (statuses map[int]int, answers []dcrtest.Answer) {
	answers = dcrtest.AllAtOnce(n, func(i int) dcrtest.Answer { return send(c[i%len(c)]) })
	statuses = map[int]int{}
	for _, answer := range answers {
		statuses[answer.Status]++
	}
	return statuses, answers
}

const atOnce = 64

var oneWins = map[int]int{http.StatusOK: 1, http.StatusBadRequest: atOnce - 1}

// TestOneWinner: of many uses at once of one code, refresh token, pushed request or assertion exactly one succeeds, and the
// others are told what a use too late is told.
func TestOneWinner(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		c := d.cluster(t, 4, sqlstore.Options{})
		client := c[0].Register(t, app)
		basic := dcrtest.Basic(client.ID(), client.Secret())
		form := func(form url.Values) func(*dcrtest.Server) dcrtest.Answer {
			return func(s *dcrtest.Server) dcrtest.Answer { return s.Form(t, "/oauth2/token", form, basic) }
		}
		signing := dcrtest.NewSigningClient(t, jose.ES256)
		signing.ID, signing.Audience = c[0].Register(t, signing.Metadata()).ID(), clusterIssuer
		for range rounds(t) {
			t.Run("SQL-04/code", func(t *testing.T) {
				code := c[1].Code(t, dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "scope", "openid offline_access"))
				statuses, _ := c.atOnce(atOnce, form(dcrtest.CodeForm("", code, dcrtest.RedirectURI)))
				require.Equal(t, oneWins, statuses)
			})
			t.Run("SQL-01/refresh", func(t *testing.T) {
				tokens := dcrtest.SignIn(t, c[2], client)
				statuses, answers := c.atOnce(atOnce, form(dcrtest.RefreshForm("", tokens.Text("refresh_token"))))
				require.Equal(t, oneWins, statuses)
				for _, answer := range answers {
					if answer.Status != http.StatusOK {
						require.Equal(t, "invalid_grant", answer.Text("error"), answer.Body)
					}
				}
			})
			t.Run("SQL-04/pushed", func(t *testing.T) {
				pushed := dcrtest.Push(t, c[0], client)
				statuses, answers := c.atOnce(atOnce, func(s *dcrtest.Server) dcrtest.Answer {
					return s.Authorize(t, url.Values{"client_id": {client.ID()}, "request_uri": {pushed}})
				})
				codes := 0
				for _, answer := range answers {
					location, err := url.Parse(answer.Header.Get("Location"))
					require.NoError(t, err)
					if location.Query().Get("code") != "" {
						codes++
					}
				}
				require.Equal(t, 1, codes)
				require.Zero(t, statuses[http.StatusInternalServerError]+statuses[http.StatusServiceUnavailable], statuses)
			})
			t.Run("SQL-04/assertion", func(t *testing.T) {
				assertion, err := signing.Assertion()
				require.NoError(t, err)
				assertion.Set("grant_type", "client_credentials")
				statuses, _ := c.atOnce(atOnce, func(s *dcrtest.Server) dcrtest.Answer { return s.Form(t, "/oauth2/token", assertion) })
				require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusUnauthorized: atOnce - 1}, statuses)
			})
		}
	})
}

// TestGraceAtOnce: with a grace as many more get tokens as may, and nobody an error of the server.
func TestGraceAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		c := d.cluster(t, 4, sqlstore.Options{RefreshGrace: time.Minute, RefreshGraceUses: 3})
		client := c[0].Register(t, app)
		basic := dcrtest.Basic(client.ID(), client.Secret())
		for range rounds(t) {
			t.Run("SQL-02/at_once", func(t *testing.T) {
				tokens := dcrtest.SignIn(t, c[0], client)
				refresh := func(s *dcrtest.Server) dcrtest.Answer {
					return s.Form(t, "/oauth2/token", dcrtest.RefreshForm("", tokens.Text("refresh_token")), basic)
				}
				// Two tabs, one of which has lost the first answer: both go on.
				for _, s := range c[:2] {
					answer := refresh(s)
					require.Equal(t, http.StatusOK, answer.Status, answer.Body)
					dcrtest.RequireActive(t, c[3], answer.Text("access_token"), client.ID())
				}
				again := dcrtest.SignIn(t, c[0], client)
				tokens = again
				statuses, _ := c.atOnce(4, refresh)
				require.Equal(t, map[int]int{http.StatusOK: 4}, statuses)
				late := refresh(c[0])
				require.Equal(t, http.StatusBadRequest, late.Status)
				require.Equal(t, "invalid_grant", late.Text("error"))
			})
		}
	})
}

// TestNoDeadlock: refreshes of many grants, sweeps and revocations at once end in no error of the server.
func TestNoDeadlock(t *testing.T) {
	onEach(t, func(t *testing.T, d database) {
		t.Run("SQL-07/at_once", func(t *testing.T) {
			source := d.create(t)
			store := d.open(t, source, sqlstore.Options{SweepEvery: 10 * time.Millisecond})
			c := cluster{serve(t, store, inCluster), serve(t, d.open(t, source, sqlstore.Options{}), inCluster)}
			end := time.Now().Add(time.Duration(rounds(t)) * time.Second)
			var group sync.WaitGroup
			for i := range 32 {
				group.Go(func() {
					s := c[i%2]
					client := s.Register(t, app)
					basic := dcrtest.Basic(client.ID(), client.Secret())
					for time.Now().Before(end) {
						tokens := dcrtest.SignIn(t, s, client)
						form := dcrtest.RefreshForm("", tokens.Text("refresh_token"))
						statuses, answers := c.atOnce(2, func(s *dcrtest.Server) dcrtest.Answer { return s.Form(t, "/oauth2/token", form, basic) })
						if statuses[http.StatusOK] != 1 || statuses[http.StatusBadRequest] != 1 {
							t.Errorf("%v: %s %s", statuses, answers[0].Body, answers[1].Body)
						}
						revoked := s.Form(t, "/oauth2/revoke", url.Values{"token": {tokens.Text("refresh_token")}}, basic)
						if revoked.Status != http.StatusOK {
							t.Error(revoked.Status, revoked.Body)
						}
						if err := store.RevokeClientGrants(t.Context(), client.ID()); err != nil {
							t.Error(err)
						}
					}
				})
			}
			group.Wait()
			if d.dialect == sqlstore.PostgreSQL {
				var deadlocks int
				require.NoError(t, d.raw(t, source).QueryRowContext(t.Context(), `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&deadlocks))
				require.Zero(t, deadlocks)
			}
		})
	})
}
