package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRealClients: the server, started without flags, registers every deployed client
// whose request is known, with the redirect URIs that it sent.
func TestRealClients(t *testing.T) {
	t.Parallel()
	file, err := os.Open("../../integration/requests/testdata/real.jsonl")
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	b := start(t).browser(t)
	registered := 0
	for rows := json.NewDecoder(file); rows.More(); {
		var row struct {
			Name    string          `json:"name"`
			Outcome string          `json:"outcome"`
			Body    json.RawMessage `json:"body"`
		}
		require.NoError(t, rows.Decode(&row))
		t.Run(row.Name, func(t *testing.T) {
			answer := b.send(http.MethodPost, "/register", strings.NewReader(string(row.Body)), "Content-Type", "application/json")
			if row.Outcome == "refuse" {
				require.Equal(t, http.StatusBadRequest, answer.status, answer.body)
				return
			}
			require.Equal(t, http.StatusCreated, answer.status, answer.body)
			var sent object
			require.NoError(t, json.Unmarshal(row.Body, &sent))
			require.Equal(t, sent["redirect_uris"], answer.json(t)["redirect_uris"])
			registered++
		})
	}
	require.GreaterOrEqual(t, registered, 28)
}
