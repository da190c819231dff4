package members_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/packed"
)

// TestPack: what was packed comes back, but for key sets, groups without a member, and what is kept elsewhere.
func TestPack(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		registration,
		`{}`,
		`{"uris":[],"tags":["a","b"],"active":false,"size":0,"x_any":{"a":[1, 2]},"name#fr":"f","keys":` + keySet + `}`,
		`{"signing_alg":"RS256","signing_algs":[],"signing_required":true,"logout_uri":"https://a.example/","logout_max_age":1}`,
	} {
		in, err := decode(text, wide())
		require.NoError(t, err)
		w := packed.Writer(nil)
		table.Pack(&w, &in)
		var out document
		r := packed.Reader(string(w.Bytes()))
		table.Pack(&r, &out)
		require.Nil(t, out.Keys)
		in.Keys = nil
		require.Equal(t, in, out, text)

		w = packed.Writer(nil)
		table.Pack(&w, &in, "name", "tags")
		out = document{}
		r = packed.Reader(string(w.Bytes()))
		table.Pack(&r, &out)
		in.Name, in.Tags = "", nil
		require.Equal(t, in, out, text)
	}
}
