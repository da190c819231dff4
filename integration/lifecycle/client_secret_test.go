package lifecycle_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// hasher is a fosite.Hasher that counts, and that may fail.
type hasher struct {
	hash             func(data []byte) ([]byte, error)
	hashed, compared atomic.Int32
}

func (h *hasher) Hash(_ context.Context, data []byte) ([]byte, error) {
	h.hashed.Add(1)
	if h.hash != nil {
		return h.hash(data)
	}
	return data, nil
}

// Compare takes whatever is equal, nothing for nothing included.
func (h *hasher) Compare(_ context.Context, hash, data []byte) error {
	h.compared.Add(1)
	if string(hash) != string(data) {
		return errors.New("mismatch")
	}
	return nil
}

func quickBCrypt() *fosite.BCrypt { return &fosite.BCrypt{Config: &fosite.Config{HashCost: 4}} }

// generatedSecret is a secret that the package made.
func generatedSecret(t *testing.T) string {
	t.Helper()
	secret := dcrtest.Start(t, dcrtest.Setup{}).Register(t, dcrtest.PlainRegistration).Secret()
	require.NotEmpty(t, secret)
	return secret
}

func TestSecretHasher(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	secret := generatedSecret(t)
	fallback := &hasher{}
	fast := &dcr.SecretHasher{Fallback: fallback}
	hash, err := fast.Hash(ctx, []byte(secret))
	require.NoError(t, err)
	t.Run("T13/generated_secrets_are_fast", func(t *testing.T) {
		t.Parallel()
		fallback := &hasher{}
		fast := &dcr.SecretHasher{Fallback: fallback}
		again, err := fast.Hash(ctx, []byte(secret))
		require.NoError(t, err)
		require.NoError(t, fast.Compare(ctx, again, []byte(secret)))
		require.Error(t, fast.Compare(ctx, again, []byte(secret+"x")))
		require.Error(t, fast.Compare(ctx, again, []byte("chosen by a person")))
		require.Zero(t, fallback.hashed.Load()+fallback.compared.Load(), "the slow hasher was asked")
	})
	t.Run("T27/self_describing", func(t *testing.T) {
		t.Parallel()
		require.True(t, strings.HasPrefix(string(hash), "$"), "%s", hash)
		require.NotContains(t, string(hash), strings.TrimPrefix(secret, "dcrs_"))
	})
	t.Run("every_byte_counts", func(t *testing.T) {
		t.Parallel()
		for i := range secret {
			wrong := []byte(secret)
			wrong[i] ^= 1
			require.Error(t, fast.Compare(ctx, hash, wrong), "byte %d", i)
		}
		for i := range hash {
			wrong := append([]byte(nil), hash...)
			wrong[i] ^= 1
			require.Error(t, fast.Compare(ctx, wrong, []byte(secret)), "byte %d of the hash", i)
		}
		for _, wrong := range []string{"", secret[:len(secret)-1], secret + "A", secret + "\x00", strings.ToLower(secret), " " + secret, string(hash)} {
			require.Error(t, fast.Compare(ctx, hash, []byte(wrong)), wrong)
		}
		require.Error(t, fast.Compare(ctx, hash[:len(hash)-1], []byte(secret)))
		require.Error(t, fast.Compare(ctx, append(append([]byte(nil), hash...), 'A'), []byte(secret)))
		require.Error(t, fast.Compare(ctx, []byte("$dcr-sha256$"), []byte(secret)))
	})
	t.Run("AUTH-08/empty_hash", func(t *testing.T) {
		t.Parallel()
		for _, data := range []string{"", secret, "chosen"} {
			require.Error(t, fast.Compare(ctx, nil, []byte(data)), data)
			require.Error(t, fast.Compare(ctx, []byte{}, []byte(data)), data)
		}
	})
}

