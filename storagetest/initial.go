package storagetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// initialRows are about dcr.InitialAccessTokenStorage.
func initialRows() []Row {
	rows := slices.Concat(initialRecordRows, initialListRows, initialUseRows, initialContextRows, initialRaceRows)
	for i := range rows {
		rows[i].Needs = "dcr.InitialAccessTokenStorage"
	}
	return rows
}

var initialRecordRows = []Row{
	{Name: "initial/read_back", Check: initials(initialReadBack),
		Why: "A token that was handed out is refused, or its clients escape the policy, the owner or the bounds that it was minted with."},
	{Name: "initial/sparse", Check: initials(initialSparse),
		Why: "A token without an end, or for any number of clients, is refused."},
	{Name: "initial/exists", Check: initials(initialExists),
		Why: "One token takes over the identifier of another, whose holder is refused."},
	{Name: "initial/copied_in", Check: initials(initialCopiedIn),
		Why: "What the host does to the record that it was given changes what the token is good for."},
	{Name: "initial/copied_out", Check: initials(initialCopiedOut),
		Why: "What the host or a request does to its copy of a record changes what the token is good for."},
	{Name: "initial/unknown", Check: initials(initialUnknown),
		Why: "A made-up token is answered as a failure of the server, or works."},
	{Name: "initial/exact_identifier", Check: initials(initialExactIdentifier),
		Why: "One token is taken for another whose identifier differs in case or by a space only."},
	{Name: "initial/spent", Check: initials(initialSpent),
		Why: "An operator can't find out why a token does not work any more."},
	{Name: "initial/delete", Check: initials(initialDelete),
		Why: "A token that was revoked still registers clients."},
	{Name: "initial/delete_unknown", Check: initials(initialDeleteUnknown),
		Why: "An operator who mistyped an identifier is told that the token was revoked."},
	{Name: "initial/delete_others_stay", Check: initials(initialDeleteOthersStay),
		Why: "One token that is revoked takes others with it."},
}

// initialTokens is what rows about initial access tokens work with.
type initialTokens struct {
	ctx    context.Context
	tokens dcr.InitialAccessTokenStorage
}

func initials(check func(i *initialTokens) error) func(context.Context, Storage) error {
	return needing(func(ctx context.Context, _ Storage, tokens dcr.InitialAccessTokenStorage) error {
		return check(&initialTokens{ctx, tokens})
	})
}

// sampleToken returns a record under a new identifier in which every field has a value.
// It ends in some months and has three uses left.
func sampleToken(label string) *dcr.InitialAccessToken {
	token := filled[dcr.InitialAccessToken](label)
	token.ID, token.MaxUses = newID(), token.Uses+3
	return token
}

// unboundToken has no end and any number of uses.
func unboundToken() *dcr.InitialAccessToken {
	token := sampleToken("first")
	token.ExpiresAt, token.MaxUses, token.Uses = time.Time{}, 0, 0
	return token
}

// create stores a record.
func (i *initialTokens) create(token *dcr.InitialAccessToken) (*dcr.InitialAccessToken, error) {
	if err := i.tokens.CreateInitialAccessToken(i.ctx, token); err != nil {
		return nil, fmt.Errorf("CreateInitialAccessToken of a new token: %w", err)
	}
	return token, nil
}

// holds checks that the storage has the record, as it is.
func (i *initialTokens) holds(want *dcr.InitialAccessToken) error {
	got, err := i.tokens.GetInitialAccessToken(i.ctx, want.ID)
	if err != nil {
		return fmt.Errorf("GetInitialAccessToken: %w", err)
	}
	return same("GetInitialAccessToken", got, want)
}

// gone checks that the storage knows no token under the identifier, whatever is asked.
func (i *initialTokens) gone(id string) error {
	token, err := i.tokens.GetInitialAccessToken(i.ctx, id)
	if err := expect(fmt.Sprintf("GetInitialAccessToken of the unknown identifier %q", id), err, fosite.ErrNotFound); err != nil {
		return err
	}
	if token != nil {
		return fmt.Errorf("GetInitialAccessToken of the unknown identifier %q returned a record with the error", id)
	}
	found, err := i.tokens.ListInitialAccessTokens(i.ctx, before(id), 1)
	switch {
	case err != nil:
		return fmt.Errorf("ListInitialAccessTokens: %w", err)
	case len(found) > 0 && found[0].ID == id:
		return fmt.Errorf("ListInitialAccessTokens returned a token that GetInitialAccessToken does not find")
	}
	return nil
}

// before returns what comes right before an identifier of this suite.
func before(id string) string {
	if id == "" {
		return ""
	}
	return id[:len(id)-1]
}

func initialReadBack(i *initialTokens) error {
	token, err := i.create(sampleToken("first"))
	if err != nil {
		return err
	}
	return i.holds(token)
}

