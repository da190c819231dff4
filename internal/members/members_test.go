package members_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/members"
	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// document is a struct with members of every kind, in itself and in two groups.
type document struct {
	Name   string
	URIs   []string
	Kind   string
	Tags   []string
	Keys   *jose.JSONWebKeySet
	Active *bool
	Size   *int64

	Signing *signing
	Logout  *logout

	Localized  map[string]string
	Extensions map[string]json.RawMessage
}

type signing struct {
	Algorithm  string
	Algorithms []string
	Required   *bool
	Keys       *jose.JSONWebKeySet
}

type logout struct {
	URI    string
	MaxAge *int64
}

var (
	errURI = errors.New("invalid_uri")

	signingGroup = &members.Group[document]{
		Has:  func(d *document) bool { return d.Signing != nil },
		Make: func(d *document) { d.Signing = new(signing) },
		Drop: func(d *document) { d.Signing = nil },
	}
	logoutGroup = &members.Group[document]{
		Has:  func(d *document) bool { return d.Logout != nil },
		Make: func(d *document) { d.Logout = new(logout) },
		Drop: func(d *document) { d.Logout = nil },
	}
)

// table has the rows of signing in two runs, with those of logout between.
var table = members.NewTable(
	func(d *document) *map[string]string { return &d.Localized },
	func(d *document) *map[string]json.RawMessage { return &d.Extensions },
	members.Row[document]{Name: "name", Spec: "section 1", Field: func(d *document) any { return &d.Name },
		Tagged: true, Rules: []members.Rule{members.Text}},
	members.Row[document]{Name: "uris", Field: func(d *document) any { return &d.URIs },
		Code: errURI, Most: func(l *members.Limits) int { return l.RedirectURIs }, Rules: []members.Rule{members.RedirectURI}},
	members.Row[document]{Name: "kind", Field: func(d *document) any { return &d.Kind },
		List: "kinds", Tagged: true, Enum: true, Rules: []members.Rule{members.ShortName, members.OneOf("is neither web nor native", "web", "native")}},
	members.Row[document]{Name: "tags", Field: func(d *document) any { return &d.Tags }, Rules: []members.Rule{members.ShortName}},
	members.Row[document]{Name: "keys", Field: func(d *document) any { return &d.Keys }},
	members.Row[document]{Name: "active", Field: func(d *document) any { return &d.Active }},
	members.Row[document]{Name: "size", Field: func(d *document) any { return &d.Size }},
	members.Row[document]{Name: "signing_alg", Group: signingGroup, Field: func(d *document) any { return &d.Signing.Algorithm },
		List: "signing_values", Enum: true, Rules: []members.Rule{members.ShortName}, Support: members.Refused, Values: []string{"RS256"}},
	members.Row[document]{Name: "signing_algs", Group: signingGroup, Field: func(d *document) any { return &d.Signing.Algorithms },
		Rules: []members.Rule{members.ShortName}, Support: members.Refused},
	members.Row[document]{Name: "logout_uri", Group: logoutGroup, Field: func(d *document) any { return &d.Logout.URI },
		Rules: []members.Rule{members.FetchedURL}, Support: members.LeftOut},
	members.Row[document]{Name: "logout_max_age", Group: logoutGroup, Field: func(d *document) any { return &d.Logout.MaxAge },
		Support: members.LeftOut},
	members.Row[document]{Name: "signing_required", Group: signingGroup, Field: func(d *document) any { return &d.Signing.Required },
		Support: members.Refused},
	members.Row[document]{Name: "signing_keys", Group: signingGroup, Field: func(d *document) any { return &d.Signing.Keys },
		Support: members.LeftOut},
)

// limits returns small ones.
func limits() *members.Limits {
	return &members.Limits{
		RedirectURIs: 2, Elements: 3, Keys: 1, URI: 60, Text: 10, Name: 8, Scope: 12, Localized: 2, Extension: 8,
		PrivateUseSchemes: []string{"cursor"}, Extensions: []string{"x_kept"},
	}
}

