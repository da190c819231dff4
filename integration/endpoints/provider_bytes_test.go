package endpoints_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// textStore fails as PostgreSQL does on text that is none: NUL, and invalid UTF-8. It counts what it was asked.
type textStore struct {
	*dcr.MemoryStore
	asked, failed atomic.Int64
}

func (s *textStore) check(text string) error {
	s.asked.Add(1)
	if strings.Contains(text, "\x00") || !utf8.ValidString(text) || len(text) > 1<<15 {
		s.failed.Add(1)
		return errors.New("ERROR: invalid byte sequence for encoding \"UTF8\" (SQLSTATE 22021)")
	}
	return nil
}

func (s *textStore) GetClient(ctx context.Context, id string) (fosite.Client, error) {
	if err := s.check(id); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetClient(ctx, id)
}

func (s *textStore) GetDynamicClient(ctx context.Context, id string) (*dcr.Client, error) {
	if err := s.check(id); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetDynamicClient(ctx, id)
}

func (s *textStore) ClientAssertionJWTValid(ctx context.Context, jti string) error {
	if err := s.check(jti); err != nil {
		return err
	}
	return s.MemoryStore.ClientAssertionJWTValid(ctx, jti)
}

func (s *textStore) SetClientAssertionJWT(ctx context.Context, jti string, exp time.Time) error {
	if err := s.check(jti); err != nil {
		return err
	}
	return s.MemoryStore.SetClientAssertionJWT(ctx, jti, exp)
}

func (s *textStore) GetAccessTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	if err := s.check(signature); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetAccessTokenSession(ctx, signature, session)
}

func (s *textStore) GetRefreshTokenSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	if err := s.check(signature); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetRefreshTokenSession(ctx, signature, session)
}

func (s *textStore) GetAuthorizeCodeSession(ctx context.Context, code string, session fosite.Session) (fosite.Requester, error) {
	if err := s.check(code); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetAuthorizeCodeSession(ctx, code, session)
}

func (s *textStore) GetPKCERequestSession(ctx context.Context, signature string, session fosite.Session) (fosite.Requester, error) {
	if err := s.check(signature); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetPKCERequestSession(ctx, signature, session)
}

func (s *textStore) GetOpenIDConnectSession(ctx context.Context, code string, request fosite.Requester) (fosite.Requester, error) {
	if err := s.check(code); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetOpenIDConnectSession(ctx, code, request)
}

func (s *textStore) GetPARSession(ctx context.Context, uri string) (fosite.AuthorizeRequester, error) {
	if err := s.check(uri); err != nil {
		return nil, err
	}
	return s.MemoryStore.GetPARSession(ctx, uri)
}

// impossible are texts that can be nothing which a storage knows. A signature follows the dot.
var impossible = map[string]string{
	"nul": "a.b\x00c", "invalid_utf8": "a.b\xff", "control": "a.b\x07c", "long": "a." + strings.Repeat("b", 100_000),
}

