package dcrtest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Module is the path of this module.
const Module = "github.com/fosite-contrib/fosite-dcr"

// Root returns the absolute path of the module's root folder, wherever in the module the test lies.
func Root(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		require.NotEqual(t, parent, folder, "no go.mod above the test")
		folder = parent
	}
}

// ReadFile returns the content of a file, which is named by its path below the module's root folder.
func ReadFile(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(Root(t), filepath.FromSlash(name)))
	require.NoError(t, err)
	return string(content)
}
