package house_test

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// oldWords maps what once stood for something to the word that now does. Each is a pattern of lower-case letters, in
// which a space stands for any white space, so that a phrase is found where a line ends within it.
var oldWords = map[string]string{
	`\boperator['’]s own\b`: "static client",
	`\b(gives?|gave) way\b`: "evicted",
	`\bhas ended\b`:         "expired; of a context: done",
	`leftover`:              "cleanup failed",
	`\ba stranger\b`:        "anybody, others",
	`strangers`:             "others, anybody",
	`\bthe host['’]s\b`:     "the application's, the server's",
	`\ba host of\b`:         "a server of, an application of; a host is a DNS name",
}

// TestOldWordsDoNotComeBack: one thing has one name, in code, comments, texts, pages and documents.
func TestOldWordsDoNotComeBack(t *testing.T) {
	t.Parallel()
	var found []string
	walkModule(t, func(name string, content []byte) error {
		if name == "CHANGELOG.md" { // which names what was renamed
			content = bytes.ReplaceAll(content, []byte("`EventLeftover`"), nil)
		}
		content = bytes.ReplaceAll(content, []byte("AcceptsStrangers"), nil) // the method of a client metadata document's source
		if !isTest(name) {
			found = append(found, wordsIn(name, string(content))...)
		}
		return nil
	})
	slices.Sort(found)
	require.Empty(t, strings.Join(found, "\n"))
}

// betweenWords is a pattern of white space, with what begins the next line of a comment, a quotation or a list.
const betweenWords = `\s+(?:(?://|>|\*|#)\s*)?`

// wordsIn returns the old words of a file, each with its line and what to write instead.
func wordsIn(name, content string) []string {
	content = strings.ToLower(content)
	var found []string
	for pattern, instead := range oldWords {
		pattern := regexp.MustCompile(strings.ReplaceAll(pattern, " ", betweenWords))
		for _, place := range pattern.FindAllStringIndex(content, -1) {
			line := 1 + strings.Count(content[:place[0]], "\n")
			old := strings.Join(strings.Fields(content[place[0]:place[1]]), " ")
			found = append(found, fmt.Sprintf("%s:%d: %q; write: %s", name, line, old, instead))
		}
	}
	slices.Sort(found)
	return found
}

// TestOldWordsAreFound: in any case, at the end of a line, and only as whole words.
func TestOldWordsAreFound(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{
		`a.go:1: "has ended"; write: expired; of a context: done`,
		`a.go:3: "the // host's"; write: the application's, the server's`,
		`a.go:6: "strangers"; write: others, anybody`,
	}, wordsIn("a.go", "// It Has  ended.\n\n// A rule of the\n// host's own.\n\nfunc ofStrangers()\n"))
	require.Empty(t, wordsIn("a.go", "// The hosts of a schema host offer what ended: has\n// bended.\n"))
}
