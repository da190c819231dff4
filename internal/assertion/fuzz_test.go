package assertion_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/assertion"
)

// FuzzSubject: no assertion breaks the reader, and the subject is the one that encoding/json finds.
func FuzzSubject(f *testing.F) {
	f.Add(es256(f, claims()))
	f.Add(es256(f, json.RawMessage(`{"sub":"a","SUB":"b"}`)))
	f.Add(es256(f, json.RawMessage(`{"sub":null,"aud":[],"exp":1e99,"jti":""}`)))
	f.Add(byHand(f, object{"alg": "none"}, claims(), unsigned))
	f.Add(`{"payload":"e30","signatures":[{"protected":"e30","signature":""}]}`)
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, raw string) {
		subject := assertion.Subject(raw)
		read, err := assertion.ReadStatement(raw, "")
		if subject == "" || err != nil {
			return
		}
		var all map[string]any
		require.NoError(t, json.Unmarshal(read.Claims, &all))
		require.Equal(t, all["sub"], subject)
	})
}

// FuzzReadStatement: no statement breaks the reader, nothing unsigned is trusted, and what is read has claims that
// are one JSON object.
func FuzzReadStatement(f *testing.F) {
	f.Add(byDirectory(f, statement()))
	f.Add(byDirectory(f, json.RawMessage(`{"iss":"x","iss":"y"}`)))
	f.Add(byDirectory(f, json.RawMessage(`{"software_id":"a","exp":-0.5e10,"aud":["a"]}`)))
	f.Add(byHand(f, object{"alg": "none"}, statement(), unsigned))
	f.Add("")
	f.Fuzz(func(t *testing.T, raw string) {
		if _, err := verify(t, raw, []assertion.Issuer{{Name: directory, Keys: keySet()}}); err == nil {
			t.Fatal("verified without a key")
		}
		read, err := assertion.ReadStatement(raw, directory)
		if err != nil || raw == "" {
			return
		}
		require.Equal(t, raw, read.Raw)
		var all map[string]any
		require.NoError(t, json.Unmarshal(read.Claims, &all))
		if read.SoftwareID != "" {
			require.Equal(t, all["software_id"], read.SoftwareID)
		}
	})
}

// FuzzExactly: a claim is read by its exact name, or not at all.
func FuzzExactly(f *testing.F) {
	for _, seed := range []string{`{"a":"x"}`, `{"A":"x"}`, `{"a":"x","a":"y"}`, `{"a":1}`, `{"\u0061":"x"}`, `[]`, ``, `{"a":null}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		var a string
		if assertion.Exactly(payload, map[string]any{"a": &a}) != nil {
			return
		}
		var all map[string]any
		require.NoError(t, json.Unmarshal(payload, &all))
		want, _ := all["a"].(string)
		require.Equal(t, want, a)
	})
}
