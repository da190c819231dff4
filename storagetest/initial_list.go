package storagetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

var initialListRows = []Row{
	{Name: "initial/list_order", Check: initials(initialListOrder),
		Why: "An operator who pages through the tokens misses some of them."},
	{Name: "initial/list_pages", Check: initials(initialListPages),
		Why: "An operator who pages through the tokens misses some, sees some twice, or never comes to the end."},
	{Name: "initial/list_first", Check: initials(initialListFirst),
		Why: "An operator who opens the list sees nothing, or not its beginning."},
	{Name: "initial/list_limit", Check: initials(initialListLimit),
		Why: "A page holds all tokens that there are, however many."},
	{Name: "initial/list_whole", Check: initials(initialListWhole),
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
		return fmt.Errorf("ListInitialAccessTokens after %q, up to %d: %q, not %q", after, limit, got, want)
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

func initialListWhole(i *initialTokens) error {
	token, err := i.create(sampleToken("first"))
	if err != nil {
		return err
	}
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
