// Package house_test holds the tests of structure: imports between packages, and README and documents against code.
package house_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// imported maps each Go file of the module, tests left out, to its direct imports.
func imported(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	tree := os.DirFS(dcrtest.Root(t))
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		source, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.ImportsOnly)
		if err != nil {
			return err
		}
		found[name] = []string{}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			found[name] = append(found[name], imported)
		}
		return nil
	})
	require.NoError(t, err)
	require.Contains(t, found, "fosite_dcr.go")
	return found
}

// TestImportsPointOneWay: packages that know nothing of registration import nothing
// that does, and the root package imports none of those that stand on it.
func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	leaves := []string{"internal/strictjson", "internal/redirecturi", "internal/keyset", "outbound"}
	for file, imports := range imported(t) {
		folder := path.Dir(file)
		for _, name := range imports {
			own, ok := strings.CutPrefix(name, dcrtest.Module)
			own = strings.TrimPrefix(own, "/")
			switch {
			case !ok:
			case slices.Contains(leaves, folder):
				require.Equal(t, "internal/keyset", own, "%s: a leaf imports %s", file, name)
				require.Equal(t, "outbound", folder, file)
			case folder == ".":
				require.Contains(t, leaves, own, "%s: the root imports %s", file, name)
			}
		}
	}
}

// TestWhoMayImportWhat holds single files to what only they may import.
func TestWhoMayImportWhat(t *testing.T) {
	t.Parallel()
	only := map[string][]string{
		"net/http": {"registration_handler.go", "management_handler.go", "discovery.go", "http.go",
			"access.go", "initial_access_token.go", "cors.go", "provider.go", "provider_token.go", "provider_introspection.go", "client_authentication.go", "errors.go", "events.go", "visit.go"},
		"github.com/ory/fosite/compose":               {"compose.go"},
		"github.com/gorilla/mux":                      {"fosite_dcr.go"},
		"github.com/go-json-experiment/json/jsontext": {},
		"testing": {},
	}
	for file, imports := range imported(t) {
		for _, name := range imports {
			if path.Dir(file) == "." {
				allowed, held := only[name]
				require.True(t, !held || slices.Contains(allowed, file), "%s imports %s", file, name)
			}
			if strings.HasPrefix(name, "github.com/go-json-experiment/") {
				require.Equal(t, "internal/strictjson", path.Dir(file), file)
			}
		}
	}
}

// TestAdoptersLinkNoTestCode: what an adopter imports brings neither testify nor a
// database driver by an import of its own.
func TestAdoptersLinkNoTestCode(t *testing.T) {
	t.Parallel()
	for file, imports := range imported(t) {
		folder := path.Dir(file)
		if folder == "internal/dcrtest" || strings.HasPrefix(folder, "examples") {
			continue
		}
		for _, name := range imports {
			require.False(t, strings.HasPrefix(name, "github.com/stretchr/testify"), "%s imports %s", file, name)
			require.False(t, strings.Contains(name, "sqlite") || strings.Contains(name, "pgx") || strings.Contains(name, "go-sql-driver"), "%s imports %s", file, name)
			require.True(t, name != "testing" || folder == "storagetest", "%s imports %s", file, name)
		}
	}
}
