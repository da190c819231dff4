package endpoints_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// addKeys adds a client with keys to plain fosite.
func (p plain) addKeys(t *testing.T, alg string, keys ...jose.JSONWebKey) *fosite.DefaultOpenIDConnectClient {
	t.Helper()
	set := dcrtest.KeySet(keys...)
	client := &fosite.DefaultOpenIDConnectClient{
		DefaultClient: p.add(t, "client"), JSONWebKeys: &set,
		TokenEndpointAuthMethod: "private_key_jwt", TokenEndpointAuthSigningAlgorithm: alg,
	}
	p.store.Clients["client"] = client
	return client
}

// authenticate presents an assertion to fosite's own strategy.
func (p plain) authenticate(assertion string) error {
	form := dcrtest.WithAssertion(url.Values{}, assertion)
	_, err := p.AuthenticateClient(context.Background(), formRequest("/", form), form)
	return err
}

const plainTokenURL = "https://issuer.example/token"

func TestFositeAsksItsStrategyAtThreeEndpoints(t *testing.T) {
	t.Parallel()
	// The provider authenticates registered clients at introspection by itself.
	ctx, asked := context.Background(), 0
	p := plainFosite(func(c *fosite.Config) {
		c.ClientAuthenticationStrategy = func(context.Context, *http.Request, url.Values) (fosite.Client, error) {
			asked++
			return nil, fosite.ErrInvalidClient
		}
	})
	p.add(t, "client")
	form := url.Values{"grant_type": {"client_credentials"}, "token": {"x"}}
	send := func() *http.Request { return basicAuth(formRequest("/", form), "client", "a static secret") }
	_, _ = p.NewAccessRequest(ctx, send(), dcrtest.NewSession(""))
	_, _ = p.NewPushedAuthorizeRequest(ctx, send())
	_ = p.NewRevocationRequest(ctx, send())
	require.Equal(t, 3, asked)
	_, err := p.NewIntrospectionRequest(ctx, send(), dcrtest.NewSession(""))
	require.ErrorIs(t, err, fosite.ErrInactiveToken, "Basic was good, whatever the strategy says")
	_, err = p.NewAuthorizeRequest(ctx, authorizeGET())
	require.NoError(t, err)
	require.Equal(t, 3, asked)
}

func TestFositeReadsTheQueryAtPAR(t *testing.T) {
	t.Parallel()
	// ClientAuthentication refuses credentials in the query.
	ctx, p := context.Background(), plainFosite()
	p.add(t, "client")
	form := dcrtest.AuthorizeQuery("client", dcrtest.RedirectURI)
	_, err := p.NewPushedAuthorizeRequest(ctx, formRequest("/par?client_secret=a+static+secret", form))
	require.NoError(t, err)
	grant := url.Values{"grant_type": {"client_credentials"}, "client_id": {"client"}}
	_, err = p.NewAccessRequest(ctx, formRequest("/token?client_secret=a+static+secret", grant), dcrtest.NewSession(""))
	require.ErrorIs(t, err, fosite.ErrInvalidClient)
}

func TestFositeSaysInvalidClientAtPARWhateverIsWrong(t *testing.T) {
	t.Parallel()
	// A fault of authentication is found again in the chain.
	for _, cause := range []*fosite.RFC6749Error{fosite.ErrServerError, fosite.ErrInvalidRequest, fosite.ErrTemporarilyUnavailable} {
		p := plainFosite(func(c *fosite.Config) {
			c.ClientAuthenticationStrategy = func(context.Context, *http.Request, url.Values) (fosite.Client, error) { return nil, cause }
		})
		_, err := p.NewPushedAuthorizeRequest(context.Background(), formRequest("/", url.Values{"a": {"b"}}))
		require.Equal(t, "invalid_client", fosite.ErrorToRFC6749Error(err).ErrorField)
		var outer *fosite.RFC6749Error
		require.ErrorAs(t, err, &outer)
		require.ErrorIs(t, outer.Cause(), cause)
	}
}

