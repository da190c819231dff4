package storagetest

import (
	"fmt"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const saysDocumentClient = "A session comes back with the identifier of its client although the storage does not know the client, " +
	"where that is an https URL: the client's document is not in the storage."

// documentClientRows are about sessions of clients that are in no storage, since their identifiers are the URLs of documents.
func documentClientRows(o Options) []Row {
	const why = "A client whose identifier is the URL of its document signs in, and none of its tokens works."
	return group("", "create/read_back", []Row{
		{Name: "document_client/access_token", Needs: "oauth2.AccessTokenStorage", Check: needing(o.documentAccess), Says: saysDocumentClient, Why: why},
		{Name: "document_client/code", Needs: "oauth2.AuthorizeCodeStorage", Check: needing(o.documentCode), Says: saysDocumentClient, Why: why},
		{Name: "document_client/refresh_token", Needs: "oauth2.TokenRevocationStorage", Check: needing(o.documentRefresh), Says: saysDocumentClient, Why: why},
		{Name: "document_client/pushed_request", Needs: "fosite.PARStorage", Check: needing(o.documentPushed), Says: saysDocumentClient, Why: why},
		{Name: "document_client/revoke", Needs: "dcr.GrantRevoker and oauth2.AccessTokenStorage", Check: needing(o.documentRevoke), Says: saysRevoked,
			Why: "An operator can't end what was granted to a client whose identifier is the URL of its document."},
	})
}

func newURL() string { return "https://client.example/" + newID() }

// ofDocument checks that a session came back with its client.
func ofDocument(what string, got fosite.Requester, err error, id string) error {
	switch {
	case err != nil:
		return fmt.Errorf("%s of a client that is in no storage: %w", what, err)
	case got == nil || got.GetClient() == nil || got.GetClient().GetID() != id:
		return fmt.Errorf("%s of a client that is in no storage: the client of the request is not %q", what, id)
	}
	return nil
}

func (o Options) documentAccess(b *bench, tokens oauth2.AccessTokenStorage) error {
	id, key := newURL(), newSignature()
	if err := tokens.CreateAccessTokenSession(b.ctx, key, o.documentRequest(id)); err != nil {
		return fmt.Errorf("CreateAccessTokenSession: %w", err)
	}
	got, err := tokens.GetAccessTokenSession(b.ctx, key, o.NewSession())
	return ofDocument("GetAccessTokenSession", got, err, id)
}

func (o Options) documentCode(b *bench, kept oauth2.AuthorizeCodeStorage) error {
	id, key := newURL(), newSignature()
	if err := kept.CreateAuthorizeCodeSession(b.ctx, key, o.documentRequest(id)); err != nil {
		return fmt.Errorf("CreateAuthorizeCodeSession: %w", err)
	}
	got, err := kept.GetAuthorizeCodeSession(b.ctx, key, o.NewSession())
	return ofDocument("GetAuthorizeCodeSession", got, err, id)
}

// documentRefresh: a refresh token is rotated, and the grant is revoked.
func (o Options) documentRefresh(b *bench, tokens oauth2.TokenRevocationStorage) error {
	id, keys := newURL(), [2]string{newSignature(), newSignature()}
	request := o.documentRequest(id)
	for i, key := range keys {
		if err := tokens.CreateRefreshTokenSession(b.ctx, key, newSignature(), request); err != nil {
			return fmt.Errorf("CreateRefreshTokenSession: %w", err)
		}
		got, err := tokens.GetRefreshTokenSession(b.ctx, key, o.NewSession())
		if err := ofDocument("GetRefreshTokenSession", got, err, id); err != nil {
			return err
		}
		if i > 0 {
			break
		}
		if err := tokens.RotateRefreshToken(b.ctx, request.ID, key); err != nil {
			return fmt.Errorf("RotateRefreshToken: %w", err)
		}
		if got, err = tokens.GetRefreshTokenSession(b.ctx, key, o.NewSession()); got == nil || got.GetClient() == nil || got.GetClient().GetID() != id {
			return fmt.Errorf("GetRefreshTokenSession of a used one: the client of the request is not %q (%w)", id, err)
		}
	}
	if err := tokens.RevokeRefreshToken(b.ctx, request.ID); err != nil {
		return fmt.Errorf("RevokeRefreshToken: %w", err)
	}
	if _, err := tokens.GetRefreshTokenSession(b.ctx, keys[1], o.NewSession()); !dead(err) {
		return expect("GetRefreshTokenSession after RevokeRefreshToken", err, fosite.ErrInactiveToken)
	}
	return nil
}

func (o Options) documentPushed(b *bench, kept fosite.PARStorage) error {
	id, key := newURL(), newSignature()
	if err := pushedRequests(kept).create(b.ctx, key, o.documentRequest(id)); err != nil {
		return fmt.Errorf("CreatePARSession: %w", err)
	}
	got, err := kept.GetPARSession(b.ctx, key)
	return ofDocument("GetPARSession", got, err, id)
}

func (o Options) documentRevoke(b *bench, grants dcr.GrantRevoker) error {
	tokens, ok := b.s.(oauth2.AccessTokenStorage)
	if !ok {
		return notImplemented[oauth2.AccessTokenStorage]()
	}
	id, keys := newURL(), [2]string{newSignature(), newSignature()}
	create := func(key string) error {
		if err := tokens.CreateAccessTokenSession(b.ctx, key, o.documentRequest(id)); err != nil {
			return fmt.Errorf("CreateAccessTokenSession: %w", err)
		}
		return nil
	}
	if err := create(keys[0]); err != nil {
		return err
	}
	if err := b.revoke(grants, id); err != nil {
		return err
	}
	if _, err := tokens.GetAccessTokenSession(b.ctx, keys[0], o.NewSession()); !dead(err) {
		return expect("GetAccessTokenSession after RevokeClientGrants", err, fosite.ErrNotFound)
	}
	if err := create(keys[1]); err != nil {
		return err
	}
	got, err := tokens.GetAccessTokenSession(b.ctx, keys[1], o.NewSession())
	return ofDocument("after RevokeClientGrants, GetAccessTokenSession of a new token", got, err, id)
}
