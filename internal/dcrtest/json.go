package dcrtest

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// JSONText returns a value as JSON.
func JSONText(t testing.TB, value any) string {
	t.Helper()
	b, err := json.Marshal(value)
	require.NoError(t, err)
	return string(b)
}

// JSONBody returns a value as JSON.
func JSONBody(t testing.TB, value any) []byte {
	t.Helper()
	js, err := json.Marshal(value)
	require.NoError(t, err)
	return js
}

// ViaJSON returns a value as it is read after it was written as JSON.
func ViaJSON(t testing.TB, value any) (read any) {
	t.Helper()
	encoded, err := json.Marshal(value)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(encoded, &read))
	return read
}
