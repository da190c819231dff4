package endpoints_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// worstServer lets a client register all that each limit allows, at once.
func worstServer(b *testing.B) (*dcrtest.Server, http.Handler) {
	s := dcrtest.Start(b, dcrtest.Setup{Config: dcr.Config{
		Limits:        dcr.Limits{Body: 1 << 20},
		Authorization: dcr.Authorization{AllowAnyLocalhostPort: true},
		Access: dcr.AccessFunc(func(context.Context, *http.Request) (*dcr.Registrant, error) {
			return &dcr.Registrant{Kind: "benchmark", Subject: "benchmark"}, nil
		}),
	}})
	return s, s.Handler()
}

// longURIs are redirect URIs of the largest length that begin alike.
func longURIs(start string) (uris []string) {
	for i := range 64 {
		uris = append(uris, start+strings.Repeat("x", 2046-len(start))+fmt.Sprintf("%02d", i))
	}
	return uris
}

// worstRSA is a key of 4,096 bits that nobody has.
func worstRSA(b *testing.B, kid string) map[string]any {
	n := make([]byte, 512)
	_, err := rand.Read(n)
	require.NoError(b, err)
	n[0], n[511] = n[0]|0x80, n[511]|1
	return map[string]any{"kty": "RSA", "kid": kid, "n": base64.RawURLEncoding.EncodeToString(n), "e": "AQAB"}
}

func worstP521(b *testing.B, kid string) map[string]any {
	key := dcrtest.PublicJWK(b, dcrtest.Keys().P521.Public(), kid)
	return key
}

// worstClient is registered with all that each limit allows.
func worstClient(b *testing.B, s *dcrtest.Server, uris []string, key func(b *testing.B, kid string) map[string]any) dcrtest.Answer {
	metadata := map[string]any{
		"redirect_uris": uris, "grant_types": []string{"authorization_code", "refresh_token"}, "token_endpoint_auth_method": "none",
		"client_name": strings.Repeat("n", 1024), "scope": strings.Join(dcrtest.Scopes, " "),
	}
	if key != nil {
		var keys []any
		for i := range 32 {
			keys = append(keys, key(b, fmt.Sprint(i)))
		}
		metadata["token_endpoint_auth_method"], metadata["jwks"] = "private_key_jwt", map[string]any{"keys": keys}
	}
	return s.Register(b, metadata)
}

