package house_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"unicode/utf8"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
	"github.com/stretchr/testify/require"
)

// rule is a row of docs/conformance.md.
type rule struct {
	id, level, text string
	files           []string // of proofs, each with the name of a test after a colon, or without
	note            string   // what is missing, or why nothing can be shown
}

const (
	rulesHeader    = "| ID | Level | Rule | Proof |"
	rulesSeparator = "|---|---|---|---|"
)

var (
	ruleLevels = []string{"MUST", "SHOULD", "MAY", "BCP", "REAL", "OWN", "THREAT"}
	ruleID     = regexp.MustCompile(`^(T|([A-Z]+|[0-9]{4})-([0-9]+(\.[0-9]+)*-)?)([0-9]{2})$`)
	proofFiles = regexp.MustCompile("^`[^`]+`(, `[^`]+`)*")
	proofNote  = regexp.MustCompile(`^(not yet|not done|no test): \S.*\S$`)
)

// parseRules reads the tables of rules, and returns all that is wrong with them. A table
// with another header is none.
func parseRules(document string) ([]rule, error) {
	var rules []rule
	var faults []error
	inTable, number := false, 0
	for line := range strings.Lines(document) {
		number++
		line = strings.TrimSpace(line)
		switch {
		case line == rulesHeader:
			inTable = true
		case !strings.HasPrefix(line, "|"):
			inTable = false
		case inTable && line != rulesSeparator:
			row, err := parseRule(line)
			if err != nil {
				faults = append(faults, fmt.Errorf("line %d: %w", number, err))
				continue
			}
			rules = append(rules, row)
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return rules, inSeries(rules)
}

func parseRule(line string) (rule, error) {
	cells := strings.Split(strings.Trim(line, "|"), "|")
	if len(cells) != 4 {
		return rule{}, fmt.Errorf("%d cells instead of 4", len(cells))
	}
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	row := rule{id: cells[0], level: cells[1], text: cells[2]}
	switch {
	case !ruleID.MatchString(row.id):
		return row, fmt.Errorf("%q is no ID", row.id)
	case !slices.Contains(ruleLevels, row.level):
		return row, fmt.Errorf("%s: %q is no level", row.id, row.level)
	case row.text == "":
		return row, fmt.Errorf("%s has no rule", row.id)
	}
	return row, row.parseProof(cells[3])
}

// parseProof reads a list of files, a note, or both with a semicolon between them.
func (r *rule) parseProof(cell string) error {
	list := proofFiles.FindString(cell)
	for name := range strings.SplitSeq(list, ", ") {
		if name = strings.Trim(name, "`"); name != "" {
			r.files = append(r.files, name)
		}
	}
	rest := cell[len(list):]
	if list != "" && rest == "" {
		return nil
	}
	if list != "" {
		var ok bool
		if rest, ok = strings.CutPrefix(rest, "; "); !ok {
			return fmt.Errorf("%s: %q follows the files", r.id, rest)
		}
	}
	if !proofNote.MatchString(rest) {
		return fmt.Errorf("%s: %q is neither a proof nor a reason", r.id, rest)
	}
	r.note = rest
	return nil
}

// inSeries finds IDs that occur twice and numbers that are left out: a row that got
// lost is noticed.
func inSeries(rules []rule) error {
	seen, highest := map[string]bool{}, map[string]int{}
	var faults []error
	for _, row := range rules {
		if seen[row.id] {
			faults = append(faults, fmt.Errorf("%s occurs twice", row.id))
		}
		seen[row.id] = true
		series, number := row.id[:len(row.id)-2], row.id[len(row.id)-2:]
		n, err := strconv.Atoi(number)
		if err != nil {
			return err
		}
		highest[series] = max(highest[series], n)
	}
	for series, last := range highest {
		for n := 1; n < last; n++ {
			if id := fmt.Sprintf("%s%02d", series, n); !seen[id] {
				faults = append(faults, fmt.Errorf("%s is left out", id))
			}
		}
	}
	return errors.Join(faults...)
}

// idsLike returns a pattern for whatever looks like an ID of one of the rules, right
// or wrong: a known word before the numbers.
func idsLike(rules []rule) *regexp.Regexp {
	var words []string
	for _, row := range rules {
		if word, _, ok := strings.Cut(row.id, "-"); ok && !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	pattern := `\bT[0-9]{2,3}\b`
	if len(words) > 0 {
		pattern += `|\b(` + strings.Join(words, "|") + `)-[0-9]+(\.[0-9]+)*(-[0-9]+)?\b`
	}
	return regexp.MustCompile(pattern)
}

// isTestText reports whether a file is one in which tests name rules.
func isTestText(name string) bool {
	folder, _, _ := strings.Cut(name, "/")
	return strings.HasSuffix(name, "_test.go") || folder == "integration" ||
		path.Ext(name) == ".go" && (folder == "storagetest" || path.Dir(name) == "internal/dcrtest")
}

// unknownIDs returns what looks like an ID in the tests of a tree and is none, each
// with its file.
func unknownIDs(tree fs.FS, rules []rule) ([]string, error) {
	known := map[string]bool{}
	for _, row := range rules {
		known[row.id] = true
	}
	like := idsLike(rules)
	var unknown []string
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && entry.Name() == "node_modules" {
			return fs.SkipDir
		}
		if err != nil || entry.IsDir() || !isTestText(name) {
			return err
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil || !utf8.Valid(text) {
			return err
		}
		for _, id := range like.FindAllString(string(text), -1) {
			if found := name + ": " + id; !known[id] && !slices.Contains(unknown, found) {
				unknown = append(unknown, found)
			}
		}
		return nil
	})
	return unknown, err
}

func conformance(t *testing.T) []rule {
	t.Helper()
	rules, err := parseRules(dcrtest.ReadFile(t, "docs/conformance.md"))
	require.NoError(t, err)
	return rules
}

// TestConformanceProofs: each rule of docs/conformance.md has a proof, a test that names it, or says why
// there is none.
func TestConformanceProofs(t *testing.T) {
	t.Parallel()
	rules := conformance(t)
	require.GreaterOrEqual(t, len(rules), 243, "rules got lost")
	var faults []error
	proofs := &proofs{os.DirFS(dcrtest.Root(t)), map[string]map[string]*function{}}
	for i := range rules {
		faults = append(faults, proofs.check(&rules[i]))
	}
	require.NoError(t, errors.Join(faults...))
}

// TestConformanceIDs: what tests name is a rule of docs/conformance.md.
func TestConformanceIDs(t *testing.T) {
	t.Parallel()
	unknown, err := unknownIDs(os.DirFS(dcrtest.Root(t)), conformance(t))
	require.NoError(t, err)
	require.Empty(t, unknown, "these are not in docs/conformance.md")
}

// fakeRules is a document with these rows.
func fakeRules(rows ...string) string {
	return "# Rules\n\n| Level | Means |\n|---|---|\n| MUST | must |\n\n" + rulesHeader + "\n" + rulesSeparator + "\n" +
		strings.Join(rows, "\n") + "\n\nMore.\n"
}

func TestConformanceParser(t *testing.T) {
	t.Parallel()
	rules, err := parseRules(fakeRules(
		"| FAKE-01 | MUST | One. | `a_test.go` |",
		"| FAKE-02 | OWN | Two. | `a_test.go`, `b/c_test.go`; not yet: half; of it |",
		"| 7777-3.2.1-01 | THREAT | Three. | no test: because |",
	))
	require.NoError(t, err)
	require.Equal(t, []rule{
		{id: "FAKE-01", level: "MUST", text: "One.", files: []string{"a_test.go"}},
		{id: "FAKE-02", level: "OWN", text: "Two.", files: []string{"a_test.go", "b/c_test.go"}, note: "not yet: half; of it"},
		{id: "7777-3.2.1-01", level: "THREAT", text: "Three.", note: "no test: because"},
	}, rules)
}

// TestConformanceParserRefuses: each fault of a table is one.
func TestConformanceParserRefuses(t *testing.T) {
	t.Parallel()
	const good = "| FAKE-01 | MUST | One. | `a_test.go` |"
	for want, rows := range map[string][]string{
		"FAKE-01 occurs twice":    {good, good},
		"FAKE-02 is left out":     {good, "| FAKE-03 | MUST | Three. | `a_test.go` |"},
		"3 cells instead of 4":    {"| FAKE-01 | MUST | One. |"},
		"5 cells instead of 4":    {"| FAKE-01 | MUST | One. | `a_test.go` | more |"},
		`"FAKE-1" is no ID`:       {"| FAKE-1 | MUST | One. | `a_test.go` |"},
		`"WILL" is no level`:      {"| FAKE-01 | WILL | One. | `a_test.go` |"},
		"FAKE-01 has no rule":     {"| FAKE-01 | MUST | | `a_test.go` |"},
		`"" is neither`:           {"| FAKE-01 | MUST | One. | |"},
		`"a_test.go" is neither`:  {"| FAKE-01 | MUST | One. | a_test.go |"},
		`"not yet:" is neither`:   {"| FAKE-01 | MUST | One. | not yet: |"},
		`"later: it" is neither`:  {"| FAKE-01 | MUST | One. | `a_test.go`; later: it |"},
		`" and so on" follows`:    {"| FAKE-01 | MUST | One. | `a_test.go` and so on |"},
		"line 10: 1 cells instea": {good, "| FAKE-02 |"},
	} {
		_, err := parseRules(fakeRules(rows...))
		require.ErrorContains(t, err, want)
	}
}

// TestConformanceFindsTypos: an ID that is nearly one is found, wherever tests lie.
func TestConformanceFindsTypos(t *testing.T) {
	t.Parallel()
	rules := []rule{{id: "FAKE-01"}, {id: "7777-2.1-01"}}
	tree := fstest.MapFS{
		"a.go":                     {Data: []byte("FAKE-99")},
		"a_test.go":                {Data: []byte("FAKE-01, FAKE-1, 7777-2.1-01/case, 7777-2.1-02. UTF-16, T7, 2020-01-01T00:00:00Z")},
		"storagetest/a.go":         {Data: []byte("7777-2-1")},
		"integration/x/data.jsonl": {Data: []byte(`{"why": "FAKE-02: it"}`)},
		"integration/x/data.bin":   {Data: []byte("\xff FAKE-03")},
		"internal/dcrtest/a.go":    {Data: []byte("T" + "01 and T" + "100")},
	}
	unknown, err := unknownIDs(tree, rules)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{
		"a_test.go: FAKE-1", "a_test.go: 7777-2.1-02", "storagetest/a.go: 7777-2-1",
		"integration/x/data.jsonl: FAKE-02", "internal/dcrtest/a.go: T01", "internal/dcrtest/a.go: T" + "100",
	}, unknown)
}
