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

// summary counts, and no further than to Most.
type summary struct {
	Clients   int `json:"clients"`
	NeverUsed int `json:"never_used"`
	// Ending counts what expiring_before finds: see the package comment.
	Ending              int `json:"ended_or_ending_within_an_hour_unless_used"`
	InitialAccessTokens int `json:"initial_access_tokens"`
	Most                int `json:"most"`
}

const mostCounted = 10_000

func (a *admin) summary(ctx context.Context) (*summary, error) {
	s := &summary{Most: mostCounted}
	for _, row := range []struct {
		place  *int
		filter dcr.ClientFilter
	}{
		{&s.Clients, dcr.ClientFilter{}},
		{&s.NeverUsed, dcr.ClientFilter{NeverUsed: true}},
		{&s.Ending, dcr.ClientFilter{ExpiringBefore: a.options.Now().Add(time.Hour)}},
	} {
		var err error
		if *row.place, err = a.provider.CountClients(ctx, row.filter, mostCounted); err != nil {
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

// record returns what is shown of a client where names are not counted.
func (a *admin) record(ctx context.Context, client *dcr.Client) *record {
	d, _ := consent.Describe(ctx, nil, client) // nothing is counted, so nothing fails
	return newRecord(a.provider, client, d, a.options.Now())
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

// parameterValues returns the query, unless part of it can't be read.
func parameterValues(r *http.Request) (url.Values, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("The query can not be read.")
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

// tokenList returns the records of a part of the initial access tokens, and the
// identifier to go on after where there are more.
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

// eachToken visits up to most records of initial access tokens. The provider returns them
// by parts.
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

func (a *admin) listTokens(w http.ResponseWriter, r *http.Request) error {
	values, err := parameterValues(r)
	if err != nil {
		return err
	}
	limit := 50
	for name, given := range values {
		switch {
		case name != "after" && name != "limit":
			return badRequest(printable(name) + " is no parameter of this list.")
		case len(given) != 1:
			return badRequest(name + " is there more than once.")
		case name == "limit" && given[0] != "":
			if limit, err = strconv.Atoi(given[0]); err != nil || limit < 1 || limit > mostListed {
				return badRequest("limit is no number from 1 to 1000.")
			}
		}
	}
	tokens, next, err := a.tokenList(r.Context(), values.Get("after"), limit)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		Tokens []token `json:"initial_access_tokens"`
		Next   string  `json:"next,omitempty"`
	}{tokens, next})
	return nil
}

// minting is what to mint.
type minting struct {
	Label           string   `json:"label"`
	Subject         string   `json:"subject"`
	Policy          string   `json:"policy"`
	GrantTypes      []string `json:"grant_types"`
	Uses            int      `json:"uses"`
	LifetimeSeconds int64    `json:"lifetime_seconds"`
}

const longestLifetime = 100 * 365 * 24 * time.Hour

// mint makes a token, and names the parameter where it can't.
func (a *admin) mint(ctx context.Context, m *minting) (string, token, error) {
	for name, value := range map[string]string{"label": m.Label, "subject": m.Subject} {
		if len(value) > 200 || strings.ContainsFunc(value, unicode.IsControl) {
			return "", token{}, badRequest(name + " is longer than 200 bytes, or has control characters.")
		}
	}
	switch {
	case m.Policy != "" && !slices.Contains(a.provider.NamedPolicies(), m.Policy):
		return "", token{}, badRequest("policy is not one that this server has.")
	case m.Uses < 0:
		return "", token{}, badRequest("uses is below zero.")
	case m.LifetimeSeconds < 0 || m.LifetimeSeconds > int64(longestLifetime/time.Second):
		return "", token{}, badRequest("lifetime_seconds is below zero or more than a hundred years.")
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

// readJSON reads one object with no members but those of the target.
func readJSON(r *http.Request, target any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return &refusal{http.StatusUnsupportedMediaType, "invalid_request", "The request body has to be application/json."}
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
		return badRequest(wrongType.Field + " has not the right type.")
	case strings.HasPrefix(err.Error(), "json: unknown field "):
		name, _ := strconv.Unquote(strings.TrimPrefix(err.Error(), "json: unknown field "))
		return badRequest(printable(name) + " is no parameter of this request.")
	}
	return notObject
}

// badBody is what to answer where a body can't be read.
func badBody(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &refusal{http.StatusRequestEntityTooLarge, "invalid_request", "The request body is too large."}
	}
	return badRequest("The request body can not be read.")
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
	events, err := a.others(r.Context())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		HistoryKept bool    `json:"history_kept"`
		Events      []Entry `json:"events"`
	}{a.options.History != nil, events})
	return nil
}
