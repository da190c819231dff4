package access_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// ruled is a server with an access rule.
func ruled(t *testing.T, rule dcr.Access) (*dcrtest.Server, *dcrtest.Events) {
	t.Helper()
	return dcrtest.StartClosed(t, func(setup *dcrtest.Setup) { setup.Config.Access = rule }, "dcr:register", "profile")
}

// originOf is who registered a client.
func originOf(t *testing.T, s *dcrtest.Server, client dcrtest.Answer) dcr.Registrant {
	t.Helper()
	record, err := s.Store.GetDynamicClient(context.Background(), client.ID())
	require.NoError(t, err)
	return record.Origin
}

func TestOpen(t *testing.T) {
	t.Parallel()
	s, _ := ruled(t, dcr.Open())
	for name, edit := range map[string]dcrtest.Edit{
		"anonymous": func(*http.Request) {}, "wrong_token": dcrtest.Bearer("x"),
		"cross_site": dcrtest.Header("Sec-Fetch-Site", "cross-site"),
	} {
		t.Run("7591-3-05/"+name, func(t *testing.T) {
			t.Parallel()
			client := s.Register(t, dcrtest.PlainRegistration, edit)
			require.Equal(t, dcr.Registrant{Kind: "open", Anonymous: true}, originOf(t, s, client))
		})
	}
}

// cookieUser knows who is signed in by a cookie.
func cookieUser(r *http.Request) (string, error) {
	cookie, err := r.Cookie("session")
	if err != nil {
		return "", nil
	}
	switch cookie.Value {
	case "broken":
		return "", errors.New("session store at 10.0.0.7 is gone")
	case "down":
		return "", fmt.Errorf("session store: %w", dcr.ErrUnavailable)
	case "banned":
		return "", dcr.ErrAccessDenied
	}
	return cookie.Value, nil
}

func TestSignedIn(t *testing.T) {
	t.Parallel()
	trusting := http.NewCrossOriginProtection()
	require.NoError(t, trusting.AddTrustedOrigin("https://console.example"))
	site := func(value string) dcrtest.Edit { return dcrtest.Header("Sec-Fetch-Site", value) }
	origin := func(value string) dcrtest.Edit { return dcrtest.Header("Origin", value) }
	none := func(*http.Request) {}
	for _, row := range []struct {
		name       string
		session    string
		edit       dcrtest.Edit
		protection *http.CrossOriginProtection
		status     int
		code       string
	}{
		{"no_browser", "alice", none, nil, 201, ""},
		{"same_origin", "alice", site("same-origin"), nil, 201, ""},
		{"address_bar", "alice", site("none"), nil, 201, ""},
		{"trusted_origin", "alice", func(r *http.Request) { site("cross-site")(r); origin("https://console.example")(r) }, trusting, 201, ""},
		{"cross_site", "alice", site("cross-site"), nil, 403, "access_denied"},
		{"same_site", "alice", site("same-site"), nil, 403, "access_denied"},
		{"other_origin", "alice", origin("https://evil.example"), nil, 403, "access_denied"},
		{"null_origin", "alice", origin("null"), nil, 403, "access_denied"},
		{"not_trusted_origin", "alice", func(r *http.Request) { site("cross-site")(r); origin("https://evil.example")(r) }, trusting, 403, "access_denied"},
		{"nobody", "", none, nil, 401, "invalid_token"},
		{"nobody_cross_site", "", site("cross-site"), nil, 401, "invalid_token"},
		{"error", "broken", none, nil, 500, "server_error"},
		{"unavailable", "down", none, nil, 503, "temporarily_unavailable"},
		{"protocol_error", "banned", none, nil, 403, "access_denied"},
	} {
		t.Run("7591-3-07/T22/"+row.name, func(t *testing.T) {
			t.Parallel()
			s, events := ruled(t, dcr.SignedIn(cookieUser, row.protection))
			edit := func(r *http.Request) {
				row.edit(r)
				if row.session != "" {
					r.AddCookie(&http.Cookie{Name: "session", Value: row.session})
				}
			}
			answer := s.Post(t, dcrtest.PlainRegistration, edit)
			if row.status == http.StatusCreated {
				require.Equal(t, row.status, answer.Status, answer.Body)
				require.Equal(t, dcr.Registrant{Kind: "signed_in", Subject: row.session}, originOf(t, s, answer))
				return
			}
			dcrtest.RequireRefusal(t, answer, row.status, row.code)
			require.NotContains(t, answer.Body, "10.0.0.7")
			requireNoneRegistered(t, events)
		})
	}
	t.Run("7591-3-07/own_origin", func(t *testing.T) {
		t.Parallel()
		s, _ := ruled(t, dcr.SignedIn(cookieUser, nil))
		s.Register(t, dcrtest.PlainRegistration, dcrtest.Header("Origin", s.URL), dcrtest.Header("Cookie", "session=alice"))
	})
}

