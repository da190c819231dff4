package storagetest

import (
	"errors"
	"fmt"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// spenders is how many use a token at once.
const spenders = 50

var initialRaceRows = []Row{
	{Name: "race/initial_create", Check: repeated(initials(raceInitialCreate)),
		Why: "Two tokens get one identifier, and one of their holders is refused."},
	{Name: "race/initial_use", Check: repeated(initials(raceInitialUse)),
		Why: "Whoever spends a token many times at once registers more clients than it was minted for (T31)."},
	{Name: "race/initial_use_unlimited", Check: repeated(initials(raceInitialUseUnlimited)),
		Why: "A token registers clients that its record does not count."},
	{Name: "race/initial_return", Check: repeated(initials(raceInitialReturn)), Why: whyReturned},
	{Name: "race/initial_use_and_return", Check: repeated(initials(raceInitialUseAndReturn)), Why: whyReturned},
	{Name: "race/initial_delete", Check: repeated(initials(raceInitialDelete)),
		Why: "One revocation is confirmed and reported several times."},
	{Name: "race/initial_use_and_delete", Check: repeated(initials(raceInitialUseAndDelete)),
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

func raceInitialDelete(i *initialTokens) error {
	token, err := i.create(sampleToken("first"))
	if err != nil {
		return err
	}
	_, err = oneWins("DeleteInitialAccessToken", fosite.ErrNotFound, func(int) error {
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
