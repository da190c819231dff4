package storagetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// bench is what a check works with.
type bench struct {
	ctx context.Context
	s   Storage
}

type check = func(ctx context.Context, s Storage) error

// on makes a check of one that works with a storage.
func on(do func(b *bench) error) check {
	return func(ctx context.Context, s Storage) error { return do(&bench{ctx, s}) }
}

// onClient makes a check of one that begins with a registered client.
func onClient(do func(b *bench, c *dcr.Client) error) check {
	return on(func(b *bench) error {
		c, err := b.add(sample("first"))
		if err != nil {
			return err
		}
		return do(b, c)
	})
}

// onTwo makes a check of one that begins with two registered clients.
func onTwo(do func(b *bench, c, other *dcr.Client) error) check {
	return onClient(func(b *bench, c *dcr.Client) error {
		other, err := b.add(sample("second"))
		if err != nil {
			return err
		}
		return do(b, c, other)
	})
}

// needing makes a check of one that needs an interface besides.
func needing[T any](do func(b *bench, extra T) error) check {
	return on(func(b *bench) error {
		extra, ok := b.s.(T)
		if !ok {
			return notImplemented[T]()
		}
		return do(b, extra)
	})
}

// onClientNeeding is both.
func onClientNeeding[T any](do func(b *bench, c *dcr.Client, extra T) error) check {
	return needing(func(b *bench, extra T) error {
		return onClient(func(b *bench, c *dcr.Client) error { return do(b, c, extra) })(b.ctx, b.s)
	})
}

// add stores a record.
func (b *bench) add(c *dcr.Client) (*dcr.Client, error) {
	if err := b.s.CreateClient(b.ctx, c); err != nil {
		return nil, fmt.Errorf("CreateClient of a new client: %w\nThe record: %s", err, shown(c))
	}
	return c, nil
}

// update replaces a record whose version is that before the new one's.
func (b *bench) update(next *dcr.Client) error {
	if err := b.s.UpdateClient(b.ctx, next, next.Version-1); err != nil {
		return fmt.Errorf("UpdateClient from version %d to version %d: %w\nThe record: %s", next.Version-1, next.Version, err, shown(next))
	}
	return nil
}

func (b *bench) delete(id string) error {
	if err := b.s.DeleteClient(b.ctx, id); err != nil {
		return fmt.Errorf("DeleteClient of the registered client %q: %w", id, err)
	}
	return nil
}

// holds checks that the storage has the record, as it is, for both who read it.
func (b *bench) holds(want *dcr.Client) error {
	got, err := b.s.GetDynamicClient(b.ctx, want.ID)
	if err != nil {
		return fmt.Errorf("GetDynamicClient of the registered client %q: %w", want.ID, err)
	}
	if err := same("GetDynamicClient", got, want); err != nil {
		return err
	}
	if got, err = b.registered(want.ID); err != nil {
		return err
	}
	return same("GetClient", got, want)
}

// allHold checks that of several records.
func (b *bench) allHold(clients ...*dcr.Client) error {
	for _, c := range clients {
		if err := b.holds(c); err != nil {
			return err
		}
	}
	return nil
}

// gone checks that the storage knows no client under the identifier.
func (b *bench) gone(id string) error {
	c, err := b.s.GetDynamicClient(b.ctx, id)
	if err := expect(fmt.Sprintf("GetDynamicClient of %q, which is not registered", id), err, fosite.ErrNotFound); err != nil {
		return err
	}
	if c != nil {
		return fmt.Errorf("GetDynamicClient of %q, which is not registered: a record beside the error: %s", id, shown(c))
	}
	_, err = b.s.GetClient(b.ctx, id)
	return expect(fmt.Sprintf("GetClient of %q, which is not registered", id), err, fosite.ErrNotFound)
}

