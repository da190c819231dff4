package house_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// publicPackages are the folders of what an adopter can import.
var publicPackages = []string{".", "policy", "consent", "admin", "telemetry", "outbound", "storagetest", "cimd"}

// TestExportedIsCommented: whatever a public package exports has a comment of its own, before it or on its line:
// functions, methods, types, constants, variables, fields of structs and methods of interfaces.
func TestExportedIsCommented(t *testing.T) {
	t.Parallel()
	var faults []string
	for name, source := range goFiles(t) {
		if !isTest(name) && slices.Contains(publicPackages, path.Dir(name)) {
			faults = append(faults, uncommented(source)...)
		}
	}
	slices.Sort(faults)
	require.Empty(t, strings.Join(faults, "\n"), "these have no comment")
}

// uncommented returns what a file exports without a comment, with its place.
func uncommented(source goSource) []string {
	c := commentCheck{source: source}
	for _, declaration := range source.file.Decls {
		switch declaration := declaration.(type) {
		case *ast.FuncDecl:
			name := declaration.Name.Name
			if declaration.Recv != nil {
				if !ast.IsExported(receiver(declaration)) {
					continue
				}
				name = receiver(declaration) + "." + name
			}
			c.names([]*ast.Ident{declaration.Name}, name, declaration.Doc)
		case *ast.GenDecl:
			c.declared(declaration)
		}
	}
	return c.found
}

type commentCheck struct {
	source goSource
	found  []string
}

// declared checks a declaration of types, constants or variables. The comment of the whole declaration counts for a
// single name only.
func (c *commentCheck) declared(declaration *ast.GenDecl) {
	var whole *ast.CommentGroup
	if len(declaration.Specs) == 1 {
		whole = declaration.Doc
	}
	for _, spec := range declaration.Specs {
		switch spec := spec.(type) {
		case *ast.ValueSpec:
			c.names(spec.Names, "", whole, spec.Doc, spec.Comment)
		case *ast.TypeSpec:
			c.names([]*ast.Ident{spec.Name}, "", whole, spec.Doc, spec.Comment)
			if spec.Name.IsExported() {
				c.members(spec.Name.Name, spec.Type)
			}
		}
	}
}

// members checks the fields of a struct, and the methods of an interface.
func (c *commentCheck) members(owner string, typ ast.Expr) {
	var list *ast.FieldList
	switch typ := typ.(type) {
	case *ast.StructType:
		list = typ.Fields
	case *ast.InterfaceType:
		list = typ.Methods
	default:
		return
	}
	for _, member := range list.List {
		names := member.Names
		if len(names) == 0 {
			names = embeddedName(member.Type)
		}
		for _, name := range names {
			c.names([]*ast.Ident{name}, owner+"."+name.Name, member.Doc, member.Comment)
			if name.IsExported() {
				c.members(owner+"."+name.Name, member.Type)
			}
		}
	}
}

// embeddedName returns the name by which an embedded type is known: its own, without its package.
func embeddedName(typ ast.Expr) []*ast.Ident {
	switch typ := typ.(type) {
	case *ast.StarExpr:
		return embeddedName(typ.X)
	case *ast.IndexExpr:
		return embeddedName(typ.X)
	case *ast.SelectorExpr:
		return []*ast.Ident{typ.Sel}
	case *ast.Ident:
		return []*ast.Ident{typ}
	}
	return nil
}

// names records each exported name, unless there is a comment.
func (c *commentCheck) names(names []*ast.Ident, full string, comments ...*ast.CommentGroup) {
	for _, comment := range comments {
		if comment != nil && comment.Text() != "" {
			return
		}
	}
	for _, name := range names {
		if !name.IsExported() {
			continue
		}
		if full == "" {
			full = name.Name
		}
		position := c.source.set.Position(name.Pos())
		c.found = append(c.found, fmt.Sprintf("%s:%d: %s", position.Filename, position.Line, full))
		full = ""
	}
}

// TestMissingCommentsAreFound: each kind of declaration is seen.
func TestMissingCommentsAreFound(t *testing.T) {
	t.Parallel()
	const code = `package made

// A group is not a comment of its members.
const (
	One = 1
	Two = 2 // commented
	// Three is.
	Three = 3
)

// Four and five are declared together.
const Four, Five = 4, 5

var Six, seven = 6, 7

type Bare struct {
	hidden int
	Inner  struct {
		Deep int
	}
	Line, Other int // commented
	*Two
	// Above is.
	Above int
}

// Asks has methods.
type Asks interface {
	Plain()
	// Said is.
	Said()
}

type small struct{ Field int }

func (small) Method()  {}
func (*Bare) Method()  {}
func (b *Bare) quiet() {}

//go:noinline
func Directive() {}

// Function is.
func Function() {}
`
	source := goSource{set: token.NewFileSet()}
	var err error
	source.file, err = parser.ParseFile(source.set, "made.go", code, parser.ParseComments)
	require.NoError(t, err)
	require.Equal(t, []string{
		"made.go:5: One", "made.go:14: Six", "made.go:16: Bare", "made.go:18: Bare.Inner", "made.go:19: Bare.Inner.Deep",
		"made.go:22: Bare.Two", "made.go:29: Asks.Plain", "made.go:37: Bare.Method", "made.go:41: Directive",
	}, uncommented(source))
}