func TestAnyOf(t *testing.T) {
	t.Parallel()
	says := func(kind string, err error) dcr.Access {
		return dcr.AccessFunc(func(context.Context, *http.Request) (*dcr.Registrant, error) {
			if err != nil {
				return nil, err
			}
			return &dcr.Registrant{Kind: kind}, nil
		})
	}
	silent := dcr.AccessFunc(func(context.Context, *http.Request) (*dcr.Registrant, error) { return nil, nil })
	token, denied, broken := says("", dcr.ErrMissingToken), says("", dcr.ErrAccessDenied), says("", errors.New("disk on fire"))
	for _, row := range []struct {
		name   string
		rule   dcr.Access
		edit   dcrtest.Edit
		status int
		want   string // the code of the refusal or the kind of the registrant
	}{
		{"nothing", dcr.AnyOf(), nil, 403, "access_denied"},
		{"silent", dcr.AnyOf(silent, silent), nil, 403, "access_denied"},
		{"first_counts", dcr.AnyOf(says("a", nil), says("b", nil)), nil, 201, "a"},
		{"second_lets", dcr.AnyOf(token, says("b", nil)), nil, 201, "b"},
		{"refused_then_let", dcr.AnyOf(denied, says("b", nil)), nil, 201, "b"},
		{"broken_then_let", dcr.AnyOf(broken, says("b", nil)), nil, 500, "server_error"},
		{"open_for_strangers", dcr.AnyOf(dcr.AccessToken(), dcr.SignedIn(cookieUser, nil), dcr.Open()), nil, 201, "open"},
		{"open_for_other_origins", dcr.AnyOf(dcr.SignedIn(cookieUser, nil), dcr.Open()), dcrtest.Header("Sec-Fetch-Site", "cross-site"), 201, "open"},
		{"open_not_for_wrong_tokens", dcr.AnyOf(dcr.AccessToken(), dcr.SignedIn(cookieUser, nil), dcr.Open()), dcrtest.Bearer("x"), 401, "invalid_token"},
		{"open_not_for_cross_site_users", dcr.AnyOf(dcr.SignedIn(cookieUser, nil), dcr.Open()),
			func(r *http.Request) {
				r.Header.Set("Cookie", "session=alice")
				r.Header.Set("Sec-Fetch-Site", "cross-site")
			}, 403, "access_denied"},
		{"open_not_for_refused_inside", dcr.AnyOf(denied, dcr.AnyOf(dcr.Open())), nil, 403, "access_denied"},
		{"open_not_for_silence", dcr.AnyOf(silent, dcr.Open()), nil, 403, "access_denied"},
		{"open_for_missing_of_the_host", dcr.AnyOf(says("", dcr.ErrMissingToken.WithWrap(http.ErrNoCookie)), dcr.Open()), nil, 201, "open"},
		{"open_not_for_failures", dcr.AnyOf(dcr.SignedIn(cookieUser, nil), dcr.Open()), dcrtest.Header("Cookie", "session=broken"), 500, "server_error"},
		{"silent_then_let", dcr.AnyOf(silent, says("b", nil)), nil, 201, "b"},
		{"all_miss_a_token", dcr.AnyOf(token, dcr.AccessToken(), token), nil, 401, "invalid_token"},
		{"missing_then_denied", dcr.AnyOf(token, denied), nil, 403, "access_denied"},
		{"denied_then_missing", dcr.AnyOf(denied, token), nil, 403, "access_denied"},
		{"missing_then_broken", dcr.AnyOf(token, broken), nil, 500, "server_error"},
		{"first_answer_of_several", dcr.AnyOf(token, says("", dcr.ErrInsufficientScope), denied), nil, 403, "insufficient_scope"},
		{"wrong_token_or_nobody", dcr.AnyOf(dcr.AccessToken(), dcr.SignedIn(cookieUser, nil)), dcrtest.Bearer("x"), 401, "invalid_token"},
		{"token_or_user", dcr.AnyOf(dcr.AccessToken(), dcr.SignedIn(cookieUser, nil)), dcrtest.Header("Cookie", "session=alice"), 201, "signed_in"},
		{"token_or_cross_site_user", dcr.AnyOf(dcr.AccessToken(), dcr.SignedIn(cookieUser, nil)),
			func(r *http.Request) {
				r.Header.Set("Cookie", "session=alice")
				r.Header.Set("Sec-Fetch-Site", "cross-site")
			}, 403, "access_denied"},
		{"nested", dcr.AnyOf(dcr.AnyOf(token), dcr.AnyOf(denied, says("deep", nil))), nil, 201, "deep"},
	} {
		t.Run("7591-3-04/any_of/"+row.name, func(t *testing.T) {
			t.Parallel()
			s, events := ruled(t, row.rule)
			var edits []dcrtest.Edit
			if row.edit != nil {
				edits = append(edits, row.edit)
			}
			answer := s.Post(t, dcrtest.PlainRegistration, edits...)
			if row.status == http.StatusCreated {
				require.Equal(t, row.status, answer.Status, answer.Body)
				require.Equal(t, row.want, originOf(t, s, answer).Kind)
				return
			}
			dcrtest.RequireRefusal(t, answer, row.status, row.want)
			requireNoneRegistered(t, events)
		})
	}
}

