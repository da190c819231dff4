package storagetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const (
	whyCounted  = "A token registers more clients than it was minted for, or fewer."
	whyReturned = "A client that failed to register for want of the storage finds its token spent, or others find one more use than there was."
)

var initialUseRows = []Row{
	{Name: "initial/use", Check: onToken(initialUse), Says: saysUse, Why: whyCounted},
	{Name: "initial/use_unlimited", Check: initials(initialUseUnlimited), Says: "A token whose MaxUses is zero is never exhausted.",
		Why: "A token for any number of clients is refused."},
	{Name: "initial/use_exhausted", Check: initials(initialUseExhausted), Says: saysExhausted, Why: whyCounted},
	{Name: "initial/use_expiry", Check: initials(initialUseExpiry), Says: saysExhausted + " now is the time of the caller.",
		Why: "A token works when its time is over, or ceases to work before."},
	{Name: "initial/use_unknown", Check: initials(initialUseUnknown), Says: "UseInitialAccessToken returns fosite.ErrNotFound for an unknown identifier.",
		Why: "A token that was revoked a moment ago is answered as a failure of the server, or comes back."},
	{Name: "initial/use_others_stay", Check: initials(initialUseOthersStay), Says: saysUse,
		Why: "One token's use counts as another's."},
	{Name: "initial/return", Check: initials(initialReturn), Says: saysReturn, Why: whyReturned},
	{Name: "initial/return_not_below_zero", Check: initials(initialReturnNotBelowZero), Says: saysReturn, Why: whyCounted},
	{Name: "initial/return_unknown", Check: initials(initialReturnUnknown), Says: "ReturnInitialAccessToken of an unknown identifier is no error, and creates nothing.",
		Why: "A token that was revoked comes back, or a failure is reported where there was none."},
	{Name: "initial/return_others_stay", Check: initials(initialReturnOthersStay), Says: saysReturn,
		Why: "One token's failed registration gives a use to another."},
}

// uses counts several.
func (i *initialTokens) uses(id string, n int) error {
	for range n {
		if err := i.use(id); err != nil {
			return fmt.Errorf("UseInitialAccessToken, of which uses remain: %w", err)
		}
	}
	return nil
}

func (i *initialTokens) giveBack(id string) error {
	if err := i.tokens.ReturnInitialAccessToken(i.ctx, id); err != nil {
		return fmt.Errorf("ReturnInitialAccessToken: %w", err)
	}
	return nil
}

// initialUse: one is added, and nothing else changes.
func initialUse(i *initialTokens, token *dcr.InitialAccessToken) error {
	for token.Uses < token.MaxUses {
		if err := i.uses(token.ID, 1); err != nil {
			return err
		}
		token.Uses++
		if err := i.holds(token); err != nil {
			return err
		}
	}
	return nil
}

func initialUseUnlimited(i *initialTokens) error {
	token, err := i.create(unboundToken())
	if err != nil {
		return err
	}
	const many = 20
	if err := i.uses(token.ID, many); err != nil {
		return err
	}
	token.Uses = many
	return i.holds(token)
}

// initialUseExhausted: more uses than MaxUses are too many as well.
func initialUseExhausted(i *initialTokens) error {
	for over := range 2 {
		token := sampleToken("first")
		token.Uses = token.MaxUses + over
		if _, err := i.create(token); err != nil {
			return err
		}
		for range 2 {
			done := fmt.Sprintf("UseInitialAccessToken of a token with %d of %d uses", token.Uses, token.MaxUses)
			if err := expect(done, i.use(token.ID), dcr.ErrExhausted); err != nil {
				return err
			}
		}
		if err := i.holds(token); err != nil {
			return err
		}
	}
	return nil
}