func TestFositeComparesWithAnEmptyHash(t *testing.T) {
	t.Parallel()
	// The provider's hasher refuses empty hashes before it asks the host's.
	ctx := context.Background()
	p := plainFosite(func(c *fosite.Config) { c.ClientSecretsHasher = plainHasher{} })
	p.addKeys(t, "", dcrtest.PublicKey(dcrtest.Keys().P256, "", "sig", "")).Secret = nil
	grant := url.Values{"grant_type": {"client_credentials"}, "token": {"x"}}
	_, err := p.NewAccessRequest(ctx, basicAuth(formRequest("/", grant), "client", ""), dcrtest.NewSession(""))
	require.NoError(t, err, "a client with keys, and no secret at all")
	p.add(t, "public", func(c *fosite.DefaultClient) { c.Public, c.Secret = true, nil })
	_, err = p.NewIntrospectionRequest(ctx, basicAuth(formRequest("/", grant), "public", ""), dcrtest.NewSession(""))
	require.ErrorIs(t, err, fosite.ErrInactiveToken, "a public client passes at introspection")
}

func TestFositeDecodesBasicCredentials(t *testing.T) {
	t.Parallel()
	// Generated secrets have no character that decoding changes.
	ctx := context.Background()
	p := plainFosite(func(c *fosite.Config) { c.ClientSecretsHasher = plainHasher{} })
	p.add(t, "client", func(c *fosite.DefaultClient) { c.Secret = []byte("a+b%41") })
	grant := url.Values{"grant_type": {"client_credentials"}}
	_, err := p.NewAccessRequest(ctx, basicAuth(formRequest("/", grant), "client", "a+b%41"), dcrtest.NewSession(""))
	require.ErrorIs(t, err, fosite.ErrInvalidClient)
	_, err = p.NewAccessRequest(ctx, basicAuth(formRequest("/", grant), "client", url.QueryEscape("a+b%41")), dcrtest.NewSession(""))
	require.NoError(t, err)
}

func TestFositeSendsNoChallenge(t *testing.T) {
	t.Parallel()
	// The provider's writers do.
	ctx, p := context.Background(), plainFosite()
	writers := map[string]func(http.ResponseWriter){
		"access":        func(w http.ResponseWriter) { p.WriteAccessError(ctx, w, nil, fosite.ErrInvalidClient) },
		"revocation":    func(w http.ResponseWriter) { p.WriteRevocationResponse(ctx, w, fosite.ErrInvalidClient) },
		"introspection": func(w http.ResponseWriter) { p.WriteIntrospectionError(ctx, w, fosite.ErrRequestUnauthorized) },
		"par": func(w http.ResponseWriter) {
			p.WritePushedAuthorizeError(ctx, w, fosite.NewAuthorizeRequest(), fosite.ErrInvalidClient)
		},
	}
	for name, write := range writers {
		w := httptest.NewRecorder()
		write(w)
		require.Equal(t, http.StatusUnauthorized, w.Code, name)
		require.Empty(t, w.Header().Get("WWW-Authenticate"), name)
	}
}

func TestFositeWantsTheTokenURLAsAudience(t *testing.T) {
	t.Parallel()
	// ClientAuthentication shows fosite a configuration with the audiences of the endpoint.
	p := plainFosite()
	p.addKeys(t, "ES256", dcrtest.PublicKey(dcrtest.Keys().P256, "", "sig", ""))
	require.Equal(t, []string{plainTokenURL}, p.config.GetTokenURLs(context.Background()))
	require.Equal(t, []string{""}, (&fosite.Config{}).GetTokenURLs(context.Background()), "never an empty list")
	require.NoError(t, p.authenticate(dcrtest.SignES256(t, dcrtest.AssertionClaims("client", plainTokenURL))))
	require.ErrorIs(t, p.authenticate(dcrtest.SignES256(t, dcrtest.AssertionClaims("client", "https://issuer.example"))), fosite.ErrInvalidClient)
	both := []string{"https://other.example", plainTokenURL}
	require.NoError(t, p.authenticate(dcrtest.SignES256(t, dcrtest.AssertionClaims("client", both))), "one of several is enough for fosite")
}

func TestFositeBoundsNeitherExpNorJTI(t *testing.T) {
	t.Parallel()
	// ClientAuthentication bounds both before anything is stored, and counts a jti per client.
	p := plainFosite()
	p.addKeys(t, "ES256", dcrtest.PublicKey(dcrtest.Keys().P256, "", "sig", ""))
	end, jti := time.Now().Add(10*365*24*time.Hour).Truncate(time.Second), strings.Repeat("j", 4096)
	claims := dcrtest.AssertionClaims("client", plainTokenURL, "exp", end.Unix(), "jti", jti)
	require.NoError(t, p.authenticate(dcrtest.SignES256(t, claims)))
	require.Equal(t, end.Unix(), p.store.jtis[jti].Unix(), "kept until then, under its bare name")

	refused := dcrtest.AssertionClaims("client", "https://other.example", "jti", "of a refused assertion")
	require.Error(t, p.authenticate(dcrtest.SignES256(t, refused)))
	require.Contains(t, p.store.jtis, "of a refused assertion", "noted before the audience was looked at")
}

