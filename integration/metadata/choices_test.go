package metadata_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/fosite-contrib/fosite-dcr/policy"
)

const methods = "token_endpoint_auth_methods_supported"

// choosing is a registration with further members.
func choosing(pairs ...any) map[string]any {
	sent := members{"redirect_uris": list{dcrtest.RedirectURI}}
	for i := 0; i+1 < len(pairs); i += 2 {
		sent[pairs[i].(string)] = pairs[i+1]
	}
	return sent
}

// readBack is an answer as a client sends it back, with changes.
func readBack(answer dcrtest.Answer, pairs ...any) map[string]any {
	sent := choosing(pairs...)
	for name, value := range answer.Members {
		switch name {
		case "registration_access_token", "registration_client_uri", "client_id_issued_at", "client_secret_expires_at", "client_secret":
		default:
			if _, changed := sent[name]; !changed {
				sent[name] = value
			}
		}
	}
	return sent
}

// startEncrypting is a server that encrypts ID tokens, with one algorithm.
func startEncrypting(t *testing.T) *dcrtest.Server {
	t.Helper()
	return dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Metadata: dcr.Metadata{Supports: map[string]list{
		"id_token_encrypted_response_alg": {"RSA-OAEP-256"}, "id_token_encrypted_response_enc": {"A256GCM", "A128CBC-HS256"},
		"id_token_signed_response_alg": {"ES256"},
	}}}})
}

// TestChoice: the answer holds the one value that was chosen, and no list.
func TestChoice(t *testing.T) {
	t.Parallel()
	s := startEncrypting(t)
	keys := dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "", "", ""))
	for _, row := range []struct {
		name  string
		sent  map[string]any
		shown map[string]any // nil for a member that is not in the answer
	}{
		{"CHOICE-03/first_of_the_list", choosing(methods, list{"none", "private_key_jwt"}, "jwks", keys), members{"token_endpoint_auth_method": "none"}},
		{"CHOICE-03/order_of_the_client", choosing(methods, list{"private_key_jwt", "none"}, "jwks", keys), members{"token_endpoint_auth_method": "private_key_jwt"}},
		{"CHOICE-03/single_first", choosing(methods, list{"none", "client_secret_post"}, "token_endpoint_auth_method", "client_secret_post"), members{"token_endpoint_auth_method": "client_secret_post"}},
		{"CHOICE-03/unsupported_are_passed_over", choosing(methods, list{"tls_client_auth", "private_key_jwt"}, "jwks", keys), members{"token_endpoint_auth_method": "private_key_jwt"}},
		{"CHOICE-03/list_alone_is_not_the_default", choosing(methods, list{"client_secret_post"}), members{"token_endpoint_auth_method": "client_secret_post"}},
		{"CHOICE-03/unsupported_single", choosing(methods, list{"private_key_jwt"}, "jwks", keys,
			"token_endpoint_auth_signing_alg_values_supported", list{"ES256K", "ES256", "RS256"}, "token_endpoint_auth_signing_alg", "ES256K"), members{"token_endpoint_auth_signing_alg": "ES256"}},
		{"CHOICE-03/algorithm_that_fits_a_key", choosing("token_endpoint_auth_method", "private_key_jwt", "jwks", keys,
			"token_endpoint_auth_signing_alg_values_supported", list{"RS256", "ES256"}), members{"token_endpoint_auth_signing_alg": "ES256"}},
		{"CHOICE-03/id_token", choosing("id_token_signing_alg_values_supported", list{"PS256", "ES256", "RS256"}), members{"id_token_signed_response_alg": "ES256"}},
		{"CHOICE-03/client_credentials", choosing(methods, list{"none", "client_secret_basic"}, "grant_types", list{"authorization_code", "client_credentials"}),
			members{"token_endpoint_auth_method": "none"}}, // anonymous: client_credentials is left out
		{"CHOICE-04/no_keys", choosing(methods, list{"private_key_jwt", "none"}), members{"token_endpoint_auth_method": "none"}},
		{"CHOICE-04/alg_with_enc", choosing("id_token_encryption_alg_values_supported", list{"RSA-OAEP", "RSA-OAEP-256"}, "id_token_encryption_enc_values_supported", list{"A256GCM"}),
			members{"id_token_encrypted_response_alg": "RSA-OAEP-256", "id_token_encrypted_response_enc": "A256GCM"}},
		{"CHOICE-04/alg_alone", choosing("id_token_encryption_alg_values_supported", list{"RSA-OAEP-256"}),
			members{"id_token_encrypted_response_alg": "RSA-OAEP-256", "id_token_encrypted_response_enc": "A128CBC-HS256"}},
		{"CHOICE-04/enc_without_alg", choosing("id_token_encryption_alg_values_supported", list{"RSA-OAEP"}, "id_token_encryption_enc_values_supported", list{"A256GCM"}),
			members{"id_token_encrypted_response_alg": nil, "id_token_encrypted_response_enc": nil}},
		{"CHOICE-01/not_supported_at_all", choosing("userinfo_signing_alg_values_supported", list{"ES256"}), members{"userinfo_signed_response_alg": nil}},
		{"CHOICE-01/null", choosing(methods, nil), members{"token_endpoint_auth_method": "client_secret_basic"}},
		{"CHOICE-01/twice_the_same", choosing(methods, list{"none", "none"}), members{"token_endpoint_auth_method": "none"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			answer := s.Register(t, row.sent)
			for name, value := range row.shown {
				require.Equal(t, value, answer.Members[name], "%s: %s", name, answer.Body)
			}
			require.NotContains(t, answer.Body, "_supported")
			update := s.Manage(t, http.MethodPut, answer, readBack(answer))
			require.Equal(t, http.StatusOK, update.Status, "what was read can be sent back: %s", update.Body)
			for name, value := range row.shown {
				require.Equal(t, value, update.Members[name], name)
			}
		})
	}
}

