package lifecycle_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// randomText has letters of many scripts and what JSON has to escape.
func randomText(r *rand.Rand) string {
	const alphabet = "abcXYZ019 -_.:/?#&=%\"\\<>'\n\t\x00\x7fäßλж日本\u2028\u202e\ufeff😀👨\u200d👩"
	letters := []rune(alphabet)
	text := make([]rune, 1+r.IntN(20))
	for i := range text {
		text[i] = letters[r.IntN(len(letters))]
	}
	return string(text)
}

// fill sets every exported field that it can reach, so that a field that is added to a
// record is in the test from then on.
func fill(t *testing.T, r *rand.Rand, v reflect.Value) {
	t.Helper()
	switch special := v.Addr().Interface().(type) {
	case *time.Time:
		*special = time.Unix(r.Int64N(4_000_000_000)+1, r.Int64N(1_000_000_000)).UTC()
		return
	case **jose.JSONWebKeySet:
		// Read once, since go-jose takes nothing for an empty list.
		read, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: dcrtest.RSAPublicKey(t), KeyID: "rsa", Use: "sig", Algorithm: "RS256"}}})
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(read, special))
		return
	case *map[string]string:
		*special = map[string]string{"client_name#fr": randomText(r), "tos_uri#de-CH": randomText(r)}
		return
	case *map[string]json.RawMessage:
		*special = map[string]json.RawMessage{"own": json.RawMessage(`{"a":[1,"b",null]}`)}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(randomText(r))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(r.Int64N(1<<40) + 1)
	case reflect.Uint8:
		v.SetUint(uint64(r.IntN(256)))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, r, v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1+r.IntN(3), 4))
		for i := range v.Len() {
			fill(t, r, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(t, r, v.Field(i))
			}
		}
	default:
		t.Fatalf("a record has a field of kind %s, which this test does not fill", v.Kind())
	}
}

func randomClient(t *testing.T, seed uint64) *dcr.Client {
	t.Helper()
	client := new(dcr.Client)
	fill(t, rand.New(rand.NewPCG(seed, 7)), reflect.ValueOf(client).Elem())
	return client
}

func viaStorage(t *testing.T, client *dcr.Client) *dcr.Client {
	t.Helper()
	stored, err := json.Marshal(client)
	require.NoError(t, err)
	read := new(dcr.Client)
	require.NoError(t, json.Unmarshal(stored, read))
	return read
}

func TestClientAsJSON(t *testing.T) {
	t.Parallel()
	t.Run("lossless/every_field", func(t *testing.T) {
		t.Parallel()
		for seed := range uint64(20) {
			client := randomClient(t, seed)
			require.Equal(t, client, viaStorage(t, client), "seed %d", seed)
		}
	})
	t.Run("lossless/empty", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, &dcr.Client{}, viaStorage(t, &dcr.Client{}))
	})
	t.Run("lossless/empty_lists", func(t *testing.T) {
		t.Parallel()
		client := &dcr.Client{ID: "a", Metadata: dcr.ClientMetadata{ResponseTypes: []string{}, RedirectURIs: []string{}, Contacts: []string{}}}
		read := viaStorage(t, client)
		require.Equal(t, client, read)
		require.NotNil(t, read.Metadata.ResponseTypes, "an empty list says that the authorization endpoint is not used")
		require.Nil(t, read.Metadata.GrantTypes)
	})
	t.Run("lossless/promise_not_made", func(t *testing.T) {
		t.Parallel()
		no := false
		client := &dcr.Client{Metadata: dcr.ClientMetadata{Companion: &dcr.CompanionMetadata{DPoPBoundAccessTokens: &no}}}
		require.Equal(t, client, viaStorage(t, client))
	})
	t.Run("lossless/as_registered", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{})
		answer := s.Register(t, dcrtest.Registration(members{
			"client_name#fr": "x", "jwks": members{"keys": []any{dcrtest.ECJWK(t, "a"), dcrtest.EdJWK(t)}}, "token_endpoint_auth_method": "private_key_jwt",
			"default_max_age": 0, "require_pushed_authorization_requests": true, "contacts": list{},
		}))
		client, err := s.Store.GetDynamicClient(context.Background(), answer.ID())
		require.NoError(t, err)
		first, err := json.Marshal(client)
		require.NoError(t, err)
		second, err := json.Marshal(viaStorage(t, client))
		require.NoError(t, err)
		require.JSONEq(t, string(first), string(second))
	})
	t.Run("T27/no_secret_inside", func(t *testing.T) {
		t.Parallel()
		s := dcrtest.Start(t, dcrtest.Setup{})
		answer := s.Register(t, dcrtest.PlainRegistration)
		client, err := s.Store.GetDynamicClient(context.Background(), answer.ID())
		require.NoError(t, err)
		stored, err := json.Marshal(client)
		require.NoError(t, err)
		require.NotContains(t, string(stored), answer.Secret())
		require.NotContains(t, string(stored), answer.Token())
	})
}

