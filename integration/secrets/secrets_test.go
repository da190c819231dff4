// Package secrets_test searches all that a server stores, answers, logs and prints for secrets.
package secrets_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

const (
	graceOfSecrets = time.Hour
	rotatedName    = "A client whose secret rotates"
	secretRedirect = "https://app.example/cb"
)

// handedOut are the members of answers that are secrets, and Location's parameters.
var handedOut = []string{"client_secret", "registration_access_token", "access_token", "refresh_token", "id_token", "request_uri", "code"}

// send sends a request and keeps the answer. A secret that is new in it is one that it hands
// out; of those that are known it may hold the given ones only.
func (s *watchedServer) send(t *testing.T, method, target string, body []byte, may []string, edits ...dcrtest.Edit) dcrtest.Answer {
	t.Helper()
	answer := s.Do(t, method, target, body, edits...)
	known := s.known()
	values := map[string]string{}
	for name := range answer.Members {
		values[name] = answer.Text(name)
	}
	if location, err := url.Parse(answer.Header.Get("Location")); err == nil && location.Query().Get("code") != "" {
		values["code"] = location.Query().Get("code")
	}
	hands := slices.Clone(may)
	for _, name := range handedOut {
		if value := values[name]; value != "" && known[value] == "" {
			s.secret(name, value)
			hands = append(hands, value)
		}
	}
	s.put(fmt.Sprintf("answer %d to %s %s", answer.Status, method, strings.SplitN(target, "?", 2)[0]),
		fmt.Sprintf("%v\n%s", answer.Header, answer.Body), hands...)
	return answer
}

func (s *watchedServer) form(t *testing.T, path string, form url.Values, edits ...dcrtest.Edit) dcrtest.Answer {
	t.Helper()
	edits = append([]dcrtest.Edit{dcrtest.Header("Content-Type", "application/x-www-form-urlencoded")}, edits...)
	return s.send(t, http.MethodPost, path, []byte(form.Encode()), nil, edits...)
}

func (s *watchedServer) json(t *testing.T, method, target, token string, may []string, body any) dcrtest.Answer {
	t.Helper()
	raw, ok := body.(string)
	if !ok {
		written, err := json.Marshal(body)
		require.NoError(t, err)
		raw = string(written)
	}
	return s.send(t, method, target, []byte(raw), may, dcrtest.Bearer(token), dcrtest.Header("Content-Type", "application/json"))
}

// mint makes an initial access token, which its return value alone shows.
func (s *watchedServer) mint(t *testing.T, uses int) string {
	t.Helper()
	token, record, err := s.Provider.MintInitialAccessToken(t.Context(), dcr.InitialAccessTokenRequest{Label: "a batch", Uses: uses})
	if err != nil { // the storage was told to fail
		s.printError("minting", err)
		return "none"
	}
	s.secret("initial access token", token)
	s.print("record of an initial access token", record, *record)
	return token
}

func secretMetadata(pairs ...any) map[string]any {
	metadata := map[string]any{
		"client_name": rotatedName, "redirect_uris": []string{secretRedirect},
		"grant_types": []string{"authorization_code", "refresh_token"}, "scope": "openid profile",
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		metadata[pairs[i].(string)] = pairs[i+1]
	}
	return metadata
}

