package house_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// isTestName is the name of a function that go test runs.
var isTestName = regexp.MustCompile(`^(Test|Fuzz|Benchmark|Example)([^a-z]|$)`)

// proofs finds out which tests of a tree name a rule.
type proofs struct {
	tree    fs.FS
	folders map[string]map[string]*function // by folder, by name
}

// function is what a function of a test says and whom it may call.
type function struct {
	file  string
	says  []string // its strings and comments: the names of subtests are among them
	calls []string
}

// check opens the proof of a row: a test that exists and names the rule, by itself or in what it calls of
// its own folder; a row of storagetest; or a request of the test data with the rule as its reason.
func (p *proofs) check(r *rule) error {
	names := regexp.MustCompile(`(^|[^0-9A-Za-z-])` + regexp.QuoteMeta(r.id) + `($|[^0-9A-Za-z-])`)
	for _, proof := range r.files {
		file, test, _ := strings.Cut(proof, ":")
		found, err := p.naming(file, names)
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", r.id, err)
		case len(found) == 0:
			return fmt.Errorf("%s: no test of %s names it", r.id, file)
		case test == "" && path.Ext(file) == ".go":
			return fmt.Errorf("%s: say after %s which test it is, such as `%s:%s`", r.id, file, file, found[0])
		case test != "" && !slices.Contains(found, test):
			return fmt.Errorf("%s: %s is no test of %s that names it; these do: %s", r.id, test, file, strings.Join(found, ", "))
		}
	}
	return nil
}

