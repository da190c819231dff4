package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const (
	saysTokens    = "ListInitialAccessTokens returns up to limit records whose identifiers come after the given one, byte by byte, in their order."
	saysUse       = "UseInitialAccessToken adds one to Uses of one record, and changes nothing else."
	saysReturn    = "ReturnInitialAccessToken takes one from Uses of one record, but not below zero."
	saysExhausted = "UseInitialAccessToken returns dcr.ErrExhausted, and changes nothing, where MaxUses is not zero and reached, or ExpiresAt is not zero and not after now."
)

// initialRecordRows are about the records of dcr.InitialAccessTokenStorage.
var initialRecordRows = []Row{
	{Name: "initial/read_back", Check: onToken(initialReadBack), Says: saysLossless,
		Why: "A token that was handed out is refused, or its clients escape the policy, the owner or the bounds that it was minted with."},
	{Name: "initial/sparse", Check: initials(initialSparse), Says: saysLossless + " A time that was never set is the zero time.",
		Why: "A token without an end, or for any number of clients, is refused."},
	{Name: "initial/exists", Check: onToken(initialExists), Says: "CreateInitialAccessToken returns dcr.ErrClientExists for an identifier that is taken.",
		Why: "One token takes over the identifier of another, whose holder is refused."},
	{Name: "initial/copied_in", Check: onToken(initialCopiedIn), Says: saysCopied,
		Why: "What the application does to its own record afterwards changes what the token is good for."},
	{Name: "initial/copied_out", Check: onToken(initialCopiedOut), Says: saysCopied,
		Why: "What the application or a request does to its copy of a record changes what the token is good for."},
	{Name: "initial/unknown", Check: initials(initialUnknown), Says: "GetInitialAccessToken returns fosite.ErrNotFound, and no record, for an unknown identifier.",
		Why: "A made-up token is answered as a failure of the server, or works."},
	{Name: "initial/exact_identifier", Check: onToken(initialExactIdentifier), Says: saysExact,
		Why: "One token is taken for another whose identifier differs in case or by a space only."},
	{Name: "initial/spent", Check: initials(initialSpent), Says: "GetInitialAccessToken and ListInitialAccessTokens return records that have expired or are exhausted, too.",
		Why: "An operator can't find out why a token does not work any more."},
	{Name: "initial/delete", Check: initials(initialDelete), Says: "DeleteInitialAccessToken removes a record.",
		Why: "A token that was revoked still registers clients."},
	{Name: "initial/delete_unknown", Check: initials(initialDeleteUnknown), Says: "DeleteInitialAccessToken returns fosite.ErrNotFound where there is no record.",
		Why: "An operator who mistyped an identifier is answered that the token was revoked."},
	{Name: "initial/delete_others_stay", Check: onToken(initialDeleteOthersStay), Says: "DeleteInitialAccessToken removes one record.",
		Why: "One token that is revoked takes others with it."},
}

// initialTokens is what rows about initial access tokens work with.
type initialTokens struct {
	ctx    context.Context
	tokens dcr.InitialAccessTokenStorage
}

func initials(do func(i *initialTokens) error) check {
	return needing(func(b *bench, tokens dcr.InitialAccessTokenStorage) error { return do(&initialTokens{b.ctx, tokens}) })
}

