// Package registration_test shows the registration endpoint (RFC 7591).
package registration_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// forged are the ways in which a request may lie about where it arrived.
var forged = map[string]dcrtest.Edit{
	"host":              func(r *http.Request) { r.Host = "evil.example" },
	"x_forwarded_host":  dcrtest.Header("X-Forwarded-Host", "evil.example"),
	"x_forwarded_proto": dcrtest.Header("X-Forwarded-Proto", "gopher"),
	"x_forwarded_port":  dcrtest.Header("X-Forwarded-Port", "6666"),
	"forwarded":         dcrtest.Header("Forwarded", "host=evil.example;proto=gopher"),
	"x_original_url":    dcrtest.Header("X-Original-URL", "/evil"),
}

func TestPublicURLsComeFromConfiguration(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	for name, edit := range forged {
		t.Run("7591-3-01/T24/"+name, func(t *testing.T) {
			t.Parallel()
			client := s.Register(t, dcrtest.PlainRegistration, edit)
			require.Equal(t, s.URL+"/register/"+client.ID(), client.URI())
			read := s.Manage(t, http.MethodGet, client, nil, edit)
			require.Equal(t, client.URI(), read.URI(), read.Body)
			document := s.Do(t, http.MethodGet, "/.well-known/oauth-authorization-server", nil, edit)
			require.Equal(t, s.URL+"/register", document.Text("registration_endpoint"))
			require.Equal(t, s.URL, document.Text("issuer"))
			for _, answer := range []dcrtest.Answer{client, read, document} {
				require.NotContains(t, answer.Body, "evil")
				require.NotContains(t, answer.Body, "gopher")
				require.NotContains(t, answer.Body, "6666")
			}
		})
	}
	t.Run("7591-3-01/behind_a_proxy", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{
			Endpoints: dcr.Endpoints{Registration: func(context.Context) string { return "https://as.example/clients/" }},
		}})
		client := s.Register(t, dcrtest.PlainRegistration)
		require.Equal(t, "https://as.example/clients/"+client.ID(), client.URI())
	})
	t.Run("7591-3-01/issuer_without_tls", func(t *testing.T) {
		t.Parallel()
		_, err := (&dcrtest.Server{URL: "http://as.example"}).Compose(dcrtest.Setup{})
		require.ErrorContains(t, err, "https")
		_, err = (&dcrtest.Server{URL: "https://as.example"}).Compose(dcrtest.Setup{})
		require.NoError(t, err)
	})
}

func TestRegistrationMediaType(t *testing.T) {
	t.Parallel()
	zipped := func(r *http.Request) {
		var body bytes.Buffer
		w := gzip.NewWriter(&body)
		_, _ = io.WriteString(w, dcrtest.PlainRegistration)
		_ = w.Close()
		r.Body, r.ContentLength = io.NopCloser(&body), int64(body.Len())
		r.Header.Set("Content-Encoding", "gzip")
	}
	for _, row := range []struct {
		name, mediaType, body string
		edit                  dcrtest.Edit
		status                int
	}{
		{"json", "application/json", dcrtest.PlainRegistration, nil, 201},
		{"charset", "application/json; charset=utf-8", dcrtest.PlainRegistration, nil, 201},
		{"quoted_charset", `application/json;charset="UTF-8"`, dcrtest.PlainRegistration, nil, 201},
		{"case_and_parameter", "Application/JSON; profile=x", dcrtest.PlainRegistration, nil, 201},
		{"form_body", "application/x-www-form-urlencoded", "redirect_uris=https%3A%2F%2Fclient.example%2Fcb", nil, 415},
		{"json_as_form", "application/x-www-form-urlencoded", dcrtest.PlainRegistration, nil, 415},
		{"none", "", dcrtest.PlainRegistration, nil, 415},
		{"text", "text/plain", dcrtest.PlainRegistration, nil, 415},
		{"text_json", "text/json", dcrtest.PlainRegistration, nil, 415},
		{"suffix", "application/ld+json", dcrtest.PlainRegistration, nil, 415},
		{"prefix", "application/jsonp", dcrtest.PlainRegistration, nil, 415},
		{"jwt", "application/jwt", dcrtest.PlainRegistration, nil, 415},
		{"multipart", "multipart/form-data; boundary=x", dcrtest.PlainRegistration, nil, 415},
		{"nonsense", ";;;", dcrtest.PlainRegistration, nil, 415},
		{"compressed", "application/json", dcrtest.PlainRegistration, zipped, 415},
	} {
		t.Run("7591-3-02/"+row.name, func(t *testing.T) {
			t.Parallel()
			store := dcrtest.NewLedger()
			s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
			edits := []dcrtest.Edit{func(r *http.Request) {
				r.Header.Del("Content-Type")
				if row.mediaType != "" {
					r.Header.Set("Content-Type", row.mediaType)
				}
			}}
			if row.edit != nil {
				edits = append(edits, row.edit)
			}
			answer := s.Do(t, http.MethodPost, "/register", []byte(row.body), edits...)
			if row.status == http.StatusCreated {
				require.Equal(t, row.status, answer.Status, answer.Body)
				require.Equal(t, []string{answer.ID()}, store.Live(t))
				return
			}
			dcrtest.RequireRefusal(t, answer, row.status, "invalid_request", "The Content-Type header of the request has to be application/json.")
			require.Empty(t, store.Live(t))
		})
	}
}

