package requests_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// The classes of requests, each a file of testdata: what deployed clients send, bodies that are
// no JSON, redirect URIs, other URIs, URLs that lead into the server's own network, keys, members that
// contradict each other, text for people, members that are not the client's to set, software statements,
// types, scopes, sizes.
var requestClasses = []string{
	"real", "json", "redirect", "uris", "ssrf", "keys", "relation",
	"text", "mass", "statement", "type", "scope", "limits",
}

// What becomes of a request.
const (
	// outcomeAccept: registered as sent.
	outcomeAccept = "accept"
	// outcomeAdjust: registered as sent, with fewer grant types, response types or scopes.
	outcomeAdjust = "adjust"
	// outcomeIgnore: registered without what is listed as absent.
	outcomeIgnore = "ignore"
	// outcomeRefuse: refused, and nothing is registered.
	outcomeRefuse = "refuse"
	// outcomeOpen: no rule decides between the two.
	outcomeOpen = "refuse_or_ignore"
)

// requestRow is one request to register, and what becomes of it.
type requestRow struct {
	Name string `json:"name"`
	// Client is who sends it; empty for what nobody but an attacker sends.
	Client string `json:"client"`
	// Why begins with the row of the rule that decides.
	Why     string `json:"why"`
	Outcome string `json:"outcome"`
	// Update is the outcome as an update where it differs.
	Update string `json:"update"`
	// Errors are the codes that a 400 may have; none means any.
	Errors []string `json:"errors"`
	// Member is what the description of a 400 names.
	Member string `json:"member"`
	// Absent are members that the answer lacks or has changed; of "a+b" at least one.
	Absent []string `json:"absent"`
	// AbsentText occurs nowhere in the answer.
	AbsentText []string `json:"absent_text"`
	// ContentType is application/json where it is empty.
	ContentType string `json:"content_type"`

	// One of three forms of the body; without any it is made by hugeBodies.
	Body       json.RawMessage `json:"body"`        // to the byte as it stands there, escapes included
	BodyText   *string         `json:"body_text"`   // where it is not a JSON object
	BodyBase64 []byte          `json:"body_base64"` // where it is not UTF-8
}

// loadRequests reads the rows of a class.
func loadRequests(t testing.TB, class string) []requestRow {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", class+".jsonl"))
	require.NoError(t, err)
	trap, err := openTrap()
	require.NoError(t, err)
	data = bytes.ReplaceAll(data, []byte(writtenPort), []byte(trap.port))
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	var rows []requestRow
	names := map[string]bool{}
	for {
		var row requestRow
		err := decoder.Decode(&row)
		if err == io.EOF {
			break
		}
		require.NoError(t, err, "after %d rows", len(rows))
		require.False(t, names[row.Name], "%s is there twice", row.Name)
		require.Contains(t, []string{outcomeAccept, outcomeAdjust, outcomeIgnore, outcomeRefuse, outcomeOpen}, row.Outcome, row.Name)
		require.Regexp(t, `^[A-Z0-9]+[-.0-9]*: \S`, row.Why, row.Name)
		if row.Body == nil && row.BodyText == nil && row.BodyBase64 == nil {
			require.Contains(t, hugeBodies, row.Name)
		}
		names[row.Name] = true
		rows = append(rows, row)
	}
	require.NotEmpty(t, rows)
	return rows
}

func (row requestRow) body() []byte {
	switch {
	case row.Body != nil:
		return row.Body
	case row.BodyText != nil:
		return []byte(*row.BodyText)
	case row.BodyBase64 != nil:
		return row.BodyBase64
	}
	return []byte(hugeBodies[row.Name]())
}

func (row requestRow) contentType() string {
	if row.ContentType == "" {
		return "application/json"
	}
	return row.ContentType
}

// sent returns the members of the body, or nil where it is not a JSON object. What Go has no type for, a
// number without end, is nil.
func (row requestRow) sent() map[string]any {
	var raw map[string]json.RawMessage
	if json.Unmarshal(row.body(), &raw) != nil {
		return nil
	}
	members := make(map[string]any, len(raw))
	for name, text := range raw {
		var value any
		_ = json.Unmarshal(text, &value)
		members[name] = value
	}
	return members
}

// isUpdate reports whether the row can be sent as an update: its body is an object, or begins like one.
func (row requestRow) isUpdate() bool {
	return bytes.HasPrefix(bytes.TrimSpace(row.body()), []byte("{"))
}

// asUpdate returns the row with the outcome that it has as an update.
func (row requestRow) asUpdate() requestRow {
	if row.Update != "" {
		row.Outcome = row.Update
	}
	return row
}

// updateBody returns the body with the client's identifier in front, where it has no other. Nothing else
// changes, not even a byte.
func (row requestRow) updateBody(clientID string) []byte {
	body := row.body()
	if _, ok := row.sent()["client_id"]; ok {
		return body
	}
	start := bytes.IndexByte(body, '{') + 1
	return slices.Insert(slices.Clone(body), start, []byte(`"client_id":"`+clientID+`",`)...)
}
