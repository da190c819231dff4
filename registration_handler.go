package dcr

import (
	"context"
	"errors"
	"net/http"

	"github.com/ory/fosite"
)

// RegistrationRequest is a registration that was let in and whose metadata is
// fine. Nothing of it is stored yet. A host may look at it, or refuse it, before it
// makes the response.
type RegistrationRequest struct {
	Registrant *Registrant
	Metadata   ClientMetadata

	issuer string
}

// RegistrationHandler returns the handler of the registration endpoint, for any
// router. It answers every method: POST registers, the others get 405.
func (p *Provider) RegistrationHandler() http.Handler {
	return p.registry.openTo([]string{http.MethodPost}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		ctx, done := stopWith(ctx, w)
		defer done()
		request, err := p.NewRegistrationRequest(ctx, r)
		if err != nil {
			p.WriteRegistrationError(ctx, w, err)
			return
		}
		response, err := p.NewRegistrationResponse(ctx, request)
		if err != nil {
			p.WriteRegistrationError(ctx, w, err)
			return
		}
		p.WriteRegistrationResponse(ctx, w, response)
	}))
}

// NewRegistrationRequest reads a registration (RFC 7591, section 3.1). It writes
// nothing, so a refusal needs no undoing. The error is one for
// WriteRegistrationError.
func (p *Provider) NewRegistrationRequest(ctx context.Context, r *http.Request) (*RegistrationRequest, error) {
	reg := p.registry
	if err := methodAllowed(r, http.MethodPost); err != nil {
		return nil, err
	}
	if !isJSON(r) {
		return nil, ErrUnsupportedMediaType
	}
	registrant, err := reg.authorize(ctx, r)
	if err != nil {
		return nil, err
	}
	body, err := readBody(ctx, r, reg.limits.Body)
	if err != nil {
		return nil, err
	}
	metadata, err := reg.resolve(ctx, body, entrance{registrant: registrant})
	if err != nil {
		return nil, err
	}
	issuer, err := reg.issuer(ctx)
	if err != nil {
		return nil, err
	}
	return &RegistrationRequest{Registrant: registrant, Metadata: metadata, issuer: issuer}, nil
}

// NewRegistrationResponse registers the client. First a use of the initial access token
// is counted, where there is one, which is given back if the client can't be created. The
// write of its record is the
// commit point: before it nothing is stored, and if the entry of the registration
// access token can't be stored after it, the record goes again. A crash in between
// leaves a client that nobody can use, since nobody was told its secret or its
// token.
//
// The record comes first because entries may have a foreign key on clients.
func (p *Provider) NewRegistrationResponse(ctx context.Context, request *RegistrationRequest) (*ClientInformation, error) {
	reg := p.registry
	made, err := reg.makeCredentials(ctx, request.Metadata.TokenEndpointAuthMethod)
	if err != nil {
		return nil, err
	}
	client := newClient(reg, request, made)
	if err := reg.consume(ctx, request.Registrant); err != nil {
		return nil, err
	}
	err = reg.create(ctx, client)
	for tries := 0; errors.Is(err, ErrClientExists) && tries < 3; tries++ {
		client.ID = newClientID() // T06: never the identifier of another client
		err = reg.create(ctx, client)
	}
	if err != nil {
		reg.giveBack(ctx, request.Registrant)
		return nil, failure(err)
	}
	reg.cfg.Events.Record(ctx, Event{Kind: EventRegistered, ClientID: client.ID, After: client})
	return reg.information(client, made.secret, made.token, reg.registrationEndpoint(ctx)), nil
}

// WriteRegistrationResponse sends the client information: 201, never to be cached
// (RFC 7591, section 3.2.1).
func (p *Provider) WriteRegistrationResponse(ctx context.Context, w http.ResponseWriter, response *ClientInformation) {
	body, err := response.MarshalJSON()
	if err != nil {
		p.WriteRegistrationError(ctx, w, err)
		return
	}
	writeJSON(w, http.StatusCreated, body)
}

// WriteRegistrationError sends an error (RFC 7591, section 3.2.2). An error of
// neither this package nor fosite is a server error, of which nothing is said.
func (p *Provider) WriteRegistrationError(ctx context.Context, w http.ResponseWriter, err error) {
	p.registry.refused(ctx, "", err)
	writeError(w, err, http.MethodPost)
}

// makeCredentials makes what the server chooses for a new client.
func (r *registry) makeCredentials(ctx context.Context, method string) (made credentials, err error) {
	made.id = newClientID()
	if usesSecret(method) {
		if made.secret, made.secretHash, err = r.issueSecret(ctx); err != nil {
			return made, err
		}
	}
	if r.cfg.Management.Off {
		return made, nil
	}
	made.token, made.record, err = r.issueToken(ctx)
	return made, err
}

// create writes the record and then the token's entry; both or none.
func (r *registry) create(ctx context.Context, client *Client) error {
	err := r.inTransaction(ctx, func(ctx context.Context) error {
		if err := r.clients.CreateClient(ctx, client); err != nil || r.cfg.Management.Off {
			return err
		}
		return r.storeEntry(ctx, client, client.RegistrationToken)
	})
	if err != nil && !errors.Is(err, ErrClientExists) && r.transactions == nil {
		r.undoCreate(ctx, client)
	}
	return err
}

// undoCreate takes back what may have been written, by a storage that failed in the
// middle too. Should that fail, it stays as a client that nobody can use.
func (r *registry) undoCreate(ctx context.Context, client *Client) {
	ctx, cancel := cleanupContext(ctx)
	defer cancel()
	if err := r.clients.DeleteClient(ctx, client.ID); err != nil && !errors.Is(err, fosite.ErrNotFound) {
		r.leftover(ctx, client.ID, err)
		return
	}
	r.clear(ctx, client.ID, client.RegistrationToken)
}
