package capability_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/capability"
)

func TestGrants(t *testing.T) {
	t.Parallel()
	for grant, want := range map[string]struct{ user, refreshToken bool }{
		"authorization_code": {true, true},
		"refresh_token":      {true, false},
		"implicit":           {false, false},
		"client_credentials": {false, false},
		"password":           {false, true},
		"urn:ietf:params:oauth:grant-type:jwt-bearer":     {false, false},
		"urn:ietf:params:oauth:grant-type:device_code":    {true, true},
		"urn:ietf:params:oauth:grant-type:token-exchange": {false, true},
		"urn:openid:params:grant-type:ciba":               {false, true},
		"urn:example:own":                                 {false, true},
		"":                                                {false, true},
	} {
		t.Run("T56/"+grant, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, want.user, capability.UserTakesPart(grant))
			require.Equal(t, want.refreshToken, capability.YieldsRefreshToken(grant))
		})
	}
}

func TestUsesSecret(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]bool{
		"client_secret_basic": true, "client_secret_post": true, "client_secret_jwt": false,
		"none": false, "private_key_jwt": false, "tls_client_auth": false, "": false,
	} {
		require.Equal(t, want, capability.UsesSecret(method), method)
	}
}

func TestAgree(t *testing.T) {
	t.Parallel()
	code, implicit, both := list{"authorization_code"}, list{"implicit"}, list{"authorization_code", "implicit"}
	every := list{"code", "token", "id_token", "id_token token", "code id_token", "code token", "code id_token token"}
	for name, c := range map[string]struct {
		grants, responses list
		used, fitting     list
	}{
		"code":                       {code, list{"code"}, code, list{"code"}},
		"implicit":                   {implicit, list{"token", "id_token", "id_token token"}, implicit, list{"token", "id_token", "id_token token"}},
		"hybrid":                     {both, list{"code id_token"}, both, list{"code id_token"}},
		"every":                      {both, every, both, every},
		"every_for_code":             {code, every, code, list{"code"}},
		"every_for_implicit":         {implicit, every, implicit, list{"token", "id_token", "id_token token"}},
		"token_without_implicit":     {code, list{"token"}, list{}, list{}},
		"hybrid_without_implicit":    {code, list{"code id_token"}, code, list{}},
		"hybrid_without_code":        {implicit, list{"code token"}, implicit, list{}},
		"code_without_code":          {implicit, list{"code"}, list{}, list{}},
		"code_grant_alone":           {code, list{}, list{}, list{}},
		"implicit_grant_too_much":    {both, list{"code"}, code, list{"code"}},
		"code_grant_too_much":        {both, list{"token"}, implicit, list{"token"}},
		"code_for_services":          {list{"client_credentials"}, list{"code"}, list{"client_credentials"}, list{}},
		"services":                   {list{"client_credentials", "refresh_token", "urn:x"}, nil, list{"client_credentials", "refresh_token", "urn:x"}, list{}},
		"response_type_of_its_own":   {code, list{"code", "none"}, code, list{"code", "none"}},
		"words_not_parts_of_words":   {code, list{"code", "encoded", "tokens"}, code, list{"code", "encoded", "tokens"}},
		"words_in_another_order":     {both, list{"token id_token code"}, both, list{"token id_token code"}},
		"nothing":                    {nil, nil, list{}, list{}},
		"order_and_repeats_are_kept": {list{"refresh_token", "authorization_code", "refresh_token"}, list{"code", "code"}, list{"refresh_token", "authorization_code", "refresh_token"}, list{"code", "code"}},
	} {
		t.Run("7591-2-06/"+name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.used, capability.Used(c.grants, c.responses))
			require.Equal(t, c.fitting, capability.Fitting(c.responses, c.grants))
			agree := len(c.used) == len(c.grants) && len(c.fitting) == len(c.responses)
			require.Equal(t, agree, capability.Agree(c.grants, c.responses))
		})
	}
}