// initialUseExpiry: the time is that of the caller, who may have another clock and
// another time zone, and the token ceases to work in the second in which it expires.
func initialUseExpiry(i *initialTokens) error {
	there := time.FixedZone("", -7*60*60)
	for _, years := range []int{-20, 0, 20} {
		token := sampleToken("first")
		end := time.Now().UTC().Truncate(time.Second).AddDate(years, 0, 0)
		token.ExpiresAt, token.MaxUses = end, 0
		if _, err := i.create(token); err != nil {
			return err
		}
		for _, by := range []time.Duration{0, time.Second, 24 * time.Hour} {
			err := i.tokens.UseInitialAccessToken(i.ctx, token.ID, end.Add(by).In(there))
			if err := expect(fmt.Sprintf("UseInitialAccessToken %v after the token has expired", by), err, dcr.ErrExhausted); err != nil {
				return err
			}
		}
		for _, by := range []time.Duration{time.Second, 24 * time.Hour} {
			if err := i.tokens.UseInitialAccessToken(i.ctx, token.ID, end.Add(-by).In(there)); err != nil {
				return fmt.Errorf("UseInitialAccessToken %v before the token expires: %w", by, err)
			}
			token.Uses++
		}
		if err := i.holds(token); err != nil {
			return err
		}
	}
	return initialUseNoExpiry(i)
}

func initialUseNoExpiry(i *initialTokens) error {
	token, err := i.create(unboundToken())
	if err != nil {
		return err
	}
	for _, years := range []int{-20, 200} {
		if err := i.tokens.UseInitialAccessToken(i.ctx, token.ID, time.Now().AddDate(years, 0, 0)); err != nil {
			return fmt.Errorf("UseInitialAccessToken of a token that never expires: %w", err)
		}
	}
	return nil
}

func initialUseUnknown(i *initialTokens) error {
	id := newID()
	if err := expect("UseInitialAccessToken of an unknown identifier", i.use(id), fosite.ErrNotFound); err != nil {
		return err
	}
	return i.gone(id)
}

func initialUseOthersStay(i *initialTokens) error {
	return i.othersStay(func(id string) error { return i.uses(id, 1) })
}

func initialReturnOthersStay(i *initialTokens) error { return i.othersStay(i.giveBack) }

// othersStay does something to one token and looks whether another is what it was.
func (i *initialTokens) othersStay(do func(id string) error) error {
	token, err := i.create(sampleToken("first"))
	if err != nil {
		return err
	}
	other, err := i.create(sampleToken("second"))
	if err != nil {
		return err
	}
	if err := do(token.ID); err != nil {
		return err
	}
	return i.holds(other)
}

// initialReturn: a token that is used up, or has expired meanwhile, takes a use back as
// well, and it can be made again.
func initialReturn(i *initialTokens) error {
	usedUp, expired := sampleToken("first"), sampleToken("second")
	usedUp.Uses = usedUp.MaxUses
	expired.ExpiresAt = time.Now().AddDate(-1, 0, 0)
	for _, token := range []*dcr.InitialAccessToken{usedUp, expired} {
		if _, err := i.create(token); err != nil {
			return err
		}
		if err := i.giveBack(token.ID); err != nil {
			return err
		}
		token.Uses--
		if err := i.holds(token); err != nil {
			return err
		}
	}
	if err := i.uses(usedUp.ID, 1); err != nil {
		return err
	}
	return expect("UseInitialAccessToken of a token that has no more uses than were returned", i.use(usedUp.ID), dcr.ErrExhausted)
}

func initialReturnNotBelowZero(i *initialTokens) error {
	token := sampleToken("first")
	token.Uses, token.MaxUses = 0, 1
	if _, err := i.create(token); err != nil {
		return err
	}
	for range 2 {
		if err := i.giveBack(token.ID); err != nil {
			return err
		}
		if err := i.holds(token); err != nil {
			return err
		}
	}
	if err := i.uses(token.ID, 1); err != nil {
		return err
	}
	return expect("UseInitialAccessToken of a token with one use, for the second time", i.use(token.ID), dcr.ErrExhausted)
}

func initialReturnUnknown(i *initialTokens) error {
	id := newID()
	if err := i.giveBack(id); err != nil {
		return fmt.Errorf("of an unknown identifier: %w", err)
	}
	return i.gone(id)
}

var initialContextRows = []Row{
	{Name: "context/initial_create", Says: saysContext, Why: whyContext, Check: initials(contextInitialCreate)},
	{Name: "context/initial_read", Says: saysContext, Why: whyContext, Check: initials(contextInitialRead)},
	{Name: "context/initial_use", Says: saysContext, Why: whyContext, Check: initials(contextInitialUse)},
	{Name: "context/initial_return", Says: saysContext, Why: whyContext, Check: initials(contextInitialReturn)},
	{Name: "context/initial_delete", Says: saysContext, Why: whyContext, Check: initials(contextInitialDelete)},
	{Name: "context/initial_list", Says: saysContext, Why: whyContext, Check: initials(contextInitialList)},
}

