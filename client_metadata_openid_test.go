package dcr_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// supports names what the host honours.
func supports(pairs map[string][]string) func(*dcrtest.Setup) {
	return configured(func(cfg *dcr.Config) { cfg.Supports = pairs })
}

// withoutOpenID composes OAuth 2.0 only, and no PAR.
func withoutOpenID(setup *dcrtest.Setup) {
	setup.Factories = []compose.Factory{
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2RefreshTokenGrantFactory, compose.OAuth2ClientCredentialsGrantFactory,
		compose.OAuth2PKCEFactory, compose.OAuth2TokenIntrospectionFactory,
	}
}

// algorithmMembers choose an algorithm, and no fosite provider honours any of them.
var algorithmMembers = []string{
	"id_token_encrypted_response_alg", "userinfo_signed_response_alg", "userinfo_encrypted_response_alg", "request_object_encryption_alg",
	"authorization_signed_response_alg", "authorization_encrypted_response_alg", "introspection_signed_response_alg", "introspection_encrypted_response_alg",
	"backchannel_authentication_request_signing_alg",
}

// encryptionMembers are pairs of alg and enc, without these endings.
var encryptionMembers = []string{
	"id_token_encrypted_response", "userinfo_encrypted_response", "request_object_encryption", "authorization_encrypted_response", "introspection_encrypted_response",
}

func TestAlgorithms(t *testing.T) {
	t.Parallel()
	var rows []outcome
	for _, name := range algorithmMembers {
		for _, value := range []string{"RS256", "RSA-OAEP", "none", "HS256", "nonsense"} {
			rows = append(rows, outcome{name: "OIDC-2-06/7591-2-20/" + name + "/" + value, send: members{name: value}, code: badMetadata, names: list{name}})
		}
		some := supports(map[string][]string{name: {"RS256"}, strings.TrimSuffix(name, "_alg") + "_enc": nil})
		if !strings.Contains(name, "encrypt") {
			some = supports(map[string][]string{name: {"RS256"}})
		}
		rows = append(rows,
			outcome{name: "OIDC-2-06/supported/" + name, setup: some, send: members{name: "RS256"}, back: members{name: "RS256"}},
			outcome{name: "OIDC-2-06/not_among_supported/" + name, setup: some, send: members{name: "PS256"}, code: badMetadata, names: list{name}})
	}
	for _, name := range encryptionMembers {
		alg, enc := name+"_alg", name+"_enc"
		pair := supports(map[string][]string{alg: {"RSA-OAEP"}, enc: {"A128CBC-HS256", "A256GCM"}})
		rows = append(rows,
			outcome{name: "OIDC-2-05/enc_alone/" + name, setup: pair, send: members{enc: "A256GCM"}, code: badMetadata, names: list{enc, alg}},
			outcome{name: "OIDC-2-05/enc_alone_unsupported/" + name, send: members{enc: "A256GCM"}, code: badMetadata, names: list{enc}},
			outcome{name: "OIDC-2-05/enc_default/" + name, setup: pair, send: members{alg: "RSA-OAEP"}, back: members{alg: "RSA-OAEP", enc: "A128CBC-HS256"}},
			outcome{name: "OIDC-2-05/both/" + name, setup: pair, send: members{alg: "RSA-OAEP", enc: "A256GCM"}, back: members{alg: "RSA-OAEP", enc: "A256GCM"}},
			outcome{name: "OIDC-2-05/enc_not_supported/" + name, setup: pair, send: members{alg: "RSA-OAEP", enc: "A192GCM"}, code: badMetadata, names: list{enc}})
	}
	runOutcomes(t, nil, rows)
}

