// Package house_test holds the tests of structure: imports between packages, the order of the root's files, measures,
// comments and words; and README and documents against code.
package house_test

import (
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// arrows lists the packages of this module, from top to bottom, and which of them each imports, tests left out. "." is
// the root. What lies below the root knows no registered client, so it takes plain values. Packages under examples are
// programs of adopters, who have no internal packages; those under integration have nothing but tests.
var arrows = []struct {
	folder  string
	imports []string
}{
	{"bench", nil},
	{"bench/server", []string{"admin", ".", "bench/program"}},
	{"bench/attacker", nil},
	{"bench/bare", []string{"bench/program"}},
	{"bench/program", nil},
	{"admin", []string{"consent", ".", "cimd"}},
	{"internal/dcrtest", []string{"policy", ".", "cimd"}},
	{"policy", []string{".", "internal/capability", "internal/redirecturi"}},
	{"consent", []string{".", "internal/plaintext", "internal/redirecturi", "outbound"}},
	{"telemetry", []string{"."}},
	{"storagetest", []string{".", "cimd"}},
	{"sqlstore", []string{"."}},
	{".", []string{
		"internal/members", "internal/assertion", "internal/capability", "internal/memory", "internal/plaintext",
		"internal/ratelimit", "internal/request", "internal/redirecturi", "internal/strictjson", "outbound", "internal/keyset",
		"internal/resource", "internal/configview", "internal/tokens", "internal/introspection", "internal/errorredirect",
		"internal/cursor", "internal/packed", "internal/patience",
	}},
	{"internal/introspection", []string{"internal/assertion", "internal/configview", "internal/request", "internal/tokens"}},
	{"internal/errorredirect", nil},
	{"internal/cursor", nil},
	{"cimd", []string{"outbound"}},
	{"internal/tokens", nil},
	{"internal/configview", []string{"internal/resource"}},
	{"internal/resource", nil},
	{"internal/members", []string{"internal/redirecturi", "internal/strictjson", "outbound", "internal/keyset", "internal/packed"}},
	{"internal/assertion", []string{"internal/strictjson", "internal/keyset"}},
	{"internal/request", nil},
	{"internal/plaintext", []string{"outbound"}},
	{"internal/capability", nil},
	{"internal/memory", []string{"internal/packed"}},
	{"internal/packed", nil},
	{"internal/patience", nil},
	{"internal/ratelimit", nil},
	{"internal/redirecturi", nil},
	{"internal/strictjson", nil},
	{"outbound", []string{"internal/keyset"}},
	{"internal/keyset", nil},
}

// TestImportsPointOneWay: the table is exact, and each package imports only what stands below it there. So there is
// nothing that imports the root below it, and an arrow that is not used any more is removed.
func TestImportsPointOneWay(t *testing.T) {
	t.Parallel()
	found := map[string][]string{}
	for file, imports := range imported(t) {
		folder := path.Dir(file)
		found[folder] = append(found[folder], own(imports)...)
	}
	seen := []string{}
	for _, row := range slices.Backward(arrows) {
		require.Subset(t, seen, row.imports, "in arrows, %s stands below what it imports", row.folder)
		seen = append(seen, row.folder)
		require.Contains(t, found, row.folder, "there is no such package: remove it from arrows")
		require.ElementsMatch(t, row.imports, distinct(found[row.folder]), "what %s imports (the second list) is not what arrows say", row.folder)
	}
	for folder, imports := range found {
		if strings.HasPrefix(folder, "examples/") {
			require.NotContains(t, strings.Join(imports, " "), "internal/", "%s is an example, which has the public packages only", folder)
			continue
		}
		require.Contains(t, seen, folder, "a new package: give it a row in arrows, above what it imports")
	}
}

// only lists the imports that few may have: the root's files by name, other packages by folder, and what lies under
// examples as one. The list is exact. An import that ends in a slash stands for all packages under it.
var only = map[string][]string{
	"net/http": {
		"access.go", "discovery.go", "errors.go", "events.go", "management_handler.go", "provider.go", "provider_token.go",
		"registration_handler.go", "admin", "cimd", "examples", "internal/dcrtest", "internal/ratelimit", "internal/request",
		"outbound", "internal/errorredirect", "internal/introspection", "internal/tokens", "bench", "bench/attacker",
		"bench/bare", "bench/program", "bench/server",
	},
	"github.com/ory/fosite/compose":       {"compose.go", "examples", "internal/dcrtest", "bench/server"},
	"github.com/gorilla/mux":              {"fosite_dcr.go", "examples", "internal/dcrtest", "bench/server"},
	"github.com/go-json-experiment/json/": {"internal/strictjson"},
	"testing":                             {"internal/dcrtest", "storagetest"},
	"github.com/stretchr/testify/":        {"internal/dcrtest"},
	"database/sql":                        {"examples", "internal/dcrtest", "sqlstore"},
	"modernc.org/":                        {"examples"},
	"github.com/pressly/goose/":           {"sqlstore"},
	"github.com/jackc/":                   {"examples", "internal/dcrtest"},
}

// TestWhoMayImportWhat holds files and packages to what only they may import. What an adopter imports brings neither
// testify nor a database driver by an import of its own.
func TestWhoMayImportWhat(t *testing.T) {
	t.Parallel()
	found := map[string][]string{}
	for file, imports := range imported(t) {
		who := path.Dir(file)
		switch {
		case who == ".":
			who = file
		case strings.HasPrefix(who, "examples/"):
			who = "examples"
		}
		for _, name := range imports {
			for few := range only {
				if name == few || strings.HasSuffix(few, "/") && strings.HasPrefix(name, few) {
					found[few] = append(found[few], who)
				}
			}
		}
	}
	for _, few := range slices.Sorted(maps.Keys(only)) {
		require.ElementsMatch(t, only[few], distinct(found[few]), "who imports %s (the second list) is not who may", few)
	}
}

// TestLeavesAreTestedAlone: tests of what lies below the root need no registered client either.
func TestLeavesAreTestedAlone(t *testing.T) {
	t.Parallel()
	var leaves []string
	for _, row := range slices.Backward(arrows) {
		if row.folder == "." {
			break
		}
		leaves = append(leaves, row.folder)
	}
	for file, source := range goFiles(t) {
		if slices.Contains(leaves, path.Dir(file)) {
			require.Subset(t, leaves, own(importsOf(t, source)), "%s imports what lies above it", file)
		}
	}
}

// imported maps each Go file of the module, tests left out, to its direct imports.
func imported(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for name, source := range goFiles(t) {
		if !isTest(name) {
			found[name] = importsOf(t, source)
		}
	}
	return found
}

// importsOf returns the imports of a file.
func importsOf(t *testing.T, source goSource) []string {
	t.Helper()
	var imports []string
	for _, spec := range source.file.Imports {
		name, err := strconv.Unquote(spec.Path.Value)
		require.NoError(t, err)
		imports = append(imports, name)
	}
	return imports
}

// own returns the folders of those imports that are packages of this module.
func own(imports []string) []string {
	var folders []string
	for _, name := range imports {
		if rest, ok := strings.CutPrefix(name+"/", dcrtest.Module+"/"); ok {
			folders = append(folders, path.Clean(rest))
		}
	}
	return folders
}

func distinct(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
