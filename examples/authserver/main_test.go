package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDemo(t *testing.T) {
	t.Parallel()
	for _, tokens := range []string{tokensOpaque, tokensJWT} {
		for _, rotate := range []string{"true", "false"} {
			t.Run("tokens="+tokens+"/rotate="+rotate, func(t *testing.T) {
				t.Parallel()
				var out, errOut bytes.Buffer
				err := run(t.Context(), []string{"-demo", "-tokens", tokens, "-rotate=" + rotate}, &out, &errOut)
				require.NoError(t, err, out.String())
				require.Contains(t, out.String(), "13. The tool tries what it had")
				require.Contains(t, out.String(), "What to do next")
				require.True(t, strings.HasSuffix(out.String(), "\nAll as expected.\n"), "the last line says so")
				require.Equal(t, 13, strings.Count(out.String(), "    Proved: "))
				require.Equal(t, rotate == "true", strings.Contains(out.String(), "the old one is refused"))
				require.LessOrEqual(t, strings.Count(out.String(), "\n"), 120, "two screens")
				require.NotRegexp(t, `(ory_[a-z]+_|dcrs_)[\w-]{5}`, out.String(), "a whole token or secret is shown")
				require.NotRegexp(t, `eyJ[\w-]`, out.String(), "a whole JWT is shown")
			})
		}
	}
}

func TestDemoSaysWhatDiffers(t *testing.T) {
	t.Parallel()
	s := start(t, func(o *options) { *o = withDemoClient(*o) })
	d := demoOf(s.server)
	d.rotate = false // the server rotates
	var out bytes.Buffer
	err := playDemo(t.Context(), d, &out)
	require.ErrorContains(t, err, "step 11: registration_access_token is ory_at_")
	require.Regexp(t, `is ory_at_[\w-]{4}…, want ory_at_[\w-]{4}…$`, err.Error())
	require.Contains(t, out.String(), "NOT AS EXPECTED")
	require.NotContains(t, out.String(), "All as expected.")
}

// TestDemoShortensSecrets: old and new tokens can be told apart, and no secret is there as a whole.
func TestDemoShortensSecrets(t *testing.T) {
	t.Parallel()
	for _, tokens := range []string{tokensOpaque, tokensJWT} {
		t.Run("tokens="+tokens, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(o *options) { o.tokens = tokens; *o = withDemoClient(*o) })
			d := demoOf(s.server)
			steps := map[string]string{} // what is printed, by step
			var out bytes.Buffer
			require.NoError(t, playDemo(t.Context(), d, &out), out.String())
			for _, part := range strings.Split(out.String(), "\n\n") {
				number, rest, _ := strings.Cut(strings.TrimSpace(part), ". ")
				steps[number] = rest
			}
			for _, secret := range []string{
				s.users.password, d.resourceServer.secret, d.verifier, d.code, text(d.confidential, "client_secret"),
				text(d.issued, "access_token"), text(d.issued, "refresh_token"), text(d.issued, "id_token"), text(d.public, "registration_access_token"),
			} {
				require.NotEmpty(t, secret)
				require.False(t, strings.Contains(out.String(), secret), "a whole secret is shown")
				require.True(t, strings.Contains(out.String(), short(secret)), short(secret))
			}
			for _, token := range []string{"access_token", "refresh_token"} {
				require.Contains(t, steps["9"], short(text(d.issued, token)))
				require.NotContains(t, steps["5"], short(text(d.issued, token)))
			}
			require.Contains(t, steps["11"], short(text(d.public, "registration_access_token")))
			require.NotContains(t, steps["10"], short(text(d.public, "registration_access_token")))
		})
	}
}

