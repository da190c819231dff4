package storagetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// staticRows are about clients of the operator's own, which can be neither read nor
// changed nor deleted through registration.
func staticRows(o Options) []Row {
	static := func(check func(ctx context.Context, s Storage, id string) error) func(context.Context, Storage) error {
		return func(ctx context.Context, s Storage) error { return o.checkStatic(ctx, s, check) }
	}
	rows := []Row{
		{Name: "static/create_exists", Check: static(staticCreate),
			Why: "A registration replaces a client of the operator's own."},
		{Name: "static/read", Check: static(staticRead),
			Why: "A client of the operator's own is taken for a registered one, and can be managed by whoever finds a token for it."},
		{Name: "static/update", Check: static(staticUpdate),
			Why: "An update replaces a client of the operator's own."},
		{Name: "static/delete", Check: static(staticDelete),
			Why: "A deletion removes a client of the operator's own."},
	}
	for i := range rows {
		rows[i].Needs = "Options.AddStatic"
	}
	return rows
}

// checkStatic runs a check on a client of the operator's own, and looks afterwards
// whether it is still what it was.
func (o Options) checkStatic(ctx context.Context, s Storage, check func(ctx context.Context, s Storage, id string) error) error {
	if o.AddStatic == nil {
		return ErrNotRun
	}
	c := &fosite.DefaultClient{
		ID: newID(), Secret: []byte("$2a$04$storagetest"), RedirectURIs: []string{"https://static.example/cb"},
		GrantTypes: []string{"authorization_code"}, ResponseTypes: []string{"code"}, Scopes: []string{"openid"},
	}
	if err := o.AddStatic(ctx, s, c); err != nil {
		return fmt.Errorf("AddStatic: %w", err)
	}
	if err := check(ctx, s, c.ID); err != nil {
		return err
	}
	got, err := s.GetClient(ctx, c.ID)
	switch {
	case err != nil:
		return fmt.Errorf("GetClient of a client of the operator's own: %w", err)
	case dcr.IsDynamic(got):
		return errors.New("GetClient returned a client of the operator's own as a *dcr.Client")
	case fmt.Sprint(got.GetRedirectURIs()) != fmt.Sprint(c.RedirectURIs) || string(got.GetHashedSecret()) != string(c.Secret):
		return errors.New("a client of the operator's own is no longer what it was")
	}
	return nil
}

func staticCreate(ctx context.Context, s Storage, id string) error {
	c := sample("first")
	c.ID = id
	return expect("CreateClient with the identifier of a client of the operator's own", s.CreateClient(ctx, c), dcr.ErrClientExists)
}

func staticRead(ctx context.Context, s Storage, id string) error {
	_, err := s.GetDynamicClient(ctx, id)
	return expect("GetDynamicClient of a client of the operator's own", err, fosite.ErrNotFound)
}

func staticUpdate(ctx context.Context, s Storage, id string) error {
	for version := range int64(2) {
		c := sample("first")
		c.ID = id
		if err := expect("UpdateClient of a client of the operator's own", s.UpdateClient(ctx, c, version), fosite.ErrNotFound); err != nil {
			return err
		}
	}
	return nil
}

func staticDelete(ctx context.Context, s Storage, id string) error {
	return expect("DeleteClient of a client of the operator's own", s.DeleteClient(ctx, id), fosite.ErrNotFound)
}

const needsUse = "dcr.UseRecorder"

var useRows = []Row{
	{Name: "touch/forward", Needs: needsUse, Check: needing(touchForward),
		Why: "A client that is used looks unused, and is taken for dead."},
	{Name: "touch/not_backward", Needs: needsUse, Check: needing(touchNotBackward),
		Why: "A late or a delayed note makes a client look unused for longer than it is."},
	{Name: "touch/version", Needs: needsUse, Check: needing(touchVersion),
		Why: "A client's update fails, or is lost, since it got a token meanwhile."},
	{Name: "touch/unknown", Needs: needsUse, Check: needing(touchUnknown),
		Why: "A client that was deleted comes back, or its last token request fails."},
	{Name: "touch/then_update", Needs: needsUse, Check: needing(touchThenUpdate),
		Why: "A client that got a token while it was updated looks unused."},
	{Name: "context/touch", Needs: needsUse, Why: whyContext, Check: needing(contextTouch)},
	{Name: "race/touch", Needs: needsUse, Check: needing(raceTouch),
		Why: "Of several token requests an earlier one has the last word, or one undoes an update."},
}

