package storage_test

import (
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// TestReplace: what a storage stores that swaps whole records.
func TestReplace(t *testing.T) {
	t.Parallel()
	early, late := time.Unix(1, 0), time.Unix(2, 0)
	record := func(version int64, used, keep time.Time) *dcr.Client {
		return &dcr.Client{ID: "client", Version: version, LastUsedAt: used, KeepUntil: keep, Audience: []string{"a"}}
	}
	for _, row := range []struct {
		name         string
		stored, next *dcr.Client
		version      int64
		want         *dcr.Client
		err          error
	}{
		{"unknown", nil, record(2, late, late), 1, nil, fosite.ErrNotFound},
		{"changed_meanwhile", record(2, late, late), record(2, late, late), 1, nil, dcr.ErrConflict},
		{"older_version", record(1, late, late), record(3, late, late), 2, nil, dcr.ErrConflict},
		{"uses_of_the_stored", record(1, late, late), record(2, early, time.Time{}), 1, record(2, late, late), nil},
		{"uses_of_the_next", record(1, early, time.Time{}), record(2, late, early), 1, record(2, late, early), nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, err := dcr.Replace(row.stored, row.next, row.version)
			require.ErrorIs(t, err, row.err)
			require.Equal(t, row.want, got)
			if got != nil {
				require.NotSame(t, row.next, got)
				row.next.Audience[0] = "changed"
				require.Equal(t, []string{"a"}, got.Audience, "a copy")
			}
		})
	}
}