func TestClientClone(t *testing.T) {
	t.Parallel()
	t.Run("storage/deep", func(t *testing.T) {
		t.Parallel()
		client := randomClient(t, 1)
		before, err := json.Marshal(client)
		require.NoError(t, err)
		clone := client.Clone()
		require.Equal(t, client, clone)
		fill(t, rand.New(rand.NewPCG(2, 2)), reflect.ValueOf(clone).Elem().FieldByName("Origin"))
		scramble(reflect.ValueOf(clone).Elem())
		after, err := json.Marshal(client)
		require.NoError(t, err)
		require.JSONEq(t, string(before), string(after), "a change of the copy changed the record")
	})
}

// TestMemoryStoreKeepsRecords: a record is packed, and every field comes back as it went in, in memory of the reader's.
func TestMemoryStoreKeepsRecords(t *testing.T) {
	t.Parallel()
	there, no := time.Date(2026, 5, 4, 3, 2, 1, 7, time.FixedZone("there", 3600)), false
	records := map[string]*dcr.Client{
		"nothing": {},
		"empty": {
			Origin: dcr.Registrant{GrantTypes: []string{}}, StatementMembers: []string{}, SecretHash: []byte{}, RotatedSecrets: []dcr.RotatedSecret{},
			Audience: []string{}, Metadata: dcr.ClientMetadata{
				RedirectURIs: []string{}, ResponseTypes: []string{}, JWKS: &jose.JSONWebKeySet{}, Localized: map[string]string{},
				Extensions: map[string]json.RawMessage{}, Companion: &dcr.CompanionMetadata{DPoPBoundAccessTokens: &no},
			},
		},
		"1970":        {LastUsedAt: time.Unix(0, 0).UTC(), KeepUntil: time.Unix(0, 0).UTC(), ExpiresAt: time.Unix(0, 0).UTC()},
		"before_1970": {LastUsedAt: time.Unix(-1, 1).UTC(), CreatedAt: time.Unix(-1, 999_999_999).UTC()},
		"elsewhere":   {LastUsedAt: there, KeepUntil: there, UpdatedAt: there},
		"of_an_empty_text": {Metadata: dcr.ClientMetadata{
			Localized: map[string]string{"client_name#fr": ""}, Extensions: map[string]json.RawMessage{"own": json.RawMessage(`""`)},
		}},
	}
	for seed := range uint64(20) {
		records[fmt.Sprint("every_field_", seed)] = randomClient(t, seed)
	}
	for name, record := range records {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, s, given, want := t.Context(), dcr.NewMemoryStore(), record.Clone(), record.Clone()
			for _, at := range []*time.Time{&want.LastUsedAt, &want.KeepUntil, &want.UpdatedAt} {
				*at = at.UTC()
			}
			require.NoError(t, s.CreateClient(ctx, given))
			require.Equal(t, record, given, "it is not changed")
			scramble(reflect.ValueOf(given).Elem())
			for range 2 {
				got, err := s.GetDynamicClient(ctx, record.ID)
				require.NoError(t, err)
				require.Equal(t, want, got)
				scramble(reflect.ValueOf(got).Elem())
			}
			want.LastUsedAt = want.LastUsedAt.Add(time.Hour)
			require.NoError(t, s.TouchClient(ctx, record.ID, want.LastUsedAt, want.KeepUntil.Add(-time.Hour)))
			listed, err := s.ListClients(ctx, dcr.ClientFilter{}, dcr.ClientCursor{}, 10)
			require.NoError(t, err)
			require.Equal(t, []*dcr.Client{want}, listed)
		})
	}
}