func contextInitialCreate(i *initialTokens) error {
	return ended(i.ctx, func(over context.Context) error {
		token := sampleToken("first")
		return expectEnd("CreateInitialAccessToken", over, i.tokens.CreateInitialAccessToken(over, token),
			func() error { return i.holds(token) }, func() error { return i.gone(token.ID) })
	})
}

// whenEnded does something to a token with a context that is done. Afterwards the
// token is what it was or, where done may change it, what that made of it.
func (i *initialTokens) whenEnded(method string, do func(over context.Context, id string) error, done func(token *dcr.InitialAccessToken)) error {
	return ended(i.ctx, func(over context.Context) error {
		token, err := i.create(sampleToken("first"))
		if err != nil {
			return err
		}
		return expectEnd(method, over, do(over, token.ID), func() error { return i.holds(token) }, func() error {
			done(token)
			return i.holds(token)
		})
	})
}

func unchanged(*dcr.InitialAccessToken) {}

func contextInitialRead(i *initialTokens) error {
	return i.whenEnded("GetInitialAccessToken", func(over context.Context, id string) error {
		token, err := i.tokens.GetInitialAccessToken(over, id)
		if err != nil && token != nil {
			return errors.New("a record beside the error")
		}
		return err
	}, unchanged)
}

func contextInitialUse(i *initialTokens) error {
	return i.whenEnded("UseInitialAccessToken", func(over context.Context, id string) error {
		return i.tokens.UseInitialAccessToken(over, id, time.Now())
	}, func(token *dcr.InitialAccessToken) { token.Uses++ })
}

func contextInitialReturn(i *initialTokens) error {
	return i.whenEnded("ReturnInitialAccessToken", i.tokens.ReturnInitialAccessToken,
		func(token *dcr.InitialAccessToken) { token.Uses-- })
}

func contextInitialDelete(i *initialTokens) error {
	return ended(i.ctx, func(over context.Context) error {
		token, err := i.create(sampleToken("first"))
		if err != nil {
			return err
		}
		return expectEnd("DeleteInitialAccessToken", over, i.tokens.DeleteInitialAccessToken(over, token.ID),
			func() error { return i.gone(token.ID) }, func() error { return i.holds(token) })
	})
}

func contextInitialList(i *initialTokens) error {
	return i.whenEnded("ListInitialAccessTokens", func(over context.Context, id string) error {
		found, err := i.tokens.ListInitialAccessTokens(over, before(id), 1)
		if err != nil && len(found) > 0 {
			return errors.New("records beside the error")
		}
		return err
	}, unchanged)
}

// spenders is how many use a token at once.
const spenders = 50

var initialRaceRows = []Row{
	{Name: "race/initial_create", Check: repeated(initials(raceInitialCreate)), Says: "CreateInitialAccessToken: " + saysOneWins,
		Why: "Two tokens get one identifier, and one of their holders is refused."},
	{Name: "race/initial_use", Check: repeated(initials(raceInitialUse)), Says: "Of calls of UseInitialAccessToken at once no more succeed than uses remain.",
		Why: "Whoever spends a token many times at once registers more clients than it was minted for (T31)."},
	{Name: "race/initial_use_unlimited", Check: repeated(initials(raceInitialUseUnlimited)), Says: saysUse,
		Why: "A token registers clients that its record does not count."},
	{Name: "race/initial_return", Check: repeated(initials(raceInitialReturn)), Says: saysReturn, Why: whyReturned},
	{Name: "race/initial_use_and_return", Check: repeated(initials(raceInitialUseAndReturn)), Says: saysReturn, Why: whyReturned},
	{Name: "race/initial_delete", Check: repeated(onToken(raceInitialDelete)), Says: "DeleteInitialAccessToken: " + saysOneWins,
		Why: "One revocation is confirmed and reported several times."},
	{Name: "race/initial_use_and_delete", Check: repeated(initials(raceInitialUseAndDelete)), Says: "DeleteInitialAccessToken removes a record, and no other call creates one.",
		Why: "A token that was revoked while it was used works on."},
}