func TestRegistrationMethods(t *testing.T) {
	t.Parallel()
	store := dcrtest.NewLedger()
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
	for _, method := range []string{"GET", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "post"} {
		t.Run("7591-3-03/"+method, func(t *testing.T) {
			t.Parallel()
			answer := s.Do(t, method, "/register", []byte(dcrtest.PlainRegistration), dcrtest.Header("Content-Type", "application/json"))
			dcrtest.RequireRefusal(t, answer, http.StatusMethodNotAllowed, "invalid_request")
			require.Equal(t, []string{"POST"}, answer.Header.Values("Allow"))
			require.Empty(t, store.Live(t))
		})
	}
	t.Run("7591-3-03/HTTP-01/HEAD", func(t *testing.T) {
		t.Parallel()
		answer := s.Do(t, http.MethodHead, "/register", nil)
		require.Equal(t, http.StatusMethodNotAllowed, answer.Status)
		require.Equal(t, []string{"POST"}, answer.Header.Values("Allow"))
		require.Empty(t, answer.Body)
		dcrtest.RequireJSONNoStore(t, answer)
	})
	t.Run("7591-3-03/closed_and_without_token", func(t *testing.T) {
		t.Parallel()
		closed := dcrtest.Start(t, dcrtest.Setup{Closed: true})
		answer := closed.Do(t, http.MethodGet, "/register", nil)
		dcrtest.RequireRefusal(t, answer, http.StatusMethodNotAllowed, "invalid_request")
		require.Equal(t, []string{"POST"}, answer.Header.Values("Allow"))
	})
}

