package storagetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

var createRows = []Row{
	{Name: "create/read_back", Check: createReadBack,
		Why: "A client gets another registration than it was answered: a redirect URI, a key or an expiry is lost."},
	{Name: "create/sparse", Check: createSparse,
		Why: "A client that registered no response types gets some, or a time that means never becomes one that is long past."},
	{Name: "create/exists", Check: createExists,
		Why: "A registration takes over the identifier of another client, with its users and its tokens."},
	{Name: "create/copied_in", Check: createCopiedIn,
		Why: "What the server does to its own copy afterwards changes what is registered."},
}

func createReadBack(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	return holds(ctx, s, c)
}

func createSparse(ctx context.Context, s Storage) error {
	now := time.Now().UTC().Truncate(time.Second)
	c := &dcr.Client{ID: newID(), Version: 1, CreatedAt: now, UpdatedAt: now}
	c.Metadata.GrantTypes, c.Metadata.ResponseTypes = []string{"client_credentials"}, []string{}
	if _, err := created(ctx, s, c); err != nil {
		return err
	}
	return holds(ctx, s, c)
}

func createExists(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	if err := expect("CreateClient with an identifier that is taken", s.CreateClient(ctx, successor(c, "second")), dcr.ErrClientExists); err != nil {
		return err
	}
	return holds(ctx, s, c)
}

func createCopiedIn(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	kept := detached(c)
	spoil(c)
	return holds(ctx, s, kept)
}

var readRows = []Row{
	{Name: "read/unknown", Check: readUnknown,
		Why: "A management request for a client that does not exist is answered as a failure of the server, or as if there were one."},
	{Name: "read/exact_identifier", Check: readExactIdentifier,
		Why: "One client is taken for another whose identifier differs in case or by a space only."},
	{Name: "read/copied_out", Check: readCopiedOut,
		Why: "What one request does to its copy of a client changes what is registered, and what other requests see."},
	{Name: "read/get_client", Check: readGetClient,
		Why: "fosite does not see what was registered: the registered client can't sign in, or is not treated as a registered one."},
	{Name: "read/get_client_copied_out", Check: readGetClientCopiedOut,
		Why: "What one request does to its copy of a client changes what is registered, and what other requests see."},
	{Name: "read/get_client_unknown", Check: readGetClientUnknown,
		Why: "A client that does not exist is answered as a failure of the server, and the other way round."},
}

func readUnknown(ctx context.Context, s Storage) error {
	for _, id := range []string{newID(), "", "https://client.example/" + newID(), "'; --"} {
		c, err := s.GetDynamicClient(ctx, id)
		if err := expect(fmt.Sprintf("GetDynamicClient of the unknown identifier %q", id), err, fosite.ErrNotFound); err != nil {
			return err
		}
		if c != nil {
			return fmt.Errorf("GetDynamicClient of the unknown identifier %q returned a record with the error", id)
		}
	}
	return nil
}

func readExactIdentifier(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	for _, id := range []string{strings.ToUpper(c.ID), strings.ToLower(c.ID), c.ID + " ", " " + c.ID, c.ID[:len(c.ID)-1], c.ID[:1] + "%"} {
		_, err := s.GetDynamicClient(ctx, id)
		if err := expect(fmt.Sprintf("GetDynamicClient of %q, where there is only %q", id, c.ID), err, fosite.ErrNotFound); err != nil {
			return err
		}
		_, err = s.GetClient(ctx, id)
		if err := expect(fmt.Sprintf("GetClient of %q, where there is only %q", id, c.ID), err, fosite.ErrNotFound); err != nil {
			return err
		}
	}
	return nil
}

func readCopiedOut(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	got, err := s.GetDynamicClient(ctx, c.ID)
	if err != nil {
		return fmt.Errorf("GetDynamicClient: %w", err)
	}
	kept := detached(c)
	spoil(got)
	return holds(ctx, s, kept)
}

func readGetClient(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	got, err := registered(ctx, s, c.ID)
	if err != nil {
		return err
	}
	return same("GetClient of a registered client", got, c)
}

