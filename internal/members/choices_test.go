package members_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/members"
	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// choosing reads a document with lists.
func choosing(data string, l *members.Limits) (document, members.Choices, error) {
	var d document
	var lists members.Choices
	err := strictjson.Object([]byte(data), strictjson.Limits{}, func(name string, value strictjson.Value) error {
		if known, err := table.SetChoices(&lists, name, value, l); known {
			return err
		}
		return table.Set(&d, name, value, l)
	})
	return d, lists, err
}

func TestSetChoices(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		data, refused string
		want          members.Choices
	}{
		"lists":      {`{"kinds":["web","other"],"signing_values":["ES256"],"x":1}`, "", members.Choices{"kind": {"web", "other"}, "signing_alg": {"ES256"}}},
		"null":       {`{"kinds":null}`, "", nil},
		"of_a_name":  {`{"kind":"web"}`, "", nil},
		"empty":      {`{"kinds":[]}`, "kinds is empty", nil},
		"text":       {`{"kinds":"web"}`, "kinds is not an array of strings", nil},
		"numbers":    {`{"kinds":["web",1]}`, "kinds is not an array of strings", nil},
		"too_many":   {`{"kinds":["a","b","c","d"]}`, "kinds has more than 3 elements", nil},
		"empty_text": {`{"kinds":["web",""]}`, "kinds[1] is no name of a value", nil},
		"too_long":   {`{"kinds":["123456789"]}`, "kinds[0] is no name of a value", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, lists, err := choosing(row.data, limits())
			if row.refused != "" {
				requireRefusal(t, err, row.refused, nil)
				return
			}
			require.NoError(t, err)
			require.Equal(t, row.want, lists)
		})
	}
	require.True(t, table.IsList("kinds"))
	require.False(t, table.IsList("kind"))
}

func TestChoose(t *testing.T) {
	t.Parallel()
	can := func(_, value string) bool { return value == "web" || value == "native" || value == "ES256" }
	for name, row := range map[string]struct {
		data, previous, refused, want string
	}{
		"first":             {`{"kinds":["other","native","web"]}`, "", "", `{"kind":"native"}`},
		"single_first":      {`{"kind":"web","kinds":["native","web"]}`, "", "", `{"kind":"web"}`},
		"single_impossible": {`{"kind":"other","kinds":["native","other"]}`, "", "", `{"kind":"native"}`},
		"single_elsewhere":  {`{"kind":"web","kinds":["native"]}`, "", "kind is not among kinds", ""},
		"previous":          {`{"kinds":["native","web"]}`, `{"kind":"web"}`, "", `{"kind":"web"}`},
		"previous_gone":     {`{"kinds":["native"]}`, `{"kind":"web"}`, "", `{"kind":"native"}`},
		"group":             {`{"signing_values":["RS256","ES256"]}`, "", "", `{"signing_alg":"ES256"}`},
		"left_out":          {`{"signing_values":["RS256"]}`, "", "", `{}`},
		"single_left_out":   {`{"signing_alg":"RS256","signing_values":["RS256"]}`, "", "", `{}`},
		"needed":            {`{"kinds":["other"]}`, "", "kinds has none of what this server supports: web, native", ""},
		"no_list":           {`{"kind":"web"}`, `{"kind":"native"}`, "", `{"kind":"web"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, lists, err := choosing(row.data, limits())
			require.NoError(t, err)
			var previous *document
			if row.previous != "" {
				previous = read(t, row.previous)
			}
			err = table.Choose(&d, previous, lists, can, func(name string) []string {
				if name == "kind" {
					return []string{"web", "native"}
				}
				return nil
			})
			if row.refused != "" {
				requireRefusal(t, err, row.refused, nil)
				return
			}
			require.NoError(t, err)
			require.Equal(t, row.want, written(t, &d))
		})
	}
}