func initialSparse(i *initialTokens) error {
	token, err := i.create(&dcr.InitialAccessToken{
		ID: newID(), Hash: []byte{0, 0xff, '\''}, GrantTypes: []string{}, CreatedAt: time.Now(),
	})
	if err != nil {
		return err
	}
	return i.holds(token)
}

func initialExists(i *initialTokens) error {
	token, err := i.create(sampleToken("first"))
	if err != nil {
		return err
	}
	other := sampleToken("second")
	other.ID = token.ID
	err = i.tokens.CreateInitialAccessToken(i.ctx, other)
	if err := expect("CreateInitialAccessToken with an identifier that is taken", err, dcr.ErrClientExists); err != nil {
		return err
	}
	return i.holds(token)
}

func initialCopiedIn(i *initialTokens) error {
	token, err := i.create(sampleToken("first"))
	if err != nil {
		return err
	}
	kept := detached(token)
	spoil(token)
	return i.holds(kept)
}

func initialCopiedOut(i *initialTokens) error {
	token, err := i.create(sampleToken("first"))
	if err != nil {
		return err
	}
	kept := detached(token)
	got, err := i.tokens.GetInitialAccessToken(i.ctx, token.ID)
	if err != nil {
		return fmt.Errorf("GetInitialAccessToken: %w", err)
	}
	spoil(got)
	if err := i.holds(kept); err != nil {
		return err
	}
	found, err := i.list(before(token.ID), 1)
	if err != nil {
		return err
	}
	for _, listed := range found {
		spoil(listed)
	}
	return i.holds(kept)
}

func initialUnknown(i *initialTokens) error {
	for _, id := range []string{newID(), "", "'; --", strings.Repeat("x", 128)} {
		if err := i.gone(id); err != nil {
			return err
		}
	}
	return nil
}

func initialExactIdentifier(i *initialTokens) error {
	token, err := i.create(sampleToken("first"))
	if err != nil {
		return err
	}
	for _, id := range []string{strings.ToUpper(token.ID), strings.ToLower(token.ID), token.ID + " ", " " + token.ID, before(token.ID), token.ID[:1] + "%"} {
		_, err := i.tokens.GetInitialAccessToken(i.ctx, id)
		if err := expect(fmt.Sprintf("GetInitialAccessToken of %q, where there is only %q", id, token.ID), err, fosite.ErrNotFound); err != nil {
			return err
		}
	}
	return nil
}

// initialSpent: what has expired or is used up is read and listed all the same.
func initialSpent(i *initialTokens) error {
	expired, exhausted := sampleToken("first"), sampleToken("second")
	expired.ExpiresAt = time.Now().AddDate(-1, 0, 0)
	exhausted.Uses = exhausted.MaxUses
	for _, token := range []*dcr.InitialAccessToken{expired, exhausted} {
		if _, err := i.create(token); err != nil {
			return err
		}
		if err := i.holds(token); err != nil {
			return err
		}
		found, err := i.list(before(token.ID), 1)
		if err != nil {
			return err
		}
		if len(found) != 1 {
			return fmt.Errorf("ListInitialAccessTokens leaves out a token that has expired or is used up")
		}
		if err := same("ListInitialAccessTokens", found[0], token); err != nil {
			return err
		}
	}
	return nil
}

func initialDelete(i *initialTokens) error {
	token, err := i.create(unboundToken())
	if err != nil {
		return err
	}
	if err := i.delete(token.ID); err != nil {
		return err
	}
	if err := expect("UseInitialAccessToken of a deleted token", i.use(token.ID), fosite.ErrNotFound); err != nil {
		return err
	}
	return i.gone(token.ID)
}

func (i *initialTokens) delete(id string) error {
	if err := i.tokens.DeleteInitialAccessToken(i.ctx, id); err != nil {
		return fmt.Errorf("DeleteInitialAccessToken: %w", err)
	}
	return nil
}

func initialDeleteUnknown(i *initialTokens) error {
	err := i.tokens.DeleteInitialAccessToken(i.ctx, newID())
	if err := expect("DeleteInitialAccessToken of an unknown identifier", err, fosite.ErrNotFound); err != nil {
		return err
	}
	token, err := i.create(sampleToken("first"))
	if err != nil {
		return err
	}
	if err := i.delete(token.ID); err != nil {
		return err
	}
	return expect("DeleteInitialAccessToken of a deleted token", i.tokens.DeleteInitialAccessToken(i.ctx, token.ID), fosite.ErrNotFound)
}

func initialDeleteOthersStay(i *initialTokens) error {
	token, err := i.create(sampleToken("first"))
	if err != nil {
		return err
	}
	other, err := i.create(sampleToken("second"))
	if err != nil {
		return err
	}
	if err := i.delete(token.ID); err != nil {
		return err
	}
	return i.holds(other)
}
