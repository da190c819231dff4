package requests_test

import (
	"encoding/json"
	"fmt"
	"mime"
	"reflect"
	"slices"
	"strings"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// complaints are what is wrong with an answer.
type complaints []string

func (c *complaints) unless(ok bool, format string, args ...any) {
	if !ok {
		*c = append(*c, fmt.Sprintf(format, args...))
	}
}

// judge compares an answer with the outcome of a row and returns all that is wrong. success is the status
// of an answer that grants the request.
func judge(row requestRow, answer dcrtest.Answer, success int) []string {
	var c complaints
	c.form(answer)
	refused := answer.Status >= 400 && answer.Status <= 499
	c.unless(refused || answer.Status == success, "status %d", answer.Status)
	if row.Outcome != outcomeOpen {
		c.unless(refused == (row.Outcome == outcomeRefuse), "status %d, and the outcome should be: %s", answer.Status, row.Outcome)
	}
	if refused {
		c.refusal(row, answer)
	} else {
		c.grant(row, answer)
	}
	for _, text := range row.AbsentText {
		c.unless(!strings.Contains(answer.Body, text) && !hasText(answer.Members, text), "%q is in the answer", text)
	}
	return c
}

// form judges what every answer has (7591-3.2.1-01, 7591-3.2.2-05).
func (c *complaints) form(answer dcrtest.Answer) {
	mediaType, _, err := mime.ParseMediaType(answer.Header.Get("Content-Type"))
	c.unless(err == nil && mediaType == "application/json", "Content-Type %q", answer.Header.Get("Content-Type"))
	c.unless(answer.Header.Get("Cache-Control") == "no-store", "Cache-Control %q", answer.Header.Get("Cache-Control"))
	c.unless(json.Valid([]byte(answer.Body)) && answer.Members != nil, "the body is not a JSON object: %q", answer.Body)
}

// refusal judges a 4xx (7591-3.2.2-01 to -03). Other statuses than 400 have codes of their own.
func (c *complaints) refusal(row requestRow, answer dcrtest.Answer) {
	code, description := answer.Text("error"), answer.Text("error_description")
	c.unless(code != "", "no error")
	c.unless(isPlain(description), "error_description %q", description)
	if answer.Status == 400 {
		c.unless(len(row.Errors) == 0 || slices.Contains(row.Errors, code), "error %s (%s)", code, description)
		c.unless(strings.Contains(description, row.Member), "error_description does not name %s: %s", row.Member, description)
	}
	for _, name := range []string{"client_id", "client_secret", "registration_access_token"} {
		c.unless(answer.Members[name] == nil, "a refusal with %s", name)
	}
}

// isPlain reports whether s is some ASCII text without quotes and backslashes.
func isPlain(s string) bool {
	for _, b := range []byte(s) {
		if b < ' ' || b > '~' || b == '"' || b == '\\' {
			return false
		}
	}
	return s != ""
}

// grant judges a registration.
func (c *complaints) grant(row requestRow, answer dcrtest.Answer) {
	sent := row.sent()
	c.unless(sent != nil, "registered what is not a JSON object")
	c.unless(answer.ID() != "", "no client_id")
	for name, value := range answer.Members {
		c.unless(value != nil, "%s is null", name)
	}
	for _, scope := range strings.Fields(answer.Text("scope")) {
		c.unless(slices.Contains(dcrtest.Scopes, scope), "scope %s is not the server's", scope)
	}
	for name, value := range sent {
		c.member(row.Outcome, name, value, answer.Members[name])
	}
	for _, names := range row.Absent {
		absent := func(name string) bool { return !reflect.DeepEqual(answer.Members[name], sent[name]) }
		c.unless(slices.ContainsFunc(strings.Split(names, "+"), absent), "%s is in the answer as sent", names)
	}
}

// member compares what was sent with what is registered. redirect_uris come back in every registration,
// each once (RU-10); whether others do, the outcome says.
func (c *complaints) member(outcome, name string, sent, got any) {
	list, _ := sent.([]any)
	switch {
	case name == "redirect_uris":
		c.unless(reflect.DeepEqual(got, eachOnce(list)), "redirect_uris %v came back as %v", sent, got)
	case sent == nil || sent == "" || outcome != outcomeAccept && outcome != outcomeAdjust:
		// Counts as omitted, or is nothing that the row promises.
	case outcome == outcomeAdjust && (name == "grant_types" || name == "response_types"):
		rest, _ := got.([]any)
		c.unless(len(rest) > 0 && isSubset(rest, list), "%s %v came back as %v", name, sent, got)
	case outcome == outcomeAdjust && name == "scope":
		c.unless(got != nil, "no scope")
	default:
		c.unless(reflect.DeepEqual(got, sent), "%s %v came back as %v", name, sent, got)
	}
}

func eachOnce(list []any) any {
	var once []any
	for _, value := range list {
		if !slices.Contains(once, value) {
			once = append(once, value)
		}
	}
	return once
}

func isSubset(part, whole []any) bool {
	return !slices.ContainsFunc(part, func(value any) bool { return !slices.Contains(whole, value) })
}

// hasText reports whether text occurs in a name or a string of value, whatever its escapes.
func hasText(value any, text string) bool {
	switch v := value.(type) {
	case string:
		return strings.Contains(v, text)
	case []any:
		return slices.ContainsFunc(v, func(element any) bool { return hasText(element, text) })
	case map[string]any:
		for name, element := range v {
			if strings.Contains(name, text) || hasText(element, text) {
				return true
			}
		}
	}
	return false
}
