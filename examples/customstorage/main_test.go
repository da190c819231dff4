package main

import (
	"context"
	"strings"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/storagetest"
)

func TestRun(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	require.NoError(t, run(&out))
	require.Equal(t, "201 Created\nInvoices authenticates with client_secret_basic\nregistered with a deploy_key, version 1\n", out.String())
}

// TestStorage runs the whole contract. A storage of your own needs no other test for registration.
func TestStorage(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(*testing.T) storagetest.Storage {
		return NewStorage()
	}, storagetest.Options{
		AddStatic: func(_ context.Context, s storagetest.Storage, client fosite.Client) error {
			s.(*Storage).AddApplication(&Application{DefaultClient: *client.(*fosite.DefaultClient)})
			return nil
		},
	})
}