func TestIDTokenAlgorithm(t *testing.T) {
	t.Parallel()
	alg := func(value string) members { return members{"id_token_signed_response_alg": value} }
	none := supports(map[string][]string{"id_token_signed_response_alg": {"none"}})
	types := func(grants, responses []string) members {
		return members{"grant_types": grants, "response_types": responses}
	}
	refused := list{"id_token_signed_response_alg"}
	runOutcomes(t, vouched, []outcome{
		{name: "OIDC-2-04/rs256", send: alg("RS256"), back: alg("RS256")},
		{name: "OIDC-2-04/es256", send: alg("ES256"), code: badMetadata, names: refused},
		{name: "OIDC-2-04/hs256", send: alg("HS256"), code: badMetadata, names: refused},
		{name: "OIDC-2-04/none", send: alg("none"), code: badMetadata, names: refused},
		{name: "OIDC-2-04/none_supported_code", setup: none, send: alg("none"), back: alg("none")},
		{name: "OIDC-2-04/none_supported_id_token", setup: both(withImplicit, none), send: with(alg("none"), types(list{"implicit"}, list{"id_token"})), code: badMetadata, names: refused},
		{name: "OIDC-2-04/none_supported_hybrid", setup: both(withImplicit, none), send: with(alg("none"), types(list{"authorization_code", "implicit"}, list{"code id_token"})),
			code: badMetadata, names: refused},
		{name: "OIDC-2-04/rs256_stays_with_none", setup: none, send: alg("RS256"), back: alg("RS256")},
		{name: "OIDC-2-06/request_object/es256", send: members{"request_object_signing_alg": "ES256"}, back: members{"request_object_signing_alg": "ES256"}},
		{name: "OIDC-2-06/request_object/hs256", send: members{"request_object_signing_alg": "HS256"}, code: badMetadata, names: list{"request_object_signing_alg"}},
		{name: "OIDC-2-06/request_object/unknown", send: members{"request_object_signing_alg": "XS256"}, code: badMetadata, names: list{"request_object_signing_alg"}},
		{name: "OIDC-2-06/request_object/without_openid", setup: withoutOpenID, send: members{"request_object_signing_alg": "ES256"}, code: badMetadata, names: list{"request_object_signing_alg"}},
	})
}

func TestOpenIDMembers(t *testing.T) {
	t.Parallel()
	maxAge := func(value any) members { return members{"default_max_age": value} }
	all := supports(map[string][]string{"require_auth_time": nil, "default_acr_values": {"urn:a", "urn:b"}, "initiate_login_uri": nil, "request_uris": nil})
	login := members{"initiate_login_uri": "https://client.example/login?a=b"}
	requests := members{"request_uris": list{"https://client.example/r.jwt#GkurKxf5T0Y-mnPFCHqWOMiZi4VS138cQO_V7PZHAdM", "https://client.example/s"}}
	runOutcomes(t, nil, []outcome{
		{name: "OIDC-2-07/max_age", send: maxAge(3600), back: maxAge(3600)},
		{name: "OIDC-2-07/max_age_zero", send: maxAge(0), back: maxAge(0)},
		{name: "OIDC-2-07/max_age_without_openid", setup: withoutOpenID, send: maxAge(3600), back: maxAge(missing{})},
		{name: "OIDC-2-07/max_age_negative", send: maxAge(-1), code: badMetadata, names: list{"default_max_age"}},
		{name: "OIDC-2-07/max_age_negative_without_openid", setup: withoutOpenID, send: maxAge(-1), code: badMetadata, names: list{"default_max_age"}},
		{name: "OIDC-2-07/max_age_fraction", send: maxAge(1.5), code: badMetadata, names: list{"default_max_age"}},
		{name: "OIDC-2-07/max_age_string", send: maxAge("3600"), code: badMetadata, names: list{"default_max_age"}},
		{name: "OIDC-2-07/max_age_huge", raw: `{"redirect_uris":["https://client.example/cb"],"default_max_age":1e400}`, code: badMetadata, names: list{"default_max_age"}},
		{name: "OIDC-2-07/max_age_over_64_bits", raw: `{"redirect_uris":["https://client.example/cb"],"default_max_age":9223372036854775808}`, code: badMetadata, names: list{"default_max_age"}},
		{name: "OIDC-2-07/auth_time", setup: all, send: members{"require_auth_time": true}, back: members{"require_auth_time": true}},
		{name: "OIDC-2-07/auth_time_left_out", send: members{"require_auth_time": true}, back: members{"require_auth_time": missing{}}},
		{name: "OIDC-2-07/auth_time_string", send: members{"require_auth_time": "true"}, code: badMetadata, names: list{"require_auth_time"}},
		{name: "OIDC-2-07/acr_values", setup: all, send: members{"default_acr_values": list{"urn:b", "urn:a"}}, back: members{"default_acr_values": list{"urn:b", "urn:a"}}},
		{name: "OIDC-2-07/acr_values_left_out", send: members{"default_acr_values": list{"urn:a"}}, back: members{"default_acr_values": missing{}}},
		{name: "OIDC-2-07/acr_values_string", send: members{"default_acr_values": "urn:a"}, code: badMetadata, names: list{"default_acr_values"}},
		{name: "OIDC-2-07/acr_values_numbers", send: members{"default_acr_values": []int{0}}, code: badMetadata, names: list{"default_acr_values"}},
		{name: "OIDC-2-08/left_out", send: login, back: members{"initiate_login_uri": missing{}}},
		{name: "OIDC-2-08/supported", setup: all, send: login, back: login},
		{name: "OIDC-2-08/http", setup: all, send: members{"initiate_login_uri": "http://client.example/login"}, code: badMetadata, names: list{"initiate_login_uri"}},
		{name: "OIDC-2-08/RefuseUnsupported", setup: strict, send: login, code: badMetadata, names: list{"initiate_login_uri"}},
		{name: "OIDC-2-09/fetches_none", send: requests, code: badMetadata, names: list{"request_uris"}},
		{name: "OIDC-2-09/supported", setup: all, send: requests, back: requests},
		{name: "OIDC-2-09/http", setup: all, send: members{"request_uris": list{"https://client.example/r", "http://client.example/r"}}, code: badMetadata, names: list{"request_uris[1]"}},
		{name: "OIDC-2-09/fragment_hides_nothing", setup: all, send: members{"request_uris": list{"https://10.0.0.1/r#x"}}, code: badMetadata, names: list{"request_uris[0]"}},
		{name: "OIDC-2-09/T15/too_many", setup: all, send: members{"request_uris": strings.Fields(strings.Repeat("https://a/ ", 1000))}, code: badMetadata, names: list{"request_uris"}},
	})
}

