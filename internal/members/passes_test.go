package members_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/go-jose/go-jose/v3"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/members"
)

// What Set keeps, as Append writes it.
func TestSet(t *testing.T) {
	t.Parallel()
	all := `{"name":"n","uris":["u"],"kind":"web","tags":[],"keys":` + keySet + `,"active":false,"size":-7,"signing_alg":"a",` +
		`"signing_algs":["b","b"],"logout_uri":"l","logout_max_age":0,"signing_required":true,"signing_keys":` + keySet +
		`,"name#de":"m","name#fr":"o","x_kept":{"a": 1}}`
	for _, row := range []struct{ name, data, want string }{
		{"nothing", `{}`, `{}`},
		{"all", all, all},
		{"order_of_rows", `{"x_kept":1,"size":1,"name#fr":"f","logout_uri":"l","name":"n"}`, `{"name":"n","size":1,"logout_uri":"l","name#fr":"f","x_kept":1}`},
		{"null", `{"name":null,"uris":null,"kind":null,"keys":null,"active":null,"size":null,"signing_alg":null,"name#fr":null,"kind#fr":null,"x_kept":null}`, `{}`},
		{"empty_text", `{"name":"","name#fr":""}`, `{}`},
		{"unknown", `{"x_lost":1,"Name":"n","name ":"n"}`, `{}`},
		{"tag_not_allowed", `{"logout_uri#fr":"l","signing_alg#fr":"","unknown#fr":1}`, `{}`},
		{"tag_malformed", `{"name#":"n","name#-":"n","name#fr#fr":"n","name#1":"n"}`, `{}`},
		{"tag_long", `{"name#zh-Hant-TW-x-private":"n"}`, `{"name#zh-Hant-TW-x-private":"n"}`},
		{"extension_at_its_limit", `{"x_kept":"123456"}`, `{"x_kept":"123456"}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			d, err := decode(row.data, limits())
			require.NoError(t, err)
			require.Equal(t, row.want, written(t, &d))
		})
	}
}

func TestSetRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, data, want string
		code             error
	}{
		{"text", `{"name":1}`, "name is not a string", nil},
		{"text_array", `{"logout_uri":["a"]}`, "logout_uri is not a string", nil},
		{"list", `{"uris":"a"}`, "uris is not an array of strings", errURI},
		{"list_element", `{"tags":["a",null]}`, "tags is not an array of strings", nil},
		{"boolean", `{"active":"true"}`, "active is not true or false", nil},
		{"integer", `{"size":1.0}`, "size is not an integer", nil},
		{"keys", `{"keys":[]}`, "keys is not a JWK Set: an object with an array keys of objects", nil},
		{"keys_too_many", `{"keys":{"keys":[{},{}]}}`, "keys has too many keys", nil},
		{"enum", `{"kind":""}`, "kind is empty", nil},
		{"enum_in_group", `{"signing_alg":""}`, "signing_alg is empty", nil},
		{"enum_tagged", `{"kind#fr":""}`, "kind#fr is empty", nil},
		{"tagged", `{"name#fr":[]}`, "name#fr is not a string", nil},
		{"tagged_too_many", `{"name#a":"a","name#b":"b","name#c":"c"}`, "There are too many members with a language tag, name among them", nil},
		{"extension", `{"x_kept":"1234567"}`, "x_kept is longer than 8 bytes", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			_, err := decode(row.data, limits())
			requireRefusal(t, err, row.want, row.code)
		})
	}
}

// What a storage holds is read whatever its length, and with every extension member.
func TestStored(t *testing.T) {
	t.Parallel()
	data := `{"uris":["cursor:/a","cursor:/b","cursor:/c"],"name#a":"a","name#b":"b","name#c":"c","x_any":"123456789"}`
	require.Equal(t, data, written(t, read(t, data)))
	require.NoError(t, table.Check(read(t, `{"name":"longer than ten","tags":["a","b","c","d"]}`), members.Stored()))
}

// An extension member is a copy, since values alias the document.
func TestSetCopiesExtensions(t *testing.T) {
	t.Parallel()
	data := []byte(`{"x_kept":17}`)
	d, err := decode(string(data), limits())
	require.NoError(t, err)
	copy(data, `{"x_kept":99}`)
	require.Equal(t, json.RawMessage("17"), d.Extensions["x_kept"])
}

func TestLanguageTag(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]bool{
		"fr": true, "FR": true, "zh-Hant-TW": true, "de-1996": true, "a": true, "abcdefgh": true,
		"abcdefgh-abcdefgh-abcdefgh-abcdefgh": true, "abcdefgh-abcdefgh-abcdefgh-abcdefgh-a": false,
		"": false, "-": false, "fr-": false, "-fr": false, "fr--ca": false, "abcdefghi": false, "1a": false, "f1": false,
		"fr_CA": false, "fr-é": false, "fr ": false, "@": false, "[": false, "fr-/": false, "fr-:": false,
	} {
		require.Equal(t, want, members.LanguageTag(tag), tag)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, data, want string }{
		{"nothing", `{}`, `{}`},
		{"sound", `{"name":"0123456789","uris":["https://a.example"],"size":0,"name#fr":"n"}`, `{"name":"0123456789","uris":["https://a.example"],"size":0,"name#fr":"n"}`},
		{"repeats", `{"tags":["b","a","b"],"signing_algs":["a","a"]}`, `{"tags":["b","a"],"signing_algs":["a"]}`},
		{"empty_list", `{"tags":[]}`, `{"tags":[]}`},
		{"no_rules", `{"active":true,"keys":` + keySet + `}`, `{"keys":` + keySet + `,"active":true}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			d := read(t, row.data)
			require.NoError(t, table.Check(d, limits()))
			require.Equal(t, row.want, written(t, d))
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, data, want string
		code             error
	}{
		{"text", `{"name":"0123456789a"}`, "name is longer than 10 characters", nil},
		{"second_rule", `{"kind":"other"}`, "kind is neither web nor native", nil},
		{"first_rule_first", `{"kind":"another one"}`, "kind is longer than 8 characters", nil},
		{"element", `{"uris":["https://a.example","https://a.example/#f"]}`, "uris[1] has a fragment", errURI},
		{"empty_element", `{"uris":[""]}`, "uris[0] is empty", errURI},
		{"own_most", `{"uris":["cursor:/a","cursor:/b","cursor:/c"]}`, "uris has more than 2 elements", errURI},
		{"most_before_repeats", `{"tags":["a","a","a","a"]}`, "tags has more than 3 elements", nil},
		{"negative", `{"size":-1}`, "size is negative", nil},
		{"in_group", `{"logout_uri":"https://127.0.0.1"}`, "logout_uri names an address that this server does not call", nil},
		{"negative_in_group", `{"logout_max_age":-1}`, "logout_max_age is negative", nil},
		{"localized", `{"name#de":"fine","name#fr":"0123456789a"}`, "name#fr is longer than 10 characters", nil},
		{"first_of_two_localized", `{"name#fr":"0123456789a","kind#de":"x","name#it":"0123456789a"}`, "kind#de is neither web nor native", nil},
		{"rows_before_localized", `{"kind#de":"x","size":-1}`, "size is negative", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			requireRefusal(t, table.Check(read(t, row.data), limits()), row.want, row.code)
		})
	}
}

