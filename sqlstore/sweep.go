package sqlstore

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"
)

// sweepUntil sweeps now and then until the context is done. Processes that share a database share the work: each passes
// over rows that another one removes.
func (s *Store) sweepUntil(ctx context.Context) {
	every := s.options.SweepEvery
	for {
		select {
		case <-time.After(every/2 + rand.N(every)): // not all processes at the same time
		case <-ctx.Done():
			return
		}
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			slog.WarnContext(ctx, "sqlstore: a sweep failed, and is tried again", "error", err)
		}
	}
}

// Sweep removes what has expired, and what is left of clients that lost everything: codes and tokens, never registered
// clients. A store does it by itself (Options.SweepEvery). Each batch of 100 rows is a transaction of its own,
// and after each it waits as long as the batch took, so that requests go on.
func (s *Store) Sweep(ctx context.Context) error {
	now := nanoseconds(s.options.Now())
	var errs []error
	for _, statement := range []string{s.sql.SweepTokens, s.sql.SweepGrants, s.sql.SweepAssertions} {
		_, err := s.sweep(ctx, statement, now)
		errs = append(errs, err)
	}
	s.full.Range(func(owner, until any) bool {
		if until.(int64) <= now {
			s.full.Delete(owner)
		}
		return true
	})
	return errors.Join(append(errs, s.sweepRevoked(ctx))...)
}

// sweep removes rows, batch by batch, and returns how many.
func (s *Store) sweep(ctx context.Context, statement string, args ...any) (removed int64, err error) {
	for {
		begin := time.Now()
		some, err := s.change(ctx, statement, append(args, batch)...)
		removed += some
		if err != nil || some < batch {
			return removed, err
		}
		select {
		case <-time.After(time.Since(begin)):
		case <-ctx.Done():
			return removed, ctx.Err()
		}
	}
}

// forgetAfter is how long a client that lost everything is remembered when nothing is left of it, longer than clocks
// differ.
const forgetAfter = 24 * time.Hour

type revocation struct {
	client []byte
	epoch  int64
}

// sweepRevoked removes what is left of clients that lost everything, and in the end forgets the client.
func (s *Store) sweepRevoked(ctx context.Context) error {
	now := s.options.Now()
	err := s.eachRevocation(ctx, 1, nanoseconds(now.Add(forgetAfter)), func(r revocation) error {
		return s.removeRevoked(ctx, r, s.sql.SettleRevocation)
	})
	if err != nil {
		return err
	}
	return s.eachRevocation(ctx, 0, nanoseconds(now.Add(-forgetAfter)), func(r revocation) error {
		return s.removeRevoked(ctx, r, s.sql.DeleteRevocation)
	})
}

// removeRevoked removes what is left of a client, and where nothing was left does what comes then.
func (s *Store) removeRevoked(ctx context.Context, r revocation, then string) error {
	tokens, err := s.sweep(ctx, s.sql.SweepRevokedTokens, r.client, r.epoch)
	if err != nil {
		return err
	}
	grants, err := s.sweep(ctx, s.sql.SweepRevokedGrants, r.client, r.epoch)
	if err != nil || tokens+grants > 0 {
		return err
	}
	_, err = s.change(ctx, then, r.client, r.epoch)
	return err
}

// eachRevocation calls do for the revocations before a time of which something may be left (1) or not (0).
func (s *Store) eachRevocation(ctx context.Context, pending int, before int64, do func(revocation) error) error {
	for last := int64(notYet); ; {
		some, err := s.revocations(ctx, pending, last, before)
		if err != nil || len(some) == 0 {
			return err
		}
		for _, r := range some {
			if err := do(r); err != nil {
				return err
			}
			last = r.epoch
		}
	}
}

func (s *Store) revocations(ctx context.Context, pending int, after, before int64) (some []revocation, err error) {
	err = s.read(ctx, func(ctx context.Context, q querier) error {
		some = nil
		rows, err := q.QueryContext(ctx, s.sql.ListRevocations, pending, after, before, batch)
		if err != nil {
			return err
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var r revocation
			if err := rows.Scan(&r.client, &r.epoch); err != nil {
				return err
			}
			some = append(some, r)
		}
		return rows.Err()
	})
	return some, err
}
