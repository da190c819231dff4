package metadata_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

// supports names what the host honours.
func supports(pairs map[string][]string) func(*dcrtest.Setup) {
	return dcrtest.Configured(func(cfg *dcr.Config) { cfg.Metadata.Supports = pairs })
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
	var rows []dcrtest.Outcome
	for _, name := range algorithmMembers {
		for _, value := range []string{"RS256", "RSA-OAEP", "none", "HS256", "nonsense"} {
			rows = append(rows, dcrtest.Outcome{Name: "OIDC-2-06/7591-2-20/" + name + "/" + value, Send: members{name: value}, Code: dcrtest.BadMetadata, Names: list{name}})
		}
		some := supports(map[string][]string{name: {"RS256"}, strings.TrimSuffix(name, "_alg") + "_enc": nil})
		if !strings.Contains(name, "encrypt") {
			some = supports(map[string][]string{name: {"RS256"}})
		}
		rows = append(rows,
			dcrtest.Outcome{Name: "OIDC-2-06/supported/" + name, Setup: some, Send: members{name: "RS256"}, Back: members{name: "RS256"}},
			dcrtest.Outcome{Name: "OIDC-2-06/not_among_supported/" + name, Setup: some, Send: members{name: "PS256"}, Code: dcrtest.BadMetadata, Names: list{name}})
	}
	for _, name := range encryptionMembers {
		alg, enc := name+"_alg", name+"_enc"
		pair := supports(map[string][]string{alg: {"RSA-OAEP"}, enc: {"A128CBC-HS256", "A256GCM"}})
		rows = append(rows,
			dcrtest.Outcome{Name: "OIDC-2-05/enc_alone/" + name, Setup: pair, Send: members{enc: "A256GCM"}, Code: dcrtest.BadMetadata, Names: list{enc, alg}},
			dcrtest.Outcome{Name: "OIDC-2-05/enc_alone_unsupported/" + name, Send: members{enc: "A256GCM"}, Code: dcrtest.BadMetadata, Names: list{enc}},
			dcrtest.Outcome{Name: "OIDC-2-05/enc_default/" + name, Setup: pair, Send: members{alg: "RSA-OAEP"}, Back: members{alg: "RSA-OAEP", enc: "A128CBC-HS256"}},
			dcrtest.Outcome{Name: "OIDC-2-05/both/" + name, Setup: pair, Send: members{alg: "RSA-OAEP", enc: "A256GCM"}, Back: members{alg: "RSA-OAEP", enc: "A256GCM"}},
			dcrtest.Outcome{Name: "OIDC-2-05/enc_not_supported/" + name, Setup: pair, Send: members{alg: "RSA-OAEP", enc: "A192GCM"}, Code: dcrtest.BadMetadata, Names: list{enc}})
	}
	dcrtest.RunOutcomes(t, nil, rows)
}

func TestIDTokenAlgorithm(t *testing.T) {
	t.Parallel()
	alg := func(value string) members { return members{"id_token_signed_response_alg": value} }
	none := supports(map[string][]string{"id_token_signed_response_alg": {"none"}})
	types := func(grants, responses []string) members {
		return members{"grant_types": grants, "response_types": responses}
	}
	refused := list{"id_token_signed_response_alg"}
	dcrtest.RunOutcomes(t, dcrtest.Vouched, []dcrtest.Outcome{
		{Name: "OIDC-2-04/rs256", Send: alg("RS256"), Back: alg("RS256")},
		{Name: "OIDC-2-04/es256", Send: alg("ES256"), Code: dcrtest.BadMetadata, Names: refused},
		{Name: "OIDC-2-04/hs256", Send: alg("HS256"), Code: dcrtest.BadMetadata, Names: refused},
		{Name: "OIDC-2-04/none", Send: alg("none"), Code: dcrtest.BadMetadata, Names: refused},
		{Name: "OIDC-2-04/none_supported_code", Setup: none, Send: alg("none"), Back: alg("none")},
		{Name: "OIDC-2-04/none_supported_id_token", Setup: dcrtest.Both(dcrtest.WithImplicit, none), Send: dcrtest.With(alg("none"), types(list{"implicit"}, list{"id_token"})), Code: dcrtest.BadMetadata, Names: refused},
		{Name: "OIDC-2-04/none_supported_hybrid", Setup: dcrtest.Both(dcrtest.WithImplicit, none), Send: dcrtest.With(alg("none"), types(list{"authorization_code", "implicit"}, list{"code id_token"})),
			Code: dcrtest.BadMetadata, Names: refused},
		{Name: "OIDC-2-04/rs256_stays_with_none", Setup: none, Send: alg("RS256"), Back: alg("RS256")},
		{Name: "OIDC-2-06/request_object/es256", Send: members{"request_object_signing_alg": "ES256"}, Back: members{"request_object_signing_alg": "ES256"}},
		{Name: "OIDC-2-06/request_object/hs256", Send: members{"request_object_signing_alg": "HS256"}, Code: dcrtest.BadMetadata, Names: list{"request_object_signing_alg"}},
		{Name: "OIDC-2-06/request_object/unknown", Send: members{"request_object_signing_alg": "XS256"}, Code: dcrtest.BadMetadata, Names: list{"request_object_signing_alg"}},
		{Name: "OIDC-2-06/request_object/without_openid", Setup: dcrtest.WithoutOpenID, Send: members{"request_object_signing_alg": "ES256"}, Code: dcrtest.BadMetadata, Names: list{"request_object_signing_alg"}},
	})
}

