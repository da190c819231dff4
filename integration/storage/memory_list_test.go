package storage_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// TestMemoryStoreCountsAtOnce: whatever happens to the same and to other clients at once,
// the numbers that the store keeps are those of the clients that are there.
func TestMemoryStoreCountsAtOnce(t *testing.T) {
	t.Parallel()
	s := dcr.NewMemoryStore(dcr.WithMemoryLimits(dcr.MemoryLimits{Clients: 40}))
	dcrtest.InParallel(8, func(g int) {
		random := rand.New(rand.NewPCG(2, uint64(g)))
		for range 3000 {
			churn(t.Context(), s, random)
		}
	})
	countsAreExact(t, s)
	for _, c := range allClients(t, s) {
		require.NoError(t, s.DeleteClient(t.Context(), c.ID))
	}
	countsAreExact(t, s)
}

const churnedAges = 1000

// churn does one thing to one of a few clients: several do it to the same.
func churn(ctx context.Context, s *dcr.MemoryStore, random *rand.Rand) {
	id, at := strconv.Itoa(random.IntN(60)), dcrtest.ClockStart.Add(time.Duration(random.IntN(churnedAges))*time.Second)
	switch random.IntN(8) {
	case 0, 1, 2:
		_ = s.CreateClient(ctx, churned(id, at, random))
	case 3, 4:
		if stored, err := s.GetDynamicClient(ctx, id); err == nil {
			next := churned(id, at, random)
			next.Version = stored.Version + 1
			_ = s.UpdateClient(ctx, next, stored.Version)
		}
	case 5:
		_ = s.TouchClient(ctx, id, at, at)
	case 6:
		if random.IntN(4) == 0 {
			_, _ = s.DeleteExpiredClients(ctx, dcr.Expiry{Now: dcrtest.ClockStart.Add(-time.Hour), IdleSince: at.Add(-churnedAges / 2 * time.Second)}, 2)
		}
		if _, err := s.CreateClientEvicting(ctx, &dcr.Client{ID: "new", LastUsedAt: at}, at); err == nil {
			_ = s.DeleteClient(ctx, "new")
		}
	case 7:
		if random.IntN(10) == 0 {
			s.AddClient(churned(id, at, random))
		}
		_ = s.DeleteClient(ctx, id)
	}
}

func churned(id string, at time.Time, random *rand.Rand) *dcr.Client {
	c := &dcr.Client{ID: id, Version: 1, CreatedAt: at, UpdatedAt: at}
	c.Issuer = fmt.Sprintf("https://%d.example", random.IntN(2))
	c.Origin.Subject = pick(random, "", "alice", "bob")
	c.Origin.InitialAccessToken = pick(random, "", "poster", "letter")
	c.Metadata.ClientName = pick(random, "", "Some Editor", "SOME editor", "Other", " ")
	return c
}

func pick(random *rand.Rand, values ...string) string { return values[random.IntN(len(values))] }

// countsAreExact compares what is looked up with what is there.
func countsAreExact(t *testing.T, s *dcr.MemoryStore) {
	t.Helper()
	all := allClients(t, s)
	for i := range 2 {
		issuer := fmt.Sprintf("https://%d.example", i)
		for _, filter := range []dcr.ClientFilter{
			{Issuer: issuer}, {Issuer: issuer, Subject: "alice"}, {Issuer: issuer, Subject: "bob"},
			{Issuer: issuer, InitialAccessToken: "poster"}, {Issuer: issuer, InitialAccessToken: "letter"},
			{Issuer: issuer, NameKey: "some editor"}, {Issuer: issuer, NameKey: "other"}, {Issuer: issuer, NameKey: "nobody"},
		} {
			want := 0
			for _, c := range all {
				if filter.Matches(c) {
					want++
				}
			}
			got, err := s.CountClients(t.Context(), filter, 1000)
			require.NoError(t, err)
			require.Equal(t, want, got, "%+v", filter)
		}
	}
}

func allClients(t *testing.T, s dcr.ClientLister) []*dcr.Client {
	t.Helper()
	all, err := s.ListClients(t.Context(), dcr.ClientFilter{}, dcr.ClientCursor{}, 1_000_000)
	require.NoError(t, err)
	return all
}