// keySet is what a member with keys holds, as Append writes it.
const keySet = `{"keys":[{"use":"sig","kty":"EC","kid":"1","crv":"P-256",` +
	`"x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}`

// decode reads a document with Set.
func decode(data string, l *members.Limits) (document, error) {
	var d document
	err := strictjson.Object([]byte(data), strictjson.Limits{}, func(name string, value strictjson.Value) error {
		return table.Set(&d, name, value, l)
	})
	return d, err
}

// read is decode for what is sound, with limits that bound nothing.
func read(t *testing.T, data string) *document {
	t.Helper()
	d, err := decode(data, members.Stored())
	require.NoError(t, err)
	return &d
}

// written is what Append makes of a document.
func written(t *testing.T, d *document) string {
	t.Helper()
	dst, err := table.Append([]byte{'{'}, d)
	require.NoError(t, err)
	return string(append(dst, '}'))
}

// requireRefusal requires a *Refusal with this text and code.
func requireRefusal(t *testing.T, err error, text string, code error) {
	t.Helper()
	var refusal *members.Refusal
	require.ErrorAs(t, err, &refusal)
	require.Equal(t, text, refusal.Error())
	require.Equal(t, code, refusal.Code)
}

func TestRows(t *testing.T) {
	t.Parallel()
	types := map[string]string{}
	var names []string
	for row := range table.Rows() {
		require.Same(t, table.Row(row.Name), row)
		names = append(names, row.Name)
		types[row.Name] = row.Type()
	}
	require.Equal(t, []string{
		"name", "uris", "kind", "tags", "keys", "active", "size", "signing_alg", "signing_algs", "logout_uri",
		"logout_max_age", "signing_required", "signing_keys",
	}, names)
	require.Equal(t, map[string]string{
		"name": "string", "uris": "array of strings", "kind": "string", "tags": "array of strings", "keys": "JWK Set",
		"active": "boolean", "size": "integer", "signing_alg": "string", "signing_algs": "array of strings",
		"logout_uri": "string", "logout_max_age": "integer", "signing_required": "boolean", "signing_keys": "JWK Set",
	}, types)
	require.Nil(t, table.Row("unknown"))
	require.Nil(t, table.Row("name#fr"))
	for range table.Rows() {
		break // a walk can end early
	}
}

// A Field of another type is found when the table is made.
func TestFieldOfUnknownType(t *testing.T) {
	t.Parallel()
	require.Panics(t, func() {
		members.NewTable(nil, nil, members.Row[document]{Name: "name", Field: func(d *document) any { return d }})
	})
}

func TestSupportString(t *testing.T) {
	t.Parallel()
	require.Equal(t, "registered", members.Registered.String())
	require.Equal(t, "left out", members.LeftOut.String())
	require.Equal(t, "refused", members.Refused.String())
}

