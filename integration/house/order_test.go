package house_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// rootOrder lists the files of the root package from top to bottom. A file uses what stands below it, and nothing
// that stands above it.
var rootOrder = []string{
	"fosite_dcr.go",
	"provider_token.go",
	"provider.go",
	"compose.go",
	"config.go",
	"provider_store.go",
	"operator.go",
	"management_handler.go",
	"registration_handler.go",
	"client_metadata_resolve.go",
	"client_metadata_rules.go",
	"access.go",
	"initial_access_token.go",
	"limits.go",
	"policy.go",
	"storage_memory.go",
	"lifecycle.go",
	"credentials.go",
	"storage.go",
	"discovery.go",
	"events.go",
	"errors.go",
	"client_information.go",
	"client.go",
	"client_metadata.go",
}

// checkedPackage is the source of one package with the types of all that it says.
type checkedPackage struct {
	set  *token.FileSet
	pkg  *types.Package
	info *types.Info
}

// TestRoot checks the root package by its types, which are worked out once.
func TestRoot(t *testing.T) {
	t.Parallel()
	names, exports := listRoot(t)
	root, err := checkPackage(names, readRoot(t), exports)
	require.NoError(t, err)
	t.Run("files_lie_in_order", func(t *testing.T) {
		t.Parallel()
		require.NoError(t, errors.Join(unordered(names, rootOrder), upwardUses(root, rootOrder)))
	})
	t.Run("nothing_exported_is_of_internal", func(t *testing.T) {
		t.Parallel()
		require.Empty(t, internalTypes(root.pkg))
	})
	t.Run("no_type_has_too_many_methods", func(t *testing.T) {
		t.Parallel()
		require.Empty(t, wideTypes(root.pkg, mostMethods))
	})
}

// listRoot asks the go command for the files of the root package, and for the export data of all that they import.
// It needs no network: all of it was built before this test could be.
func listRoot(t *testing.T) (names []string, exports map[string]string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-json=ImportPath,Export,GoFiles", ".")
	command.Dir = dcrtest.Root(t)
	complaints := new(bytes.Buffer)
	command.Stderr = complaints
	out, err := command.Output()
	require.NoError(t, err, complaints.String())
	exports = map[string]string{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var listed struct {
			ImportPath, Export string
			GoFiles            []string
		}
		if err := decoder.Decode(&listed); errors.Is(err, io.EOF) {
			require.NotEmpty(t, names)
			return names, exports
		} else {
			require.NoError(t, err)
		}
		exports[listed.ImportPath] = listed.Export
		if listed.ImportPath == dcrtest.Module {
			names = listed.GoFiles
		}
	}
}

// readRoot returns a function that reads a file of the root.
func readRoot(t *testing.T) func(name string) ([]byte, error) {
	folder := dcrtest.Root(t)
	return func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(folder, name)) }
}