func TestShort(t *testing.T) {
	t.Parallel()
	for secret, want := range map[string]string{
		"ory_at_9f3cABCDEFGHIJKLMNOP.signature": "ory_at_9f3c…", "ory_rt_a_b-ABCDEFGHIJKLMNOP": "ory_rt_a_b-…", "dcrs_9f3cABCDEFGHIJKLMNOP": "dcrs_9f3c…",
		"eyJhbGciOiJSUzI1NiJ9.e30.9f3cABCDEFGHIJKLMNOP": "eyJ…9f3c…", "9f3cABCDEFGHIJKLMNOP": "9f3c…", "secret": "…", "": "…",
	} {
		require.Equal(t, want, short(secret), secret)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args string
		want string
	}{
		"7591-3-06/open_elsewhere":          {"-addr 0.0.0.0:0", "-registration open would let everybody register"},
		"7591-3-06/open_on_every_interface": {"-addr :0 -issuer https://as.example", "-registration open would let everybody register"},
		"7591-3-06/open_under_a_name":       {"-addr as.example:443", "-registration open would let everybody register"},
		"elsewhere_without_issuer":          {"-addr 0.0.0.0:0 -registration user", "say with -issuer"},
		"storage":                           {"-storage sqlite", "-storage: want memory, sqlite:FILE or postgres://"},
		"tokens":                            {"-tokens paseto", `-tokens "paseto": want opaque or jwt`},
		"registration":                      {"-registration closed", "want open or token or user"},
		"resource_server":                   {"-resource-server rs", "want ID:SECRET"},
		"initial_access_token":              {"-initial-access-token x", "with -registration token only"},
		"demo_and_registration":             {"-demo -registration user", "leave -registration at open"},
		"demo_and_issuer":                   {"-demo -issuer https://as.example", "leave -issuer out"},
		"issuer_with_path":                  {"-issuer https://as.example/tenant", "leave the path out"},
		"plain_http_issuer":                 {"-addr 127.0.0.1:0 -issuer http://as.example", "http is for loopback only"},
		"argument":                          {"serve", `unexpected argument "serve"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errOut bytes.Buffer
			err := run(t.Context(), strings.Fields(c.args), &out, &errOut)
			require.ErrorContains(t, err, c.want)
			require.Empty(t, out.String(), "it started")
		})
	}
}

func TestRunServesUntilItIsStopped(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	started, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, []string{"-addr", "127.0.0.1:0"}, out, io.Discard) }()

	notice := make([]byte, 2048)
	n, err := started.Read(notice)
	require.NoError(t, err)
	go func() { _, _ = io.Copy(io.Discard, started) }()
	issuer := strings.Fields(string(notice[:n]))[3]
	response, err := http.Get(issuer + "/.well-known/oauth-authorization-server")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)

	stop()
	select {
	case err := <-ended:
		require.NoError(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("it does not stop")
	}
}

// testServer is a server under test, at an address of its own.
type testServer struct {
	*server
	base string // where it is reached: another than the issuer where several processes serve one
}

func start(t *testing.T, change ...func(*options)) testServer {
	t.Helper()
	web := httptest.NewUnstartedServer(nil)
	o := defaultOptions()
	o.addr = web.Listener.Addr().String()
	o.issuer = "http://" + o.addr
	o.resourceServers = []resourceServer{{"rs", "rs-secret"}}
	for _, c := range change {
		c(&o)
	}
	require.NoError(t, o.check())
	s, err := newServer(t.Context(), o, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.close()) })
	web.Config.Handler = s.handler()
	web.Start()
	t.Cleanup(web.Close)
	return testServer{s, "http://" + o.addr}
}

// browser keeps cookies and follows no redirect by itself.
type browser struct {
	t    *testing.T
	s    testServer
	http *http.Client
}

func (s testServer) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &browser{t: t, s: s, http: &http.Client{
		Jar:           jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// reply is an answer that was read.
type reply struct {
	status   int
	header   http.Header
	body     string
	location string
}

func (r reply) json(t *testing.T) map[string]any {
	t.Helper()
	var members map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.body), &members), r.body)
	return members
}

func (b *browser) send(method, target string, body io.Reader, headers ...string) reply {
	b.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = b.s.base + target
	}
	request, err := http.NewRequestWithContext(b.t.Context(), method, target, body)
	require.NoError(b.t, err)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			request.Host = headers[i+1]
		}
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := b.http.Do(request)
	require.NoError(b.t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(b.t, err)
	return reply{response.StatusCode, response.Header, string(content), response.Header.Get("Location")}
}

func (b *browser) get(target string, headers ...string) reply {
	b.t.Helper()
	return b.send(http.MethodGet, target, nil, headers...)
}

func (b *browser) post(target string, fields url.Values, headers ...string) reply {
	b.t.Helper()
	return b.send(http.MethodPost, target, strings.NewReader(fields.Encode()),
		append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...)
}

// submit fills the form of a page and follows redirects that stay on the server.
func (b *browser) submit(page reply, fields url.Values) reply {
	b.t.Helper()
	form := readForm([]byte(page.body))
	require.NotEmpty(b.t, form.action, "the page has no form: %s", page.body)
	maps.Copy(form.hidden, fields)
	answer := b.post(form.action, form.hidden)
	for strings.HasPrefix(answer.location, "/") {
		answer = b.get(answer.location)
	}
	return answer
}

// signIn fills the sign-in page.
func (b *browser) signIn(page reply) reply {
	b.t.Helper()
	require.Contains(b.t, page.body, "<h1>Sign in</h1>")
	return b.submit(page, url.Values{"user": {demoUser}, "password": {b.s.users.password}})
}

// decide presses a button of the consent page.
func (b *browser) decide(page reply, decision string) reply {
	b.t.Helper()
	require.Contains(b.t, page.body, "<h1>Allow this app?</h1>")
	return b.submit(page, url.Values{"decision": {decision}})
}

// code signs in where it has to, allows, and returns the code.
func (b *browser) code(request url.Values) string {
	b.t.Helper()
	page := b.get("/oauth2/auth?" + request.Encode())
	if strings.Contains(page.body, "<h1>Sign in</h1>") {
		page = b.signIn(page)
	}
	code := queryOf(b.decide(page, "allow").location).Get("code")
	require.NotEmpty(b.t, code)
	return code
}

type object = map[string]any

// register registers a client and returns the answer.
func (b *browser) register(metadata object, headers ...string) object {
	b.t.Helper()
	answer := b.tryRegister(metadata, headers...)
	require.Equal(b.t, http.StatusCreated, answer.status, answer.body)
	return answer.json(b.t)
}

func (b *browser) tryRegister(metadata object, headers ...string) reply {
	b.t.Helper()
	body, err := json.Marshal(metadata)
	require.NoError(b.t, err)
	return b.send(http.MethodPost, "/register", bytes.NewReader(body), append([]string{"Content-Type", "application/json"}, headers...)...)
}

const loopbackURI = "http://127.0.0.1/callback"

// publicClient registers what a command line tool would.
func (b *browser) publicClient(redirectURI string) object {
	b.t.Helper()
	return b.register(object{
		"client_name": "Tool", "redirect_uris": []string{redirectURI}, "token_endpoint_auth_method": "none",
		"grant_types": []string{"authorization_code", "refresh_token"},
	})
}

func (b *browser) webClient() object {
	b.t.Helper()
	return b.register(object{
		"client_name": "Web", "redirect_uris": []string{"https://app.example/cb"},
		"grant_types": []string{"authorization_code", "refresh_token"},
	})
}

const verifier = "a-verifier-of-at-least-forty-three-characters"

// request is an authorization request. Each change replaces a parameter; an empty
// one removes it.
func request(client object, redirectURI string, changes ...string) url.Values {
	challenge := sha256.Sum256([]byte(verifier))
	values := url.Values{
		"response_type": {"code"}, "client_id": {text(client, "client_id")}, "redirect_uri": {redirectURI},
		"scope": {"openid profile"}, "state": {"some-state"}, "nonce": {"some-nonce"},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}
	for i := 0; i < len(changes); i += 2 {
		values.Set(changes[i], changes[i+1])
		if changes[i+1] == "" {
			values.Del(changes[i])
		}
	}
	return values
}

// redeem trades a code for tokens.
func (b *browser) redeem(client object, code, redirectURI string) object {
	b.t.Helper()
	fields := url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI},
		"code_verifier": {verifier}, "client_id": {text(client, "client_id")},
	}
	if secret := text(client, "client_secret"); secret != "" {
		fields.Del("client_id")
		return b.tokens(fields, "Authorization", basic(text(client, "client_id"), secret))
	}
	return b.tokens(fields)
}

func (b *browser) tokens(fields url.Values, headers ...string) object {
	b.t.Helper()
	answer := b.post("/oauth2/token", fields, headers...)
	require.Equal(b.t, http.StatusOK, answer.status, answer.body)
	return answer.json(b.t)
}

func (b *browser) refreshFields(client, tokens object) url.Values {
	return url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {text(tokens, "refresh_token")}, "client_id": {text(client, "client_id")},
	}
}