// A program may have put anything among the localized members.
func TestCheckLocalizedWithoutRow(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"unknown#fr", "name", "name#", "logout_uri#fr"} {
		d := &document{Localized: map[string]string{name: "x"}}
		requireRefusal(t, table.Check(d, limits()), name+" is no member with a language tag", nil)
	}
}

func TestHonoured(t *testing.T) {
	t.Parallel()
	require.False(t, members.Honoured{}.Has("a"))
	require.True(t, members.Honoured{All: true}.Has("a"))
	require.True(t, members.Honoured{Values: []string{"b", "a"}}.Has("a"))
	require.False(t, members.Honoured{Values: []string{"b"}}.Has("a"))
}

func TestFit(t *testing.T) {
	t.Parallel()
	honoured := map[string]members.Honoured{
		"signing_alg": {Values: []string{"RS256"}}, "signing_algs": {Values: []string{"a", "b"}},
		"logout_uri": {Values: []string{"https://a.example"}},
	}
	everything := map[string]members.Honoured{
		"signing_alg": {All: true}, "signing_algs": {All: true}, "logout_uri": {All: true}, "logout_max_age": {All: true},
		"signing_required": {All: true},
	}
	const unfit = " is not supported by this server, or not with this value"
	for _, row := range []struct {
		name, data string
		honoured   map[string]members.Honoured
		refuse     bool
		want, err  string
	}{
		{"registered", `{"name":"n","active":true,"size":1}`, nil, true, `{"name":"n","active":true,"size":1}`, ""},
		{"honoured", `{"signing_alg":"RS256","signing_algs":["b"],"logout_uri":"https://a.example"}`, honoured, true,
			`{"signing_alg":"RS256","signing_algs":["b"],"logout_uri":"https://a.example"}`, ""},
		{"everything", `{"signing_alg":"x","signing_algs":["y"],"logout_uri":"z","logout_max_age":1,"signing_required":true}`, everything, true,
			`{"signing_alg":"x","signing_algs":["y"],"logout_uri":"z","logout_max_age":1,"signing_required":true}`, ""},
		{"no_promise", `{"signing_algs":[],"signing_required":false,"signing_keys":` + keySet + `}`, nil, true,
			`{"signing_algs":[],"signing_required":false,"signing_keys":` + keySet + `}`, ""},
		{"refused", `{"signing_alg":"none"}`, honoured, false, "", "signing_alg" + unfit},
		{"refused_element", `{"signing_algs":["a","c"]}`, honoured, false, "", "signing_algs" + unfit},
		{"refused_boolean", `{"signing_required":true}`, honoured, false, "", "signing_required" + unfit},
		{"left_out", `{"name":"n","logout_uri":"https://b.example","logout_max_age":1}`, honoured, false, `{"name":"n"}`, ""},
		{"left_out_in_part", `{"logout_uri":"https://a.example","logout_max_age":1}`, honoured, false, `{"logout_uri":"https://a.example"}`, ""},
		{"left_out_but_refuse", `{"logout_max_age":1}`, honoured, true, "", "logout_max_age" + unfit},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			d := read(t, row.data)
			err := table.Fit(d, row.honoured, row.refuse)
			if row.err != "" {
				requireRefusal(t, err, row.err, nil)
				return
			}
			require.NoError(t, err)
			require.Equal(t, read(t, row.want), d)
		})
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	d := &document{Signing: new(signing), Logout: new(logout), Name: "n"}
	table.Prune(d)
	require.Equal(t, &document{Name: "n"}, d)

	// One member holds its group, in whichever run of rows it is.
	for _, held := range []string{`{"signing_alg":"a"}`, `{"signing_required":false}`, `{"logout_max_age":0}`} {
		d := read(t, held)
		table.Prune(d)
		require.Equal(t, read(t, held), d)
	}
}

