package consent_test

import (
	"fmt"
	"testing"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// TestCount: a consent page is told how many other clients have a name that people
// take for the same (T21).
func TestCount(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		names []string // the first is shown
		want  int
	}{
		"alone":         {[]string{"Photo Print", "Photo Printer", "Photo"}, 0},
		"same":          {[]string{"Photo Print", "Photo Print", "Photo Print"}, 2},
		"case":          {[]string{"Photo Print", "PHOTO print", "photo print"}, 2},
		"case_of_greek": {[]string{"ΦΩΤΟΣ", "φωτος", "φωτοσ"}, 2},
		"spaces":        {[]string{"Photo Print", " Photo   Print ", "Photo\u00a0Print", "Photo\u2003Print"}, 3},
		"width":         {[]string{"Photo Print", "Ｐｈｏｔｏ　Ｐｒｉｎｔ", "𝐏𝐡𝐨𝐭𝐨 𝐏𝐫𝐢𝐧𝐭"}, 2},
		"composed":      {[]string{"Café", "Cafe\u0301"}, 1},
		"zero_width":    {[]string{"Photo", "Pho\u200bto", "Pho\u2060to", "\ufeffPhoto", "Pho\u00adto"}, 4},
		"fillers":       {[]string{"Photo", "Pho\u3164to", "Pho\u115fto", "Photo\u2800"}, 3},
		"joiners":       {[]string{"Photo", "Pho\u200dto", "Pho\u200cto", "Photo\u200d", "P\u200dh\u200do\u200dt\u200do"}, 4},
		"selectors":     {[]string{"Photo", "Pho\ufe0fto", "Photo\ufe00", "Pho\U000e0101to", "Pho\u180bto"}, 4},
		"long":          {[]string{fmt.Sprintf("%0200d", 1), fmt.Sprintf("%0200d", 2)}, 1},
		"none":          {[]string{"", "", ""}, 0},
		"unseen_only":   {[]string{"\u200b", "\u200b", "\u2060"}, 0},
	} {
		t.Run("T21/"+name, func(t *testing.T) {
			t.Parallel()
			s := dcrtest.Start(t, dcrtest.Setup{})
			var shown string
			for i, clientName := range row.names {
				answer := s.Post(t, dcrtest.Managed("client_name", clientName))
				if answer.Status != 201 { // refused names can't be taken for others
					require.Positive(t, i, answer.Body)
					row.want--
					continue
				}
				if i == 0 {
					shown = answer.ID()
				}
			}
			client := dcrtest.RecordOf(t, s.Store, shown)
			d, err := consent.Describe(t.Context(), s.Provider, client)
			require.NoError(t, err)
			require.Equal(t, row.want, d.SameName)
			d.SameName = 0
			require.Equal(t, described(t, client), d)
		})
	}
}

// TestCountBounded: clients are counted up to a thousand.
func TestCountBounded(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	client := dcrtest.RecordOf(t, s.Store, s.Register(t, dcrtest.Managed()).ID())
	for i := range 1100 {
		other := client.Clone()
		other.ID = fmt.Sprintf("other-%d", i)
		require.NoError(t, s.Store.CreateClient(t.Context(), other))
		if want, exact := i+1, map[int]bool{0: true, 998: true, 999: true, 1000: true, 1099: true}; exact[i] {
			d, err := consent.Describe(t.Context(), s.Provider, client)
			require.NoError(t, err)
			require.Equal(t, min(want, 1000), d.SameName, "T21: %d others", want)
		}
	}
}

// TestCountOfOthers: clients of another issuer don't count (T41), those that are
// gone don't, a client that no storage keeps is none of those that are counted, and
// without a storage that counts there is nothing to say.
func TestCountOfOthers(t *testing.T) {
	t.Parallel()
	store := dcr.NewMemoryStore()
	one, other := dcrtest.Start(t, dcrtest.Setup{Storage: store}), dcrtest.Start(t, dcrtest.Setup{Storage: store})
	client := dcrtest.RecordOf(t, store, one.Register(t, dcrtest.Managed()).ID())
	other.Register(t, dcrtest.Managed())
	sameName := func(c *dcr.Client) int {
		t.Helper()
		d, err := consent.Describe(t.Context(), one.Provider, c)
		require.NoError(t, err)
		return d.SameName
	}
	require.Zero(t, sameName(client), "T41")
	second := one.Register(t, dcrtest.Managed())
	require.Equal(t, 1, sameName(client))

	document := client.Clone() // as of a client whose identifier is the URL of a document
	document.ID = "https://client.example/metadata"
	t.Run("T21/document", func(t *testing.T) {
		require.Equal(t, 2, sameName(document), "two registered clients have its name")
	})

	require.NoError(t, one.Provider.DeleteClient(t.Context(), second.ID()))
	require.Zero(t, sameName(client))
	renamed := one.Register(t, dcrtest.Managed("client_name", "Other"))
	require.Zero(t, sameName(client))
	require.Equal(t, 200, one.Manage(t, "PUT", renamed, dcrtest.Replacing(renamed)).Status)
	require.Equal(t, 1, sameName(client), "an update counts")

	blind := dcrtest.Start(t, dcrtest.Setup{Storage: dcrtest.UncountedStore{MemoryStore: store}})
	d, err := consent.Describe(t.Context(), blind.Provider, client)
	require.NoError(t, err)
	require.Equal(t, described(t, client), d)
	_, err = store.GetDynamicClient(t.Context(), second.ID())
	require.ErrorIs(t, err, fosite.ErrNotFound)
}

// TestCountOfShownName: the name that is counted is the one that is shown, which
// may be one with a language tag (T21).
func TestCountOfShownName(t *testing.T) {
	t.Parallel()
	s := dcrtest.Start(t, dcrtest.Setup{})
	s.Register(t, dcrtest.Managed("client_name", "Big Bank"))
	s.Register(t, dcrtest.Managed("client_name", "Big Bank"))
	posing := dcrtest.RecordOf(t, s.Store, s.Register(t, dcrtest.Managed("client_name", "zxq 1234", "client_name#en", "Big Bank")).ID())
	d, err := consent.Describe(t.Context(), s.Provider, posing, "en")
	require.NoError(t, err)
	require.Equal(t, "Big Bank", d.Name)
	require.Equal(t, 2, d.SameName)
}