func TestOpenIDMembers(t *testing.T) {
	t.Parallel()
	maxAge := func(value any) members { return members{"default_max_age": value} }
	all := supports(map[string][]string{"require_auth_time": nil, "default_acr_values": {"urn:a", "urn:b"}, "initiate_login_uri": nil, "request_uris": nil})
	login := members{"initiate_login_uri": "https://client.example/login?a=b"}
	requests := members{"request_uris": list{"https://client.example/r.jwt#GkurKxf5T0Y-mnPFCHqWOMiZi4VS138cQO_V7PZHAdM", "https://client.example/s"}}
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		{Name: "OIDC-2-07/max_age", Send: maxAge(3600), Back: maxAge(3600)},
		{Name: "OIDC-2-07/max_age_zero", Send: maxAge(0), Back: maxAge(0)},
		{Name: "OIDC-2-07/max_age_without_openid", Setup: dcrtest.WithoutOpenID, Send: maxAge(3600), Back: maxAge(dcrtest.Missing{})},
		{Name: "OIDC-2-07/max_age_negative", Send: maxAge(-1), Code: dcrtest.BadMetadata, Names: list{"default_max_age"}},
		{Name: "OIDC-2-07/max_age_negative_without_openid", Setup: dcrtest.WithoutOpenID, Send: maxAge(-1), Code: dcrtest.BadMetadata, Names: list{"default_max_age"}},
		{Name: "OIDC-2-07/max_age_fraction", Send: maxAge(1.5), Code: dcrtest.BadMetadata, Names: list{"default_max_age"}},
		{Name: "OIDC-2-07/max_age_string", Send: maxAge("3600"), Code: dcrtest.BadMetadata, Names: list{"default_max_age"}},
		{Name: "OIDC-2-07/max_age_huge", Raw: `{"redirect_uris":["https://client.example/cb"],"default_max_age":1e400}`, Code: dcrtest.BadMetadata, Names: list{"default_max_age"}},
		{Name: "OIDC-2-07/max_age_over_64_bits", Raw: `{"redirect_uris":["https://client.example/cb"],"default_max_age":9223372036854775808}`, Code: dcrtest.BadMetadata, Names: list{"default_max_age"}},
		{Name: "OIDC-2-07/auth_time", Setup: all, Send: members{"require_auth_time": true}, Back: members{"require_auth_time": true}},
		{Name: "OIDC-2-07/auth_time_left_out", Send: members{"require_auth_time": true}, Back: members{"require_auth_time": dcrtest.Missing{}}},
		{Name: "OIDC-2-07/auth_time_string", Send: members{"require_auth_time": "true"}, Code: dcrtest.BadMetadata, Names: list{"require_auth_time"}},
		{Name: "OIDC-2-07/acr_values", Setup: all, Send: members{"default_acr_values": list{"urn:b", "urn:a"}}, Back: members{"default_acr_values": list{"urn:b", "urn:a"}}},
		{Name: "OIDC-2-07/acr_values_left_out", Send: members{"default_acr_values": list{"urn:a"}}, Back: members{"default_acr_values": dcrtest.Missing{}}},
		{Name: "OIDC-2-07/acr_values_string", Send: members{"default_acr_values": "urn:a"}, Code: dcrtest.BadMetadata, Names: list{"default_acr_values"}},
		{Name: "OIDC-2-07/acr_values_numbers", Send: members{"default_acr_values": []int{0}}, Code: dcrtest.BadMetadata, Names: list{"default_acr_values"}},
		{Name: "OIDC-2-08/left_out", Send: login, Back: members{"initiate_login_uri": dcrtest.Missing{}}},
		{Name: "OIDC-2-08/supported", Setup: all, Send: login, Back: login},
		{Name: "OIDC-2-08/http", Setup: all, Send: members{"initiate_login_uri": "http://client.example/login"}, Code: dcrtest.BadMetadata, Names: list{"initiate_login_uri"}},
		{Name: "OIDC-2-08/RefuseUnsupported", Setup: dcrtest.Strict, Send: login, Code: dcrtest.BadMetadata, Names: list{"initiate_login_uri"}},
		{Name: "OIDC-2-09/fetches_none", Send: requests, Code: dcrtest.BadMetadata, Names: list{"request_uris"}},
		{Name: "OIDC-2-09/supported", Setup: all, Send: requests, Back: requests},
		{Name: "OIDC-2-09/http", Setup: all, Send: members{"request_uris": list{"https://client.example/r", "http://client.example/r"}}, Code: dcrtest.BadMetadata, Names: list{"request_uris[1]"}},
		{Name: "OIDC-2-09/fragment_hides_nothing", Setup: all, Send: members{"request_uris": list{"https://10.0.0.1/r#x"}}, Code: dcrtest.BadMetadata, Names: list{"request_uris[0]"}},
		{Name: "OIDC-2-09/T15/too_many", Setup: all, Send: members{"request_uris": strings.Fields(strings.Repeat("https://a/ ", 1000))}, Code: dcrtest.BadMetadata, Names: list{"request_uris"}},
	})
}