func readGetClientCopiedOut(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	got, err := registered(ctx, s, c.ID)
	if err != nil {
		return err
	}
	kept := detached(c)
	spoil(got)
	return holds(ctx, s, kept)
}

func readGetClientUnknown(ctx context.Context, s Storage) error {
	_, err := s.GetClient(ctx, newID())
	return expect("GetClient of an unknown identifier", err, fosite.ErrNotFound)
}

var deleteRows = []Row{
	{Name: "delete/gone", Check: deleteGone,
		Why: "A client that deleted its registration can still sign users in."},
	{Name: "delete/unknown", Check: deleteUnknown,
		Why: "A deletion is confirmed that was none, or answered as a failure of the server."},
	{Name: "delete/others_stay", Check: deleteOthersStay,
		Why: "One client that goes takes others with it."},
}

func deleteGone(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	if err := holds(ctx, s, c); err != nil { // so that a cache has it
		return err
	}
	if err := s.DeleteClient(ctx, c.ID); err != nil {
		return fmt.Errorf("DeleteClient: %w", err)
	}
	return gone(ctx, s, c.ID)
}

func deleteUnknown(ctx context.Context, s Storage) error {
	if err := expect("DeleteClient of an unknown identifier", s.DeleteClient(ctx, newID()), fosite.ErrNotFound); err != nil {
		return err
	}
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	if err := s.DeleteClient(ctx, c.ID); err != nil {
		return fmt.Errorf("DeleteClient: %w", err)
	}
	return expect("DeleteClient of a deleted client", s.DeleteClient(ctx, c.ID), fosite.ErrNotFound)
}

func deleteOthersStay(ctx context.Context, s Storage) error {
	c, err := created(ctx, s, sample("first"))
	if err != nil {
		return err
	}
	other, err := created(ctx, s, sample("second"))
	if err != nil {
		return err
	}
	if err := s.DeleteClient(ctx, c.ID); err != nil {
		return fmt.Errorf("DeleteClient: %w", err)
	}
	return holds(ctx, s, other)
}

// created stores a record.
func created(ctx context.Context, s Storage, c *dcr.Client) (*dcr.Client, error) {
	if err := s.CreateClient(ctx, c); err != nil {
		return nil, fmt.Errorf("CreateClient of a new client: %w", err)
	}
	return c, nil
}

// holds checks that the storage has the record, as it is, for both who read it.
func holds(ctx context.Context, s Storage, want *dcr.Client) error {
	got, err := s.GetDynamicClient(ctx, want.ID)
	if err != nil {
		return fmt.Errorf("GetDynamicClient: %w", err)
	}
	if err := same("GetDynamicClient", got, want); err != nil {
		return err
	}
	got, err = registered(ctx, s, want.ID)
	if err != nil {
		return err
	}
	return same("GetClient", got, want)
}

// gone checks that the storage knows no client under the identifier.
func gone(ctx context.Context, s Storage, id string) error {
	_, err := s.GetDynamicClient(ctx, id)
	if err := expect("GetDynamicClient of a client that is gone", err, fosite.ErrNotFound); err != nil {
		return err
	}
	_, err = s.GetClient(ctx, id)
	return expect("GetClient of a client that is gone", err, fosite.ErrNotFound)
}

// registered returns what GetClient has, which must be a record.
func registered(ctx context.Context, s Storage, id string) (*dcr.Client, error) {
	got, err := s.GetClient(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("GetClient of a registered client: %w", err)
	}
	c, ok := got.(*dcr.Client)
	if !ok {
		return nil, fmt.Errorf("GetClient of a registered client returned a %T, not a *dcr.Client", got)
	}
	return c, nil
}

// expect checks that what was done ended with one error and no other.
func expect(done string, got, want error) error {
	switch {
	case errors.Is(got, want):
		return nil
	case got == nil:
		return fmt.Errorf("%s: no error, instead of %q", done, want)
	}
	return fmt.Errorf("%s: the error %q, instead of %q", done, got, want)
}
