package request_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/request"
)

var errBroken = errors.New("broken")

func TestBody(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 100_000)
	for name, row := range map[string]struct {
		body   io.Reader
		length int64
		limit  int64
		want   string
		err    error
	}{
		"no_body":             {http.NoBody, 0, 10, "", nil},
		"empty":               {strings.NewReader(""), -1, 10, "", nil},
		"declared":            {strings.NewReader("abc"), 3, 10, "abc", nil},
		"not_declared":        {strings.NewReader("abc"), -1, 10, "abc", nil},
		"at_the_limit":        {strings.NewReader("0123456789"), -1, 10, "0123456789", nil},
		"past_the_limit":      {strings.NewReader("0123456789x"), -1, 10, "", request.ErrTooLarge},
		"declared_too_large":  {iotest.ErrReader(errBroken), 11, 10, "", request.ErrTooLarge},
		"long":                {strings.NewReader(long), 100_000, 100_000, long, nil},
		"long_not_declared":   {strings.NewReader(long), -1, 100_000, long, nil},
		"long_in_bytes":       {iotest.OneByteReader(strings.NewReader(long)), -1, 100_000, long, nil},
		"long_past_the_limit": {strings.NewReader(long), -1, 99_999, "", request.ErrTooLarge},
		"data_with_the_end":   {iotest.DataErrReader(strings.NewReader("abc")), 3, 3, "abc", nil},
		"broken":              {io.MultiReader(strings.NewReader("abc"), iotest.ErrReader(errBroken)), -1, 10, "", request.ErrUnreadable},
		"bound_of_a_host":     {http.MaxBytesReader(nil, io.NopCloser(strings.NewReader("abc")), 2), -1, 10, "", request.ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.ContentLength, r.Body = row.length, io.NopCloser(row.body)
			got, err := request.Body(t.Context(), r, row.limit)
			require.ErrorIs(t, err, row.err)
			require.Equal(t, row.want, string(got))
			if errors.Is(err, request.ErrUnreadable) {
				require.ErrorIs(t, err, errBroken, "the cause")
			}
		})
	}
}

// tracedReader notes the goroutine of its reader, and ends the context with its first byte.
type tracedReader struct {
	cancel context.CancelFunc
	stack  string
	reads  int
}

func (r *tracedReader) Read(p []byte) (int, error) {
	buffer := make([]byte, 64<<10)
	r.stack = string(buffer[:runtime.Stack(buffer, false)])
	r.reads++
	r.cancel()
	return copy(p, "x"), nil
}

// TestBodyStaysInItsGoroutine: no goroutine is left behind, and a body that comes byte by byte ends with the context
// even where the connection has no deadline.
func TestBodyStaysInItsGoroutine(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	body := &tracedReader{cancel: cancel}
	_, err := request.Body(ctx, httptest.NewRequest(http.MethodPost, "/", body), 1000)
	require.ErrorIs(t, err, request.ErrTimeout)
	require.ErrorIs(t, err, context.Canceled, "the cause")
	require.Equal(t, 1, body.reads)
	require.Contains(t, body.stack, "TestBodyStaysInItsGoroutine(")
}

// TestBoundEndsTheRead: a body that never comes is given up when the context ends, with either version of HTTP and
// through the wrappers of an application.
func TestBoundEndsTheRead(t *testing.T) {
	t.Parallel()
	for _, version2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[version2], func(t *testing.T) {
			t.Parallel()
			results := make(chan error, 1)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ctx, cancel := context.WithTimeout(r.Context(), 20*time.Millisecond)
				defer cancel()
				done := request.Bound(ctx, wrapped{w})
				_, err := request.Body(ctx, r, 1000)
				if r.ProtoAtLeast(2, 0) != version2 || done() {
					err = errors.New("another version, or the context has not ended")
				}
				results <- err
			}))
			server.EnableHTTP2 = version2
			server.StartTLS()
			t.Cleanup(server.Close)
			body, writer := io.Pipe()
			t.Cleanup(func() { _ = writer.Close() })
			go func() {
				if response, err := server.Client().Post(server.URL, "application/json", body); err == nil {
					_ = response.Body.Close()
				}
			}()
			_, err := writer.Write([]byte(`{"half":`))
			require.NoError(t, err)
			select {
			case err := <-results:
				require.ErrorIs(t, err, request.ErrTimeout)
				require.ErrorIs(t, err, context.DeadlineExceeded)
			case <-time.After(30 * time.Second):
				t.Fatal("the read goes on")
			}
		})
	}
}

// wrapped is a ResponseWriter in a wrapper of an application.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// deadlines is a ResponseWriter that receives deadlines.
type deadlines struct {
	http.ResponseWriter

	set chan time.Time
}

func (d deadlines) SetReadDeadline(deadline time.Time) error {
	d.set <- deadline
	return nil
}

func TestBoundDone(t *testing.T) {
	t.Parallel()
	t.Run("context_ends_first", func(t *testing.T) {
		t.Parallel()
		w := deadlines{set: make(chan time.Time, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		done := request.Bound(ctx, w)
		cancel()
		require.WithinDuration(t, time.Now(), <-w.set, time.Minute)
		require.False(t, done())
	})
	t.Run("request_ends_first", func(t *testing.T) {
		t.Parallel()
		w := deadlines{set: make(chan time.Time, 1)}
		ctx, cancel := context.WithCancel(t.Context())
		require.True(t, request.Bound(ctx, w)())
		cancel()
		require.Empty(t, w.set)
	})
	t.Run("no_touch_after_done", func(t *testing.T) {
		t.Parallel()
		for range 1000 {
			w := deadlines{set: make(chan time.Time, 1)}
			ctx, cancel := context.WithCancel(t.Context())
			done := request.Bound(ctx, w)
			cancel() // the end of the context runs in a goroutine, at its leisure
			done()
			close(w.set) // a later deadline panics
		}
	})
	t.Run("context_without_end", func(t *testing.T) {
		t.Parallel()
		require.True(t, request.Bound(context.Background(), deadlines{})())
	})
	t.Run("no_deadlines", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		request.Bound(ctx, httptest.NewRecorder())()
	})
}