func TestSecretHasherFallback(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	secret := generatedSecret(t)
	t.Run("fallback/chosen_secrets", func(t *testing.T) {
		t.Parallel()
		fast := &dcr.SecretHasher{Fallback: quickBCrypt()}
		for _, chosen := range []string{"chosen by a person", "", "dcrs_", "dcrs_short", secret[:len(secret)-1], "dcrs_" + strings.Repeat("!", len(secret)-5), strings.Replace(secret, "dcrs_", "xxxx_", 1)} {
			hash, err := fast.Hash(ctx, []byte(chosen))
			require.NoError(t, err)
			require.NoError(t, quickBCrypt().Compare(ctx, hash, []byte(chosen)), "bcrypt made the hash of %q", chosen)
			require.NoError(t, fast.Compare(ctx, hash, []byte(chosen)))
			require.Error(t, fast.Compare(ctx, hash, []byte(chosen+"x")))
			require.Error(t, fast.Compare(ctx, hash, []byte(secret)))
		}
	})
	t.Run("fallback/hashes_from_before", func(t *testing.T) {
		t.Parallel()
		old, err := quickBCrypt().Hash(ctx, []byte(secret))
		require.NoError(t, err)
		fast := &dcr.SecretHasher{Fallback: quickBCrypt()}
		require.NoError(t, fast.Compare(ctx, old, []byte(secret)), "a generated secret whose hash bcrypt made")
		require.Error(t, fast.Compare(ctx, old, []byte(secret+"x")))
	})
	t.Run("fallback/nil_is_bcrypt", func(t *testing.T) {
		t.Parallel()
		fast := &dcr.SecretHasher{}
		old, err := quickBCrypt().Hash(ctx, []byte("chosen"))
		require.NoError(t, err)
		require.NoError(t, fast.Compare(ctx, old, []byte("chosen")))
		require.Error(t, fast.Compare(ctx, old, []byte("other")))
	})
	t.Run("T14/long_secrets_are_not_truncated", func(t *testing.T) {
		t.Parallel()
		fast := &dcr.SecretHasher{Fallback: quickBCrypt()}
		long := strings.Repeat("a", 72)
		hash, err := fast.Hash(ctx, []byte(long))
		require.NoError(t, err)
		require.NoError(t, fast.Compare(ctx, hash, []byte(long)))
		_, err = fast.Hash(ctx, []byte(long+"b"))
		require.Error(t, err, "73 bytes would be hashed as 72")
	})
}