// scramble changes in place what a value shares with others.
func scramble(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if keys, ok := v.Interface().(*jose.JSONWebKeySet); ok && keys != nil {
			clear(keys.Keys)
		} else if !v.IsNil() {
			scramble(v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			scramble(v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			v.SetMapIndex(key, reflect.Value{})
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				scramble(v.Field(i))
			}
		}
	case reflect.Invalid, reflect.Func, reflect.Interface, reflect.Chan:
	default:
		v.SetZero()
	}
}

func TestClientIsHonestAboutTime(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	clock.Store(1_900_000_000)
	now := func() time.Time { return time.Unix(clock.Load(), 0) }
	s := dcrtest.Start(t, dcrtest.Setup{Config: dcr.Config{Now: now, Secrets: dcr.Secrets{Lifetime: time.Hour}}})
	answer := s.Register(t, dcrtest.PlainRegistration)
	record, err := s.Store.GetDynamicClient(context.Background(), answer.ID())
	require.NoError(t, err)
	record.RotatedSecrets = []dcr.RotatedSecret{
		{Hash: []byte("early"), ExpiresAt: now().Add(time.Minute)}, {Hash: []byte("late"), ExpiresAt: now().Add(time.Hour)}, {ExpiresAt: now().Add(time.Hour)},
	}
	version := record.Version
	record.Version++
	record.ExpiresAt = now().Add(2 * time.Hour)
	require.NoError(t, s.Store.UpdateClient(context.Background(), record, version))
	for _, row := range []struct {
		name    string
		after   int64
		secret  bool
		rotated [][]byte
	}{
		{"at_once", 0, true, [][]byte{[]byte("early"), []byte("late")}},
		{"just_before", 59, true, [][]byte{[]byte("early"), []byte("late")}},
		{"one_ended", 60, true, [][]byte{[]byte("late")}},
		{"all_ended", 3600, false, nil},
	} {
		t.Run("T37/LIFE-04/"+row.name, func(t *testing.T) {
			clock.Store(1_900_000_000 + row.after)
			found, err := s.Provider.Store.GetClient(context.Background(), answer.ID())
			require.NoError(t, err)
			client := found.(*dcr.Client)
			require.Equal(t, row.secret, len(client.GetHashedSecret()) > 0)
			require.Equal(t, row.rotated, client.GetRotatedHashes())
		})
	}
	t.Run("T37/client_expired", func(t *testing.T) {
		clock.Store(1_900_000_000 + 7199)
		require.Equal(t, http.StatusOK, s.Manage(t, http.MethodGet, answer, nil).Status)
		clock.Store(1_900_000_000 + 7200)
		_, err := s.Provider.Store.GetClient(context.Background(), answer.ID())
		require.ErrorIs(t, err, fosite.ErrNotFound)
		dcrtest.RequireChallenge(t, s.Manage(t, http.MethodGet, answer, nil), http.StatusUnauthorized, "invalid_token")
	})
	t.Run("T37/without_a_provider", func(t *testing.T) {
		past, future := time.Now().Add(-time.Second), time.Now().Add(time.Hour)
		client := &dcr.Client{SecretHash: []byte("hash"), Metadata: dcr.ClientMetadata{TokenEndpointAuthMethod: "client_secret_basic"}}
		require.Equal(t, []byte("hash"), client.GetHashedSecret())
		client.SecretExpiresAt = future
		require.Equal(t, []byte("hash"), client.GetHashedSecret())
		client.SecretExpiresAt = past
		require.Empty(t, client.GetHashedSecret())
	})
}