func TestAnyOfWithTokens(t *testing.T) {
	t.Parallel()
	t.Run("7591-3-04/any_of/nested_token", func(t *testing.T) {
		t.Parallel()
		s, _ := ruled(t, dcr.AnyOf(dcr.AnyOf(dcr.SignedIn(cookieUser, nil), dcr.AccessToken())))
		requireAskedForToken(t, s.Post(t, dcrtest.PlainRegistration))
		client := s.Register(t, dcrtest.PlainRegistration, dcrtest.Bearer(serviceToken(t, s, "dcr:register")))
		require.Equal(t, "access_token", originOf(t, s, client).Kind)
	})
}

func TestOwnAccessRule(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name      string
		err       error
		status    int
		code      string
		challenge string
	}{
		{"missing_token", dcr.ErrMissingToken, 401, "invalid_token", "Bearer"},
		{"missing_token_described", dcr.ErrMissingToken.WithDescription("Ask the desk."), 401, "invalid_token", "Bearer"},
		{"invalid_token", dcr.ErrInvalidToken, 401, "invalid_token", `Bearer error="invalid_token"`},
		{"invalid_token_wrapped", fmt.Errorf("denied: %w", dcr.ErrInvalidToken), 401, "invalid_token", `Bearer error="invalid_token"`},
		{"insufficient_scope", dcr.ErrInsufficientScope, 403, "insufficient_scope", `Bearer error="insufficient_scope"`},
		{"access_denied", dcr.ErrAccessDenied, 403, "access_denied", ""},
		{"error_of_its_own", &fosite.RFC6749Error{ErrorField: "teapot", DescriptionField: "Short and stout.", CodeField: 418}, 418, "teapot", ""},
		{"hostile_description", dcr.ErrAccessDenied.WithDescription("Say \"no\" to C:\\ \r\nSet-Cookie: a=b \x00\x7f ü \u202e."), 403, "access_denied", ""},
		{"fosite_error", fosite.ErrRequestForbidden, 403, "request_forbidden", ""},
		{"unknown_error", errors.New("ldap at 10.0.0.7 is gone"), 500, "server_error", ""},
		{"not_found", fosite.ErrNotFound, 500, "server_error", ""},
		{"context", context.DeadlineExceeded, 500, "server_error", ""},
		{"unavailable", fmt.Errorf("ldap at 10.0.0.7: %w", dcr.ErrUnavailable), 503, "temporarily_unavailable", ""},
		{"nobody_and_no_error", nil, 403, "access_denied", ""},
	} {
		t.Run("7591-3-04/own_rule/"+row.name, func(t *testing.T) {
			t.Parallel()
			s, events := ruled(t, dcr.AccessFunc(func(context.Context, *http.Request) (*dcr.Registrant, error) { return nil, row.err }))
			answer := s.Post(t, dcrtest.PlainRegistration)
			dcrtest.RequireRefusal(t, answer, row.status, row.code)
			require.Equal(t, row.challenge, answer.Header.Get("WWW-Authenticate"))
			require.NotContains(t, answer.Body, "10.0.0.7")
			dcrtest.RequireRetryAfter(t, answer)
			requireNoneRegistered(t, events)
		})
	}
	t.Run("7591-3-04/own_rule/both", func(t *testing.T) {
		t.Parallel()
		s, events := ruled(t, dcr.AccessFunc(func(context.Context, *http.Request) (*dcr.Registrant, error) {
			return &dcr.Registrant{}, dcr.ErrAccessDenied
		}))
		dcrtest.RequireRefusal(t, s.Post(t, dcrtest.PlainRegistration), http.StatusForbidden, "access_denied")
		requireNoneRegistered(t, events)
	})
}

