package patience_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/patience"
)

// TestWithTimeout: it ends as context.WithTimeout does, whether somebody has waited before or not.
func TestWithTimeout(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		watched bool // before it ends
		parent  time.Duration
		act     func(cancelParent, cancel func())
		want    error
	}{
		"unwatched":                {},
		"watched":                  {watched: true},
		"timeout":                  {act: func(_, _ func()) { time.Sleep(10 * time.Second) }, want: context.DeadlineExceeded},
		"timeout_watched":          {watched: true, act: func(_, _ func()) { time.Sleep(10 * time.Second) }, want: context.DeadlineExceeded},
		"cancelled":                {act: func(_, cancel func()) { cancel(); cancel() }, want: context.Canceled},
		"cancelled_watched":        {watched: true, act: func(_, cancel func()) { cancel() }, want: context.Canceled},
		"parent_cancelled":         {act: func(parent, _ func()) { parent() }, want: context.Canceled},
		"parent_cancelled_watched": {watched: true, act: func(parent, _ func()) { parent() }, want: context.Canceled},
		"parent_ends_sooner":       {parent: time.Second, act: func(_, _ func()) { time.Sleep(2 * time.Second) }, want: context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				parent, cancelParent := context.WithCancel(t.Context())
				defer cancelParent()
				want := time.Now().Add(10 * time.Second)
				if row.parent > 0 {
					var stop func()
					parent, stop = context.WithTimeout(parent, row.parent)
					defer stop()
					want = time.Now().Add(row.parent)
				}
				ctx, cancel := patience.WithTimeout(parent, 10*time.Second)
				defer cancel()
				end, ok := ctx.Deadline()
				require.True(t, ok)
				require.Equal(t, want, end)
				derived, stop := context.Background(), context.CancelFunc(func() {})
				if row.watched {
					derived, stop = context.WithCancel(ctx)
				}
				defer stop()
				require.NoError(t, ctx.Err())
				if row.act != nil {
					row.act(cancelParent, cancel)
					synctest.Wait()
				}
				require.Equal(t, row.want, ctx.Err())
				select {
				case <-ctx.Done():
					require.Error(t, row.want)
				default:
					require.NoError(t, row.want)
				}
				if row.watched {
					synctest.Wait()
					require.Equal(t, row.want, derived.Err())
				}
			})
		})
	}
}

// TestNoTimer: who never waits allocates no timer. The test is not parallel, since it counts allocations.
func TestNoTimer(t *testing.T) {
	parent := t.Context()
	const itself, itsCancel = 1, 1
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		ctx, cancel := patience.WithTimeout(parent, time.Minute)
		_ = ctx.Err()
		cancel()
	}), float64(itself+itsCancel))
}
