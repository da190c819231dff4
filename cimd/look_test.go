package cimd

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLook: an operator sees what is kept, blocked or not, without a fetch and without a use.
func TestLook(t *testing.T) {
	t.Parallel()
	h := serveHost(t, says("one"))
	d, clock := newDocuments(t, func(o *Options) { o.Own = map[string][]byte{"https://own.example/": []byte(`{"client_name":"own"}`)} })
	r, look := new(reader), Look(t.Context())
	_, err := d.Document(look, h.id, 2, r.read)
	require.ErrorIs(t, err, fs.ErrNotExist, "CIMD-15: nothing is fetched for an operator")
	_, err = d.Find(t.Context(), h.id)
	require.ErrorIs(t, err, fs.ErrNotExist)
	r.get(t, d, h.id, 1, "one")
	clock.pass(48 * time.Hour) // past every limit
	require.NoError(t, d.Block(t.Context(), h.id, true))
	value, err := d.Document(look, h.id, 1, r.read)
	require.NoError(t, err)
	require.Equal(t, "one", value)
	require.EqualValues(t, 1, h.fetches.Load())
	began := clock.now().Add(-48 * time.Hour)
	known, err := d.Find(t.Context(), h.id)
	require.NoError(t, err)
	require.Equal(t, Known{
		ID: h.id, Host: h.Listener.Addr().String(), Fetched: began, Expires: began.Add(5 * time.Minute), Used: began, Blocked: true,
	}, known)

	for _, id := range []string{"", "client", "https://client.example", "https://user@client.example/"} {
		require.ErrorIs(t, d.Block(t.Context(), id, true), fs.ErrNotExist, "%q can be no document's", id)
		require.NoError(t, d.Block(t.Context(), id, false))
		_, err = d.Find(t.Context(), id)
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
	for _, neighbour := range []string{h.id + "0", h.id[:len(h.id)-1], h.id[:len(h.id)-1] + "s~~"} {
		require.NoError(t, d.Block(t.Context(), neighbour, true))
	}
	found, err := d.Find(t.Context(), h.id)
	require.NoError(t, err)
	require.Equal(t, known, found, "not one of its neighbours")

	r.get(t, d, "https://own.example/", 0, "own")
	require.NoError(t, d.Block(t.Context(), "https://own.example/", true))
	own, err := d.Find(t.Context(), "https://own.example/")
	require.NoError(t, err)
	require.Equal(t, Known{ID: "https://own.example/", Host: "own.example", Blocked: true}, own, "so that it can be unblocked")
	_, err = d.Document(t.Context(), "https://own.example/", 0, r.read)
	require.True(t, errors.Is(err, fs.ErrNotExist))
}
