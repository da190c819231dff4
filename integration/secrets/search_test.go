package secrets_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// evidence is everything that a run has put out, and every secret that it has made.
type evidence struct {
	mu      sync.Mutex
	secrets map[string]string // by value: what it is
	outputs []output
}

// output is a text that somebody gets to see.
type output struct {
	where, text string
	// hands are the secrets that it is there to hand out.
	hands []string
}

func newEvidence() *evidence { return &evidence{secrets: map[string]string{}} }

// put keeps a text, and what it may hold.
func (e *evidence) put(where, text string, hands ...string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.outputs = append(e.outputs, output{where, text, hands})
}

// Write makes a place to log to of it.
func (e *evidence) Write(p []byte) (int, error) {
	e.put("log", string(p))
	return len(p), nil
}

// secret notes a secret, and the parts of a token that are as good as all of it.
func (e *evidence) secret(what, value string) {
	e.part(what, value)
	parts := strings.Split(value, ".")
	if len(parts) > 1 {
		e.part("signature of "+what, parts[len(parts)-1])
	}
	if len(parts) == 2 {
		e.part("key of "+what, parts[0])
	}
	if at := strings.LastIndexByte(value, '_'); strings.HasPrefix(value, "dcri_") && at > 0 {
		e.part("random part of "+what, value[at+1:])
	}
}

// part notes a secret that has no parts. What is short could be anything.
func (e *evidence) part(what, value string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(value) >= 16 && e.secrets[value] == "" {
		e.secrets[value] = what
	}
}

// known returns the secrets that are known by now.
func (e *evidence) known() map[string]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.secrets)
}

// spellings are the forms in which a secret may show.
func spellings(secret string) []string {
	raw := []byte(secret)
	upper := strings.ToUpper(hex.EncodeToString(raw))
	forms := []string{
		secret, hex.EncodeToString(raw), upper, url.QueryEscape(secret), url.PathEscape(secret),
		strings.Trim(fmt.Sprint(raw), "[]"), strings.Trim(strings.ReplaceAll(fmt.Sprintf("%#v", raw), "[]byte", ""), "{}"),
		strings.Trim(fmt.Sprintf("%q", secret), `"`), strings.Trim(fmt.Sprintf("%+q", secret), `"`),
	}
	// Inside of something longer, such as Basic credentials, base64 begins at one of three
	// places. What depends on the neighbours is cut off.
	for offset, cut := range []int{0, 2, 3} {
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			encoded := encoding.EncodeToString(append(make([]byte, offset), raw...))[cut:]
			if (offset+len(raw))%3 != 0 {
				encoded = encoded[:len(encoded)-1]
			}
			forms = append(forms, encoded)
		}
	}
	slices.Sort(forms)
	return slices.Compact(forms)
}

// leaks searches every output for every secret, except for what it is there to hand out.
func (e *evidence) leaks() (found []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	var pairs []string
	meaning := map[string]string{}
	for secret, what := range e.secrets {
		for _, spelling := range spellings(secret) {
			pairs = append(pairs, spelling, leakMark+spelling+leakMark)
			meaning[spelling] = what
		}
	}
	search := strings.NewReplacer(pairs...) // finds all in one pass
	seen, told := map[string]bool{}, map[string]bool{}
	for _, out := range e.outputs {
		text := out.text
		for _, handed := range out.hands {
			text = strings.ReplaceAll(text, handed, "(handed out)")
		}
		if seen[text] { // many answers are alike
			continue
		}
		seen[text] = true
		if parts := strings.Split(search.Replace(text), leakMark); len(parts) > 1 {
			what := out.where + " shows the " + meaning[parts[1]]
			before := strings.ToValidUTF8(parts[0][max(0, len(parts[0])-60):], "?")
			if !told[what] { // one example will do
				told[what] = true
				found = append(found, fmt.Sprintf("%s: ...%s%s", what, before, parts[1]))
			}
		}
	}
	return found
}

// leakMark stands around what was found.
const leakMark = "\x00leak\x00"

// TestSecretsAreSearchedFor: the search finds what is planted, however it is spelled, and
// wherever it stands (T26).
func TestSecretsAreSearchedFor(t *testing.T) {
	t.Parallel()
	const token = "ory_at_rL3xSGVsbG8gV29ybGQtaGVsbG8.d29ybGQ_aGVsbG8gd29ybGQ-aGVsbG8"
	hash := string([]byte{0xff, 0xfe, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, '"', '\\', 0x80})
	require.False(t, utf8.ValidString(hash))
	plants := map[string]string{
		"raw": token, "sentence": "the token " + token + " is wrong", "query": "/x?a=" + url.QueryEscape(token),
		"bytes": fmt.Sprint([]byte(token)), "go_bytes": fmt.Sprintf("%#v", []byte(token)), "hex": fmt.Sprintf("%x", token), "HEX": fmt.Sprintf("%X", token),
		"quoted": fmt.Sprintf("%q", hash), "quoted_ascii": fmt.Sprintf("%+q", hash), "escaped": url.QueryEscape(hash), "hash_bytes": fmt.Sprint([]byte(hash)),
		"signature_alone": "x" + strings.Split(token, ".")[1], "key_alone": strings.Split(token, ".")[0] + "y",
	}
	for _, prefix := range []string{"", "a", "ab", "abc", "client:"} {
		plants["base64/"+prefix] = base64.StdEncoding.EncodeToString([]byte(prefix + token + "!"))
		plants["base64url/"+prefix] = base64.RawURLEncoding.EncodeToString([]byte(prefix + hash))
	}
	for name, plant := range plants {
		t.Run("T26/planted/"+name, func(t *testing.T) {
			t.Parallel()
			e := newEvidence()
			e.secret("token", token)
			e.part("hash", hash)
			e.put("log", "nothing to see here")
			require.Empty(t, e.leaks())
			e.put("log", plant)
			require.NotEmpty(t, e.leaks())
		})
	}
	t.Run("T26/handed_out", func(t *testing.T) {
		t.Parallel()
		e := newEvidence()
		e.secret("token", token)
		e.put("answer", `{"access_token":"`+token+`"}`, token)
		require.Empty(t, e.leaks(), "this one answer may")
		e.put("another answer", `{"access_token":"`+token+`"}`)
		require.NotEmpty(t, e.leaks(), "and no other")
	})
}
