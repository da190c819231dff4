package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRun runs the program twice on one file: it prints the same for a database that has
// clients already.
func TestRun(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "a file with %41 & a space?.db")
	for range 2 {
		var out strings.Builder
		require.NoError(t, open([]string{file}, &out))
		require.Contains(t, out.String(), `"client_name": "Invoices"`)
		_, last, found := strings.Cut(out.String(), "Neither its secret")
		require.True(t, found)
		require.Equal(t, ` nor its registration access token is anywhere in the file.

It reads its registration at the second server: 200 OK
It gets a token there: 200 OK
The first server sees it: 1 client, 0 of them never used, still version 1.

Two hours later a sweep removes 1 client that was never used.
The one that was used reads its registration: 200 OK
The other one: 401 Unauthorized
`, last)
	}
	require.FileExists(t, file)
}

func TestRunWithoutFile(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, open(nil, &out))
	require.NotEmpty(t, out.String())
}
