package storagetest

import (
	"bytes"

	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fosite-contrib/fosite-dcr/cimd"
)

const (
	saysDocument        = "A record comes back as it was saved, under its identifier only. Of an unknown identifier there is none, and it is not blocked."
	saysDocumentReplace = "SaveDocument keeps a record in place of an earlier one, with the time of its last use."
	saysDocumentTouch   = "TouchDocument notes a use, only ever forward; where no record is kept nothing happens."
	saysDocumentDelete  = "DeleteDocument removes a record. Removing nothing is no error."
	saysDocumentBlock   = "BlockDocument blocks an identifier, whether a record is kept or not, or ends that. Saving and deleting leave it as it is."
	saysDocumentList    = "ListDocuments has up to limit identifiers, byte by byte in their order, that follow after; those too that are blocked and have no record."
	saysDocumentCopied  = "A record is copied on its way in and out."
	saysDocumentEvict   = "Where there are more than most records, the one that was not used for the longest goes."
	saysDocumentSpared  = "No record goes whose identifier is blocked, or whose client holds a live code, access token or refresh token."
	saysDocumentFull    = "Where none can go, SaveDocument does not keep a new record and returns false; an earlier one is replaced in any case."
)

// documentRows are about cimd.Storage.
func documentRows(o Options) []Row {
	return based("cimd.Storage", "create/plain", []Row{
		{Name: "documents/read_back", Check: onDocuments(documentReadBack), Says: saysDocument,
			Why: "After a restart a client whose document can't be had just then is unknown, and its refresh tokens are lost."},
		{Name: "documents/replace", Check: onDocuments(documentReplace), Says: saysDocumentReplace,
			Why: "A client goes on with redirect URIs and keys that its document has no more."},
		{Name: "documents/touch", Check: onDocuments(documentTouch), Says: saysDocumentTouch,
			Why: "The record of a client that is used goes for one that nobody uses."},
		{Name: "documents/delete", Check: onDocuments(documentDelete), Says: saysDocumentDelete,
			Why: "A client whose document was withdrawn goes on."},
		{Name: "documents/block", Check: onDocuments(documentBlock), Says: saysDocumentBlock,
			Why: "A client that an operator has blocked comes back by itself."},
		{Name: "documents/copied", Check: onDocuments(documentCopied), Says: saysDocumentCopied,
			Why: "What one request does to a record changes what others read."},
		{Name: "documents/identifiers", Check: onDocuments(documentIdentifiers), Says: saysDocument + " Identifiers have up to 2,000 characters.",
			Why: "A client gets the redirect URIs and keys of another one."},
		{Name: "documents/list", Check: onDocuments(documentList), Says: saysDocumentList,
			Why: "An operator does not see every client, and can't block it."},
		{Name: "documents/evict", Check: onDocuments(documentEvict), Says: saysDocumentEvict,
			Why: "Records that nobody needs fill the storage, or take the place of clients in use."},
		{Name: "documents/spared", Check: onDocuments(o.documentSpared), Says: saysDocumentSpared, Needs: "cimd.Storage and oauth2.CoreStorage",
			Why: "A client that has tokens is unknown after a restart, or one that was blocked is not blocked any more."},
		{Name: "documents/full", Check: o.bounded(func(b *bench) error { return onDocuments(o.documentFull)(b.ctx, b.s) }), Says: saysDocumentFull, Needs: "cimd.Storage, oauth2.AccessTokenStorage and Options.Bounded",
			Why: "The storage grows without a bound, or a client goes on with what its document has no more."},
		{Name: "context/documents", Check: onDocuments(contextDocuments), Says: saysContext, Why: whyContext},
		{Name: "race/documents", Check: repeated(onDocuments(raceDocuments)), Says: saysDocumentEvict,
			Why: "Requests at the same moment fill the storage beyond its bound, or empty it."},
	})
}

// documents is what these rows work with. What they have saved is removed in the end.
type documents struct {
	*bench
	kept cimd.Storage
	host string
	ids  []string
}

func onDocuments(do func(d *documents) error) check {
	return needing(func(b *bench, kept cimd.Storage) (err error) {
		d := &documents{bench: b, kept: kept, host: "https://" + strings.ToLower(newID()) + ".example"}
		defer func() {
			for _, id := range d.ids {
				err = errors.Join(err, kept.BlockDocument(b.ctx, id, false), kept.DeleteDocument(b.ctx, id))
			}
		}()
		return do(d)
	})
}

// manyDocuments is a bound that nothing reaches.
const manyDocuments = 1 << 20

// usedAt is a time before all that a storage in use has noted.
func usedAt(hours int) time.Time {
	return time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(hours) * time.Hour)
}

// id is an identifier of the row's own.
func (d *documents) id(path string) string {
	id := d.host + "/" + path
	if !slices.Contains(d.ids, id) {
		d.ids = append(d.ids, id)
	}
	return id
}