func TestHasherOfTheHost(t *testing.T) {
	t.Parallel()
	with := func(hash func([]byte) ([]byte, error)) (*dcrtest.Ledger, dcrtest.Setup, *hasher) {
		own := &hasher{hash: hash}
		store := dcrtest.NewLedger()
		return store, dcrtest.Setup{Storage: store, Config: dcr.Config{Secrets: dcr.Secrets{Hasher: own}}}, own
	}
	t.Run("T14/7591-3.2.2-04/fails", func(t *testing.T) {
		t.Parallel()
		store, setup, _ := with(func([]byte) ([]byte, error) { return nil, dcrtest.ErrDatabase })
		s := dcrtest.Start(t, setup)
		dcrtest.RequireRefusal(t, s.Post(t, dcrtest.PlainRegistration), http.StatusInternalServerError, "server_error")
		require.Empty(t, store.Live(t))
		s.Register(t, dcrtest.Registration(members{"token_endpoint_auth_method": "none"}))
	})
	t.Run("AUTH-08/7591-3.2.2-04/returns_nothing", func(t *testing.T) {
		t.Parallel()
		store, setup, _ := with(func([]byte) ([]byte, error) { return []byte{}, nil })
		dcrtest.RequireRefusal(t, dcrtest.Start(t, setup).Post(t, dcrtest.PlainRegistration), http.StatusInternalServerError, "server_error")
		require.Empty(t, store.Live(t))
	})
	t.Run("T27/is_used_for_both", func(t *testing.T) {
		t.Parallel()
		store, setup, own := with(func(data []byte) ([]byte, error) { return data, nil })
		dcrtest.Vouched(&setup)
		s := dcrtest.Start(t, setup)
		client := s.Register(t, dcrtest.Registration(members{"grant_types": list{"client_credentials"}}))
		require.EqualValues(t, 1, own.hashed.Load())
		record, err := store.GetDynamicClient(context.Background(), client.ID())
		require.NoError(t, err)
		require.Equal(t, client.Secret(), string(record.SecretHash))
		require.Equal(t, http.StatusOK, serviceLogin(t, s, client.ID(), client.Secret()).Status)
		require.Equal(t, http.StatusUnauthorized, serviceLogin(t, s, client.ID(), "wrong").Status)
		require.EqualValues(t, 2, own.compared.Load())
	})
	t.Run("AUTH-08/no_secret_authenticates_nobody", func(t *testing.T) {
		t.Parallel()
		_, setup, _ := with(func(data []byte) ([]byte, error) { return data, nil })
		s := dcrtest.Start(t, setup)
		for method, keys := range map[string]members{"none": {}, "private_key_jwt": {"jwks_uri": "https://client.example/jwks"}} {
			body := dcrtest.Registration(keys)
			body["token_endpoint_auth_method"] = method
			client := s.Register(t, body)
			form := url.Values{"token": {"x"}}
			answer := s.Form(t, "/oauth2/introspect", form, dcrtest.Basic(client.ID(), ""))
			require.Equal(t, http.StatusUnauthorized, answer.Status, "%s: %s", method, answer.Body)
		}
	})
}

// serviceLogin asks for a token by client_credentials.
func serviceLogin(t *testing.T, s *dcrtest.Server, id, secret string) dcrtest.Answer {
	t.Helper()
	return s.Form(t, "/oauth2/token", url.Values{"grant_type": {"client_credentials"}}, dcrtest.Basic(id, secret))
}

func TestStoredSecrets(t *testing.T) {
	t.Parallel()
	setup := dcrtest.Setup{}
	dcrtest.Vouched(&setup)
	s := dcrtest.Start(t, setup)
	t.Run("T13/T27/hashed_fast", func(t *testing.T) {
		t.Parallel()
		client := s.Register(t, dcrtest.Registration(members{"grant_types": list{"client_credentials"}}))
		record, err := s.Store.GetDynamicClient(context.Background(), client.ID())
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(record.SecretHash), "$dcr-sha256$"), "%s", record.SecretHash)
		require.NotContains(t, string(record.SecretHash), client.Secret())
		require.NotContains(t, client.Token(), record.RegistrationToken.Signature+".")
		require.Equal(t, http.StatusOK, serviceLogin(t, s, client.ID(), client.Secret()).Status)
	})
	t.Run("AUTH-08/T37/expired", func(t *testing.T) {
		t.Parallel()
		var clock atomic.Int64
		clock.Store(1_900_000_000)
		own := &hasher{}
		setup := dcrtest.Setup{Config: dcr.Config{Secrets: dcr.Secrets{Hasher: own, Lifetime: time.Hour}, Now: func() time.Time { return time.Unix(clock.Load(), 0) }}}
		dcrtest.Vouched(&setup)
		s := dcrtest.Start(t, setup)
		client := s.Register(t, dcrtest.Registration(members{"grant_types": list{"client_credentials"}}))
		for _, row := range []struct {
			after  int64
			secret string
			status int
		}{{0, client.Secret(), 200}, {3599, client.Secret(), 200}, {3600, client.Secret(), 401}, {3600, "", 401}, {1e9, client.Secret(), 401}} {
			clock.Store(1_900_000_000 + row.after)
			answer := serviceLogin(t, s, client.ID(), row.secret)
			require.Equal(t, row.status, answer.Status, "after %d seconds: %s", row.after, answer.Body)
		}
	})
}
