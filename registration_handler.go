package dcr

import (
	"context"
	"errors"
	"net/http"
)

// RegistrationRequest is a registration that was let in and whose metadata is
// fine. Nothing of it is stored yet. A host may look at it, or refuse it, before it
// makes the response.
type RegistrationRequest struct {
	Registrant *Registrant
	Metadata   ClientMetadata

	issuer string
	visit  *visit
}

// RegistrationHandler returns the handler of the registration endpoint, for any
// router. It answers every method: POST registers, the others get 405.
func (p *Provider) RegistrationHandler() http.Handler {
	return p.registry.openTo([]string{http.MethodPost}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, done := stopWith(p.registry.visited(r.Context(), r), w)
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
func (p *Provider) NewRegistrationRequest(ctx context.Context, r *http.Request) (_ *RegistrationRequest, err error) {
	ctx = p.registry.visited(ctx, r)
	ctx, span := startSpan(ctx, "dcr.NewRegistrationRequest")
	defer endSpan(span, &err)
	request, err := p.registry.readRegistration(ctx, r)
	if err != nil {
		return nil, refuse(ctx, "", err)
	}
	return request, nil
}

func (r *registry) readRegistration(ctx context.Context, request *http.Request) (*RegistrationRequest, error) {
	if err := methodAllowed(request, http.MethodPost); err != nil {
		return nil, err
	}
	if !isJSON(request) {
		return nil, ErrUnsupportedMediaType
	}
	registrant, err := r.authorize(ctx, request)
	if err != nil {
		return nil, err
	}
	issuer, err := r.issuer(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.checkQuotas(ctx, registrant, issuer, 1); err != nil {
		return nil, err
	}
	body, err := readBody(ctx, request, r.limits.Body)
	if err != nil {
		return nil, err
	}
	metadata, err := r.resolve(ctx, body, entrance{registrant: registrant})
	if err != nil {
		return nil, err
	}
	return &RegistrationRequest{Registrant: registrant, Metadata: metadata, issuer: issuer, visit: visitOf(ctx)}, nil
}

// NewRegistrationResponse registers the client. First a use of the initial access token
// is counted, where there is one, which is given back if the client can't be created. The
// write of its record is the
// commit point: before it nothing is stored, and if the entry of the registration
// access token can't be stored after it, or a quota turns out to be passed, the record
// goes again. A crash in between leaves a client that nobody can use, since nobody was told
// its secret or its token.
//
// The record comes first because entries may have a foreign key on clients.
func (p *Provider) NewRegistrationResponse(ctx context.Context, request *RegistrationRequest) (_ *ClientInformation, err error) {
	ctx = withVisit(ctx, request.visit)
	ctx, span := startSpan(ctx, "dcr.NewRegistrationResponse")
	defer endSpan(span, &err)
	answer := p.registry.register
	if p.registry.isShared(request) {
		answer = p.registry.share
	}
	response, err := answer(ctx, request)
	if err != nil {
		return nil, refuse(ctx, "", err)
	}
	spanClient(span, response.ClientID)
	return response, nil
}

func (r *registry) register(ctx context.Context, request *RegistrationRequest) (*ClientInformation, error) {
	made, err := r.makeCredentials(ctx, request.Metadata.TokenEndpointAuthMethod)
	if err != nil {
		return nil, err
	}
	client := newClient(r, request, made)
	if err := r.consume(ctx, request.Registrant); err != nil {
		return nil, err
	}
	err = r.create(ctx, client)
	for tries := 0; errors.Is(err, ErrClientExists) && tries < createRounds; tries++ {
		client.ID = newClientID() // T06: never the identifier of another client
		err = r.create(ctx, client)
	}
	if err != nil {
		r.giveBack(ctx, request.Registrant)
		return nil, creationFailed(err)
	}
	r.tell(ctx, Event{Kind: EventRegistered, ClientID: client.ID, After: client})
	return r.information(client, made.secret, made.token, r.registrationEndpoint(ctx)), nil
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
	p.registry.refused(ctx, err)
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