// TestMemoryStoreListsMany: the pages are right where there are far more clients than fit
// one (LIFE-03).
func TestMemoryStoreListsMany(t *testing.T) {
	t.Parallel()
	const clients = 20_000
	s := dcr.NewMemoryStore()
	want := make([]string, clients)
	for _, i := range rand.Perm(clients) {
		c := &dcr.Client{ID: fmt.Sprintf("%05d", i), Version: 1, CreatedAt: dcrtest.ClockStart.Add(time.Duration(i/7) * time.Second)}
		c.Origin.Kind = strconv.Itoa(i % 3)
		require.NoError(t, s.CreateClient(t.Context(), c))
		want[clients-1-i] = c.ID
	}
	for _, limit := range []int{1000, 1001, 19_999, clients, 2 * clients} {
		require.Equal(t, want, pagesOf(t, s, dcr.ClientFilter{}, limit), "pages of %d", limit)
	}
	third := slices.DeleteFunc(slices.Clone(want), func(id string) bool {
		n, _ := strconv.Atoi(id)
		return n%3 != 1
	})
	require.Equal(t, third, pagesOf(t, s, dcr.ClientFilter{Kind: "1"}, 500))
	last, err := s.ListClients(t.Context(), dcr.ClientFilter{}, dcr.ClientCursor{CreatedAt: dcrtest.ClockStart, ID: "00003"}, 50)
	require.NoError(t, err)
	require.Equal(t, []string{"00002", "00001", "00000"}, idsOf(last))
}

func pagesOf(t *testing.T, s dcr.ClientLister, filter dcr.ClientFilter, limit int) []string {
	t.Helper()
	var ids []string
	for from := (dcr.ClientCursor{}); ; {
		page, err := s.ListClients(t.Context(), filter, from, limit)
		require.NoError(t, err)
		ids = append(ids, idsOf(page)...)
		if len(page) < limit {
			return ids
		}
		from = dcr.ClientCursor{CreatedAt: page[limit-1].CreatedAt, ID: page[limit-1].ID}
	}
}

func idsOf(clients []*dcr.Client) []string {
	ids := make([]string, len(clients))
	for i, c := range clients {
		ids[i] = c.ID
	}
	return ids
}

// TestNameKey: a client's NameKey is the key of package plaintext, whose tests have every kind of character.
func TestNameKey(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		key   string
		names []string
	}{
		"case_and_spaces": {"some editor", []string{"SOME EDITOR", "  Some  Editor ", "Some\tEditor", "Some\u2003Editor"}},
		"invisible":       {"example", []string{"Example\u200b", "\u202eExample", "Ex\U000e0041ample"}},
		"not_utf8":        {"example", []string{"Ex\xffample", "Example\xc3"}},
		"empty":           {"", []string{"", "\u200b", "\xff"}},
	} {
		t.Run("T21/"+name, func(t *testing.T) {
			t.Parallel()
			for _, given := range append(row.names, row.key) {
				require.Equal(t, row.key, dcr.NameKey(given), "%+q", given)
				c := &dcr.Client{}
				c.Metadata.ClientName = given
				require.Equal(t, row.key, c.NameKey())
			}
		})
	}
}

