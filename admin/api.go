package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
)

// summary has the number of clients and tokens. Each number stops at CountedUpTo.
type summary struct {
	Clients   int `json:"clients"`
	NeverUsed int `json:"never_used"`
	// Expiring counts the clients that expiring_before finds: see the package comment.
	Expiring            int `json:"expired_or_expiring_within_an_hour"`
	InitialAccessTokens int `json:"initial_access_tokens"`
	CountedUpTo         int `json:"counted_up_to"`
}

const mostCounted = 10_000

func (a *admin) summary(ctx context.Context) (*summary, error) {
	s := &summary{CountedUpTo: mostCounted}
	for _, row := range []struct {
		number *int
		filter dcr.ClientFilter
	}{
		{&s.Clients, dcr.ClientFilter{}},
		{&s.NeverUsed, dcr.ClientFilter{NeverUsed: true}},
		{&s.Expiring, dcr.ClientFilter{ExpiringBefore: a.options.Now().Add(time.Hour)}},
	} {
		var err error
		if *row.number, err = a.provider.CountClients(ctx, row.filter, mostCounted); err != nil {
			return nil, err
		}
	}
	err := a.eachToken(ctx, "", mostCounted, func(*dcr.InitialAccessToken) { s.InitialAccessTokens++ })
	if err != nil && !errors.Is(err, dcr.ErrNotSupported) {
		return nil, err
	}
	return s, nil
}

func (a *admin) getSummary(w http.ResponseWriter, r *http.Request) error {
	s, err := a.summary(r.Context())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, s)
	return nil
}

// list returns the records that a request asks for.
func (a *admin) list(ctx context.Context, q *query) ([]*record, string, error) {
	page, err := a.provider.ListClients(ctx, q.filter, q.cursor, q.limit)
	if err != nil {
		return nil, "", err
	}
	records := make([]*record, len(page.Clients))
	for i, client := range page.Clients {
		records[i] = a.record(ctx, client)
	}
	return records, page.Next, nil
}

// record returns what is shown of a client in lists, which do not count equal names.
func (a *admin) record(ctx context.Context, client *dcr.Client) *record {
	d, _ := consent.Describe(ctx, uncounted{a.provider}, client) // nothing is counted, so nothing fails
	return newRecord(a.provider, client, d, a.options.Now())
}

// uncounted is a provider that says whom it trusts, and counts nothing.
type uncounted struct{ *dcr.Provider }

func (uncounted) CountClients(context.Context, dcr.ClientFilter, int) (int, error) {
	return 0, dcr.ErrNotSupported
}

func (a *admin) listClients(w http.ResponseWriter, r *http.Request) error {
	values, err := parameterValues(r)
	if err != nil {
		return err
	}
	q, err := readQuery(values)
	if err != nil {
		return err
	}
	clients, next, err := a.list(r.Context(), q)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		Clients []*record `json:"clients"`
		Next    string    `json:"next,omitempty"`
	}{clients, next})
	return nil
}

// parameterValues returns the query parameters. A query that can't be parsed is refused.
func parameterValues(r *http.Request) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("The query of the URL is not valid.")
	}
	return values, nil
}

func (a *admin) getClient(w http.ResponseWriter, r *http.Request) error {
	client, err := a.find(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, client)
	return nil
}

// change is an action of the API that changes one client.
func (a *admin) change(c clientChange) action {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := c.do(a.provider, r.Context(), r.PathValue("id")); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
}

// tokenList returns up to limit initial access tokens that follow after, and the next value of
// after if there are more.
func (a *admin) tokenList(ctx context.Context, after string, limit int) (tokens []token, next string, err error) {
	tokens = []token{}
	err = a.eachToken(ctx, after, limit+1, func(record *dcr.InitialAccessToken) {
		if len(tokens) == limit {
			next = tokens[limit-1].ID
			return
		}
		tokens = append(tokens, newToken(record, a.options.Now()))
	})
	return tokens, next, err
}

// eachToken calls visit with up to most records of initial access tokens. The provider returns
// them in parts.
func (a *admin) eachToken(ctx context.Context, after string, most int, visit func(*dcr.InitialAccessToken)) error {
	for most > 0 {
		limit := min(most, mostListed)
		page, err := a.provider.ListInitialAccessTokens(ctx, after, limit)
		if err != nil {
			return err
		}
		for _, record := range page {
			visit(record)
			after = record.ID
		}
		if len(page) < limit {
			return nil
		}
		most -= limit
	}
	return nil
}