// save keeps a record, where there may be so many.
func (d *documents) save(path, record string, hours, most int) error {
	kept, err := d.kept.SaveDocument(d.ctx, d.id(path), []byte(record), usedAt(hours), most)
	if err == nil && !kept {
		err = errors.New("it was not kept")
	}
	if err != nil {
		return fmt.Errorf("SaveDocument of %q: %w", path, err)
	}
	return nil
}

// saveAll keeps a record under each path, used one after the other.
func (d *documents) saveAll(paths ...string) error {
	for i, path := range paths {
		if err := d.save(path, "record of "+path, i, manyDocuments); err != nil {
			return err
		}
	}
	return nil
}

func (d *documents) block(path string, blocked bool) error {
	if err := d.kept.BlockDocument(d.ctx, d.id(path), blocked); err != nil {
		return fmt.Errorf("BlockDocument of %q: %w", path, err)
	}
	return nil
}

func (d *documents) delete(path string) error {
	if err := d.kept.DeleteDocument(d.ctx, d.id(path)); err != nil {
		return fmt.Errorf("DeleteDocument of %q: %w", path, err)
	}
	return nil
}

// holds checks what is kept under an identifier; "" stands for nothing.
func (d *documents) holds(path, record string, blocked bool) error {
	got, isBlocked, err := d.kept.FindDocument(d.ctx, d.host+"/"+path)
	switch {
	case err != nil:
		return fmt.Errorf("FindDocument of %q: %w", path, err)
	case string(got) != record || (got == nil) != (record == ""):
		return fmt.Errorf("FindDocument of %q: the record is %q (nil: %t), and has to be %q", path, got, got == nil, record)
	case isBlocked != blocked:
		return fmt.Errorf("FindDocument of %q: blocked is %t, and has to be %t", path, isBlocked, blocked)
	}
	return nil
}

// have checks which of several records are kept.
func (d *documents) have(kept, gone []string) error {
	for _, path := range kept {
		if got, _, err := d.kept.FindDocument(d.ctx, d.host+"/"+path); err != nil || got == nil {
			return fmt.Errorf("FindDocument of %q, which has to be kept: %q, %w", path, got, err)
		}
	}
	for _, path := range gone {
		if got, _, err := d.kept.FindDocument(d.ctx, d.host+"/"+path); err != nil || got != nil {
			return fmt.Errorf("FindDocument of %q, which has to be gone: %q, %w", path, got, err)
		}
	}
	return nil
}

// keptDocument is what a list says of an identifier.
type keptDocument struct {
	id, record string
	used       time.Time
	blocked    bool
}

// list returns all that the storage has after an identifier, by pages.
func (d *documents) list(after string, limit int) (all []keptDocument, err error) {
	for {
		var page []keptDocument
		err := d.kept.ListDocuments(d.ctx, after, limit, func(id string, record []byte, used time.Time, blocked bool) {
			page = append(page, keptDocument{id, string(record), used, blocked})
			clear(record)
		})
		if err != nil {
			return nil, fmt.Errorf("ListDocuments: %w", err)
		}
		if len(page) > limit {
			return nil, fmt.Errorf("ListDocuments: it has %d, and the limit is %d", len(page), limit)
		}
		for _, l := range page {
			if l.id <= after {
				return nil, fmt.Errorf("ListDocuments: %q does not follow %q", l.id, after)
			}
			after = l.id
		}
		if all = append(all, page...); len(page) == 0 {
			return all, nil
		}
	}
}

// entry is what the list says of an identifier of the row's own, which it has once.
func (d *documents) entry(path string) (found keptDocument, err error) {
	all, err := d.list("", 100)
	if err != nil {
		return found, err
	}
	number := 0
	for _, l := range all {
		if l.id == d.id(path) {
			found, number = l, number+1
		}
	}
	if number != 1 {
		return found, fmt.Errorf("ListDocuments has %q %d times", path, number)
	}
	return found, nil
}

// used checks the time of the last use, to the second.
func (d *documents) used(path string, hours int) error {
	l, err := d.entry(path)
	if err == nil && !l.used.Truncate(time.Second).Equal(usedAt(hours)) {
		err = fmt.Errorf("ListDocuments says that %q was used at %v, and has to say %v", path, l.used, usedAt(hours))
	}
	return err
}

// room is a bound that leaves room for so many records of the row, beside what the storage has already.
func (d *documents) room(records int) (int, error) {
	all, err := d.list("", 100)
	for _, l := range all {
		if l.record != "" {
			records++
		}
	}
	return records, err
}

