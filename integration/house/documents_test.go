package house_test

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// documents are the documents of the module, by their paths.
func documents(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		names, err := fs.Glob(os.DirFS(dcrtest.Root(t)), pattern)
		require.NoError(t, err)
		found = append(found, names...)
	}
	require.Contains(t, found, "docs/architecture.md")
	return found
}

// filesNamed are the files of the module that have a name, by their paths.
func filesNamed(t *testing.T, name string) []string {
	t.Helper()
	var found []string
	err := fs.WalkDir(os.DirFS(dcrtest.Root(t)), ".", func(file string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == name {
			found = append(found, file)
		}
		if err == nil && entry.IsDir() && entry.Name() == "node_modules" {
			return fs.SkipDir
		}
		return err
	})
	require.NoError(t, err)
	require.NotEmpty(t, found)
	return found
}

// TestDocumentLinks: what a document links to exists, a heading of a document too.
func TestDocumentLinks(t *testing.T) {
	t.Parallel()
	links := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, document := range documents(t) {
		text := codeBlock.ReplaceAllString(dcrtest.ReadFile(t, document), "")
		for _, link := range links.FindAllStringSubmatch(text, -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			file, heading, _ := strings.Cut(link[1], "#")
			target := path.Join(path.Dir(document), file)
			if file == "" {
				target = document
			}
			_, err := os.Stat(filepath.Join(dcrtest.Root(t), filepath.FromSlash(target)))
			require.NoError(t, err, "%s links to %s", document, link[1])
			if heading != "" {
				require.Contains(t, headings(dcrtest.ReadFile(t, target)), heading, "%s links to %s", document, link[1])
			}
		}
	}
}

// headings are the anchors of a document.
func headings(document string) []string {
	var found []string
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(document, -1) {
		anchor := regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(heading[1]), "")
		found = append(found, strings.ReplaceAll(anchor, " ", "-"))
	}
	return found
}

// oldNames is where the changelog says what names were before.
const oldNames = "### Changed"

// current is a document without the names of earlier versions.
func current(t *testing.T, document string) string {
	t.Helper()
	text := dcrtest.ReadFile(t, document)
	if document == "CHANGELOG.md" {
		text, _, _ = strings.Cut(text, oldNames)
	}
	return text
}

// TestDocumentSettings: each setting that a document names is a field of dcr.Config.
func TestDocumentSettings(t *testing.T) {
	t.Parallel()
	setting := regexp.MustCompile(`(?:(\w+)\.)?\bConfig((?:\.[A-Z]\w*)+)`)
	found := 0
	for _, document := range documents(t) {
		for _, named := range setting.FindAllStringSubmatch(current(t, document), -1) {
			if named[1] != "" && named[1] != "dcr" {
				continue // another package's
			}
			found++
			require.True(t, hasField(reflect.TypeFor[dcr.Config](), strings.Split(named[2], ".")[1:]), "%s names Config%s", document, named[2])
		}
	}
	require.GreaterOrEqual(t, found, 50)
}

// hasField reports whether a struct has a field, or a field of a field, by a path of names.
func hasField(in reflect.Type, names []string) bool {
	for _, name := range names {
		if in.Kind() != reflect.Struct {
			return false
		}
		field, ok := in.FieldByName(name)
		if !ok {
			return false
		}
		in = field.Type
	}
	return true
}

// TestDocumentNames: what a document names of a package of this module is exported there, and what it names
// of the provider is a method.
func TestDocumentNames(t *testing.T) {
	t.Parallel()
	folders := map[string]string{"dcr": ".", "policy": "policy", "consent": "consent", "admin": "admin",
		"telemetry": "telemetry", "storagetest": "storagetest", "outbound": "outbound", "sqlstore": "sqlstore", "cimd": "cimd"}
	exported := map[string][]string{}
	for name, folder := range folders {
		exported[name] = exportedNames(t, folder)
	}
	name := regexp.MustCompile(`\b(dcr|policy|consent|admin|telemetry|storagetest|outbound|sqlstore|cimd)\.([A-Z]\w*)`)
	method := regexp.MustCompile(`\b(?:provider|Provider)\.([A-Z]\w*)`)
	provider := reflect.TypeFor[*dcr.Provider]()
	for _, document := range documents(t) {
		text := current(t, document)
		for _, named := range name.FindAllStringSubmatch(text, -1) {
			require.Contains(t, exported[named[1]], named[2], "%s names %s", document, named[0])
		}
		for _, named := range method.FindAllStringSubmatch(text, -1) {
			_, ok := provider.MethodByName(named[1])
			require.True(t, ok, "%s names Provider.%s", document, named[1])
		}
	}
}

// exportedNames are the names that a package declares at its top.
func exportedNames(t *testing.T, folder string) []string {
	t.Helper()
	var found []string
	for _, file := range parsed(t, filepath.Join(dcrtest.Root(t), folder)) {
		for _, declaration := range file.Decls {
			switch d := declaration.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					found = append(found, d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch s := spec.(type) {
					case *ast.TypeSpec:
						found = append(found, s.Name.Name)
					case *ast.ValueSpec:
						for _, name := range s.Names {
							found = append(found, name.Name)
						}
					}
				}
			}
		}
	}
	return found
}

// TestDocumentFiles: each Go file that a document names exists, and each folder of the architecture.
func TestDocumentFiles(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile("`([\\w/]+\\.go)`|`((?:internal|integration|examples)/[\\w/]+)`")
	for _, document := range documents(t) {
		for _, name := range named.FindAllStringSubmatch(current(t, document), -1) {
			_, err := os.Stat(filepath.Join(dcrtest.Root(t), filepath.FromSlash(name[1]+name[2])))
			require.NoError(t, err, "%s names %s", document, name[0])
		}
	}
}

// TestArchitectureFiles: the architecture names every file at the root, once, in its table.
func TestArchitectureFiles(t *testing.T) {
	t.Parallel()
	var want, named []string
	files, err := fs.Glob(os.DirFS(dcrtest.Root(t)), "*.go")
	require.NoError(t, err)
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			want = append(want, file)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+\\.go)` \\|").FindAllStringSubmatch(dcrtest.ReadFile(t, "docs/architecture.md"), -1) {
		named = append(named, row[1])
	}
	require.ElementsMatch(t, want, named)
}

// parsed are the Go files of a folder, tests left out.
func parsed(t *testing.T, folder string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(folder, "*.go"))
	require.NoError(t, err)
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, file)
	}
	require.NotEmpty(t, files, folder)
	return files
}

// texts are the texts that this package and fosite can print.
func texts(t *testing.T) []string {
	t.Helper()
	root := dcrtest.Root(t)
	fosite, err := build.Import("github.com/ory/fosite", root, build.FindOnly)
	require.NoError(t, err)
	var found []string
	for _, folder := range []string{root, filepath.Join(root, "internal/redirecturi"), fosite.Dir} {
		for _, file := range parsed(t, folder) {
			ast.Inspect(file, func(node ast.Node) bool {
				text, ok := textOf(node)
				if ok {
					found = append(found, text)
				}
				return !ok
			})
		}
	}
	return slices.Compact(found)
}

// textOf is the text of a literal, or of several that are added.
func textOf(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(n.Value)
		return text, err == nil && n.Kind == token.STRING
	case *ast.BinaryExpr:
		left, isText := textOf(n.X)
		right, alsoText := textOf(n.Y)
		return left + right, isText && alsoText && n.Op == token.ADD
	}
	return "", false
}
