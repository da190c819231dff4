package composition_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// TestComposedInsteadOfExtended: where the composed provider serves requests, the error says what is missing, for clients
// with a secret, too.
func TestComposedInsteadOfExtended(t *testing.T) {
	t.Parallel()
	store := dcr.NewMemoryStore()
	config := &fosite.Config{AccessTokenIssuer: "https://as.example", GlobalSecret: []byte("thirty-two bytes or more, kept safe")}
	cfg := dcr.Config{Access: dcr.Open(), Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}}, Scopes: []string{"a"}}
	strategy := compose.NewOAuth2HMACStrategy(config)
	extended, err := dcr.Extend(compose.Compose(config, store, strategy, compose.OAuth2ClientCredentialsGrantFactory, dcr.NewFactory(cfg)))
	require.NoError(t, err)
	routes := httptest.NewServer(extended.RegistrationHandler())
	t.Cleanup(routes.Close)
	client := (&dcrtest.Server{URL: routes.URL}).Register(t, `{"grant_types":["client_credentials"]}`)

	other := &fosite.Config{AccessTokenIssuer: "https://as.example", GlobalSecret: config.GlobalSecret}
	composed := compose.Compose(other, store, compose.NewOAuth2HMACStrategy(other), compose.OAuth2ClientCredentialsGrantFactory, dcr.NewFactory(cfg))
	r := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(client.ID(), client.Secret())
	request, err := composed.NewAccessRequest(t.Context(), r, new(fosite.DefaultSession))
	require.NoError(t, err)
	_, err = composed.NewAccessResponse(t.Context(), request)
	answer := fosite.ErrorToRFC6749Error(err)
	require.Equal(t, "server_error", answer.ErrorField)
	require.Contains(t, answer.DebugField, "did not go through Extend")
}

// TestComposedBesideExtended: after Extend the composed provider works without a word, and answers without the issuer. It
// knows generated secrets unless the application has a hasher of its own.
func TestComposedBesideExtended(t *testing.T) {
	t.Parallel()
	for _, own := range []bool{false, true} {
		config := &fosite.Config{AccessTokenIssuer: "https://as.example", GlobalSecret: []byte("thirty-two bytes or more, kept safe")}
		if own {
			config.ClientSecretsHasher = &fosite.BCrypt{Config: config}
		}
		composed := compose.Compose(config, dcr.NewMemoryStore(), compose.NewOAuth2HMACStrategy(config),
			compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2PKCEFactory, dcr.NewFactory(dcr.Config{Access: dcr.Open()}))
		extended, err := dcr.Extend(composed)
		require.NoError(t, err)
		routes := httptest.NewServer(extended.RegistrationHandler())
		t.Cleanup(routes.Close)
		client := (&dcrtest.Server{URL: routes.URL}).Register(t, dcrtest.Managed())
		for provider, want := range map[fosite.OAuth2Provider]struct {
			issuer  bool
			refused bool
		}{composed: {false, own}, extended: {true, false}} {
			query := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI).Encode()
			request, err := provider.NewAuthorizeRequest(t.Context(), httptest.NewRequest(http.MethodGet, "/auth?"+query, nil))
			require.NoError(t, err)
			answer, err := provider.NewAuthorizeResponse(t.Context(), request, &fosite.DefaultSession{Subject: "alice"})
			require.NoError(t, err)
			require.NotEmpty(t, answer.GetCode())
			require.Equal(t, want.issuer, answer.GetParameters().Has("iss"))

			form := dcrtest.CodeForm("", answer.GetCode(), dcrtest.RedirectURI)
			r := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.SetBasicAuth(client.ID(), client.Secret())
			_, err = provider.NewAccessRequest(t.Context(), r, new(fosite.DefaultSession))
			if want.refused {
				require.ErrorIs(t, err, fosite.ErrInvalidClient)
				continue
			}
			require.NoError(t, err)
		}
	}
}

// uncomparable is a storage whose type Go can not compare.
type uncomparable struct {
	*dcrtest.TransactionalStore
	_ []string
}

// TestNamedTransactionalStorage: a storage that is named for clients and tokens alike, or for neither, keeps its
// transactions.
func TestNamedTransactionalStorage(t *testing.T) {
	t.Parallel() // T34
	store := &dcrtest.TransactionalStore{WatchedStore: dcrtest.NewWatchedStore()}
	type list = []string
	inOne := list{"begin", "CreateClient", "CreateAccessTokenSession", "commit"}
	hidden, unlike := tokensToo{onlyFosite{store}, store}, uncomparable{TransactionalStore: store}
	for name, row := range map[string]struct {
		composed fosite.Storage
		storage  dcr.Storage
		want     list
	}{
		"both":         {hidden, dcr.Storage{Clients: store, Tokens: store}, inOne},
		"one":          {hidden, dcr.Storage{Clients: store, Tokens: dcr.NewMemoryStore()}, list{"CreateClient outside"}},
		"uncomparable": {unlike, dcr.Storage{}, inOne},
		"uncomparable_twice": {hidden, dcr.Storage{Clients: unlike, Tokens: unlike},
			list{"CreateClient outside", "CreateAccessTokenSession outside"}},
	} {
		s := dcrtest.Start(t, dcrtest.Setup{Storage: row.composed, Factories: []compose.Factory{compose.OAuth2ClientCredentialsGrantFactory},
			Config: dcr.Config{Storage: row.storage, Metadata: dcr.Metadata{AnonymousGrantTypes: []string{"client_credentials"}}}})
		store.Took()
		s.Register(t, `{"grant_types":["client_credentials"]}`)
		require.Equal(t, row.want, store.Took(), name)
	}
}
