package storagetest

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ory/fosite"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const (
	saysLossless = "Every field of a record comes back as it went in; times are kept to the second at least."
	saysCopied   = "A record is copied on its way in and on its way out."
	saysExists   = "CreateClient returns dcr.ErrClientExists where the storage knows any client under the identifier, and then changes nothing."
	saysUnknown  = "GetDynamicClient returns fosite.ErrNotFound, and no record, for an identifier that is unknown."
	saysExact    = "Identifiers are compared byte by byte."
	saysDeleted  = "DeleteClient removes the record; from then on GetDynamicClient and GetClient return fosite.ErrNotFound."
	whyCopied    = "What one request does to its copy of a client changes what is registered, and what other requests see."
)

// clientRows begin with those that all others build upon.
var clientRows = append([]Row{{Name: "create/plain", Check: onClient(createPlain), Says: "CreateClient stores a new record.",
	Why: "No client can register."}}, based("", "create/plain", []Row{
	{Name: "create/read_back", Check: onClient((*bench).holds),
		Says: saysLossless + " A record that was written is seen by every read that starts afterwards.",
		Why:  "A client gets another registration than it was answered: a redirect URI, a key or an expiry is lost."},
	{Name: "create/sparse", Check: on(createSparse), Says: saysLossless,
		Why: "A client that registered no response types gets some, or a time that means never becomes one that is long past."},
	{Name: "create/1970", Check: on(createEpoch),
		Says: "A time that was never set is the zero time, and differs from the first of January 1970.",
		Why:  "A client that has expired lives for ever, or one that was used counts as never used."},
	{Name: "create/exists", Check: onClient(createExists), Says: saysExists,
		Why: "A registration takes over the identifier of another client, with its users and its tokens."},
	{Name: "create/copied_in", Check: onClient(createCopiedIn), Says: saysCopied,
		Why: "What the server does to its own copy afterwards changes what is registered."},
	{Name: "read/unknown", Check: on(readUnknown), Says: saysUnknown,
		Why: "A management request for a client that does not exist is answered as a failure of the server, or as if there were one."},
	{Name: "read/exact_identifier", Check: onClient(readExactIdentifier), Says: saysExact,
		Why: "One client is taken for another whose identifier differs in case or by a space only."},
	{Name: "read/copied_out", Check: onClient(readCopiedOut), Says: saysCopied, Why: whyCopied},
	{Name: "read/get_client", Check: onClient(readGetClient), Says: "GetClient returns a registered client as a *dcr.Client.",
		Why: "fosite does not see what was registered: the registered client can't sign in, or is not treated as a registered one."},
	{Name: "read/get_client_copied_out", Check: onClient(readGetClientCopiedOut), Says: "GetClient returns a copy.", Why: whyCopied},
	{Name: "read/get_client_unknown", Check: on(readGetClientUnknown), Says: "GetClient returns fosite.ErrNotFound for what it does not know.",
		Why: "A client that does not exist is answered as a failure of the server, and the other way round."},
	{Name: "delete/gone", Check: onClient(deleteGone), Says: saysDeleted,
		Why: "A client that deleted its registration can still sign users in."},
	{Name: "delete/unknown", Check: onClient(deleteUnknown), Says: "DeleteClient returns fosite.ErrNotFound where GetDynamicClient would.",
		Why: "A deletion is confirmed that was none, or answered as a failure of the server."},
	{Name: "delete/others_stay", Check: onTwo(deleteOthersStay), Says: "DeleteClient removes the record of one client.",
		Why: "One client that goes takes others with it."},
})...)

// createPlain does nothing but what comes before it.
func createPlain(*bench, *dcr.Client) error { return nil }

func createSparse(b *bench) error {
	now := time.Now().UTC().Truncate(time.Second)
	c := &dcr.Client{ID: newID(), Version: 1, CreatedAt: now, UpdatedAt: now}
	c.Metadata.GrantTypes, c.Metadata.ResponseTypes = []string{"client_credentials"}, []string{}
	if _, err := b.add(c); err != nil {
		return err
	}
	return b.holds(c)
}

func createEpoch(b *bench) error {
	c := sample("first")
	c.LastUsedAt, c.KeepUntil, c.UnusedUntil, c.ExpiresAt, c.SecretExpiresAt = epoch, epoch, epoch, epoch, epoch
	c.RegistrationToken.ExpiresAt = epoch
	if _, err := b.add(c); err != nil {
		return err
	}
	return b.holds(c)
}

func createExists(b *bench, c *dcr.Client) error {
	again := sample("second")
	again.ID = c.ID
	if err := expect("CreateClient with an identifier that is taken", b.s.CreateClient(b.ctx, again), dcr.ErrClientExists); err != nil {
		return err
	}
	return b.holds(c)
}

func createCopiedIn(b *bench, c *dcr.Client) error {
	kept := detached(c)
	spoil(c)
	return b.holds(kept)
}

func readUnknown(b *bench) error {
	for _, id := range []string{newID(), "", "https://client.example/" + newID(), "'; --"} {
		c, err := b.s.GetDynamicClient(b.ctx, id)
		if err := expect(fmt.Sprintf("GetDynamicClient of the unknown identifier %q", id), err, fosite.ErrNotFound); err != nil {
			return err
		}
		if c != nil {
			return fmt.Errorf("GetDynamicClient of the unknown identifier %q: a record beside the error: %s", id, shown(c))
		}
	}
	return nil
}