// onToken makes a check of one that begins with a token.
func onToken(do func(i *initialTokens, token *dcr.InitialAccessToken) error) check {
	return initials(func(i *initialTokens) error {
		token, err := i.create(sampleToken("first"))
		if err != nil {
			return err
		}
		return do(i, token)
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
		return nil, fmt.Errorf("CreateInitialAccessToken of a new token: %w\nThe record: %s", err, shown(token))
	}
	return token, nil
}

// holds checks that the storage has the record, as it is.
func (i *initialTokens) holds(want *dcr.InitialAccessToken) error {
	got, err := i.tokens.GetInitialAccessToken(i.ctx, want.ID)
	if err != nil {
		return fmt.Errorf("GetInitialAccessToken of the token %q: %w", want.ID, err)
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

func initialReadBack(i *initialTokens, token *dcr.InitialAccessToken) error {
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

func initialExists(i *initialTokens, token *dcr.InitialAccessToken) error {
	other := sampleToken("second")
	other.ID = token.ID
	err := i.tokens.CreateInitialAccessToken(i.ctx, other)
	if err := expect("CreateInitialAccessToken with an identifier that is taken", err, dcr.ErrClientExists); err != nil {
		return err
	}
	return i.holds(token)
}

func initialCopiedIn(i *initialTokens, token *dcr.InitialAccessToken) error {
	kept := detached(token)
	spoil(token)
	return i.holds(kept)
}

func initialCopiedOut(i *initialTokens, token *dcr.InitialAccessToken) error {
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

func initialExactIdentifier(i *initialTokens, token *dcr.InitialAccessToken) error {
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

func initialDeleteOthersStay(i *initialTokens, token *dcr.InitialAccessToken) error {
	other, err := i.create(sampleToken("second"))
	if err != nil {
		return err
	}
	if err := i.delete(token.ID); err != nil {
		return err
	}
	return i.holds(other)
}

var initialListRows = []Row{
	{Name: "initial/list_order", Check: initials(initialListOrder), Says: saysTokens,
		Why: "An operator who pages through the tokens misses some of them."},
	{Name: "initial/list_pages", Check: initials(initialListPages), Says: saysTokens,
		Why: "An operator who pages through the tokens misses some, sees some twice, or never comes to the end."},
	{Name: "initial/list_first", Check: initials(initialListFirst), Says: saysTokens,
		Why: "An operator who opens the list sees nothing, or not its beginning."},
	{Name: "initial/list_limit", Check: initials(initialListLimit), Says: saysTokens,
		Why: "A page holds all tokens that there are, however many."},
	{Name: "initial/list_whole", Check: onToken(initialListWhole), Says: saysLossless,
		Why: "An operator judges a token by a record that is not what was stored, or one that is out of date."},
}

// list returns what ListInitialAccessTokens does, unless that is an error.
func (i *initialTokens) list(after string, limit int) ([]*dcr.InitialAccessToken, error) {
	found, err := i.tokens.ListInitialAccessTokens(i.ctx, after, limit)
	if err != nil {
		return nil, fmt.Errorf("ListInitialAccessTokens: %w", err)
	}
	if slices.Contains(found, nil) {
		return nil, errors.New("ListInitialAccessTokens returned a record that is nil")
	}
	return found, nil
}

// series stores tokens under identifiers that begin alike and returns these in order. The
// beginning itself is the identifier of none of them, but comes right before the first.
// Their other fields, and the order in which they come, say nothing about their place.
func (i *initialTokens) series() (beginning string, ids []string, err error) {
	beginning = newID()
	for n, end := range []string{"a", "B", "-", "10", "9", "_", "b", "é", "ab", "A", "Z"} {
		token := sampleToken(label(n))
		token.ID = beginning + end
		token.CreatedAt = time.Now().Add(time.Duration(n*5%11) * time.Hour)
		if _, err := i.create(token); err != nil {
			return "", nil, err
		}
		ids = append(ids, token.ID)
	}
	slices.Sort(ids)
	return beginning, ids, nil
}

func idsOf(tokens []*dcr.InitialAccessToken) []string {
	ids := make([]string, len(tokens))
	for n, token := range tokens {
		ids[n] = token.ID
	}
	return ids
}

// page checks which identifiers a page has.
func (i *initialTokens) page(after string, limit int, want []string) error {
	found, err := i.list(after, limit)
	if err != nil {
		return err
	}
	if got := idsOf(found); !slices.Equal(got, want) {
		return fmt.Errorf("ListInitialAccessTokens after %q, up to %d: it returned %q, and has to return %q", after, limit, got, want)
	}
	return nil
}

func initialListOrder(i *initialTokens) error {
	beginning, ids, err := i.series()
	if err != nil {
		return err
	}
	return i.page(beginning, len(ids), ids)
}

// initialListPages: a page begins after the identifier, also where that has been deleted.
func initialListPages(i *initialTokens) error {
	beginning, ids, err := i.series()
	if err != nil {
		return err
	}
	after := beginning
	for page := range slices.Chunk(ids, 2) {
		if err := i.page(after, len(page), page); err != nil {
			return err
		}
		after = page[len(page)-1]
	}
	if err := i.delete(ids[3]); err != nil {
		return err
	}
	if err := i.page(ids[3], 3, ids[4:7]); err != nil {
		return err
	}
	return i.page(ids[2], 3, ids[4:7])
}

// initialListFirst: there may be other tokens, but none before the first of the list.
func initialListFirst(i *initialTokens) error {
	token := sampleToken("first")
	token.ID = "\"" + token.ID // before most others
	if _, err := i.create(token); err != nil {
		return err
	}
	found, err := i.list("", 1)
	switch {
	case err != nil:
		return err
	case len(found) == 0:
		return errors.New("ListInitialAccessTokens from the beginning returned nothing, though there is a token")
	case found[0].ID > token.ID:
		return fmt.Errorf("ListInitialAccessTokens from the beginning starts with %q, though there is %q", found[0].ID, token.ID)
	}
	return i.delete(token.ID)
}

// initialListLimit: a page may be shorter than the limit where the list ends, and no
// token comes after this end.
func initialListLimit(i *initialTokens) error {
	beginning, ids, err := i.series()
	if err != nil {
		return err
	}
	for _, limit := range []int{0, 1, 5} {
		if err := i.page(beginning, limit, ids[:limit]); err != nil {
			return err
		}
	}
	return i.page("\U0010ffff"+beginning, 5, []string{})
}

func initialListWhole(i *initialTokens, token *dcr.InitialAccessToken) error {
	if err := i.listed(token); err != nil { // so that a cache has it
		return err
	}
	if err := i.use(token.ID); err != nil {
		return fmt.Errorf("UseInitialAccessToken: %w", err)
	}
	token.Uses++
	return i.listed(token)
}

// listed checks that the list has the record, as it is.
func (i *initialTokens) listed(want *dcr.InitialAccessToken) error {
	found, err := i.list(before(want.ID), 1)
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("ListInitialAccessTokens up to 1: %d records, though there is another", len(found))
	}
	return same("ListInitialAccessTokens", found[0], want)
}

// use counts a use at a time at which all tokens of the samples work.
func (i *initialTokens) use(id string) error {
	return i.tokens.UseInitialAccessToken(i.ctx, id, time.Now())
}