func TestSubjectType(t *testing.T) {
	t.Parallel()
	pairwise := supports(map[string][]string{"subject_type": {"pairwise"}, "sector_identifier_uri": nil})
	subject := func(value string) members { return members{"subject_type": value} }
	two := members{"subject_type": "pairwise", "redirect_uris": list{"https://a.example/cb", "https://b.example/cb"}}
	sector := members{"sector_identifier_uri": "https://client.example/sector.json"}
	runOutcomes(t, nil, []outcome{
		{name: "OIDC-2-02/public", send: subject("public"), back: subject("public")},
		{name: "OIDC-2-02/pairwise_unsupported", send: subject("pairwise"), code: badMetadata, names: list{"subject_type"}},
		{name: "OIDC-2-02/unknown", send: subject("anonymous"), code: badMetadata, names: list{"subject_type"}},
		{name: "OIDC-2-02/pairwise_one_host", setup: pairwise, send: with(subject("pairwise"), members{"redirect_uris": list{"https://a.example/1", "https://a.example/2"}}), back: subject("pairwise")},
		{name: "OIDC-2-02/pairwise_two_hosts", setup: pairwise, send: two, code: badMetadata, names: list{"sector_identifier_uri"}},
		{name: "OIDC-2-03/public_left_out", setup: pairwise, send: with(subject("public"), sector), back: members{"subject_type": "public", "sector_identifier_uri": missing{}}},
		{name: "OIDC-2-03/no_pairwise_left_out", send: sector, back: members{"sector_identifier_uri": missing{}}},
		{name: "OIDC-2-03/http", setup: pairwise, send: members{"sector_identifier_uri": "http://client.example/sector.json"}, code: badMetadata, names: list{"sector_identifier_uri"}},
		{name: "OIDC-2-03/unreachable", setup: pairwise, send: with(two, members{"sector_identifier_uri": "https://unreachable.invalid/"}), code: badMetadata, names: list{"sector_identifier_uri"}},
	})
}