// verifier makes a PKCE verifier, and the parameters of its challenge.
func (s *watchedServer) verifier() (string, []string) {
	verifier := rand.Text() + rand.Text()
	s.secret("code verifier", verifier)
	sum := sha256.Sum256([]byte(verifier))
	return verifier, []string{"code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]), "scope", "openid profile"}
}

// code takes a client through the authorization endpoint, or through that for pushed
// requests before.
func (s *watchedServer) code(t *testing.T, id string, credentials dcrtest.Edit, pushed bool) (form url.Values) {
	t.Helper()
	verifier, pairs := s.verifier()
	query := dcrtest.AuthorizeQuery(id, secretRedirect, pairs...)
	if pushed {
		query.Del("client_id")
		reference := s.form(t, "/oauth2/par", query, credentials).Text("request_uri")
		query = url.Values{"client_id": {id}, "request_uri": {reference}}
	}
	answer := s.send(t, http.MethodGet, "/oauth2/auth?"+query.Encode(), nil, nil)
	location, _ := url.Parse(answer.Header.Get("Location"))
	form = dcrtest.CodeForm("", location.Query().Get("code"), secretRedirect)
	form.Set("code_verifier", verifier)
	return form
}

// life takes clients through everything that makes secrets, as far as the storage lets it;
// a short one does nothing twice.
func (s *watchedServer) life(t *testing.T, short bool) (clients []dcrtest.Answer) {
	t.Helper()
	first := s.json(t, "POST", "/register", s.mint(t, 1), nil, secretMetadata())
	machine, key := s.machine(t)
	if first.Status != http.StatusCreated {
		return nil
	}
	token, secret := first.Token(), first.Secret()
	s.json(t, "GET", first.URI(), token, []string{token}, nil)
	rotated := s.json(t, "PUT", first.URI(), token, []string{token}, secretMetadata("client_id", first.ID(), "client_secret", secret))
	s.json(t, "GET", first.URI(), token, []string{token}, nil) // in its grace
	if rotated.Status == http.StatusOK {
		token, secret = rotated.Token(), rotated.Secret()
		s.json(t, "GET", first.URI(), token, []string{token}, nil)
	}
	for i, credentials := range []dcrtest.Edit{dcrtest.Basic(first.ID(), first.Secret()), dcrtest.Basic(first.ID(), secret)} {
		if short && i == 0 {
			continue
		}
		tokens := s.form(t, "/oauth2/token", s.code(t, first.ID(), credentials, i == 1), credentials)
		renewed := s.form(t, "/oauth2/token", dcrtest.RefreshForm("", tokens.Text("refresh_token")), credentials)
		s.form(t, "/oauth2/introspect", url.Values{"token": {renewed.Text("access_token")}}, credentials)
		s.form(t, "/oauth2/introspect", url.Values{"token": {token}}, credentials)
		s.form(t, "/oauth2/revoke", url.Values{"token": {renewed.Text("access_token")}}, credentials)
		s.form(t, "/oauth2/token", dcrtest.RefreshForm("", tokens.Text("refresh_token")), credentials) // used twice
	}
	if machine.Status == http.StatusCreated {
		s.assertions(t, machine, key, short)
	}
	return []dcrtest.Answer{{Status: 200, Members: map[string]any{
		"client_id": first.ID(), "client_secret": secret, "registration_access_token": token, "registration_client_uri": first.URI(),
	}}, machine}
}

// end takes the clients away, and has their secrets used once more.
func (s *watchedServer) end(t *testing.T, clients []dcrtest.Answer) {
	t.Helper()
	for _, client := range clients {
		if client.ID() == "" {
			continue
		}
		s.json(t, "DELETE", client.URI(), client.Token(), nil, nil)
		s.json(t, "GET", client.URI(), client.Token(), []string{client.Token()}, nil)
		s.form(t, "/oauth2/token", url.Values{"grant_type": {"refresh_token"}}, dcrtest.Basic(client.ID(), client.Secret()))
	}
}

// values prints what the API hands to a host that calls it.
func (s *watchedServer) values(t *testing.T) {
	t.Helper()
	request := func(method, path, token string, body any) *http.Request {
		written, err := json.Marshal(body)
		require.NoError(t, err)
		r := httptest.NewRequestWithContext(context.Background(), method, path, strings.NewReader(string(written)))
		r.Header = http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
		return r
	}
	ctx := t.Context()
	registration, err := s.Provider.NewRegistrationRequest(ctx, request("POST", "/register", s.mint(t, 1), secretMetadata("client_secret", "chosen")))
	require.NoError(t, err)
	information, err := s.Provider.NewRegistrationResponse(ctx, registration)
	require.NoError(t, err)
	s.secret("client_secret", information.ClientSecret)
	s.secret("registration_access_token", information.RegistrationAccessToken)
	s.print("registration request", registration, *registration)
	s.print("client information", information, *information)
	path := "/register/" + information.ClientID
	body := secretMetadata("client_id", information.ClientID, "client_secret", information.ClientSecret)
	management, err := s.Provider.NewManagementRequest(ctx, request("PUT", path, information.RegistrationAccessToken, body))
	require.NoError(t, err)
	response, err := s.Provider.NewManagementResponse(ctx, management)
	require.NoError(t, err)
	s.secret("client_secret", response.ClientSecret)
	s.secret("registration_access_token", response.RegistrationAccessToken)
	s.print("management request", management, *management)
	s.print("management response", response)
	client, err := s.Provider.FindClient(ctx, information.ClientID)
	require.NoError(t, err)
	page, err := s.Provider.ListClients(ctx, dcr.ClientFilter{}, "", 10)
	require.NoError(t, err)
	tokens, err := s.Provider.ListInitialAccessTokens(ctx, "", 10)
	require.NoError(t, err)
	s.print("client", client, *client, client.Metadata, client.Origin)
	// A list goes into JSON as it goes into a storage, and no method of its elements is asked.
	s.format("list", page, *page, page.Clients, tokens)
	_, err = s.Provider.NewRegistrationRequest(ctx, request("POST", "/register", information.RegistrationAccessToken, body))
	require.Error(t, err)
	s.printError("registration", err)
	_, err = s.Provider.NewManagementRequest(ctx, request("PUT", path, information.ClientSecret, body))
	require.Error(t, err)
	s.printError("management", err)
}

// TestSecretsAppearNowhere searches everything that a run logs, traces, counts, prints and
// answers for each secret that it made (T26).
func TestSecretsAppearNowhere(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"opaque", "jwt"} {
		t.Run("T26/"+kind, func(t *testing.T) {
			t.Parallel()
			s := startWatched(t, kind == "jwt")
			clients := s.life(t, false)
			require.Len(t, clients, 2)
			s.values(t)
			s.misuse(t, clients)
			s.end(t, clients)
			if kind == "opaque" { // in the storage they are alike
				s.faults(t)
			}
			s.collect(t)
			s.requireAllKinds(t)
			require.Empty(t, strings.Join(s.leaks(), "\n"))

			// The search can fail: with an answer that may not hand out what it does.
			for i := range s.outputs {
				s.outputs[i].hands = nil
			}
			require.NotEmpty(t, s.leaks())
		})
	}
}