// TestClientFilterMatches: the reference that storages are held to.
func TestClientFilterMatches(t *testing.T) {
	t.Parallel()
	c := &dcr.Client{ID: "Some-ID", Issuer: "https://as.example", CreatedAt: dcrtest.ClockStart, UnusedUntil: dcrtest.ClockStart.Add(time.Hour)}
	c.Origin = dcr.Registrant{Kind: "user", Subject: "alice", InitialAccessToken: "poster"}
	c.Metadata.ClientName, c.Metadata.SoftwareID = "Some Éditor", "editor"
	c.Metadata.RedirectURIs = []string{"com.example:/cb", "https://APP.example:8443/cb", "http://[::1]/"}
	used := c.Clone()
	used.LastUsedAt = dcrtest.ClockStart
	ends := used.Clone()
	ends.ExpiresAt = dcrtest.ClockStart.Add(time.Hour)
	at := func(d time.Duration) time.Time { return dcrtest.ClockStart.Add(d) }
	for name, row := range map[string]struct {
		filter           dcr.ClientFilter
		fresh, old, last bool // c, used and ends
	}{
		"everything":            {dcr.ClientFilter{}, true, true, true},
		"issuer":                {dcr.ClientFilter{Issuer: "https://as.example"}, true, true, true},
		"other_issuer":          {dcr.ClientFilter{Issuer: "https://as.example/"}, false, false, false},
		"kind":                  {dcr.ClientFilter{Kind: "user"}, true, true, true},
		"other_kind":            {dcr.ClientFilter{Kind: "User"}, false, false, false},
		"other_subject":         {dcr.ClientFilter{Kind: "user", Subject: "bob"}, false, false, false},
		"other_initial_token":   {dcr.ClientFilter{InitialAccessToken: "post"}, false, false, false},
		"never_used":            {dcr.ClientFilter{NeverUsed: true}, true, false, false},
		"expiring":              {dcr.ClientFilter{ExpiringBefore: at(time.Hour + 1)}, true, false, true},
		"expiring_then":         {dcr.ClientFilter{ExpiringBefore: at(time.Hour)}, false, false, false},
		"software":              {dcr.ClientFilter{SoftwareID: "editor"}, true, true, true},
		"other_software":        {dcr.ClientFilter{SoftwareID: "Editor"}, false, false, false},
		"redirect_host":         {dcr.ClientFilter{RedirectHost: "app.example"}, true, true, true},
		"redirect_address":      {dcr.ClientFilter{RedirectHost: "::1"}, true, true, true},
		"redirect_domain":       {dcr.ClientFilter{RedirectHost: "example"}, false, false, false},
		"redirect_host_case":    {dcr.ClientFilter{RedirectHost: "APP.example"}, false, false, false},
		"redirect_host_port":    {dcr.ClientFilter{RedirectHost: "app.example:8443"}, false, false, false},
		"name_key":              {dcr.ClientFilter{NameKey: "some éditor"}, true, true, true},
		"name_key_is_no_name":   {dcr.ClientFilter{NameKey: "Some Éditor"}, false, false, false},
		"search_part":           {dcr.ClientFilter{Search: "E\u0301DIT"}, true, true, true},
		"search_id":             {dcr.ClientFilter{Search: "Some-ID"}, true, true, true},
		"search_id_case":        {dcr.ClientFilter{Search: "some-id"}, false, false, false},
		"search_part_of_the_id": {dcr.ClientFilter{Search: "Some-I"}, false, false, false},
		"search_pattern":        {dcr.ClientFilter{Search: "some%"}, false, false, false},
		"created_from":          {dcr.ClientFilter{CreatedFrom: dcrtest.ClockStart}, true, true, true},
		"created_from_later":    {dcr.ClientFilter{CreatedFrom: at(1)}, false, false, false},
		"created_before":        {dcr.ClientFilter{CreatedBefore: at(1)}, true, true, true},
		"created_before_then":   {dcr.ClientFilter{CreatedBefore: dcrtest.ClockStart}, false, false, false},
	} {
		t.Run("LIFE-03/"+name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, row.fresh, row.filter.Matches(c), "never used")
			require.Equal(t, row.old, row.filter.Matches(used), "used")
			require.Equal(t, row.last, row.filter.Matches(ends), "used, with an end")
		})
	}
}

// TestClientCursorFollows: the order of lists, of which the zero cursor is the beginning.
func TestClientCursorFollows(t *testing.T) {
	t.Parallel()
	ids := []string{"", "-", "B", "a", "ab", "é"}
	var clients []*dcr.Client
	for second := range 3 {
		for _, id := range ids {
			clients = append(clients, &dcr.Client{ID: id + ".", CreatedAt: dcrtest.ClockStart.Add(time.Duration(second) * time.Second)})
		}
	}
	slices.SortFunc(clients, func(a, b *dcr.Client) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(b.ID, a.ID))
	})
	for i, at := range clients {
		require.True(t, dcr.ClientCursor{}.Follows(at))
		cursor := dcr.ClientCursor{CreatedAt: at.CreatedAt.In(time.FixedZone("", 3600)), ID: at.ID}
		for j, c := range clients {
			require.Equal(t, j > i, cursor.Follows(c), "%d after %d", j, i)
		}
	}
}