func TestClientForFosite(t *testing.T) {
	t.Parallel()
	t.Run("IsDynamic", func(t *testing.T) {
		t.Parallel()
		require.True(t, dcr.IsDynamic(&dcr.Client{}))
		require.False(t, dcr.IsDynamic((*dcr.Client)(nil)))
		require.False(t, dcr.IsDynamic(nil))
		require.False(t, dcr.IsDynamic(&fosite.DefaultClient{}))
	})
	t.Run("7591-2-05/response_types_stay_empty", func(t *testing.T) {
		t.Parallel()
		client := &dcr.Client{Metadata: dcr.ClientMetadata{ResponseTypes: []string{}}}
		require.Empty(t, client.GetResponseTypes())
		require.Empty(t, viaStorage(t, client).GetResponseTypes())
	})
	t.Run("OIDC-2-12/response_modes_are_never_empty", func(t *testing.T) {
		t.Parallel()
		require.ElementsMatch(t, []fosite.ResponseModeType{"query", "fragment", "form_post"}, (&dcr.Client{}).GetResponseModes())
		some := &dcr.Client{Metadata: dcr.ClientMetadata{Companion: &dcr.CompanionMetadata{ResponseModes: []string{"form_post"}}}}
		require.Equal(t, []fosite.ResponseModeType{"form_post"}, some.GetResponseModes())
		none := &dcr.Client{Metadata: dcr.ClientMetadata{Companion: &dcr.CompanionMetadata{ResponseModes: []string{}}}}
		require.Len(t, none.GetResponseModes(), 3)
	})
	t.Run("AUTH-10/keys_without_use", func(t *testing.T) {
		t.Parallel()
		key := dcrtest.RSAPublicKey(t)
		client := &dcr.Client{Metadata: dcr.ClientMetadata{JWKS: &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
			{Key: key, KeyID: "no use"}, {Key: key, KeyID: "sig", Use: "sig"}, {Key: key, KeyID: "enc", Use: "enc"},
		}}}}
		uses := map[string]string{}
		for _, key := range client.GetJSONWebKeys().Keys {
			uses[key.KeyID] = key.Use
		}
		require.Equal(t, map[string]string{"no use": "sig", "sig": "sig", "enc": "enc"}, uses)
		require.Empty(t, client.Metadata.JWKS.Keys[0].Use, "the record stays as it was registered")
		require.Nil(t, (&dcr.Client{}).GetJSONWebKeys())
	})
	t.Run("7591-3.2.1-03/public", func(t *testing.T) {
		t.Parallel()
		for method, public := range map[string]bool{"none": true, "client_secret_basic": false, "client_secret_post": false, "private_key_jwt": false, "tls_client_auth": false} {
			client := &dcr.Client{SecretHash: []byte("left over"), RotatedSecrets: []dcr.RotatedSecret{{Hash: []byte("old"), ExpiresAt: time.Now().Add(time.Hour)}},
				Metadata: dcr.ClientMetadata{TokenEndpointAuthMethod: method}}
			require.Equal(t, public, client.IsPublic(), method)
			byRequest := strings.HasPrefix(method, "client_secret_")
			require.Equal(t, byRequest, len(client.GetHashedSecret()) > 0, method)
			require.Equal(t, byRequest, len(client.GetRotatedHashes()) > 0, method)
		}
	})
	t.Run("7591-2-09/scopes", func(t *testing.T) {
		t.Parallel()
		require.Equal(t, fosite.Arguments{"openid", "email"}, (&dcr.Client{Metadata: dcr.ClientMetadata{Scope: "openid email"}}).GetScopes())
		require.Empty(t, (&dcr.Client{}).GetScopes())
	})
}