func TestSectorIdentifier(t *testing.T) {
	t.Parallel()
	uris := list{"https://a.example/cb", "https://b.example/cb"}
	var fetched atomic.Int32
	document := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			fetched.Add(1)
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(body))
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/all", document(`["https://c.example/cb","https://b.example/cb","https://a.example/cb"]`))
	mux.Handle("/one_missing", document(`["https://a.example/cb","https://b.example/c"]`))
	mux.Handle("/object", document(`{"https://a.example/cb":1,"https://b.example/cb":2}`))
	mux.Handle("/number_inside", document(`["https://a.example/cb","https://b.example/cb",7]`))
	mux.Handle("/nonsense", document(`<html>`))
	mux.Handle("/huge", document(`["https://a.example/cb","https://b.example/cb"`+strings.Repeat(`,"x"`, 1<<20)+`]`))
	mux.Handle("/redirect", http.RedirectHandler("/all", http.StatusFound))
	tls := httptest.NewTLSServer(mux)
	t.Cleanup(tls.Close)
	setup := dcrtest.Setup{}
	setup.Config.Supports = map[string][]string{"subject_type": {"pairwise"}, "sector_identifier_uri": nil}
	setup.Config.Outbound.InsecureAllowLoopback = true
	s := dcrtest.Start(t, setup)
	send := func(subject, path string) members {
		return members{"redirect_uris": uris, "subject_type": subject, "sector_identifier_uri": tls.URL + path}
	}
	t.Run("OIDC-2-03/all", func(t *testing.T) {
		client := s.Register(t, send("pairwise", "/all"))
		requireMembers(t, client, members{"sector_identifier_uri": tls.URL + "/all", "subject_type": "pairwise"})
		require.EqualValues(t, 1, fetched.Load(), "the document was not fetched")
	})
	for _, path := range []string{"one_missing", "object", "number_inside", "nonsense", "huge", "redirect", "not_found"} {
		t.Run("OIDC-2-03/"+path, func(t *testing.T) {
			requireRefusal(t, s.Post(t, send("pairwise", "/"+path)), http.StatusBadRequest, badMetadata, "sector_identifier_uri")
		})
	}
	t.Run("OIDC-2-03/update", func(t *testing.T) {
		client := s.Register(t, members{"redirect_uris": uris[:1]})
		body := with(send("pairwise", "/one_missing"), members{"client_id": client.ID()})
		requireRefusal(t, s.Manage(t, http.MethodPut, client, body), http.StatusBadRequest, badMetadata, "sector_identifier_uri")
	})
	t.Run("OIDC-2-03/public_unfetched", func(t *testing.T) {
		before := fetched.Load()
		s.Register(t, send("public", "/all"))
		require.Equal(t, before, fetched.Load(), "the document was fetched for nothing")
	})
	t.Run("OIDC-2-03/once_with_policies", func(t *testing.T) {
		judged := setup
		judged.Config.Policies = []dcr.Policy{dcr.Require("redirect_uris")}
		before := fetched.Load()
		dcrtest.Start(t, judged).Register(t, send("pairwise", "/all"))
		require.Equal(t, before+1, fetched.Load())
	})
}

