package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, run(&out))
	require.Equal(t, `vouched for  201 Budget App https://budget.example/
changed      400 invalid_software_statement software_statement has no valid signature of its issuer.
by itself    400 invalid_client_metadata software_statement is required by this server.
`, out.String())
}