func TestSubjectType(t *testing.T) {
	t.Parallel()
	pairwise := supports(map[string][]string{"subject_type": {"pairwise"}, "sector_identifier_uri": nil})
	subject := func(value string) members { return members{"subject_type": value} }
	two := members{"subject_type": "pairwise", "redirect_uris": list{"https://a.example/cb", "https://b.example/cb"}}
	sector := members{"sector_identifier_uri": "https://client.example/sector.json"}
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		{Name: "OIDC-2-02/public", Send: subject("public"), Back: subject("public")},
		{Name: "OIDC-2-02/pairwise_unsupported", Send: subject("pairwise"), Code: dcrtest.BadMetadata, Names: list{"subject_type"}},
		{Name: "OIDC-2-02/unknown", Send: subject("anonymous"), Code: dcrtest.BadMetadata, Names: list{"subject_type"}},
		{Name: "OIDC-2-02/pairwise_one_host", Setup: pairwise, Send: dcrtest.With(subject("pairwise"), members{"redirect_uris": list{"https://a.example/1", "https://a.example/2"}}), Back: subject("pairwise")},
		{Name: "OIDC-2-02/pairwise_two_hosts", Setup: pairwise, Send: two, Code: dcrtest.BadMetadata, Names: list{"sector_identifier_uri"}},
		{Name: "OIDC-2-03/public_left_out", Setup: pairwise, Send: dcrtest.With(subject("public"), sector), Back: members{"subject_type": "public", "sector_identifier_uri": dcrtest.Missing{}}},
		{Name: "OIDC-2-03/no_pairwise_left_out", Send: sector, Back: members{"sector_identifier_uri": dcrtest.Missing{}}},
		{Name: "OIDC-2-03/http", Setup: pairwise, Send: members{"sector_identifier_uri": "http://client.example/sector.json"}, Code: dcrtest.BadMetadata, Names: list{"sector_identifier_uri"}},
		{Name: "OIDC-2-03/unreachable", Setup: pairwise, Send: dcrtest.With(two, members{"sector_identifier_uri": "https://unreachable.invalid/"}), Code: dcrtest.BadMetadata, Names: list{"sector_identifier_uri"}},
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
	setup.Config.Metadata.Supports = map[string][]string{"subject_type": {"pairwise"}, "sector_identifier_uri": nil}
	setup.Config.Outbound.Options.InsecureAllowLoopback = true
	s := dcrtest.Start(t, setup)
	send := func(subject, path string) members {
		return members{"redirect_uris": uris, "subject_type": subject, "sector_identifier_uri": tls.URL + path}
	}
	t.Run("OIDC-2-03/all", func(t *testing.T) {
		client := s.Register(t, send("pairwise", "/all"))
		dcrtest.RequireMembers(t, client, members{"sector_identifier_uri": tls.URL + "/all", "subject_type": "pairwise"})
		require.EqualValues(t, 1, fetched.Load(), "the document was not fetched")
	})
	for _, path := range []string{"one_missing", "object", "number_inside", "nonsense", "huge", "redirect", "not_found"} {
		t.Run("OIDC-2-03/"+path, func(t *testing.T) {
			dcrtest.RequireRefusal(t, s.Post(t, send("pairwise", "/"+path)), http.StatusBadRequest, dcrtest.BadMetadata, "sector_identifier_uri")
		})
	}
	t.Run("OIDC-2-03/update", func(t *testing.T) {
		client := s.Register(t, members{"redirect_uris": uris[:1]})
		body := dcrtest.With(send("pairwise", "/one_missing"), members{"client_id": client.ID()})
		dcrtest.RequireRefusal(t, s.Manage(t, http.MethodPut, client, body), http.StatusBadRequest, dcrtest.BadMetadata, "sector_identifier_uri")
	})
	t.Run("OIDC-2-03/public_unfetched", func(t *testing.T) {
		before := fetched.Load()
		s.Register(t, send("public", "/all"))
		require.Equal(t, before, fetched.Load(), "the document was fetched for nothing")
	})
	t.Run("OIDC-2-03/once_with_policies", func(t *testing.T) {
		judged := setup
		judged.Config.Policies = []dcr.Policy{policy.Require("redirect_uris")}
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
	var rows []dcrtest.Outcome
	for kind, sent := range map[string]members{"post_logout": post, "frontchannel": front, "backchannel": back, "ciba": ciba} {
		gone := members{}
		for name := range sent {
			gone[name], everything[name] = dcrtest.Missing{}, nil
			rows = append(rows, dcrtest.Outcome{Name: "OIDC-2-11/7591-2-20/RefuseUnsupported/" + name, Setup: dcrtest.Strict, Send: sent, Code: dcrtest.BadMetadata})
		}
		rows = append(rows, dcrtest.Outcome{Name: "OIDC-2-11/7591-2-20/left_out/" + kind, Send: sent, Back: gone},
			dcrtest.Outcome{Name: "OIDC-2-11/supported/" + kind, Setup: supports(everything), Send: sent, Back: sent})
	}
	refused := func(name, member string, value any) dcrtest.Outcome {
		return dcrtest.Outcome{Name: "OIDC-2-11/" + name, Setup: supports(everything), Send: members{member: value}, Code: dcrtest.BadMetadata, Names: list{member}}
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
		dcrtest.Outcome{Name: "OIDC-2-11/ping_without_endpoint", Setup: supports(everything), Send: members{"backchannel_token_delivery_mode": "ping"}, Code: dcrtest.BadMetadata,
			Names: list{"backchannel_token_delivery_mode", "backchannel_client_notification_endpoint"}},
		dcrtest.Outcome{Name: "OIDC-2-11/session_not_required", Send: members{"frontchannel_logout_session_required": false, "backchannel_logout_session_required": false}},
	)
	dcrtest.RunOutcomes(t, nil, rows)
}

func TestResponseModes(t *testing.T) {
	t.Parallel()
	modes := func(values ...string) members { return members{"response_modes": values} }
	dcrtest.RunOutcomes(t, nil, []dcrtest.Outcome{
		{Name: "OIDC-2-12/known", Send: modes("query", "fragment", "form_post"), Back: modes("query", "fragment", "form_post")},
		{Name: "OIDC-2-12/T47/unknown", Send: modes("query", "web_message"), Code: dcrtest.BadMetadata, Names: list{"response_modes"}},
		{Name: "OIDC-2-12/T47/jarm", Send: modes("jwt"), Code: dcrtest.BadMetadata, Names: list{"response_modes"}},
		{Name: "OIDC-2-12/none", Back: members{"response_modes": dcrtest.Missing{}}},
		{Name: "OIDC-2-12/extension", Setup: func(setup *dcrtest.Setup) {
			setup.Fosite = func(config *fosite.Config) { config.ResponseModeHandlerExtension = &dcrtest.WebMessages{} }
		}, Send: modes("web_message", "query"), Back: modes("web_message", "query")},
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
			body := dcrtest.Registration(nil)
			if row.registered != nil {
				body["response_modes"] = row.registered
			}
			answer := s.Authorize(t, dcrtest.AuthorizeQuery(s.Register(t, body).ID(), dcrtest.RedirectURI, "response_mode", row.asked))
			location := answer.Location(t)
			require.Equal(t, row.works, strings.Contains(location.RawQuery+location.Fragment, "code="), location.String())
			if !row.works {
				require.Contains(t, location.RawQuery+location.Fragment, "error=")
			}
		})
	}
}