func readExactIdentifier(b *bench, c *dcr.Client) error {
	for _, id := range []string{strings.ToUpper(c.ID), strings.ToLower(c.ID), c.ID + " ", " " + c.ID, c.ID[:len(c.ID)-1], c.ID[:1] + "%"} {
		if err := b.gone(id); err != nil {
			return fmt.Errorf("where there is only %q: %w", c.ID, err)
		}
	}
	return nil
}

func readCopiedOut(b *bench, c *dcr.Client) error {
	got, err := b.s.GetDynamicClient(b.ctx, c.ID)
	if err != nil {
		return fmt.Errorf("GetDynamicClient: %w", err)
	}
	kept := detached(c)
	spoil(got)
	return b.holds(kept)
}

func readGetClient(b *bench, c *dcr.Client) error {
	got, err := b.registered(c.ID)
	if err != nil {
		return err
	}
	return same("GetClient", got, c)
}

func readGetClientCopiedOut(b *bench, c *dcr.Client) error {
	got, err := b.registered(c.ID)
	if err != nil {
		return err
	}
	kept := detached(c)
	spoil(got)
	return b.holds(kept)
}

func readGetClientUnknown(b *bench) error {
	_, err := b.s.GetClient(b.ctx, newID())
	return expect("GetClient of an unknown identifier", err, fosite.ErrNotFound)
}

func deleteGone(b *bench, c *dcr.Client) error {
	if err := b.holds(c); err != nil { // so that a cache has it
		return err
	}
	if err := b.delete(c.ID); err != nil {
		return err
	}
	return b.gone(c.ID)
}

func deleteUnknown(b *bench, c *dcr.Client) error {
	if err := expect("DeleteClient of an unknown identifier", b.s.DeleteClient(b.ctx, newID()), fosite.ErrNotFound); err != nil {
		return err
	}
	if err := b.delete(c.ID); err != nil {
		return err
	}
	return expect("DeleteClient of a deleted client", b.s.DeleteClient(b.ctx, c.ID), fosite.ErrNotFound)
}

func deleteOthersStay(b *bench, c, other *dcr.Client) error {
	if err := b.delete(c.ID); err != nil {
		return err
	}
	return b.holds(other)
}

const saysStatic = "A static client can be neither read nor changed nor deleted through registration, and its identifier is taken."

// staticRows are about static clients, which the operator puts there.
func staticRows(o Options) []Row {
	static := func(do func(b *bench, id string) error) check {
		return on(func(b *bench) error { return o.onStatic(b, do) })
	}
	return group("Options.AddStatic", "create/read_back", []Row{
		{Name: "static/create_exists", Check: static(staticCreate), Says: saysStatic,
			Why: "A registration replaces a static client."},
		{Name: "static/read", Check: static(staticRead), Says: saysStatic,
			Why: "A static client is taken for a registered one, and can be managed by whoever finds a token for it."},
		{Name: "static/update", Check: static(staticUpdate), Says: saysStatic,
			Why: "An update replaces a static client."},
		{Name: "static/delete", Check: static(staticDelete), Says: saysStatic,
			Why: "A deletion removes a static client."},
	})
}

// onStatic runs a check on a static client, and looks afterwards whether it is still what it
// was.
func (o Options) onStatic(b *bench, do func(b *bench, id string) error) error {
	if o.AddStatic == nil {
		return notSet("AddStatic")
	}
	c := &fosite.DefaultClient{
		ID: newID(), Secret: []byte("$2a$04$storagetest"), RedirectURIs: []string{"https://static.example/cb"},
		GrantTypes: []string{"authorization_code"}, ResponseTypes: []string{"code"}, Scopes: []string{"openid"},
	}
	if err := o.AddStatic(b.ctx, b.s, c); err != nil {
		return fmt.Errorf("the option AddStatic: %w", err)
	}
	if err := do(b, c.ID); err != nil {
		return err
	}
	got, err := b.s.GetClient(b.ctx, c.ID)
	switch {
	case err != nil:
		return fmt.Errorf("GetClient of a static client: %w", err)
	case dcr.IsDynamic(got):
		return errors.New("GetClient of a static client: it returned a *dcr.Client")
	case fmt.Sprint(got.GetRedirectURIs()) != fmt.Sprint(c.RedirectURIs) || string(got.GetHashedSecret()) != string(c.Secret):
		return fmt.Errorf("a static client has changed: its redirect URIs are %q, and have to be %q, or its secret is another",
			got.GetRedirectURIs(), c.RedirectURIs)
	}
	return nil
}

func staticCreate(b *bench, id string) error {
	c := sample("first")
	c.ID = id
	return expect("CreateClient with the identifier of a static client", b.s.CreateClient(b.ctx, c), dcr.ErrClientExists)
}

func staticRead(b *bench, id string) error {
	_, err := b.s.GetDynamicClient(b.ctx, id)
	return expect("GetDynamicClient of a static client", err, fosite.ErrNotFound)
}

func staticUpdate(b *bench, id string) error {
	for version := range int64(2) {
		c := sample("first")
		c.ID, c.Version = id, version+1
		if err := expect("UpdateClient of a static client", b.s.UpdateClient(b.ctx, c, version), fosite.ErrNotFound); err != nil {
			return err
		}
	}
	return nil
}

func staticDelete(b *bench, id string) error {
	return expect("DeleteClient of a static client", b.s.DeleteClient(b.ctx, id), fosite.ErrNotFound)
}
