package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
)

func documentEvict(d *documents) error {
	most, err := d.room(3)
	if err != nil {
		return err
	}
	for i, path := range []string{"first", "second", "third"} {
		if err := d.save(path, "record", i, most); err != nil {
			return err
		}
	}
	if err := d.have([]string{"first", "second", "third"}, nil); err != nil {
		return fmt.Errorf("of as many as there may be: %w", err)
	}
	if err := d.kept.TouchDocument(d.ctx, d.id("first"), usedAt(3)); err != nil {
		return fmt.Errorf("TouchDocument: %w", err)
	}
	if err := errors.Join(d.save("fourth", "record", 4, most), d.have([]string{"first", "third", "fourth"}, []string{"second"})); err != nil {
		return fmt.Errorf("of one more than there may be: %w", err)
	}
	if err := errors.Join(d.save("third", "replaced", 5, most), d.have([]string{"first", "third", "fourth"}, nil)); err != nil {
		return fmt.Errorf("of one in place of an earlier one: %w", err)
	}
	if err := errors.Join(d.delete("fourth"), d.save("fifth", "record", 6, most), d.have([]string{"first", "third", "fifth"}, nil)); err != nil {
		return fmt.Errorf("after a DeleteDocument: %w", err)
	}
	return errors.Join(d.save("sixth", "record", 7, most), d.have([]string{"third", "fifth", "sixth"}, []string{"first"}))
}

// documentSpared: an access token, a code and a refresh token keep a record, and so does blocking. Those that are spent do not.
func (o Options) documentSpared(d *documents) error {
	tokens, ok := d.s.(oauth2.CoreStorage)
	if !ok {
		return notImplemented[oauth2.CoreStorage]()
	}
	most, err := d.room(8)
	if err != nil {
		return err
	}
	live, spent := []string{"access", "code", "refresh"}, []string{"spent access", "spent code", "spent refresh"}
	if err := d.saveAll(slices.Concat(live, []string{"blocked"}, spent, []string{"none"})...); err != nil {
		return err
	}
	if err := errors.Join(d.block("blocked", true), o.holdTokens(d, tokens, live), o.holdTokens(d, tokens, spent)); err != nil {
		return err
	}
	key := func(i int) string { return d.id(spent[i]) }
	err = errors.Join(tokens.DeleteAccessTokenSession(d.ctx, key(0)), tokens.InvalidateAuthorizeCodeSession(d.ctx, key(1)),
		tokens.RotateRefreshToken(d.ctx, key(2), key(2)))
	if err != nil {
		return fmt.Errorf("using tokens: %w", err)
	}
	for i, goes := range append(spent, "none") {
		if err := d.save(label(i), "record", 100+i, most); err != nil {
			return err
		}
		if err := d.have(append(live, "blocked"), []string{goes}); err != nil {
			return fmt.Errorf("of %d more than there may be: %w", i+1, err)
		}
	}
	return nil
}

// holdTokens has one client hold an access token, the next one a code and the next one a refresh token.
func (o Options) holdTokens(d *documents, tokens oauth2.CoreStorage, paths []string) error {
	for i, kind := range []grantKind{accessTokens(tokens), codes(tokens), refreshTokens(tokens)} {
		id := d.id(paths[i])
		request := o.documentRequest(id)
		request.ID = id
		if err := kind.create(d.ctx, id, request); err != nil {
			return fmt.Errorf("storing a grant: %w", err)
		}
	}
	return nil
}

// documentRequest is one of a client that no storage has.
func (o Options) documentRequest(id string) *fosite.Request {
	request := o.request(sample("first"))
	request.Client = &fosite.DefaultClient{ID: id}
	return request
}

// documentFull: where nothing can go a new record is not kept.
func (o Options) documentFull(d *documents) error {
	tokens, ok := d.s.(oauth2.AccessTokenStorage)
	if !ok {
		return notImplemented[oauth2.AccessTokenStorage]()
	}
	if err := errors.Join(d.saveAll("token", "blocked"), d.block("blocked", true)); err != nil {
		return err
	}
	if err := tokens.CreateAccessTokenSession(d.ctx, newSignature(), o.documentRequest(d.id("token"))); err != nil {
		return fmt.Errorf("CreateAccessTokenSession: %w", err)
	}
	for range 2 {
		kept, err := d.kept.SaveDocument(d.ctx, d.id("new"), []byte("record"), usedAt(9), 2)
		if err != nil || kept {
			return fmt.Errorf("SaveDocument where none can go: it returned %t, %w", kept, err)
		}
	}
	err := errors.Join(d.have([]string{"token", "blocked"}, []string{"new"}), d.save("token", "replaced", 10, 2), d.holds("token", "replaced", false))
	if err != nil {
		return err
	}
	return errors.Join(d.delete("token"), d.save("new", "record", 11, 2), d.have([]string{"blocked", "new"}, []string{"token"}))
}

// raceDocuments: callers save the same records at once, of which half have room.
func raceDocuments(d *documents) error {
	const records = callers / 2
	most, err := d.room(records / 2)
	if err != nil {
		return err
	}
	for i := range records {
		d.id(label(i))
	}
	errs := atOnce(callers, func(i int) error {
		_, err := d.kept.SaveDocument(d.ctx, d.host+"/"+label(i%records), []byte("record"), usedAt(i), most)
		return err
	})
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("SaveDocument, %d at once: %w", callers, err)
	}
	// The number that the storage goes by is right again afterwards.
	if err := d.save("last", "record", 2*callers, most); err != nil {
		return err
	}
	if now, err := d.room(0); err != nil || now != most {
		return fmt.Errorf("SaveDocument, %d at once: there are %d records, and have to be %d, %w", callers, now, most, err)
	}
	return nil
}

// contextDocuments: with a context that is done nothing is done.
func contextDocuments(d *documents) error {
	if err := d.saveAll("a"); err != nil {
		return err
	}
	return ended(d.ctx, func(over context.Context) error {
		_, _, find := d.kept.FindDocument(over, d.id("a"))
		_, save := d.kept.SaveDocument(over, d.id("b"), []byte("record"), usedAt(1), manyDocuments)
		touch := d.kept.TouchDocument(over, d.id("a"), usedAt(5))
		block := d.kept.BlockDocument(over, d.id("a"), true)
		remove := d.kept.DeleteDocument(over, d.id("a"))
		list := d.kept.ListDocuments(over, "", 1, func(string, []byte, time.Time, bool) {})
		for method, err := range map[string]error{"FindDocument": find, "SaveDocument": save, "TouchDocument": touch,
			"BlockDocument": block, "DeleteDocument": remove, "ListDocuments": list} {
			if err := expectEnd(method, over, err); err != nil {
				return err
			}
		}
		return errors.Join(d.holds("a", "record of a", false), d.holds("b", "", false), d.used("a", 0))
	})
}
