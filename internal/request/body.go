package request

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// Sizes of the buffer that a body is first read into, in bytes. A declared length is believed only as far as it
// costs little.
const (
	leastBuffer    = 512
	believedLength = 8 << 10
)

// Body returns the body of a request, nil where it has none. It reads in the goroutine of the caller: a read that
// waits for the network ends with ctx only through Bound. Between two reads it looks at ctx itself.
//
// The error is ErrTooLarge for a body of more than limit bytes, unread where its declared length says so;
// ErrTimeout where ctx ended, and ErrUnreadable for everything else, both with the cause.
func Body(ctx context.Context, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, ErrTooLarge
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	body, err := readAll(ctx, r.Body, r.ContentLength, limit)
	var tooLarge *http.MaxBytesError // of a bound that the application has set
	switch {
	case err == nil:
		return body, nil
	case errors.Is(err, ErrTooLarge), errors.As(err, &tooLarge):
		return nil, ErrTooLarge
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%w: %w", ErrTimeout, ctx.Err())
	}
	return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
}

// readAll reads to the end, to the limit, or until ctx ends.
func readAll(ctx context.Context, body io.Reader, length, limit int64) ([]byte, error) {
	// One byte more than the declared length has room for the read that finds the end.
	buffer := make([]byte, 0, min(max(length, leastBuffer), believedLength)+1)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n, err := body.Read(buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+n]
		switch {
		case int64(len(buffer)) > limit:
			return nil, ErrTooLarge
		case err == io.EOF:
			return buffer, nil
		case err != nil:
			return nil, err
		}
		if len(buffer) == cap(buffer) {
			buffer = append(buffer, 0)[:len(buffer)]
		}
	}
}

// Bound ends the reading of a request's body when ctx ends, at the connection: nothing else reaches a read that
// is under way. Where the ResponseWriter sets no deadlines (http.ResponseController) nothing happens, and
// http.Server.ReadTimeout is the bound.
//
// done is called when the request is done. It returns after the connection was touched for the last time, and
// reports whether ctx did not end before.
func Bound(ctx context.Context, w http.ResponseWriter) (done func() bool) {
	if ctx.Done() == nil {
		return func() bool { return true }
	}
	b := &bound{w: w}
	b.stop = context.AfterFunc(ctx, b.end)
	return b.done
}

// bound is the end of one read, at the latest when its request is done. A ResponseWriter of HTTP/2 panics when it
// is used after its handler has returned, and a connection of HTTP/1 belongs to the next request then.
type bound struct {
	w    http.ResponseWriter
	stop func() bool

	mu     sync.Mutex
	closed bool
}

func (b *bound) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		_ = http.NewResponseController(b.w).SetReadDeadline(time.Now()) // or not supported
	}
}

func (b *bound) done() bool {
	stopped := b.stop()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return stopped
}
