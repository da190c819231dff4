package house_test

import (
	"fmt"
	"go/types"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// internalTypes returns what a package exports and says with a type of internal/, which an adopter cannot name:
// functions, variables, aliases, fields, methods, those of embedded types too.
func internalTypes(pkg *types.Package) []string {
	var found []string
	check := func(name string, typ types.Type) {
		if hidden := hiddenIn(typ); hidden != "" {
			found = append(found, name+" has a type of "+hidden)
		}
	}
	for _, name := range pkg.Scope().Names() {
		object := pkg.Scope().Lookup(name)
		if !object.Exported() {
			continue
		}
		if _, ok := object.(*types.TypeName); !ok || object.(*types.TypeName).IsAlias() {
			check(name, object.Type())
			continue
		}
		eachExported(object.Type(), func(member string, typ types.Type) { check(name+"."+member, typ) })
	}
	return found
}

// eachExported calls a function for each exported field and method of a type.
func eachExported(typ types.Type, call func(name string, typ types.Type)) {
	switch under := typ.Underlying().(type) {
	case *types.Struct:
		for field := range under.Fields() {
			if field.Exported() {
				call(field.Name(), field.Type())
			}
		}
	case *types.Interface:
		for embedded := range under.EmbeddedTypes() {
			call("what it embeds", embedded)
		}
	default:
		call("what it is made of", under)
	}
	if !types.IsInterface(typ) {
		typ = types.NewPointer(typ)
	}
	for method := range types.NewMethodSet(typ).Methods() {
		if method.Obj().Exported() {
			call(method.Obj().Name(), method.Type())
		}
	}
}

// hiddenIn returns the package of internal/ from which a part of the type comes.
func hiddenIn(typ types.Type) string {
	var parts []types.Type
	switch typ := typ.(type) {
	case *types.Named:
		if pkg := typ.Obj().Pkg(); pkg != nil && strings.HasPrefix(pkg.Path(), dcrtest.Module+"/internal/") {
			return pkg.Path()
		}
		for argument := range typ.TypeArgs().Types() {
			parts = append(parts, argument)
		}
	case *types.Alias:
		parts = []types.Type{types.Unalias(typ)}
	case *types.Map:
		parts = []types.Type{typ.Key(), typ.Elem()}
	case interface{ Elem() types.Type }:
		parts = []types.Type{typ.Elem()}
	case *types.Signature:
		parts = []types.Type{typ.Params(), typ.Results()}
	case *types.Tuple:
		for variable := range typ.Variables() {
			parts = append(parts, variable.Type())
		}
	case *types.Struct:
		for field := range typ.Fields() {
			parts = append(parts, field.Type())
		}
	case *types.Interface:
		for method := range typ.Methods() {
			parts = append(parts, method.Type())
		}
	}
	for _, part := range parts {
		if hidden := hiddenIn(part); hidden != "" {
			return hidden
		}
	}
	return ""
}

// wideTypes returns the types of a package that have more methods of their own than a bound.
func wideTypes(pkg *types.Package, bound int) []string {
	var found []string
	for _, name := range pkg.Scope().Names() {
		if named, ok := pkg.Scope().Lookup(name).Type().(*types.Named); ok && named.NumMethods() > bound {
			found = append(found, fmt.Sprintf("%s has %d methods, more than %d", name, named.NumMethods(), bound))
		}
	}
	return found
}

// TestInternalTypesAreFound: each place at which an adopter would meet one is seen.
func TestInternalTypesAreFound(t *testing.T) {
	t.Parallel()
	hidden := types.NewPackage(dcrtest.Module+"/internal/hidden", "hidden")
	secret := types.NewNamed(types.NewTypeName(0, hidden, "Secret", nil), types.NewStruct(nil, nil), nil)
	variable := func(typ types.Type) *types.Var { return types.NewVar(0, nil, "v", typ) }
	function := types.NewSignatureType(nil, nil, nil, types.NewTuple(variable(types.Typ[types.Int])), types.NewTuple(variable(secret)), false)
	for name, typ := range map[string]types.Type{
		"named":    secret,
		"alias":    types.NewAlias(types.NewTypeName(0, hidden, "Other", nil), types.NewPointer(secret)),
		"slice":    types.NewSlice(secret),
		"map":      types.NewMap(types.Typ[types.String], types.NewPointer(secret)),
		"function": types.NewChan(types.SendRecv, function),
		"struct":   types.NewStruct([]*types.Var{types.NewField(0, hidden, "F", secret, false)}, nil),
	} {
		require.Equal(t, hidden.Path(), hiddenIn(typ), name)
	}

	checked := madeUp(t, map[string]string{"made.go": `package made

type record struct{ count int }

type Store struct {
	record
	Limit  int
	secret record
}

func (*Store) Find(id string) (*Store, error) { return nil, nil }
func (*Store) Drop(id string) error           { return nil }

var unexported record
`})
	require.Empty(t, internalTypes(checked.pkg))
	checked.pkg.Scope().Insert(types.NewVar(0, checked.pkg, "Shown", secret))
	require.Equal(t, []string{"Shown has a type of " + hidden.Path()}, internalTypes(checked.pkg))
	require.Equal(t, []string{"Store has 2 methods, more than 1"}, wideTypes(checked.pkg, 1))
	require.Empty(t, wideTypes(checked.pkg, 2))
}