// raceInitialCreate: exactly one wins, and what it wrote is what is there.
func raceInitialCreate(i *initialTokens) error {
	id := newID()
	tried := make([]*dcr.InitialAccessToken, callers)
	winner, err := oneWins("CreateInitialAccessToken", dcr.ErrClientExists, func(n int) error {
		tried[n] = sampleToken(label(n))
		tried[n].ID = id
		return i.tokens.CreateInitialAccessToken(i.ctx, tried[n])
	})
	if err != nil {
		return err
	}
	return i.holds(tried[winner])
}

// raceInitialUse: as many succeed as uses remain, and they alone are counted.
func raceInitialUse(i *initialTokens) error {
	for _, remaining := range []int{1, 7} {
		token := sampleToken("first")
		token.MaxUses = token.Uses + remaining
		if _, err := i.create(token); err != nil {
			return err
		}
		succeeded := 0
		for _, got := range atOnce(spenders, func(int) error { return i.use(token.ID) }) {
			switch {
			case got == nil:
				succeeded++
			case !errors.Is(got, dcr.ErrExhausted):
				return expect("UseInitialAccessToken, of many at once", got, dcr.ErrExhausted)
			}
		}
		if succeeded != remaining {
			return fmt.Errorf("UseInitialAccessToken succeeded %d times of %d at once, where %d remained", succeeded, spenders, remaining)
		}
		token.Uses = token.MaxUses
		if err := i.holds(token); err != nil {
			return err
		}
	}
	return nil
}

func raceInitialUseUnlimited(i *initialTokens) error {
	token, err := i.create(unboundToken())
	if err != nil {
		return err
	}
	if err := errors.Join(atOnce(spenders, func(int) error { return i.use(token.ID) })...); err != nil {
		return fmt.Errorf("UseInitialAccessToken of a token for any number of clients, many at once: %w", err)
	}
	token.Uses = spenders
	return i.holds(token)
}

// raceInitialReturn: each call takes one, until none is left.
func raceInitialReturn(i *initialTokens) error {
	for _, uses := range []int{spenders + 7, spenders / 2} {
		token := sampleToken("first")
		token.Uses, token.MaxUses = uses, 2*spenders
		if _, err := i.create(token); err != nil {
			return err
		}
		if err := errors.Join(atOnce(spenders, func(int) error { return i.giveBack(token.ID) })...); err != nil {
			return fmt.Errorf("many at once: %w", err)
		}
		token.Uses = max(0, uses-spenders)
		if err := i.holds(token); err != nil {
			return err
		}
	}
	return nil
}

// raceInitialUseAndReturn: half of the callers use, half return, and in the end the count
// is what it was.
func raceInitialUseAndReturn(i *initialTokens) error {
	token := unboundToken()
	token.Uses = spenders
	if _, err := i.create(token); err != nil {
		return err
	}
	errs := atOnce(spenders, func(n int) error {
		if n%2 == 0 {
			return i.giveBack(token.ID)
		}
		return i.use(token.ID)
	})
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("UseInitialAccessToken and ReturnInitialAccessToken at once: %w", err)
	}
	return i.holds(token)
}

func raceInitialDelete(i *initialTokens, token *dcr.InitialAccessToken) error {
	_, err := oneWins("DeleteInitialAccessToken", fosite.ErrNotFound, func(int) error {
		return i.tokens.DeleteInitialAccessToken(i.ctx, token.ID)
	})
	if err != nil {
		return err
	}
	return i.gone(token.ID)
}

// raceInitialUseAndDelete deletes amid uses and returns: the deletion succeeds, and none
// of them outlives it.
func raceInitialUseAndDelete(i *initialTokens) error {
	token, err := i.create(unboundToken())
	if err != nil {
		return err
	}
	errs := atOnce(callers, func(n int) error {
		switch {
		case n == callers/2:
			return i.delete(token.ID)
		case n%2 == 0:
			return i.giveBack(token.ID)
		}
		if err := i.use(token.ID); !errors.Is(err, fosite.ErrNotFound) {
			return err
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("beside a deletion: %w", err)
	}
	return i.gone(token.ID)
}