// TestPartsPrintNoSecrets: what a value that prints without secrets is made of, and what it
// is part of, prints without them too (T26).
func TestPartsPrintNoSecrets(t *testing.T) {
	t.Parallel()
	record := dcr.RegistrationTokenRecord{Signature: "the signature of a registration access token"}
	rotated := dcr.RotatedSecret{Hash: []byte("the hash of a client secret of before")}
	information := &dcr.ClientInformation{ClientID: "ONE", ClientSecret: "the secret of a client", RegistrationAccessToken: "the registration access token"}
	for name, value := range map[string]any{
		"information":  information,
		"client_page":  &dcr.ClientPage{Clients: []*dcr.Client{{ID: "ONE", SecretHash: rotated.Hash, RegistrationToken: record}}},
		"token_record": record, "rotated_secret": rotated,
	} {
		t.Run("T26/"+name, func(t *testing.T) {
			t.Parallel()
			e := newEvidence()
			e.part("signature", record.Signature)
			e.part("hash", string(rotated.Hash))
			e.part("secret", information.ClientSecret)
			e.part("token", information.RegistrationAccessToken)
			e.print(name, value)
			e.format("list of "+name, []any{value})
			require.Empty(t, strings.Join(e.leaks(), "\n"))
		})
	}
}

// requireAllKinds: the run has made secrets of every kind, or the search shows little.
func (s *watchedServer) requireAllKinds(t *testing.T) {
	t.Helper()
	made := map[string]int{}
	for _, what := range s.known() {
		made[what]++
	}
	for what, least := range map[string]int{
		"client_secret": 4, "registration_access_token": 4, "initial access token": 4, "access_token": 4, "refresh_token": 4,
		"id_token": 2, "code": 2, "request_uri": 1, "code verifier": 2, "client assertion": 4, "software statement": 1,
		"hash of a client secret": 4, "hash of an initial access token": 4, "signature of a registration access token": 4,
		"signature of an access token": 4, "signature of a refresh token": 4, "signature of a code": 2,
	} {
		require.GreaterOrEqual(t, made[what], least, "%s: %v", what, made)
	}
}