func TestRegistrantBounds(t *testing.T) {
	t.Parallel()
	bounded := func(*http.Request) *dcr.Registrant {
		return &dcr.Registrant{Kind: "kiosk", Subject: "desk", GrantTypes: []string{"authorization_code", "client_credentials"}}
	}
	s, _ := ruled(t, dcr.AccessFunc(func(_ context.Context, r *http.Request) (*dcr.Registrant, error) { return bounded(r), nil }))
	everything := dcrtest.Registration(map[string]any{"grant_types": []string{"authorization_code", "refresh_token", "client_credentials"}})
	t.Run("T08/GRANT-01/registration", func(t *testing.T) {
		t.Parallel()
		client := s.Register(t, everything)
		dcrtest.RequireMembers(t, client, map[string]any{"grant_types": []string{"authorization_code", "client_credentials"}})
		require.Equal(t, *bounded(nil), originOf(t, s, client))
	})
	t.Run("T08/GRANT-01/nothing_remains", func(t *testing.T) {
		t.Parallel()
		answer := s.Post(t, dcrtest.Registration(map[string]any{"grant_types": []string{"refresh_token"}}))
		dcrtest.RequireRefusal(t, answer, http.StatusBadRequest, dcrtest.BadMetadata, "grant_types")
	})
	t.Run("T08/IAT-02/update", func(t *testing.T) {
		t.Parallel()
		client := s.Register(t, dcrtest.PlainRegistration)
		everything := dcrtest.Registration(map[string]any{"client_id": client.ID(), "grant_types": everything["grant_types"]})
		updated := s.Manage(t, http.MethodPut, client, everything)
		require.Equal(t, http.StatusOK, updated.Status, updated.Body)
		dcrtest.RequireMembers(t, updated, map[string]any{"grant_types": []string{"authorization_code", "client_credentials"}})
		require.Equal(t, *bounded(nil), originOf(t, s, client))
		refused := s.Manage(t, http.MethodPut, updated, dcrtest.Registration(map[string]any{"client_id": client.ID(), "grant_types": []string{"refresh_token"}}))
		dcrtest.RequireRefusal(t, refused, http.StatusBadRequest, dcrtest.BadMetadata, "grant_types")
	})
	t.Run("T08/T56/anonymous_update", func(t *testing.T) {
		t.Parallel()
		open, _ := ruled(t, dcr.Open())
		client := open.Register(t, dcrtest.PlainRegistration)
		updated := open.Manage(t, http.MethodPut, client, dcrtest.Registration(map[string]any{
			"client_id": client.ID(), "grant_types": []string{"authorization_code", "client_credentials"},
		}))
		require.Equal(t, http.StatusOK, updated.Status, updated.Body)
		dcrtest.RequireMembers(t, updated, map[string]any{"grant_types": []string{"authorization_code"}})
		refused := open.Manage(t, http.MethodPut, updated, dcrtest.Registration(map[string]any{
			"client_id": client.ID(), "grant_types": []string{"client_credentials"}, "response_types": []string{},
		}))
		dcrtest.RequireRefusal(t, refused, http.StatusBadRequest, dcrtest.BadMetadata, "grant_types")
		require.True(t, originOf(t, open, client).Anonymous)
	})
}