// checkPackage parses the files of a package and works out the types. exports maps each import to its export data.
func checkPackage(names []string, read func(name string) ([]byte, error), exports map[string]string) (*checkedPackage, error) {
	checked := &checkedPackage{set: token.NewFileSet(), info: &types.Info{Uses: map[*ast.Ident]types.Object{}}}
	var files []*ast.File
	for _, name := range names {
		source, err := read(name)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(checked.set, name, source, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	open := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	config := types.Config{Importer: importer.ForCompiler(checked.set, "gc", open)}
	pkg, err := config.Check(dcrtest.Module, checked.set, files, checked.info)
	checked.pkg = pkg
	return checked, err
}

// unordered returns what is wrong with an order of files: a file that it leaves out, and one that there is none of.
func unordered(names, order []string) error {
	var faults []error
	for _, name := range names {
		if !slices.Contains(order, name) {
			faults = append(faults, fmt.Errorf("%s has no place in the order of the root's files: add it to rootOrder in integration/house/order_test.go,"+
				" above every file that it uses and below every file that uses it", name))
		}
	}
	for _, name := range order {
		if !slices.Contains(names, name) {
			faults = append(faults, fmt.Errorf("rootOrder in integration/house/order_test.go lists %s, which does not exist: remove it there", name))
		}
	}
	return errors.Join(faults...)
}

// upwardUses returns an error for each two files of which the lower one uses the upper one.
func upwardUses(checked *checkedPackage, order []string) error {
	type pair struct{ lower, upper string }
	uses := map[pair][]string{}
	file := func(pos token.Pos) string { return filepath.Base(checked.set.Position(pos).Filename) }
	for id, object := range checked.info.Uses {
		object = declared(object)
		if object.Pkg() != checked.pkg || !crossesFiles(object, checked.pkg) {
			continue
		}
		arrow := pair{file(id.Pos()), file(object.Pos())}
		lower, upper := slices.Index(order, arrow.lower), slices.Index(order, arrow.upper)
		if lower >= 0 && upper >= 0 && lower > upper && !slices.Contains(uses[arrow], object.Name()) {
			uses[arrow] = append(uses[arrow], object.Name())
		}
	}
	var faults []error
	for arrow, names := range uses {
		slices.Sort(names)
		faults = append(faults, fmt.Errorf("%s uses %s of %s, which stands above it: move the code,"+
			" or one of the files in rootOrder of integration/house/order_test.go", arrow.lower, strings.Join(names, ", "), arrow.upper))
	}
	return errors.Join(faults...)
}

// declared returns the object that was written down, for one of an instance of a generic type or function.
func declared(object types.Object) types.Object {
	switch object := object.(type) {
	case *types.Func:
		return object.Origin()
	case *types.Var:
		return object.Origin()
	}
	return object
}

// crossesFiles reports whether an object can be used in another file than its own: it is declared at the level of
// the package, or it is a field or a method.
func crossesFiles(object types.Object, pkg *types.Package) bool {
	switch object := object.(type) {
	case *types.Func:
		return true
	case *types.Var:
		if object.IsField() {
			return true
		}
	}
	return object.Parent() == pkg.Scope()
}

// TestOrderFindsUpwardUses: each kind of use is seen, and a file without a place is named.
func TestOrderFindsUpwardUses(t *testing.T) {
	t.Parallel()
	const top = `package made

const limit = 1

type box[T any] struct{ content T }

func (b box[T]) open() T { return b.content }

func start() { local := base; local() }
`
	cases := map[string]struct{ base, want string }{
		"downward_only":  {"func base() { limit := 2; _ = limit }", ""},
		"constant":       {"func base() { _ = limit }", "base.go uses limit of top.go"},
		"function":       {"func base() { start() }", "base.go uses start of top.go"},
		"field":          {"func base() { _ = box[int]{content: 1} }", "base.go uses box, content of top.go"},
		"generic_method": {"func base() { box[string]{}.open() }", "base.go uses box, open of top.go"},
		"method":         {"func base() {}\n\nfunc (box[T]) more() {}", "base.go uses box of top.go"},
	}
	for name, test := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checked := madeUp(t, map[string]string{"top.go": top, "base.go": "package made\n\n" + test.base + "\n"})
			err := upwardUses(checked, []string{"top.go", "base.go"})
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want+", which stands above it")
		})
	}
	require.NoError(t, unordered([]string{"base.go", "top.go"}, []string{"top.go", "base.go"}))
	require.ErrorContains(t, unordered([]string{"new.go", "top.go"}, []string{"top.go"}), "new.go has no place in the order")
	require.ErrorContains(t, unordered([]string{"top.go"}, []string{"top.go", "old.go"}), "old.go, which does not exist")
}

// madeUp returns a package without imports.
func madeUp(t *testing.T, sources map[string]string) *checkedPackage {
	t.Helper()
	var names []string
	for name := range sources {
		names = append(names, name)
	}
	checked, err := checkPackage(names, func(name string) ([]byte, error) { return []byte(sources[name]), nil }, nil)
	require.NoError(t, err)
	return checked
}