func TestRegistrationBody(t *testing.T) {
	t.Parallel()
	inside := func(members string) string {
		return dcrtest.PlainRegistration[:len(dcrtest.PlainRegistration)-1] + "," + members + "}"
	}
	nested := func(levels int) string {
		return inside(`"x":` + strings.Repeat("[", levels-1) + strings.Repeat("]", levels-1))
	}
	refused := func(name, body string, names ...string) dcrtest.Outcome {
		return dcrtest.Outcome{Name: name, Raw: body, Code: dcrtest.BadMetadata, Names: names}
	}
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		refused("7591-3.1-01/array", `[`+dcrtest.PlainRegistration+`]`),
		refused("7591-3.1-01/string", `"redirect_uris"`),
		refused("7591-3.1-01/number", `7`),
		refused("7591-3.1-01/true", `true`),
		refused("7591-3.1-01/null", `null`),
		refused("7591-3.1-01/white_space", " \n\t "),
		refused("7591-3.1-01/truncated", dcrtest.PlainRegistration[:len(dcrtest.PlainRegistration)-1]),
		refused("7591-3.1-01/truncated_in_string", dcrtest.PlainRegistration[:20]),
		refused("7591-3.1-01/trailing_bytes", dcrtest.PlainRegistration+"x"),
		refused("7591-3.1-01/trailing_object", dcrtest.PlainRegistration+"{}"),
		refused("7591-3.1-01/trailing_nul", dcrtest.PlainRegistration+"\x00"),
		refused("7591-3.1-01/trailing_comma", dcrtest.PlainRegistration[:len(dcrtest.PlainRegistration)-1]+",}"),
		refused("7591-3.1-01/comment", `/**/`+dcrtest.PlainRegistration),
		refused("7591-3.1-01/single_quotes", strings.ReplaceAll(dcrtest.PlainRegistration, `"`, `'`)),
		refused("7591-3.1-01/utf16", "\xff\xfe{\x00}\x00"),
		{Name: "7591-3.1-01/white_space_around", Raw: " \r\n\t" + dcrtest.PlainRegistration + "\n "},

		refused("7591-3.1-03/T18/duplicate", inside(`"client_name":"a","client_name":"b"`)),
		refused("7591-3.1-03/T18/duplicate_equal", inside(`"client_name":"a","client_name":"a"`)),
		refused("7591-3.1-03/T18/duplicate_escaped", inside(`"client_name":"a","client\u005fname":"b"`)),
		refused("7591-3.1-03/T18/duplicate_unknown", inside(`"x":1,"x":2`)),
		refused("7591-3.1-03/T18/duplicate_deep_unknown", inside(`"x":[{"y":{"z":1,"z":2}}]`)),
		refused("7591-3.1-03/T18/duplicate_null", inside(`"client_name":null,"client_name":"b"`)),
		refused("7591-3.1-03/T18/duplicate_tagged", inside(`"client_name#fr":"a","client_name#fr":"b"`)),
		refused("7591-3.1-07/T18/duplicate_server_member", inside(`"client_id":"a","client_id":"b"`)),
		refused("7591-3.1-07/T18/duplicate_in_server_member", inside(`"client_id":{"a":1,"a":1}`)),
		refused("7591-3.1-03/T18/invalid_utf8", inside("\"client_name\":\"a\xffb\"")),
		refused("7591-3.1-03/T18/invalid_utf8_unknown", inside("\"x\":\"\xc0\xaf\"")),
		refused("7591-3.1-03/T18/invalid_utf8_name", inside("\"x\xff\":1")),
		refused("7591-3.1-03/T18/surrogate", inside(`"client_name":"\ud800"`)),
		refused("7591-3.1-03/T18/surrogate_unknown", inside(`"x":["\udc00\ud800"]`)),
		refused("7591-3.1-03/T18/byte_order_mark", "\ufeff"+dcrtest.PlainRegistration),
		refused("7591-3.1-03/T17/nested_33_levels", nested(33)),
		refused("7591-3.1-03/T17/nested_10000_levels", nested(10000)),
		refused("7591-3.1-03/T17/long_name", inside(`"`+strings.Repeat("x", 100_000)+`":1`)),
		refused("7591-3.1-03/T17/many_members", inside(manyMembers(10_000))),
		{Name: "7591-3.1-03/nested_32_levels", Raw: nested(32)},
		{Name: "7591-3.1-03/surrogate_pair", Raw: inside(`"client_name":"\ud83d\ude00"`), Back: map[string]any{"client_name": "😀"}},
		{Name: "7591-3.1-03/case_of_names", Raw: inside(`"Client_Name":"a","CLIENT_URI":7`),
			Back: map[string]any{"client_name": dcrtest.Missing{}, "Client_Name": dcrtest.Missing{}, "client_uri": dcrtest.Missing{}, "CLIENT_URI": dcrtest.Missing{}}},
		{Name: "7591-3.1-03/case_of_required_name", Raw: `{"Redirect_URIs":["https://client.example/cb"]}`,
			Code: dcrtest.BadRedirect, Names: []string{"redirect_uris"}},
	})
	t.Run("7591-3.1-01/empty", func(t *testing.T) {
		t.Parallel()
		store := dcrtest.NewLedger()
		dcrtest.RequireRefusal(t, dcrtest.Start(t, dcrtest.Setup{Storage: store}).Post(t, ""), http.StatusBadRequest, dcrtest.BadMetadata)
		require.Empty(t, store.Live(t))
	})
}

// manyMembers are unknown members, as the inside of an object.
func manyMembers(count int) string {
	var inside strings.Builder
	for i := range count {
		fmt.Fprintf(&inside, ",%q:1", fmt.Sprint(i))
	}
	return inside.String()[1:]
}

func TestUnknownMembersAreIgnored(t *testing.T) {
	t.Parallel()
	unknown := map[string]any{
		"x": 1, "": "empty name", "extension": map[string]any{"a": []int{1}}, "__proto__": map[string]any{"isAdmin": true},
		"skip_consent": true, "skip_logout_consent": true, "trusted": true, "metadata": map[string]any{"role": "admin"},
		"audience": []string{"https://api.example"}, "access_token_strategy": "jwt", "owner": "admin",
		"authorization_code_grant_access_token_lifespan": "8760h", "created_at": "2000-01-01T00:00:00Z",
		"origin": map[string]any{"kind": "admin"}, "secret_hash": "x", "expires_at": 0, "issuer": "https://evil.example",
		"public": true, "require_pkce": false, "version": 7,
	}
	store := dcrtest.NewLedger()
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
	plain := s.Register(t, dcrtest.PlainRegistration)
	answer := s.Register(t, dcrtest.Registration(unknown))
	t.Run("7591-3.1-02/T07/not_echoed", func(t *testing.T) {
		t.Parallel()
		for name := range unknown {
			require.NotContains(t, answer.Members, name)
		}
		require.NotContains(t, answer.Body, "admin")
	})
	t.Run("7591-3.1-02/T07/not_stored", func(t *testing.T) {
		t.Parallel()
		want, err := store.GetDynamicClient(context.Background(), plain.ID())
		require.NoError(t, err)
		got, err := store.GetDynamicClient(context.Background(), answer.ID())
		require.NoError(t, err)
		require.Equal(t, want.Metadata, got.Metadata)
		require.Equal(t, want.Origin, got.Origin)
		require.Equal(t, want.Audience, got.Audience)
		require.Equal(t, want.Version, got.Version)
		require.Equal(t, s.URL, got.Issuer)
		require.WithinDuration(t, time.Now(), got.CreatedAt, time.Hour)
	})
	t.Run("7591-3.1-05/null", func(t *testing.T) {
		t.Parallel()
		answer := s.Register(t, dcrtest.Registration(map[string]any{"client_uri": nil, "scope": nil, "grant_types": nil, "jwks": nil}))
		dcrtest.RequireMembers(t, answer, map[string]any{
			"client_uri": dcrtest.Missing{}, "jwks": dcrtest.Missing{}, "grant_types": []string{"authorization_code"},
			"scope": plain.Text("scope"),
		})
	})
}