// wrongAssertion has a signature of the right length that nothing verifies.
func wrongAssertion(b *testing.B, s *dcrtest.Server, id, alg string, length int) string {
	part := func(value any) string {
		raw, err := json.Marshal(value)
		require.NoError(b, err)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	signature := make([]byte, length)
	for i := range signature {
		signature[i] = 1
	}
	claims := dcrtest.AssertionClaims(id, s.URL, "exp", time.Now().Add(9*time.Minute).Unix())
	return part(map[string]any{"alg": alg, "typ": "JWT"}) + "." + part(claims) + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// refuse measures the CPU time of a request that is refused: these machines are shared.
func refuse(b *testing.B, handler http.Handler, request func() *http.Request) {
	b.ReportAllocs()
	before := worstCPU(b)
	for b.Loop() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, request())
		if w.Code < 400 && !strings.Contains(w.Body.String(), `"active":false`) {
			b.Fatalf("%d %s", w.Code, w.Body.String())
		}
	}
	b.ReportMetric(float64((worstCPU(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
}

func worstCPU(b *testing.B) time.Duration {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func worstPost(path string, form url.Values) func() *http.Request {
	return func() *http.Request {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return r
	}
}

// BenchmarkWorstAssertion: a wrong assertion of a client with the largest metadata, without kid (T61).
func BenchmarkWorstAssertion(b *testing.B) {
	for name, kind := range map[string]struct {
		key    func(b *testing.B, kid string) map[string]any
		alg    string
		length int
	}{"RSA-4096": {worstRSA, "RS512", 512}, "P-521": {worstP521, "ES512", 132}} {
		s, handler := worstServer(b)
		client := worstClient(b, s, longURIs("https://client.example/"), kind.key)
		for _, endpoint := range dcrtest.AuthEndpoints {
			b.Run("T61/"+endpoint.Name+"/"+name, func(b *testing.B) {
				form := dcrtest.WithAssertion(url.Values{
					"grant_type": {"authorization_code"}, "code": {"a.b"}, "token": {"a.b"},
				}, wrongAssertion(b, s, client.ID(), kind.alg, kind.length))
				refuse(b, handler, worstPost(endpoint.Path, form))
			})
		}
	}
}

// BenchmarkWorstAuthorize: an authorization request whose redirect URI is none of the registered ones (T61).
func BenchmarkWorstAuthorize(b *testing.B) {
	for name, start := range map[string]string{
		"https": "https://client.example/", "loopback": "http://127.0.0.1:8080/", "localhost": "http://localhost:8080/", "encoded": "http://127.0.0.1:8080/%41",
	} {
		s, handler := worstServer(b)
		uris := longURIs(start)
		client := worstClient(b, s, uris, worstRSA)
		b.Run("T61/"+name, func(b *testing.B) {
			query := dcrtest.AuthorizeQuery(client.ID(), uris[63]+"x").Encode()
			refuse(b, handler, func() *http.Request { return httptest.NewRequest(http.MethodGet, "/oauth2/auth?"+query, nil) })
		})
		b.Run("T61/pushed/"+name, func(b *testing.B) {
			public := worstClient(b, s, uris, nil)
			refuse(b, handler, worstPost("/oauth2/par", dcrtest.AuthorizeQuery(public.ID(), uris[63]+"x")))
		})
	}
}

// TestRedirectURIsAreComparedFirst: fosite, which parses each redirect URI that it compares, sees the one that was
// asked for where it is registered, and none otherwise.
func TestRedirectURIsAreComparedFirst(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	var uris []string
	for i := range 64 {
		uris = append(uris, fmt.Sprintf("http://127.0.0.1:%d/callback/%d", 8000+i, i))
	}
	client := s.Register(t, map[string]any{"redirect_uris": uris, "token_endpoint_auth_method": "none"})
	for name, row := range map[string]struct {
		asked string
		shown []string
	}{
		"registered": {uris[63], []string{uris[63]}},
		"other_port": {"http://127.0.0.1:9/callback/7", []string{"http://127.0.0.1:9/callback/7"}},
		"other_path": {"http://127.0.0.1:8000/callback/64", []string{}},
		"other_host": {"https://client.example/callback/1", []string{}},
		"no_url":     {":", []string{}},
	} {
		t.Run("T61/"+name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/oauth2/auth?"+dcrtest.AuthorizeQuery(client.ID(), row.asked).Encode(), nil)
			request, err := s.Provider.NewAuthorizeRequest(t.Context(), r)
			require.Equal(t, row.shown, request.GetClient().GetRedirectURIs())
			if len(row.shown) == 0 {
				require.ErrorIs(t, err, fosite.ErrInvalidRequest)
				require.Contains(t, fosite.ErrorToRFC6749Error(err).HintField, "redirect_uri")
				return
			}
			require.NoError(t, err)
			require.Equal(t, row.asked, request.GetRedirectURI().String())
		})
	}
}

// TestRedirectURIOfARequestObject: what a request object says replaces what stands beside it.
func TestRedirectURIOfARequestObject(t *testing.T) {
	t.Parallel()
	const first, second, loopback = "https://client.example/first", "https://client.example/second", "http://127.0.0.1/cb"
	s := dcrtest.Start(t, dcrtest.Setup{})
	client := s.Register(t, map[string]any{
		"redirect_uris": []string{first, second, loopback}, "token_endpoint_auth_method": "private_key_jwt", "application_type": "native",
		"jwks": dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "", "", "")),
	})
	for name, row := range map[string]struct {
		beside, inside string
		accepted       bool
	}{
		"another":      {first, second, true},
		"alone":        {"", second, true},
		"unregistered": {"https://client.example/none", second, true},
		"port":         {first, "http://127.0.0.1:7/cb", true},
		"stranger":     {first, "https://evil.example/", false},
	} {
		t.Run("T61/"+name, func(t *testing.T) {
			t.Parallel()
			query := dcrtest.AuthorizeQuery(client.ID(), row.beside, "scope", "openid", "request", dcrtest.SignES256(t, map[string]any{"redirect_uri": row.inside}))
			if row.beside == "" {
				query.Del("redirect_uri")
			}
			request, err := s.Provider.NewAuthorizeRequest(t.Context(), httptest.NewRequest(http.MethodGet, "/oauth2/auth?"+query.Encode(), nil))
			if !row.accepted {
				require.ErrorIs(t, err, fosite.ErrInvalidRequest)
				return
			}
			require.NoError(t, err)
			require.Equal(t, row.inside, request.GetRedirectURI().String())
		})
	}
}

// TestListsOfARequestObject: what a request object brings is bounded as parameters are, before it is kept.
func TestListsOfARequestObject(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	client := s.Register(t, map[string]any{
		"redirect_uris": []string{dcrtest.RedirectURI}, "token_endpoint_auth_method": "private_key_jwt",
		"jwks": dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "", "", "")),
	})
	for scopes, want := range map[int]string{400: "", 501: "The parameter scope has more than 500 values, or more than 8192 bytes."} {
		t.Run(fmt.Sprint("T61/", scopes), func(t *testing.T) {
			t.Parallel()
			object := dcrtest.SignES256(t, map[string]any{"scope": strings.TrimSpace(strings.Repeat("openid ", scopes))})
			query := dcrtest.AuthorizeQuery(client.ID(), dcrtest.RedirectURI, "scope", "openid", "request", object)
			_, err := s.Provider.NewAuthorizeRequest(t.Context(), httptest.NewRequest(http.MethodGet, "/oauth2/auth?"+query.Encode(), nil))
			if want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, fosite.ErrInvalidRequest)
			require.Equal(t, want, fosite.ErrorToRFC6749Error(err).HintField)
		})
	}
}

// BenchmarkWorstRegistration: the largest metadata, refused for its last redirect URI; and a wrong token to manage it.
func BenchmarkWorstRegistration(b *testing.B) {
	s, handler := worstServer(b)
	uris := longURIs("https://client.example/")[:48]
	var keys []any
	for i := range 16 {
		keys = append(keys, worstRSA(b, fmt.Sprint(i)))
	}
	body, err := json.Marshal(map[string]any{
		"redirect_uris": uris, "jwks": map[string]any{"keys": keys}, "client_name": strings.Repeat("n", 1024), "logo_uri": "javascript:alert(1)",
	})
	require.NoError(b, err)
	require.Less(b, len(body), 128<<10, "the default limit of a body")
	request := func(method, target string) func() *http.Request {
		return func() *http.Request {
			r := httptest.NewRequest(method, target, strings.NewReader(string(body)))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+strings.Repeat("a", 43)+"."+strings.Repeat("b", 43))
			return r
		}
	}
	b.Run("T61/register", func(b *testing.B) { refuse(b, handler, request(http.MethodPost, "/register")) })
	client := worstClient(b, s, longURIs("https://client.example/"), worstRSA)
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		b.Run("T61/manage/"+method, func(b *testing.B) { refuse(b, handler, request(method, "/register/"+client.ID())) })
	}
}