func TestValue(t *testing.T) {
	t.Parallel()
	full := read(t, `{"name":"n","tags":[],"active":false,"size":0,"keys":`+keySet+`,"signing_alg":"RS256","name#fr":"f"}`)
	for name, want := range map[string]any{
		"name": "n", "tags": []string{}, "active": false, "size": int64(0), "keys": full.Keys, "signing_alg": "RS256",
		"kind": nil, "uris": nil, "signing_algs": nil, "signing_required": nil, "logout_uri": nil, "name#fr": nil, "unknown": nil,
	} {
		require.Equal(t, want, table.Value(full, name), name)
		require.Equal(t, want != nil, table.Has(full, name), name)
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	d := read(t, `{"name":"n","tags":["a"],"signing_alg":"RS256"}`)
	for name, want := range map[string]string{"name": "n", "kind": "", "tags": "", "active": "", "signing_alg": "RS256", "logout_uri": ""} {
		require.Equal(t, want, table.Row(name).Text(d), name)
	}
	table.Row("kind").SetText(d, "web")
	table.Row("logout_uri").SetText(d, "https://a.example")
	table.Row("tags").SetText(d, "ignored")
	table.Row("signing_required").SetText(new(document), "ignored")
	require.Equal(t, read(t, `{"name":"n","kind":"web","tags":["a"],"signing_alg":"RS256","logout_uri":"https://a.example"}`), d)
}

func TestSame(t *testing.T) {
	t.Parallel()
	unwritable := &document{Keys: &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: "nothing"}}}}
	for _, row := range []struct {
		name, member string
		a, b         *document
		same         bool
	}{
		{"absent_in_both", "name", read(t, `{}`), read(t, `{}`), true},
		{"absent_group", "signing_alg", read(t, `{}`), read(t, `{"signing_algs":[]}`), true},
		{"absent_in_one", "signing_alg", read(t, `{}`), read(t, `{"signing_alg":"a"}`), false},
		{"unknown", "unknown", read(t, `{"unknown":1}`), read(t, `{}`), true},
		{"text", "name", read(t, `{"name":"a"}`), read(t, `{"name":"\u0061"}`), true},
		{"other_text", "name", read(t, `{"name":"a"}`), read(t, `{"name":"A"}`), false},
		{"list", "tags", read(t, `{"tags":["a","b"]}`), read(t, `{"tags":["a","b"]}`), true},
		{"other_order", "tags", read(t, `{"tags":["a","b"]}`), read(t, `{"tags":["b","a"]}`), false},
		{"empty_list", "tags", read(t, `{"tags":[]}`), read(t, `{}`), false},
		{"boolean", "active", read(t, `{"active":true}`), read(t, `{"active":true}`), true},
		{"other_boolean", "active", read(t, `{"active":true}`), read(t, `{"active":false}`), false},
		{"integer", "size", read(t, `{"size":0}`), read(t, `{"size":-0}`), true},
		{"keys", "keys", read(t, `{"keys":`+keySet+`}`), read(t, `{"keys":`+keySet+`}`), true},
		{"unwritable_keys", "keys", unwritable, unwritable, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, row.same, table.Same(row.member, row.a, row.b))
			require.Equal(t, row.same, table.Same(row.member, row.b, row.a))
		})
	}
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	requireRefusal(t, table.Row("uris").Refuse("is missing"), "uris is missing", errURI)
	requireRefusal(t, table.Row("name").Refuse("is missing"), "name is missing", nil)
	require.EqualError(t, &members.Refusal{Phrase: "A whole sentence"}, "A whole sentence")
}

func TestAppendHelpers(t *testing.T) {
	t.Parallel()
	dst := members.AppendText([]byte{'{'}, "absent", "")
	dst = members.AppendText(dst, "a<", `"`)
	dst = members.AppendTime(dst, "never", time.Time{})
	dst = members.AppendTime(dst, "at", time.Unix(17, 5e8))
	dst = append(members.AppendName(dst, "last"), "{"...)
	dst = append(members.AppendName(dst, "first"), "1}}"...)
	require.Equal(t, `{"a\u003c":"\"","never":0,"at":17,"last":{"first":1}}`, string(dst))
}

func TestWithoutRepeats(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ list, want []string }{
		{nil, nil},
		{[]string{}, []string{}},
		{[]string{"a"}, []string{"a"}},
		{[]string{"b", "a", "b", "c", "a"}, []string{"b", "a", "c"}},
		{[]string{"", ""}, []string{""}},
	} {
		require.Equal(t, row.want, members.WithoutRepeats(row.list))
	}
}

func TestKeep(t *testing.T) {
	t.Parallel()
	list := []int{3, 4, 5, 6}
	require.Equal(t, []int{4, 6}, members.Keep(list, func(n int) bool { return n%2 == 0 }))
	require.Equal(t, []int{3, 4, 5, 6}, list)
	require.Equal(t, []int{}, members.Keep(nil, func(int) bool { return true }))
}
