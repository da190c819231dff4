package outbound

import (
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPaceForgets: what is remembered of hosts is bounded.
func TestPaceForgets(t *testing.T) {
	t.Parallel()
	p := &Pace{Most: 2}
	now := time.Unix(1_700_000_000, 0)
	for i := range 3 * mostSites {
		site := strconv.Itoa(i)
		require.True(t, p.Allow(site, now))
		require.LessOrEqual(t, len(p.requests), mostSites, "T51")
	}
	require.True(t, p.Allow("last", now))
	require.True(t, p.Allow("last", now))
	require.False(t, p.Allow("last", now))
}