func TestFositeTakesAFailingJTIStoreForAReplay(t *testing.T) {
	t.Parallel()
	// ClientAuthentication keeps the fault that fosite drops.
	p := plainFosite()
	p.addKeys(t, "ES256", dcrtest.PublicKey(dcrtest.Keys().P256, "", "sig", ""))
	p.store.jtiErr = errors.New("the disk is on fire")
	err := p.authenticate(dcrtest.SignES256(t, dcrtest.AssertionClaims("client", plainTokenURL)))
	require.ErrorIs(t, err, fosite.ErrJTIKnown)
	require.NotErrorIs(t, err, p.store.jtiErr)
}

func TestFositeReadsNoAlgorithmAsRS256(t *testing.T) {
	t.Parallel()
	// The client of this package shows the algorithm of the assertion where none was registered.
	p := plainFosite()
	client := p.addKeys(t, "", dcrtest.PublicKey(dcrtest.Keys().P256, "", "sig", ""))
	require.Equal(t, "RS256", client.GetTokenEndpointAuthSigningAlgorithm())
	require.ErrorIs(t, p.authenticate(dcrtest.SignES256(t, dcrtest.AssertionClaims("client", plainTokenURL))), fosite.ErrInvalidClient)
}

func TestFositeTakesTheFirstKey(t *testing.T) {
	t.Parallel()
	// ClientAuthentication shows it the one key that fits.
	keys := dcrtest.Keys()
	for name, row := range map[string]struct {
		keys     []jose.JSONWebKey
		accepted bool
	}{
		"with use":                  {[]jose.JSONWebKey{dcrtest.PublicKey(keys.P256, "", "sig", "")}, true},
		"without use":               {[]jose.JSONWebKey{dcrtest.PublicKey(keys.P256, "", "", "")}, false},
		"second of its curve":       {[]jose.JSONWebKey{dcrtest.PublicKey(keys.OtherP256, "", "sig", ""), dcrtest.PublicKey(keys.P256, "", "sig", "")}, false},
		"after one of another size": {[]jose.JSONWebKey{dcrtest.PublicKey(keys.P384, "", "sig", ""), dcrtest.PublicKey(keys.P256, "", "sig", "")}, false},
	} {
		p := plainFosite()
		p.addKeys(t, "ES256", row.keys...)
		err := p.authenticate(dcrtest.SignES256(t, dcrtest.AssertionClaims("client", plainTokenURL)))
		require.Equal(t, row.accepted, err == nil, "%s: %v", name, err)
	}
}

func TestFositeVerifiesNoEdDSA(t *testing.T) {
	t.Parallel()
	// So it is neither registrable nor advertised.
	p := plainFosite()
	p.addKeys(t, "EdDSA", dcrtest.PublicKey(dcrtest.Keys().P256, "", "sig", ""))
	token := byHand(t, map[string]any{"alg": "EdDSA"}, dcrtest.AssertionClaims("client", plainTokenURL), func(string) []byte { return make([]byte, 64) })
	require.ErrorIs(t, p.authenticate(token), fosite.ErrInvalidClient)
}

func TestFositeRefetchesForEveryUnknownKey(t *testing.T) {
	t.Parallel()
	// The guarded fetcher holds the fetches down.
	fetcher := &countingFetcher{set: dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "known", "sig", ""))}
	p := plainFosite(func(c *fosite.Config) { c.JWKSFetcherStrategy = fetcher })
	client := p.addKeys(t, "ES256")
	client.JSONWebKeys, client.JSONWebKeysURI = nil, "https://client.example/jwks"
	for range 3 {
		require.Error(t, p.authenticate(dcrtest.SignToken(t, jose.ES256, dcrtest.Keys().P256, "unknown", dcrtest.AssertionClaims("client", plainTokenURL))))
	}
	require.EqualValues(t, 6, fetcher.asked.Load(), "once with and once without its cache, each time")
}
