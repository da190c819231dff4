package consent_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
)

// described is what the client's record says of itself: names are not counted.
func described(t testing.TB, client *dcr.Client, locales ...string) consent.Description {
	t.Helper()
	d, err := consent.Describe(t.Context(), nil, client, locales...)
	require.NoError(t, err)
	return d
}

// members is short for the metadata in a row.
type members = map[string]any