// naming returns what in a file proves a rule, in order.
func (p *proofs) naming(file string, names *regexp.Regexp) ([]string, error) {
	if path.Ext(file) == ".jsonl" {
		return requestsNaming(p.tree, file, names)
	}
	folder := path.Dir(file)
	functions, err := p.functions(folder)
	if err != nil {
		return nil, err
	}
	if _, err := fs.Stat(p.tree, file); err != nil {
		return nil, err
	}
	var found []string
	for name, f := range functions {
		test := isTestName.MatchString(name) && strings.HasSuffix(file, "_test.go")
		if f.file == file && (test || folder == "storagetest") && reaches(functions, name, names, map[string]bool{}) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found, nil
}

// reaches reports whether a function names a rule, or one that it calls does.
func reaches(functions map[string]*function, name string, names *regexp.Regexp, seen map[string]bool) bool {
	f := functions[name]
	if f == nil || seen[name] {
		return false
	}
	seen[name] = true
	return slices.ContainsFunc(f.says, names.MatchString) || slices.ContainsFunc(f.calls, func(called string) bool {
		return !isTestName.MatchString(called) && reaches(functions, called, names, seen)
	})
}

// functions reads the functions of a folder, and its variables with tables of rows.
func (p *proofs) functions(folder string) (map[string]*function, error) {
	if known := p.folders[folder]; known != nil {
		return known, nil
	}
	files, err := fs.Glob(p.tree, path.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	found := map[string]*function{}
	for _, file := range files {
		if !isTestText(file) {
			continue
		}
		text, err := fs.ReadFile(p.tree, file)
		if err != nil {
			return nil, err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, declaration := range parsed.Decls {
			addFunction(found, file, parsed.Comments, declaration)
		}
	}
	p.folders[folder] = found
	return found, nil
}

// addFunction notes a function, or a variable at the top of a file. Methods of one name count as one function.
func addFunction(found map[string]*function, file string, comments []*ast.CommentGroup, declaration ast.Decl) {
	var name string
	begin := declaration.Pos()
	switch d := declaration.(type) {
	case *ast.FuncDecl:
		name = d.Name.Name
		if d.Doc != nil {
			begin = d.Doc.Pos()
		}
	case *ast.GenDecl:
		if value, ok := d.Specs[0].(*ast.ValueSpec); ok && d.Tok == token.VAR {
			name = value.Names[0].Name
		}
		if d.Doc != nil {
			begin = d.Doc.Pos()
		}
	}
	if name == "" {
		return
	}
	f := found[name]
	if f == nil {
		f = &function{file: file}
		found[name] = f
	}
	for _, comment := range comments {
		if comment.Pos() >= begin && comment.End() <= declaration.End() {
			f.says = append(f.says, comment.Text())
		}
	}
	ast.Inspect(declaration, func(node ast.Node) bool {
		switch n := node.(type) {
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				f.says = append(f.says, n.Value)
			}
		case *ast.Ident:
			f.calls = append(f.calls, n.Name)
		}
		return true
	})
}

// requestsNaming returns the names of the requests in a file of test data whose reason names a rule.
func requestsNaming(tree fs.FS, file string, names *regexp.Regexp) ([]string, error) {
	text, err := fs.ReadFile(tree, file)
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(text)) {
		var row struct{ Name, Why string }
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if names.MatchString(row.Why) {
			found = append(found, row.Name)
		}
	}
	return found, nil
}

// TestProofs: a proof is a test that exists and names the rule, not a word somewhere in its file.
func TestProofs(t *testing.T) {
	t.Parallel()
	tree := fstest.MapFS{
		"a/a_test.go": {Data: []byte("// Package a has FAKE-01.\npackage a\n\n// FAKE-01 is not here.\ntype fake struct{}\n\n" +
			"// TestOne: FAKE-02.\nfunc TestOne() { helper() }\n\nfunc TestTwo() { t.Run(\"FAKE-03/x\", nil) }\n\n" +
			"func helper() {\n\t// FAKE-04\n}\n\nfunc TestThree() { run(rows) }\n\nfunc Testify() { _ = \"FAKE-06\" }\n")},
		"a/b_test.go":      {Data: []byte("package a\n\nvar rows = []string{\"FAKE-05/x\", \"FAKE-010\"}\n")},
		"a/data.jsonl":     {Data: []byte(`{"name": "n", "why": "FAKE-07: so"}` + "\n")},
		"storagetest/a.go": {Data: []byte("package storagetest\n\n// FAKE-08 here.\nconst x = 1\n\nvar rows = []string{\"FAKE-09/x\"}\n")},
		"b_test.go":        {Data: []byte("package b\n\nfunc helper() { _ = \"FAKE-01\" }\n")},
	}
	for proof, want := range map[string]string{
		"FAKE-01 a/a_test.go":              "FAKE-01: no test of a/a_test.go names it",
		"FAKE-01 b_test.go":                "FAKE-01: no test of b_test.go names it",
		"FAKE-02 a/a_test.go":              "FAKE-02: say after a/a_test.go which test it is, such as `a/a_test.go:TestOne`",
		"FAKE-02 a/a_test.go:TestOne":      "",
		"FAKE-02 a/a_test.go:TestTwo":      "FAKE-02: TestTwo is no test of a/a_test.go that names it; these do: TestOne",
		"FAKE-02 a/a_test.go:TestFour":     "FAKE-02: TestFour is no test",
		"FAKE-03 a/a_test.go:TestTwo":      "",
		"FAKE-04 a/a_test.go:TestOne":      "", // by what it calls
		"FAKE-04 a/a_test.go:helper":       "FAKE-04: helper is no test",
		"FAKE-05 a/a_test.go:TestThree":    "", // by a table in another file
		"FAKE-05 a/b_test.go":              "FAKE-05: no test of a/b_test.go names it",
		"FAKE-06 a/a_test.go":              "FAKE-06: no test",
		"FAKE-07 a/data.jsonl:n":           "",
		"FAKE-07 a/data.jsonl:m":           "FAKE-07: m is no test",
		"FAKE-06 a/data.jsonl":             "FAKE-06: no test",
		"FAKE-08 storagetest/a.go":         "FAKE-08: no test",
		"FAKE-09 storagetest/a.go:rows":    "",
		"FAKE-10 a/a_test.go":              "FAKE-10: no test",
		"FAKE-01 a/c_test.go":              "FAKE-01: open a/c_test.go",
		"FAKE-01 nowhere/c_test.go:TestMe": "FAKE-01: open nowhere/c_test.go",
	} {
		id, file, _ := strings.Cut(proof, " ")
		err := (&proofs{tree, map[string]map[string]*function{}}).check(&rule{id: id, files: []string{file}})
		if want == "" {
			require.NoError(t, err, proof)
			continue
		}
		require.ErrorContains(t, err, want, proof)
	}
}