// TestNoChoice: what can't be meant or had is refused, and the list is named.
func TestNoChoice(t *testing.T) {
	t.Parallel()
	s := startEncrypting(t)
	for _, row := range []struct {
		name  string
		sent  map[string]any
		names list
	}{
		{"CHOICE-02/method", choosing(methods, list{"private_key_jwt"}, "token_endpoint_auth_method", "none"), list{"token_endpoint_auth_method", methods}},
		{"CHOICE-02/algorithm", choosing("id_token_signing_alg_values_supported", list{"ES256"}, "id_token_signed_response_alg", "RS256"),
			list{"id_token_signed_response_alg", "id_token_signing_alg_values_supported"}},
		{"CHOICE-03/method", choosing(methods, list{"tls_client_auth", "x"}), list{methods, "none", "client_secret_basic"}},
		{"CHOICE-03/id_token", choosing("id_token_signing_alg_values_supported", list{"PS256"}), list{"id_token_signing_alg_values_supported", "ES256"}},
		{"CHOICE-03/subject", choosing("subject_types_supported", list{"pairwise"}), list{"subject_types_supported", "public"}},
		{"CHOICE-04/only_private_key_jwt", choosing(methods, list{"private_key_jwt"}), list{"jwks", "private_key_jwt"}},
		{"CHOICE-04/enc", choosing("id_token_encryption_alg_values_supported", list{"RSA-OAEP-256"}, "id_token_encryption_enc_values_supported", list{"A192GCM"}),
			list{"id_token_encryption_enc_values_supported", "A256GCM"}},
		{"CHOICE-01/empty_value", choosing(methods, list{"none", ""}), list{methods + "[1]"}},
		{"CHOICE-01/too_many", choosing(methods, strings.Split(strings.Repeat("none ", 65), " ")[:65]), list{methods, "64"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			answer := s.Post(t, row.sent)
			dcrtest.RequireRefusal(t, answer, http.StatusBadRequest, "invalid_client_metadata")
			for _, name := range row.names {
				require.Contains(t, answer.Text("error_description"), name)
			}
		})
	}
}

