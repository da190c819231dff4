package members_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/members"
	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// FuzzTable reads, checks and writes a document. What was written reads as the same document, passes the same
// rules, and is written the same way again. Errors are this package's, or those of strictjson.
func FuzzTable(f *testing.F) {
	for _, seed := range []string{
		registration,
		`{"name":"n","name#fr":"f","kind":"web","tags":["a","b","a"],"keys":` + keySet + `,"active":false,"size":0}`,
		`{"signing_alg":"RS256","signing_algs":[],"signing_required":true,"logout_uri":"https://a.example/","logout_max_age":1}`,
		`{"signing_alg":null,"logout_uri":"","name":"","x_any":{"a":[1, 2]},"x_null":null}`,
		`{"kind":"","size":-1}`,
		`{"uris":["https://a.example/#"],"name#":"n","name#a-1":"\u202e"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first, ok := accepted(t, data)
		if !ok {
			return
		}
		text := written(t, &first)
		second, ok := accepted(t, []byte(text))
		require.True(t, ok, text)
		require.Equal(t, text, written(t, &second))
		require.Equal(t, first, second)
		for row := range table.Rows() {
			require.True(t, table.Same(row.Name, &first, &second), row.Name)
		}
		var filled, laid document
		table.Fill(&filled, &first)
		require.Equal(t, text, written(t, &filled))
		require.NoError(t, table.Overlay(&laid, &first, nil))
		laid.Extensions = first.Extensions
		require.Equal(t, text, written(t, &laid))
	})
}

// accepted reads and checks a document, and drops empty groups.
func accepted(t *testing.T, data []byte) (document, bool) {
	l := wide()
	d, err := decode(string(data), l)
	if err == nil {
		err = table.Check(&d, l)
	}
	if err != nil {
		var refusal *members.Refusal
		var syntax strictjson.Error
		require.True(t, errors.As(err, &refusal) || errors.As(err, &syntax), "%T", err)
		return d, false
	}
	table.Prune(&d)
	return d, true
}

// wide are the limits of an ordinary server, with every extension member.
func wide() *members.Limits {
	return &members.Limits{
		RedirectURIs: 64, Elements: 64, Keys: 32, URI: 2048, Text: 1024, Name: 256, Scope: 4096, Localized: 128,
		Extension: 4096, AnyExtension: true,
	}
}