// registered returns what GetClient has, which must be a record.
func (b *bench) registered(id string) (*dcr.Client, error) {
	got, err := b.s.GetClient(b.ctx, id)
	if err != nil {
		return nil, fmt.Errorf("GetClient of the registered client %q: %w", id, err)
	}
	c, ok := dcr.RegisteredClient(got)
	if !ok {
		return nil, fmt.Errorf("GetClient of the registered client %q: it returned a %T, not a *dcr.Client or a type that embeds it", id, got)
	}
	return c, nil
}

// errorNames are the names of the errors that the contract names.
var errorNames = map[error]string{
	fosite.ErrNotFound:                 "fosite.ErrNotFound",
	fosite.ErrJTIKnown:                 "fosite.ErrJTIKnown",
	fosite.ErrInactiveToken:            "fosite.ErrInactiveToken",
	fosite.ErrInvalidatedAuthorizeCode: "fosite.ErrInvalidatedAuthorizeCode",
	dcr.ErrClientExists:                "dcr.ErrClientExists",
	dcr.ErrConflict:                    "dcr.ErrConflict",
	dcr.ErrFull:                        "dcr.ErrFull",
	dcr.ErrUnavailable:                 "dcr.ErrUnavailable",
	dcr.ErrExhausted:                   "dcr.ErrExhausted",
	context.Canceled:                   "context.Canceled",
	context.DeadlineExceeded:           "context.DeadlineExceeded",
}

// expect checks that what was done ended with one error and no other.
func expect(done string, got, want error) error {
	if errors.Is(got, want) {
		return nil
	}
	found := "no error"
	if got != nil {
		found = strconv.Quote(got.Error())
		for known, name := range errorNames {
			if errors.Is(got, known) {
				found += " (" + name + ")"
			}
		}
	}
	return fmt.Errorf("%s: it returned %s, and has to return %s", done, found, errorNames[want])
}

const whyContext = "A request whose client has hung up holds the storage, or is half done."

const saysContext = "A context that is done makes a method return its error, with nothing done or all of it."

// ended runs a check with a context that was cancelled and with one whose time is over.
func ended(ctx context.Context, check func(over context.Context) error) error {
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	late, cancelLate := context.WithDeadline(ctx, time.Unix(0, 0))
	defer cancelLate()
	return errors.Join(check(cancelled), check(late))
}

// expectEnd checks the error of a method whose context is done, and that one of the states
// is there that it may leave.
func expectEnd(method string, over context.Context, got error, states ...func() error) error {
	err := expect(method+" with a context that is done", got, over.Err())
	if err != nil {
		return err
	}
	for _, state := range states {
		if err = state(); err == nil {
			return nil
		}
	}
	return err
}

const (
	// callers is how many call at once, rounds how often that is tried.
	callers = 12
	rounds  = 4
)

func label(i int) string { return fmt.Sprintf("caller %d", i) }

// repeated makes a check of one that depends on chance.
func repeated(do check) check {
	return func(ctx context.Context, s Storage) error {
		for range rounds {
			if err := do(ctx, s); err != nil {
				return err
			}
		}
		return nil
	}
}

// atOnce calls from n goroutines that start together, and returns each one's error.
func atOnce(n int, call func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() {
			<-start
			errs[i] = call(i)
		})
	}
	close(start)
	running.Wait()
	return errs
}

// oneWins calls from many goroutines at once and checks that one call succeeds and all
// others end with the error of those who lose. It returns who won.
func oneWins(method string, lose error, call func(i int) error) (winner int, err error) {
	winner = -1
	for i, got := range atOnce(callers, call) {
		switch {
		case got == nil && winner >= 0:
			return winner, fmt.Errorf("%s, %d at once: it succeeded more than once", method, callers)
		case got == nil:
			winner = i
		case !errors.Is(got, lose):
			return winner, expect(method+", several at once", got, lose)
		}
	}
	if winner < 0 {
		return winner, fmt.Errorf("%s, %d at once: it succeeded not once", method, callers)
	}
	return winner, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