func touchForward(ctx context.Context, s Storage, uses dcr.UseRecorder) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	c.LastUsedAt, c.KeepUntil = c.LastUsedAt.Add(time.Hour), c.KeepUntil.Add(2*time.Hour)
	if err := uses.TouchClient(ctx, c.ID, c.LastUsedAt, c.KeepUntil); err != nil {
		return fmt.Errorf("TouchClient: %w", err)
	}
	return holds(ctx, s, c)
}

// touchNotBackward: each of the two times stands for itself.
func touchNotBackward(ctx context.Context, s Storage, uses dcr.UseRecorder) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	before := -time.Hour
	for _, to := range [][2]time.Time{
		{c.LastUsedAt.Add(before), c.KeepUntil.Add(before)},
		{c.LastUsedAt.Add(time.Hour), {}},
		{{}, c.KeepUntil.Add(time.Hour)},
	} {
		if err := uses.TouchClient(ctx, c.ID, to[0], to[1]); err != nil {
			return fmt.Errorf("TouchClient: %w", err)
		}
		c.LastUsedAt, c.KeepUntil = later(c.LastUsedAt, to[0]), later(c.KeepUntil, to[1])
		if err := holds(ctx, s, c); err != nil {
			return err
		}
	}
	return nil
}

func touchVersion(ctx context.Context, s Storage, uses dcr.UseRecorder) error {
	c, err := created(ctx, s, unused(sample("first")))
	if err != nil {
		return err
	}
	if err := uses.TouchClient(ctx, c.ID, c.LastUsedAt.Add(time.Hour), c.KeepUntil); err != nil {
		return fmt.Errorf("TouchClient: %w", err)
	}
	next := successor(c, "second")
	if err := s.UpdateClient(ctx, next, c.Version); err != nil {
		return fmt.Errorf("UpdateClient after a TouchClient: %w", err)
	}
	return holds(ctx, s, next)
}

func touchUnknown(ctx context.Context, s Storage, uses dcr.UseRecorder) error {
	id := newID()
	if err := uses.TouchClient(ctx, id, time.Now(), time.Now()); err != nil {
		return fmt.Errorf("TouchClient of an unknown client: %w", err)
	}
	return gone(ctx, s, id)
}

func touchThenUpdate(ctx context.Context, s Storage, uses dcr.UseRecorder) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	next := successor(c, "second")
	lastUsed, keepUntil := next.LastUsedAt.Add(time.Hour), next.KeepUntil.Add(time.Hour)
	if err := uses.TouchClient(ctx, c.ID, lastUsed, keepUntil); err != nil {
		return fmt.Errorf("TouchClient: %w", err)
	}
	if err := s.UpdateClient(ctx, next, c.Version); err != nil {
		return fmt.Errorf("UpdateClient after a TouchClient: %w", err)
	}
	next.LastUsedAt, next.KeepUntil = lastUsed, keepUntil
	return holds(ctx, s, next)
}

func contextTouch(ctx context.Context, s Storage, uses dcr.UseRecorder) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	return ended(ctx, func(over context.Context) error {
		return expectEnd("TouchClient", over, uses.TouchClient(over, c.ID, c.LastUsedAt, c.KeepUntil))
	})
}

// raceTouch notes many uses while one updates: the latest use and the update remain.
func raceTouch(ctx context.Context, s Storage, uses dcr.UseRecorder) error {
	return repeated(func(ctx context.Context, s Storage) error {
		c, err := created(ctx, s, unused(sample("first")))
		if err != nil {
			return err
		}
		next := successor(c, "second")
		first, end := next.LastUsedAt, next.KeepUntil
		errs := atOnce(callers, func(i int) error {
			if i == 0 {
				return s.UpdateClient(ctx, detached(next), c.Version)
			}
			by := time.Duration(i) * time.Hour
			return uses.TouchClient(ctx, c.ID, first.Add(by), end.Add(by))
		})
		if err := errors.Join(errs...); err != nil {
			return fmt.Errorf("TouchClient and UpdateClient at once: %w", err)
		}
		by := (callers - 1) * time.Hour
		next.LastUsedAt, next.KeepUntil = first.Add(by), end.Add(by)
		return holds(ctx, s, next)
	})(ctx, s)
}