func documentReadBack(d *documents) error {
	if err := d.holds("a", "", false); err != nil {
		return err
	}
	record := "{\"é\":\"日本 🎈\"}\x00\xff\r\n" + strings.Repeat("x", 64<<10)
	if err := d.save("a", record, 1, manyDocuments); err != nil {
		return err
	}
	if err := d.gone(d.id("a")); err != nil {
		return fmt.Errorf("a document is no registered client: %w", err)
	}
	return errors.Join(d.holds("a", record, false), d.holds("b", "", false), d.used("a", 1))
}

func documentReplace(d *documents) error {
	for i, record := range []string{"first", "second"} {
		if err := d.save("a", record, i, manyDocuments); err != nil {
			return err
		}
	}
	return errors.Join(d.holds("a", "second", false), d.used("a", 1))
}

func documentTouch(d *documents) error {
	touch := func(path string, hours int) error {
		if err := d.kept.TouchDocument(d.ctx, d.id(path), usedAt(hours)); err != nil {
			return fmt.Errorf("TouchDocument of %q: %w", path, err)
		}
		return nil
	}
	if err := d.save("a", "record", 1, manyDocuments); err != nil {
		return err
	}
	if err := errors.Join(touch("a", 3), d.used("a", 3), touch("a", 2)); err != nil {
		return err
	}
	return errors.Join(d.used("a", 3), d.holds("a", "record", false), touch("none", 1), d.holds("none", "", false))
}

func documentDelete(d *documents) error {
	if err := d.saveAll("a", "b"); err != nil {
		return err
	}
	for range 2 {
		if err := errors.Join(d.delete("a"), d.holds("a", "", false)); err != nil {
			return err
		}
	}
	return errors.Join(d.holds("b", "record of b", false), d.save("a", "again", 1, manyDocuments), d.holds("a", "again", false))
}

func documentBlock(d *documents) error {
	steps := []func() error{
		func() error { return d.block("a", true) },
		func() error { return d.holds("a", "", true) },
		func() error { return d.save("a", "record", 1, manyDocuments) },
		func() error { return d.holds("a", "record", true) },
		func() error { return d.save("a", "second", 2, manyDocuments) },
		func() error { return d.holds("a", "second", true) },
		func() error { return d.delete("a") },
		func() error { return d.holds("a", "", true) },
		func() error { return d.block("a", false) },
		func() error { return d.holds("a", "", false) },
		func() error { return d.save("b", "record", 1, manyDocuments) },
		func() error { return d.block("b", true) },
		func() error { return d.block("b", true) },
		func() error { return d.holds("b", "record", true) },
		func() error { return d.block("b", false) },
		func() error { return d.holds("b", "record", false) },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}

func documentCopied(d *documents) error {
	record := []byte("record")
	if _, err := d.kept.SaveDocument(d.ctx, d.id("a"), record, usedAt(1), manyDocuments); err != nil {
		return fmt.Errorf("SaveDocument: %w", err)
	}
	clear(record)
	got, _, err := d.kept.FindDocument(d.ctx, d.id("a"))
	if err != nil || !bytes.Equal(got, []byte("record")) {
		return fmt.Errorf("FindDocument, after what was saved has changed: %q, %w", got, err)
	}
	clear(got)
	if _, err := d.list("", 100); err != nil { // which changes what it gets
		return err
	}
	return d.holds("a", "record", false)
}

func documentIdentifiers(d *documents) error {
	long := strings.Repeat("c", 1999-len(d.host)-1)
	paths := []string{"c", "C", "c/", "c?", "c%2F", "cé", "ce\u0301", long + "a", long + "b"}
	if err := d.saveAll(paths...); err != nil {
		return err
	}
	for _, path := range paths {
		if err := d.holds(path, "record of "+path, false); err != nil {
			return err
		}
	}
	if err := d.delete("C"); err != nil {
		return err
	}
	return d.have([]string{"c", long + "a"}, []string{"C", "cC"})
}

func documentList(d *documents) error {
	long := strings.Repeat("l", 1000)
	paths := []string{"A", "a", "a/b", long + "1", long + "2", "z"}
	for i, path := range []string{"z", long + "2", "a", "A", long + "1"} {
		if err := d.save(path, "record of "+path, i, manyDocuments); err != nil {
			return err
		}
	}
	if err := errors.Join(d.block("a/b", true), d.block("z", true)); err != nil {
		return err
	}
	for _, limit := range []int{1, 2, 100} {
		all, err := d.list(d.host, limit)
		if err != nil {
			return err
		}
		all = all[:min(len(all), len(paths))] // others may follow
		for i, path := range paths {
			want := keptDocument{id: d.host + "/" + path, record: "record of " + path, blocked: path == "a/b" || path == "z"}
			if path == "a/b" {
				want.record = ""
			}
			if i >= len(all) || all[i].id != want.id || all[i].record != want.record || all[i].blocked != want.blocked {
				return fmt.Errorf("ListDocuments with the limit %d: it has %+v, and at %d has to have %+v", limit, all, i, want)
			}
		}
	}
	return nil
}