func TestTextThatIsNoIdentifier(t *testing.T) {
	t.Parallel()
	rs, credentials := dcrtest.ResourceServer(t)
	store := &textStore{MemoryStore: dcr.NewMemoryStore()}
	store.AddClient(rs)
	s := dcrtest.Start(t, dcrtest.Setup{Storage: store})
	client := dcrtest.RegisterFor(t, s, "client_secret_basic")
	basic := dcrtest.Basic(client.ID(), client.Secret())
	prefix := "urn:ietf:params:oauth:request_uri:"
	type row struct {
		path   string
		form   url.Values
		edits  []dcrtest.Edit
		status int
		code   string
	}
	for kind, text := range impossible {
		assertion := "x." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"\u0000","aud":"`+s.URL+`","exp":9999999999,"jti":"x"}`)) + ".x"
		rows := map[string]row{
			"token/basic":         {"token", dcrtest.RefreshForm("", "x"), []dcrtest.Edit{dcrtest.Basic(url.QueryEscape(text), "x")}, 401, "invalid_client"},
			"token/post":          {"token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"x"}, "client_id": {text}, "client_secret": {"x"}}, nil, 401, "invalid_client"},
			"token/public":        {"token", dcrtest.RefreshForm(text, "x"), nil, 401, "invalid_client"},
			"token/assertion":     {"token", dcrtest.WithAssertion(dcrtest.RefreshForm("", "x"), assertion), nil, 401, "invalid_client"},
			"token/signed":        {"token", dcrtest.WithAssertion(dcrtest.RefreshForm("", "x"), dcrtest.SignES256(t, dcrtest.AssertionClaims(text, s.URL))), nil, 401, "invalid_client"},
			"token/jti":           {"token", dcrtest.WithAssertion(dcrtest.RefreshForm("", "x"), dcrtest.SignES256(t, dcrtest.AssertionClaims(client.ID(), s.URL, "jti", text))), nil, 401, "invalid_client"},
			"token/refresh":       {"token", dcrtest.RefreshForm("", text), []dcrtest.Edit{basic}, 400, "invalid_grant"},
			"token/code":          {"token", dcrtest.CodeForm("", text, dcrtest.RedirectURI), []dcrtest.Edit{basic}, 400, "invalid_grant"},
			"par":                 {"par", dcrtest.AuthorizeQuery(text[:min(len(text), 3000)], dcrtest.RedirectURI), nil, 401, "invalid_client"},
			"revocation":          {"revoke", url.Values{"token": {text}}, []dcrtest.Edit{basic}, 200, ""},
			"revocation/client":   {"revoke", url.Values{"token": {"x"}, "client_id": {text}}, nil, 401, "invalid_client"},
			"introspection":       {"introspect", url.Values{"token": {text}}, []dcrtest.Edit{basic}, 200, ""},
			"introspection/hint":  {"introspect", url.Values{"token": {text}, "token_type_hint": {"refresh_token"}}, []dcrtest.Edit{credentials}, 200, ""},
			"introspection/basic": {"introspect", url.Values{"token": {"x"}}, []dcrtest.Edit{dcrtest.Basic(url.QueryEscape(text), "x")}, 401, "invalid_client"},
			"introspection/form":  {"introspect", url.Values{"token": {"x"}, "access_token": {text}}, nil, 401, "invalid_client"},
		}
		for name, row := range rows {
			t.Run("AUTH-12/"+kind+"/"+name, func(t *testing.T) {
				t.Parallel() // T60
				answer := s.Form(t, "/oauth2/"+row.path, row.form, row.edits...)
				dcrtest.RequireTokenError(t, answer, row.status, row.code)
			})
		}
		if kind == "long" {
			text = text[:5000] // a query has at most 32 KB
		}
		for name, query := range map[string]url.Values{
			"client":      dcrtest.AuthorizeQuery(text, dcrtest.RedirectURI),
			"request_uri": {"client_id": {client.ID()}, "request_uri": {prefix + text}},
		} {
			t.Run("AUTH-12/"+kind+"/authorization/"+name, func(t *testing.T) {
				t.Parallel()
				page := s.Authorize(t, query)
				require.Contains(t, []int{http.StatusUnauthorized, http.StatusBadRequest}, page.Status, page.Body)
				require.Contains(t, []string{"invalid_client", "invalid_request_uri", "invalid_request"}, errorOf(page))
				require.Empty(t, page.Header.Get("Location"))
			})
		}
		t.Run("AUTH-12/"+kind+"/management", func(t *testing.T) {
			t.Parallel()
			dcrtest.RequireUniformRefusal(t, s.Do(t, "GET", "/register/"+url.PathEscape(text), nil, dcrtest.Bearer(client.Token())))
		})
		t.Run("AUTH-12/"+kind+"/in_process", func(t *testing.T) {
			t.Parallel()
			for _, use := range []fosite.TokenUse{fosite.AccessToken, fosite.RefreshToken} {
				_, _, err := s.Provider.IntrospectToken(t.Context(), text+strings.Repeat("b", 16<<10), use, dcrtest.NewSession(""))
				require.ErrorIs(t, err, fosite.ErrRequestUnauthorized)
			}
		})
	}
	for _, target := range []string{"/oauth2/introspect", "/register/" + client.ID()} {
		t.Run("AUTH-12/bearer"+target, func(t *testing.T) {
			t.Parallel() // a header may have such bytes, but no NUL
			answer := s.Do(t, "POST", target, []byte("token=x"), dcrtest.Bearer("a.b\xff"), dcrtest.Header("Content-Type", "application/x-www-form-urlencoded"))
			require.Contains(t, []int{http.StatusUnauthorized, http.StatusMethodNotAllowed}, answer.Status, answer.Body)
		})
	}
	t.Cleanup(func() { // after all subtests
		require.Zero(t, store.failed.Load(), "the storage has seen what can be no identifier")
		require.Positive(t, store.asked.Load())
	})
}