// TestEveryList: there are 19 lists, and each is an array of strings that is not empty.
func TestEveryList(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	lists := map[string]bool{}
	for _, member := range dcr.Members() {
		if member.List == "" {
			continue
		}
		lists[member.List] = true
		for _, wrong := range []any{list{}, "none", 1, true, map[string]any{}, []any{1}, []any{nil}} {
			answer := s.Post(t, choosing(member.List, wrong))
			dcrtest.RequireRefusal(t, answer, http.StatusBadRequest, "invalid_client_metadata")
			require.Contains(t, answer.Text("error_description"), member.List, "CHOICE-01")
		}
	}
	require.Len(t, lists, 19)
	all := choosing()
	for name := range lists {
		all[name] = list{"RS256", "none", "public"}
	}
	require.NotContains(t, s.Register(t, all).Body, "_supported", "CHOICE-01")
}

// TestChoiceAndPolicy: a method that a policy refuses is not chosen.
func TestChoiceAndPolicy(t *testing.T) {
	t.Parallel() // CHOICE-03
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Policies: []dcr.Policy{policy.RequireAuthMethods("client_secret_post")}}})
	answer := s.Register(t, choosing(methods, list{"none", "client_secret_basic", "client_secret_post"}))
	require.Equal(t, "client_secret_post", answer.Text("token_endpoint_auth_method"))
	refused := s.Post(t, choosing(methods, list{"none", "client_secret_basic"}))
	require.Equal(t, http.StatusBadRequest, refused.Status, refused.Body)
}

// TestChoiceGoesWithGrants: none is not chosen for a client that may have client_credentials.
func TestChoiceGoesWithGrants(t *testing.T) {
	t.Parallel() // CHOICE-03, GRANT-02
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Metadata: dcr.Metadata{AnonymousGrantTypes: list{"client_credentials"}}}})
	answer := s.Register(t, choosing(methods, list{"none", "client_secret_basic"}, "grant_types", list{"authorization_code", "client_credentials"}))
	require.Equal(t, "client_secret_basic", answer.Text("token_endpoint_auth_method"))
}

// TestChoiceOfAnUpdate: a list that still has the registered value keeps it; another list chooses anew.
func TestChoiceOfAnUpdate(t *testing.T) {
	t.Parallel() // CHOICE-05
	s := dcrtest.Start(t, dcrtest.Setup{})
	client := s.Register(t, choosing(methods, list{"client_secret_post", "none"}))
	secret := client.Secret()
	update := func(allowed ...string) dcrtest.Answer {
		sent := readBack(client, methods, allowed)
		delete(sent, "token_endpoint_auth_method")
		answer := s.Manage(t, http.MethodPut, client, sent)
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
		client = answer
		return answer
	}
	kept := update("none", "client_secret_post")
	require.Equal(t, "client_secret_post", kept.Text("token_endpoint_auth_method"))
	require.Empty(t, kept.Secret(), "its secret works still")
	require.NotEmpty(t, secret)
	require.Equal(t, "none", update("none", "private_key_jwt").Text("token_endpoint_auth_method"))
}

// TestChoicesOfAVouchedClient: a list does not change what a software statement says.
func TestChoicesOfAVouchedClient(t *testing.T) {
	t.Parallel()
	d := dcrtest.NewDirectory(t, "1")
	s := dcrtest.Start(t, dcrtest.Setup{Config: d.Trusted()})
	keys := dcrtest.KeySet(dcrtest.PublicKey(dcrtest.Keys().P256, "", "", ""))
	raw := d.Sign(t, dcrtest.StatementClaims("token_endpoint_auth_method", "private_key_jwt", "jwks", keys))
	for _, sent := range []map[string]any{
		{methods: list{"none"}},
		{methods: list{"private_key_jwt", "none"}, "token_endpoint_auth_signing_alg": "RS256"},
		{methods: list{"private_key_jwt", "none"}, "token_endpoint_auth_signing_alg_values_supported": list{"RS256"}},
	} {
		sent["software_statement"] = raw
		answer := s.Post(t, sent)
		if answer.Status == http.StatusCreated {
			require.Equal(t, "private_key_jwt", answer.Text("token_endpoint_auth_method"), "7591-2.3-02 %v", sent[methods])
		} else {
			require.Equal(t, http.StatusBadRequest, answer.Status, "%s", answer.Body)
		}
	}
}
