package house_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// The measures of the module. A file or function that outgrows them hides a table, a type or a step: give it a place
// of its own.
const (
	mostRootFiles      = 26   // names *.go at the root, the examples among them
	mostRootLines      = 8499 // lines of the root package, tests left out
	mostRootDoc        = 1860 // lines of go doc -all ., which may only fall
	mostFileLines      = 500  // lines of a file, tests too
	mostFunctionLines  = 60   // lines of a function that is no test, from func to the brace
	usualFunctionLines = 35   // within which nine in ten lie
	halfFunctionLines  = 12   // within which half lie
	mostMethods        = 50   // methods of a type of the root, without those that it embeds
)

// goSource is a file of Go in the module.
type goSource struct {
	lines int
	set   *token.FileSet
	file  *ast.File
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }

// goFiles parses all Go files of the module, tests too. The keys are paths below its root.
func goFiles(t *testing.T) map[string]goSource {
	t.Helper()
	found := map[string]goSource{}
	walkModule(t, func(name string, content []byte) error {
		if path.Ext(name) != ".go" {
			return nil
		}
		source := goSource{lines: strings.Count(string(content), "\n"), set: token.NewFileSet()}
		var err error
		source.file, err = parser.ParseFile(source.set, name, content, parser.ParseComments|parser.SkipObjectResolution)
		found[name] = source
		return err
	})
	require.Contains(t, found, "fosite_dcr.go")
	return found
}

// walkModule reads the files of the module. It leaves out what the go command leaves out, and packages of Node.js.
func walkModule(t *testing.T, visit func(name string, content []byte) error) {
	t.Helper()
	tree := os.DirFS(dcrtest.Root(t))
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			base := entry.Name()
			if base == "testdata" || base == "node_modules" || base != "." && (base[0] == '.' || base[0] == '_') {
				return fs.SkipDir
			}
			return nil
		}
		if !slices.Contains([]string{".go", ".md", ".html"}, path.Ext(name)) {
			return nil
		}
		content, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		return visit(name, content)
	})
	require.NoError(t, err)
}

// TestRootStaysSmall: an adopter and a maintainer can read the root package.
func TestRootStaysSmall(t *testing.T) {
	t.Parallel()
	names, lines := 0, 0
	for name, source := range goFiles(t) {
		if path.Dir(name) != "." {
			continue
		}
		names++
		if !isTest(name) {
			lines += source.lines
		}
	}
	require.LessOrEqual(t, names, mostRootFiles, "*.go at the root")
	require.LessOrEqual(t, lines, mostRootLines, "lines of the root package")
}

// TestRootDocumentation: what the root exports can be read in one go.
func TestRootDocumentation(t *testing.T) {
	t.Parallel()
	command := exec.CommandContext(t.Context(), "go", "doc", "-all", ".")
	command.Dir = dcrtest.Root(t)
	out, err := command.Output()
	require.NoError(t, err)
	require.LessOrEqual(t, strings.Count(string(out), "\n"), mostRootDoc, "lines of go doc -all .")
}

// TestFilesAndFunctionsStaySmall holds every file of the module, and every function that is no test.
func TestFilesAndFunctionsStaySmall(t *testing.T) {
	t.Parallel()
	var faults []string
	var all []int
	for name, source := range goFiles(t) {
		if source.lines > mostFileLines {
			faults = append(faults, fmt.Sprintf("%s has %d lines, more than %d", name, source.lines, mostFileLines))
		}
		if isTest(name) {
			continue
		}
		for function, lines := range functions(source) {
			all = append(all, lines)
			if lines > mostFunctionLines {
				faults = append(faults, fmt.Sprintf("%s: %s has %d lines, more than %d", name, function, lines, mostFunctionLines))
			}
		}
	}
	slices.Sort(faults)
	require.Empty(t, strings.Join(faults, "\n"))
	slices.Sort(all)
	require.LessOrEqual(t, all[len(all)/2], halfFunctionLines, "half of the functions")
	require.LessOrEqual(t, all[len(all)*9/10], usualFunctionLines, "nine in ten functions")
}

// functions returns the lines of each function and method of a file.
func functions(source goSource) map[string]int {
	found := map[string]int{}
	for _, declaration := range source.file.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := function.Name.Name
		if function.Recv != nil {
			name = receiver(function) + "." + name
		}
		found[name] = source.set.Position(function.End()).Line - source.set.Position(function.Type.Func).Line + 1
	}
	return found
}

// receiver returns the name of the type that has a method.
func receiver(function *ast.FuncDecl) string {
	typ := function.Recv.List[0].Type
	for {
		switch inner := typ.(type) {
		case *ast.StarExpr:
			typ = inner.X
		case *ast.IndexExpr:
			typ = inner.X
		case *ast.IndexListExpr:
			typ = inner.X
		case *ast.Ident:
			return inner.Name
		default:
			return ""
		}
	}
}