func TestLogoutMembers(t *testing.T) {
	t.Parallel()
	post := members{"post_logout_redirect_uris": list{"https://client.example/out", "http://localhost:3000/out", "com.example.app:/out"}}
	front := members{"frontchannel_logout_uri": "https://client.example/front?a=b", "frontchannel_logout_session_required": true}
	back := members{"backchannel_logout_uri": "https://client.example/back", "backchannel_logout_session_required": true}
	ciba := members{"backchannel_token_delivery_mode": "ping", "backchannel_client_notification_endpoint": "https://client.example/ciba", "backchannel_user_code_parameter": true}
	everything := map[string][]string{}
	var rows []outcome
	for kind, sent := range map[string]members{"post_logout": post, "frontchannel": front, "backchannel": back, "ciba": ciba} {
		gone := members{}
		for name := range sent {
			gone[name], everything[name] = missing{}, nil
			rows = append(rows, outcome{name: "OIDC-2-11/7591-2-20/RefuseUnsupported/" + name, setup: strict, send: sent, code: badMetadata})
		}
		rows = append(rows, outcome{name: "OIDC-2-11/7591-2-20/left_out/" + kind, send: sent, back: gone},
			outcome{name: "OIDC-2-11/supported/" + kind, setup: supports(everything), send: sent, back: sent})
	}
	refused := func(name, member string, value any) outcome {
		return outcome{name: "OIDC-2-11/" + name, setup: supports(everything), send: members{member: value}, code: badMetadata, names: list{member}}
	}
	rows = append(rows,
		refused("post_logout_fragment", "post_logout_redirect_uris", list{"https://client.example/out#x"}),
		refused("post_logout_http", "post_logout_redirect_uris", list{"http://client.example/out"}),
		refused("post_logout_script", "post_logout_redirect_uris", list{"https://client.example/out", "javascript:alert(1)"}),
		refused("front_other_host", "frontchannel_logout_uri", "https://evil.example/front"),
		refused("front_other_port", "frontchannel_logout_uri", "https://client.example:8443/front"),
		refused("front_other_scheme", "frontchannel_logout_uri", "http://client.example/front"),
		refused("front_session_string", "frontchannel_logout_session_required", "true"),
		refused("back_fragment", "backchannel_logout_uri", "https://client.example/back#x"),
		refused("back_session_number", "backchannel_logout_session_required", 1),
		refused("delivery_mode", "backchannel_token_delivery_mode", "pull"),
		outcome{name: "OIDC-2-11/ping_without_endpoint", setup: supports(everything), send: members{"backchannel_token_delivery_mode": "ping"}, code: badMetadata,
			names: list{"backchannel_token_delivery_mode", "backchannel_client_notification_endpoint"}},
		outcome{name: "OIDC-2-11/session_not_required", send: members{"frontchannel_logout_session_required": false, "backchannel_logout_session_required": false}},
	)
	runOutcomes(t, nil, rows)
}

func TestResponseModes(t *testing.T) {
	t.Parallel()
	modes := func(values ...string) members { return members{"response_modes": values} }
	runOutcomes(t, nil, []outcome{
		{name: "OIDC-2-12/known", send: modes("query", "fragment", "form_post"), back: modes("query", "fragment", "form_post")},
		{name: "OIDC-2-12/unknown", send: modes("query", "web_message"), code: badMetadata, names: list{"response_modes"}},
		{name: "OIDC-2-12/jarm", send: modes("jwt"), code: badMetadata, names: list{"response_modes"}},
		{name: "OIDC-2-12/none", back: members{"response_modes": missing{}}},
		{name: "OIDC-2-12/extension", setup: func(setup *dcrtest.Setup) {
			setup.Fosite = func(config *fosite.Config) { config.ResponseModeHandlerExtension = &webMessages{} }
		}, send: modes("web_message", "query"), back: modes("web_message", "query")},
	})
	s := dcrtest.Start(t, dcrtest.Setup{})
	for _, row := range []struct {
		name       string
		registered []string
		asked      string
		works      bool
	}{
		{"none_registered_query", nil, "query", true},
		{"none_registered_fragment", nil, "fragment", true},
		{"none_registered_nothing_asked", nil, "", true},
		{"registered", list{"fragment"}, "fragment", true},
		{"another_registered", list{"fragment"}, "query", false},
	} {
		t.Run("OIDC-2-12/authorize/"+row.name, func(t *testing.T) {
			t.Parallel()
			body := registration(nil)
			if row.registered != nil {
				body["response_modes"] = row.registered
			}
			answer := s.Authorize(t, dcrtest.AuthorizeQuery(s.Register(t, body).ID(), clientURI, "response_mode", row.asked))
			location := answer.Location(t)
			require.Equal(t, row.works, strings.Contains(location.RawQuery+location.Fragment, "code="), location.String())
			if !row.works {
				require.Contains(t, location.RawQuery+location.Fragment, "error=")
			}
		})
	}
}

// webMessages is a host's response mode.
type webMessages struct {
	fosite.DefaultResponseModeHandler
}

func (*webMessages) ResponseModes() fosite.ResponseModeTypes {
	return fosite.ResponseModeTypes{"web_message"}
}