func TestServerMembersAreTheServers(t *testing.T) {
	t.Parallel()
	chosen := map[string]any{
		"client_id": "admin", "client_secret": "a-secret-that-the-caller-chose", "client_secret_expires_at": 1,
		"client_id_issued_at": 2, "registration_access_token": "a-token-that-the-caller-chose",
		"registration_client_uri": "https://evil.example/register/admin",
	}
	operator := &fosite.DefaultClient{ID: "admin", Secret: []byte("hash"), GrantTypes: []string{"client_credentials"}}
	setup := dcrtest.Setup{Static: []fosite.Client{operator}}
	setup.Config.Secrets.Lifetime = time.Hour
	s := dcrtest.Start(t, setup)
	t.Run("7591-3.1-06/T06/ignored", func(t *testing.T) {
		t.Parallel()
		answer := s.Register(t, dcrtest.Registration(chosen))
		for name, value := range chosen {
			require.Contains(t, answer.Members, name)
			require.NotEqual(t, dcrtest.ViaJSON(t, value), answer.Members[name], name)
		}
		require.NotContains(t, answer.Body, "chose")
		require.NotContains(t, answer.Body, "evil")
		found, err := s.Store.GetClient(context.Background(), "admin")
		require.NoError(t, err)
		require.Same(t, operator, found)
		dcrtest.RequireRefusal(t, s.Do(t, "GET", s.URL+"/register/admin", nil, dcrtest.Bearer("a-token-that-the-caller-chose")), 401, "invalid_token")
	})
	wrong := map[string]string{
		"null": `null`, "number": `7`, "huge": `1e999`, "true": `true`, "list": `["admin"]`, "object": `{"a":{"b":[]}}`, "empty": `""`,
	}
	for name := range chosen {
		for kind, value := range wrong {
			t.Run(fmt.Sprintf("7591-3.1-07/%s/%s", name, kind), func(t *testing.T) {
				t.Parallel()
				answer := s.Register(t, fmt.Sprintf(`{"redirect_uris":["https://client.example/cb"],%q:%s}`, name, value))
				require.NotEmpty(t, answer.ID())
				require.NotEmpty(t, answer.Secret())
				require.NotEmpty(t, answer.Token())
				require.Equal(t, s.URL+"/register/"+answer.ID(), answer.URI())
			})
		}
	}
}

func TestOverlongBody(t *testing.T) {
	t.Parallel()
	t.Run("7591-3.1-04/content_length", func(t *testing.T) {
		t.Parallel()
		store := dcrtest.NewLedger()
		s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
		// Nothing of the body is ever sent, so an answer means that it was not waited for.
		answer := dcrtest.RawExchange(t, s, "Content-Length: 2097152\r\n\r\n", "")
		dcrtest.RequireRefusal(t, answer, http.StatusRequestEntityTooLarge, "invalid_request")
		require.Empty(t, store.Live(t))
	})
	t.Run("7591-3.1-04/chunked", func(t *testing.T) {
		t.Parallel()
		store := dcrtest.NewLedger()
		s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
		chunk := fmt.Sprintf("%x\r\n{\"x\":\"%s", 300<<10, strings.Repeat("a", 300<<10-6))
		answer := dcrtest.RawExchange(t, s, "Transfer-Encoding: chunked\r\n\r\n", chunk)
		dcrtest.RequireRefusal(t, answer, http.StatusRequestEntityTooLarge, "invalid_request")
		require.Empty(t, store.Live(t))
	})
	t.Run("7591-3.1-04/limit_of_the_host", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Limits: dcr.Limits{Body: 64}}})
		fits := dcrtest.PlainRegistration + strings.Repeat(" ", 64-len(dcrtest.PlainRegistration))
		s.Register(t, fits)
		dcrtest.RequireRefusal(t, s.Post(t, fits+" "), http.StatusRequestEntityTooLarge, "invalid_request")
	})
}