// readPage returns the parameters of a list that is ordered by identifier.
func readPage(r *http.Request) (after string, limit int, err error) {
	values, err := parameterValues(r)
	if err != nil {
		return "", 0, err
	}
	limit = 50
	for name, given := range values {
		switch {
		case name != "after" && name != "limit":
			return "", 0, unknownParameter(name)
		case len(given) != 1:
			return "", 0, repeatedParameter(name)
		case name == "limit" && given[0] != "":
			var phrase string
			if limit, phrase = readLimit(given[0]); phrase != "" {
				return "", 0, badRequest("limit " + phrase + ".")
			}
		}
	}
	return values.Get("after"), limit, nil
}

func (a *admin) listTokens(w http.ResponseWriter, r *http.Request) error {
	after, limit, err := readPage(r)
	if err != nil {
		return err
	}
	tokens, next, err := a.tokenList(r.Context(), after, limit)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		Tokens []token `json:"initial_access_tokens"`
		Next   string  `json:"next,omitempty"`
	}{tokens, next})
	return nil
}

// minting is the request to mint an initial access token.
type minting struct {
	Label           string   `json:"label"`
	Subject         string   `json:"subject"`
	Policy          string   `json:"policy"`
	GrantTypes      []string `json:"grant_types"`
	Uses            int      `json:"uses"`
	LifetimeSeconds int64    `json:"lifetime_seconds"`
}

const longestLifetime = 100 * 365 * 24 * time.Hour

// mint mints a token. An error names the parameter that is wrong.
func (a *admin) mint(ctx context.Context, m *minting) (string, token, error) {
	for name, value := range map[string]string{"label": m.Label, "subject": m.Subject} {
		if len(value) > 200 || strings.ContainsFunc(value, unicode.IsControl) {
			return "", token{}, badRequest(name + " is longer than 200 bytes or has control characters.")
		}
	}
	switch {
	case m.Policy != "" && !slices.Contains(a.provider.NamedPolicies(), m.Policy):
		return "", token{}, badRequest("policy is not the name of a policy of this server.")
	case m.Uses < 0:
		return "", token{}, badRequest("uses is less than zero.")
	case m.LifetimeSeconds < 0 || m.LifetimeSeconds > int64(longestLifetime/time.Second):
		return "", token{}, badRequest("lifetime_seconds is less than zero or longer than 100 years.")
	}
	secret, record, err := a.provider.MintInitialAccessToken(ctx, dcr.InitialAccessTokenRequest{
		Label: m.Label, Subject: m.Subject, Policy: m.Policy, GrantTypes: m.GrantTypes,
		Uses: m.Uses, Lifetime: time.Duration(m.LifetimeSeconds) * time.Second,
	})
	if err != nil {
		return "", token{}, err
	}
	return secret, newToken(record, a.options.Now()), nil
}

func (a *admin) mintToken(w http.ResponseWriter, r *http.Request) error {
	var m minting
	if err := readJSON(r, &m); err != nil {
		return err
	}
	secret, record, err := a.mint(r.Context(), &m)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, struct {
		Token  string `json:"token"`
		Record token  `json:"initial_access_token"`
	}{secret, record})
	return nil
}

// readJSON reads one JSON object into target. A member that target does not have is refused.
func readJSON(r *http.Request, target any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return &refusal{http.StatusUnsupportedMediaType, "invalid_request", "The media type of the request body must be application/json."}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return badBody(err)
	}
	notObject := badRequest("The request body is not one JSON object.")
	if body = bytes.TrimSpace(body); len(body) == 0 || body[0] != '{' || !json.Valid(body) {
		return notObject
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(target)
	var wrongType *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return badRequest(wrongType.Field + " has the wrong type.")
	case strings.HasPrefix(err.Error(), "json: unknown field "):
		name, _ := strconv.Unquote(strings.TrimPrefix(err.Error(), "json: unknown field "))
		return badRequest(printable(name) + " is not a parameter of this request.")
	}
	return notObject
}

// badBody returns the answer to a request whose body can't be read.
func badBody(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &refusal{http.StatusRequestEntityTooLarge, "invalid_request", "The request body is too large."}
	}
	return badRequest("The request body cannot be read.")
}

func (a *admin) revokeToken(w http.ResponseWriter, r *http.Request) error {
	if err := a.provider.RevokeInitialAccessToken(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *admin) sweep(w http.ResponseWriter, r *http.Request) error {
	removed, err := a.provider.Sweep(r.Context())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		Removed int `json:"removed"`
	}{removed})
	return nil
}

func (a *admin) listEvents(w http.ResponseWriter, r *http.Request) error {
	events, _, err := a.latest(r.Context())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		HistoryKept bool    `json:"history_kept"`
		Events      []Entry `json:"events"`
	}{a.options.History != nil, events})
	return nil
}
