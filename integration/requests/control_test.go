package requests_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// Two rows and their right answers, for TestJudge.
const (
	goodRequest = `{"redirect_uris":["https://a/1","https://a/2","https://a/1"],"client_name":"A","contacts":["b"],
		"scope":"openid","grant_types":["authorization_code","other"],"trusted":true,"client_id":"mine","software_id":null}`
	goodGrant = `{"client_id":"x","redirect_uris":["https://a/1","https://a/2"],"client_name":"A","contacts":["b"],
		"scope":"openid","grant_types":["authorization_code"]}`
	goodRefusal = `{"error":"invalid_redirect_uri","error_description":"redirect_uris[0] has a fragment."}`
)

// judgeCase is a wrong answer and what has to be said about it.
type judgeCase struct {
	name      string
	row       requestRow
	status    int
	old       string // what is replaced in the right answer
	new       string
	edit      func(http.Header)
	complaint string // part of it
}

// judgeCases has one row for each way in which an answer can be wrong. Each starts from a right answer.
func judgeCases() []judgeCase {
	adjusted := requestRow{Outcome: outcomeAdjust, Body: json.RawMessage(strings.Replace(goodRequest, `,"trusted":true,"client_id":"mine"`, "", 1))}
	accepted := requestRow{Outcome: outcomeAccept, Body: json.RawMessage(`{"redirect_uris":["https://a/1","https://a/2"],"contacts":["b"]}`)}
	ignored := requestRow{Outcome: outcomeIgnore, Body: json.RawMessage(goodRequest), Absent: []string{"trusted", "client_id"}, AbsentText: []string{"evil"}}
	either := requestRow{Outcome: outcomeIgnore, Body: json.RawMessage(goodRequest), Absent: []string{"contacts+grant_types"}}
	refused := requestRow{Outcome: outcomeRefuse, Body: json.RawMessage(goodRequest), Member: "redirect_uris",
		Errors: []string{"invalid_redirect_uri", "other"}, AbsentText: []string{"evil"}}
	open := refused
	open.Outcome, open.Absent = outcomeOpen, []string{"trusted"}
	header := func(name, value string) func(http.Header) {
		return func(h http.Header) { h.Set(name, value) }
	}
	return []judgeCase{
		{"another status", accepted, 200, "", "", nil, "status 200"},
		{"refused", accepted, 400, goodGrant, goodRefusal, nil, "should be: accept"},
		{"failed", refused, 500, "", "", nil, "status 500"},
		{"failed where either is right", open, 503, "", "", nil, "status 503"},
		{"registered", refused, 201, goodRefusal, goodGrant, nil, "should be: refuse"},
		{"redirected", refused, 302, "", "", nil, "status 302"},
		{"not JSON", accepted, 201, goodGrant, "<html>", nil, "not a JSON object"},
		{"an array", accepted, 201, goodGrant, "[]", nil, "not a JSON object"},
		{"media type", accepted, 201, "", "", header("Content-Type", "text/html"), "Content-Type"},
		{"media type of a refusal", refused, 400, "", "", header("Content-Type", "text/plain"), "Content-Type"},
		{"kept", accepted, 201, "", "", header("Cache-Control", "private"), "Cache-Control"},
		{"refusal kept", refused, 400, "", "", header("Cache-Control", ""), "Cache-Control"},
		{"order", accepted, 201, `"https://a/1","https://a/2"`, `"https://a/2","https://a/1"`, nil, "redirect_uris"},
		{"slash", accepted, 201, `"https://a/1"`, `"https://a/1/"`, nil, "redirect_uris"},
		{"one URI less", ignored, 201, `"https://a/1",`, "", nil, "redirect_uris"},
		{"twice the same", ignored, 201, `"https://a/2"`, `"https://a/2","https://a/1"`, nil, "redirect_uris"},
		{"no identifier", accepted, 201, `"client_id":"x"`, `"a":"b"`, nil, "no client_id"},
		{"null", accepted, 201, `"contacts":["b"]`, `"contacts":["b"],"logo_uri":null`, nil, "logo_uri is null"},
		{"changed", accepted, 201, `["b"]`, `["c"]`, nil, "contacts"},
		{"changed in spite of adjust", adjusted, 201, `"A"`, `"B"`, nil, "client_name"},
		{"more grants", adjusted, 201, `["authorization_code"]`, `["authorization_code","implicit"]`, nil, "grant_types"},
		{"no grants", adjusted, 201, `["authorization_code"]`, `[]`, nil, "grant_types"},
		{"no scope", adjusted, 201, `"scope":"openid",`, "", nil, "no scope"},
		{"unknown scope", adjusted, 201, `"openid"`, `"openid root"`, nil, "scope root"},
		{"kept as sent", ignored, 201, `"contacts"`, `"trusted":true,"contacts"`, nil, "trusted is in"},
		{"chosen by the client", ignored, 201, `"client_id":"x"`, `"client_id":"mine"`, nil, "client_id is in"},
		{"neither absent", either, 201, `["authorization_code"]`, `["authorization_code","other"]`, nil, "contacts+grant_types"},
		{"kept where either is right", open, 201, goodRefusal, strings.Replace(goodGrant, `"A"`, `"A","trusted":true`, 1), nil, "trusted is in"},
		{"text in a name", ignored, 201, `"client_id"`, `"evil":1,"client_id"`, nil, `"evil" is in`},
		{"text with escapes", ignored, 201, `["b"]`, `["b",{"c":"\u0065vil"}]`, nil, `"evil" is in`},
		{"text in a refusal", refused, 400, "fragment", "fragment evil", nil, `"evil" is in`},
		{"no error", refused, 400, `"error"`, `"err"`, nil, "no error"},
		{"another error", refused, 400, "invalid_redirect_uri", "server_error", nil, "error server_error"},
		{"no description", refused, 400, "error_description", "description", nil, "error_description"},
		{"member not named", refused, 400, "redirect_uris[0]", "A URI", nil, "does not name redirect_uris"},
		{"quote", refused, 400, "fragment", `\"fragment\"`, nil, "error_description"},
		{"backslash", refused, 400, "fragment", `\\`, nil, "error_description"},
		{"not ASCII", refused, 400, "fragment", `fr\u00e4gment`, nil, "error_description"},
		{"newline", refused, 400, "fragment", `\n`, nil, "error_description"},
		{"refused and registered", refused, 400, `"error"`, `"client_id":"x","error"`, nil, "with client_id"},
		{"no error in a 415", refused, 415, `"error"`, `"err"`, nil, "no error"},
	}
}