// The zero value of every kind can be cleared.
func TestFitClears(t *testing.T) {
	t.Parallel()
	rows := []members.Row[document]{
		{Name: "name", Field: func(d *document) any { return &d.Name }, Support: members.LeftOut},
		{Name: "tags", Field: func(d *document) any { return &d.Tags }, Support: members.LeftOut},
		{Name: "active", Field: func(d *document) any { return &d.Active }, Support: members.LeftOut},
		{Name: "size", Field: func(d *document) any { return &d.Size }, Support: members.LeftOut},
		{Name: "keys", Field: func(d *document) any { return &d.Keys }, Support: members.LeftOut},
	}
	strict := members.NewTable(
		func(d *document) *map[string]string { return &d.Localized },
		func(d *document) *map[string]json.RawMessage { return &d.Extensions }, rows...)
	d := read(t, `{"name":"n","tags":["a"],"active":true,"size":1,"keys":`+keySet+`}`)
	require.NoError(t, strict.Fit(d, nil, false))
	require.Equal(t, read(t, `{"keys":`+keySet+`}`), d) // a key set promises nothing by itself
}

func TestOverlay(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, data, over, want string }{
		{"nothing", `{"name":"n","x_kept":1}`, `{}`, `{"name":"n","x_kept":1}`},
		{"on_nothing", `{}`, `{"name":"n","uris":["a"],"keys":` + keySet + `,"active":true,"size":1,"logout_uri":"l","name#fr":"f"}`,
			`{"name":"n","uris":["a"],"keys":` + keySet + `,"active":true,"size":1,"logout_uri":"l","name#fr":"f"}`},
		{"replaces", `{"name":"n","tags":["a"],"active":true,"size":1,"signing_alg":"a"}`, `{"tags":[],"active":false,"size":0,"signing_alg":"b"}`,
			`{"name":"n","tags":[],"active":false,"size":0,"signing_alg":"b"}`},
		{"drops_tagged", `{"name":"n","name#de":"d","name#fr":"f","kind#de":"web"}`, `{"name":"m","name#it":"i"}`,
			`{"name":"m","kind#de":"web","name#it":"i"}`},
		{"tagged_alone", `{"name":"n","name#de":"d","name#fr":"f"}`, `{"name#de":"e"}`, `{"name":"n","name#de":"e","name#fr":"f"}`},
		{"no_extensions", `{}`, `{"x_kept":1}`, `{}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			d, over := read(t, row.data), read(t, row.over)
			require.NoError(t, table.Overlay(d, over, nil))
			require.Equal(t, row.want, written(t, d))
			require.Equal(t, read(t, row.over), over)
		})
	}
}

func TestOverlayAsks(t *testing.T) {
	t.Parallel()
	d, over := read(t, `{"name":"n","size":1}`), read(t, `{"name":"m","size":2,"signing_alg":"a"}`)
	fault := errors.New("fault")
	var asked []string
	err := table.Overlay(d, over, func(row *members.Row[document]) error {
		asked = append(asked, row.Name)
		if row.Name == "size" {
			require.Equal(t, "m", d.Name)
			require.False(t, table.Same(row.Name, d, over))
			return fault
		}
		return nil
	})
	require.Same(t, fault, err)
	require.Equal(t, []string{"name", "size"}, asked)
	require.Equal(t, `{"name":"m","size":1}`, written(t, d))
}

func TestFill(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, data, from, want string }{
		{"nothing", `{}`, `{}`, `{}`},
		{"all_of_nothing", `{}`, `{"name":"n","keys":` + keySet + `,"active":false,"size":1,"logout_uri":"l","name#fr":"f","x":1}`,
			`{"name":"n","keys":` + keySet + `,"active":false,"size":1,"logout_uri":"l","name#fr":"f","x":1}`},
		{"keeps", `{"name":"n","tags":[],"active":false,"size":0,"signing_alg":"a","name#fr":"f","x":1}`,
			`{"name":"m","tags":["a"],"active":true,"size":1,"signing_alg":"b","signing_required":true,"name#fr":"g","name#de":"d","x":2,"y":3}`,
			`{"name":"n","tags":[],"active":false,"size":0,"signing_alg":"a","signing_required":true,"name#de":"d","name#fr":"f","x":1,"y":3}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			d, from := read(t, row.data), read(t, row.from)
			table.Fill(d, from)
			require.Equal(t, row.want, written(t, d))
			require.Equal(t, read(t, row.from), from)
		})
	}
}

func TestAppend(t *testing.T) {
	t.Parallel()
	dst, err := table.Append([]byte(`{"id":"1"`), read(t, `{"name":"<"}`))
	require.NoError(t, err)
	require.Equal(t, `{"id":"1","name":"\u003c"`, string(dst))

	dst, err = table.Append([]byte{'{'}, &document{Keys: &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: "nothing"}}}})
	require.Error(t, err)
	require.Nil(t, dst)
}