// TestJudge: the judge of TestRequests finds nothing in a right answer and finds each fault.
func TestJudge(t *testing.T) {
	t.Parallel()
	for _, c := range judgeCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			right, status := goodGrant, http.StatusCreated
			if c.row.Outcome == outcomeRefuse || c.row.Outcome == outcomeOpen {
				right, status = goodRefusal, http.StatusBadRequest
			}
			require.Empty(t, judge(c.row, fakeAnswer(status, right), http.StatusCreated))

			require.Contains(t, right, c.old)
			wrong := fakeAnswer(c.status, strings.Replace(right, c.old, c.new, 1))
			if c.edit != nil {
				c.edit(wrong.Header)
			}
			found := judge(c.row, wrong, http.StatusCreated)
			require.Contains(t, strings.Join(found, "\n"), c.complaint)
		})
	}
}

// TestJudgeOtherStatuses: a 413 or 415 has a code of its own and names no member.
func TestJudgeOtherStatuses(t *testing.T) {
	t.Parallel()
	row := requestRow{Outcome: outcomeRefuse, Errors: []string{"invalid_client_metadata"}, Member: "jwks", BodyText: new(string)}
	for _, status := range []int{http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType} {
		answer := fakeAnswer(status, `{"error":"invalid_request","error_description":"Too large, or of another type."}`)
		require.Empty(t, judge(row, answer, http.StatusCreated))
	}
}

// TestUpdateBody: the identifier goes in front, and every other byte stays.
func TestUpdateBody(t *testing.T) {
	t.Parallel()
	text := "\n {\"redirect\\u005furis\" : [] }"
	row := requestRow{BodyText: &text}
	require.True(t, row.isUpdate())
	require.Equal(t, "\n {\"client_id\":\"x\",\"redirect\\u005furis\" : [] }", string(row.updateBody("x")))
	row = requestRow{Body: json.RawMessage(`{"client_id":"admin"}`)}
	require.Equal(t, `{"client_id":"admin"}`, string(row.updateBody("x")))
	row = requestRow{Body: json.RawMessage(`["{"]`)}
	require.False(t, row.isUpdate())
}

func fakeAnswer(status int, body string) dcrtest.Answer {
	answer := dcrtest.Answer{Status: status, Body: body, Header: http.Header{
		"Content-Type": {"application/json"}, "Cache-Control": {"no-store"},
	}}
	_ = json.Unmarshal([]byte(body), &answer.Members)
	return answer
}
