package dcr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"
)

// managementMethods are those that a client configuration endpoint has. HEAD is a
// GET whose body net/http drops.
const managementMethods = "GET, HEAD, PUT, DELETE"

// updateRounds is how often an update starts over that others get ahead of.
const updateRounds = 3

// ManagementRequest is a read, an update or a deletion by the client itself: the
// token is right and, for an update, the metadata is fine. Nothing is changed yet.
type ManagementRequest struct {
	// Method is GET, HEAD, PUT or DELETE.
	Method string
	// Client is the client as it is registered now.
	Client *Client
	// Metadata is what an update registers instead.
	Metadata ClientMetadata

	token     string // as presented
	presented RegistrationTokenRecord
	issuer    string
	body      []byte
	visit     *visit
}

// String tells who asks for what, without the token.
func (m ManagementRequest) String() string {
	return "dcr.ManagementRequest(" + m.Method + " " + m.Client.String() + ")"
}

// Format prints String, whatever the verb.
func (m ManagementRequest) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }

// LogValue is String.
func (m ManagementRequest) LogValue() slog.Value { return slog.StringValue(m.String()) }

// ManagementHandler returns the handler of the client configuration endpoint (RFC
// 7592, section 2), for any router. The client identifier is the path value
// "client_id" of the request, where the router sets one with SetPathValue or as
// net/http does, and otherwise what follows the last slash of the path.
func (p *Provider) ManagementHandler() http.Handler {
	methods := []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete}
	return p.registry.openTo(methods, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, done := stopWith(p.registry.visited(r.Context(), r), w)
		defer done()
		request, err := p.NewManagementRequest(ctx, r)
		if err != nil {
			p.WriteManagementError(ctx, w, err)
			return
		}
		response, err := p.NewManagementResponse(ctx, request)
		for range updateRounds - 1 {
			if !errors.Is(err, ErrConflict) {
				break
			}
			if err = p.registry.reread(ctx, request); err != nil {
				err = refuse(withVisit(ctx, request.visit), request.Client.ID, err)
				break
			}
			response, err = p.NewManagementResponse(ctx, request)
		}
		if err != nil {
			p.WriteManagementError(ctx, w, err)
			return
		}
		p.WriteManagementResponse(ctx, w, response)
	}))
}

// NewManagementRequest reads a management request. A token that does not fit is
// refused in one way, ErrInvalidToken, whatever is wrong with it and whether the
// client exists; nothing is changed by it (RFC 7592 would have the server revoke a
// token that is presented for a client which is gone: then a stranger's URL would
// cost a client its registration). The error is one for WriteManagementError.
func (p *Provider) NewManagementRequest(ctx context.Context, r *http.Request) (_ *ManagementRequest, err error) {
	ctx = p.registry.visited(ctx, r)
	ctx, span := startSpan(ctx, "dcr.NewManagementRequest")
	defer endSpan(span, &err)
	request, err := p.registry.readManagement(ctx, r)
	if err != nil {
		return nil, refuse(ctx, asRefusal(err).clientID, err)
	}
	request.visit = visitOf(ctx)
	spanClient(span, request.Client.ID)
	return request, nil
}

func (reg *registry) readManagement(ctx context.Context, r *http.Request) (*ManagementRequest, error) {
	if err := methodAllowed(r, http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete); err != nil {
		return nil, err
	}
	token, err := BearerToken(r)
	if err != nil {
		return nil, err
	}
	if reg.cfg.Management.Off {
		return nil, ErrInvalidToken
	}
	issuer, err := reg.issuer(ctx)
	if err != nil {
		return nil, err
	}
	client, err := reg.authenticate(ctx, issuer, clientIDOf(r), token)
	if err != nil {
		return nil, err
	}
	if v := visitOf(ctx); v != nil {
		v.registrant = &client.Origin
	}
	request := &ManagementRequest{Method: r.Method, Client: client, token: token, issuer: issuer}
	request.presented = client.tokenRecord(reg.strategy.AccessTokenSignature(ctx, token))
	if err := reg.permits(r.Method); err != nil {
		return nil, refuse(ctx, client.ID, err)
	}
	if r.Method != http.MethodPut {
		return request, nil
	}
	if err := reg.limitUpdate(ctx, client); err != nil {
		return nil, refuse(ctx, client.ID, err)
	}
	if err := reg.readUpdate(ctx, r, request); err != nil {
		return nil, refuse(ctx, client.ID, err)
	}
	return request, nil
}

// permits refuses what the host forbids to a client that is known.
func (r *registry) permits(method string) error {
	forbidden := method == http.MethodPut && r.cfg.Management.ForbidUpdate ||
		method == http.MethodDelete && r.cfg.Management.ForbidDelete
	if forbidden {
		return ErrAccessDenied.WithDescription("This server does not allow clients to do this.")
	}
	return nil
}

// readUpdate reads the body of a PUT, which is judged as that of a registration.
func (r *registry) readUpdate(ctx context.Context, request *http.Request, m *ManagementRequest) (err error) {
	if !isJSON(request) {
		return ErrUnsupportedMediaType
	}
	if m.body, err = readBody(ctx, request, r.limits.Body); err != nil {
		return err
	}
	return r.resolveUpdate(ctx, m)
}

// resolveUpdate holds the body against the client as it is now.
func (r *registry) resolveUpdate(ctx context.Context, m *ManagementRequest) error {
	var said serverMembers
	metadata, err := r.resolve(ctx, m.body, entrance{
		registrant: &m.Client.Origin, previous: m.Client, server: &said,
	})
	if err != nil {
		return err
	}
	m.Metadata = metadata
	return r.agree(ctx, m.Client, said)
}

// agree: the identifier has to stand in an update and to be the client's; the
// secret may, and has to be the current one (RFC 7592, section 2.2).
func (r *registry) agree(ctx context.Context, client *Client, said serverMembers) error {
	switch {
	case said.clientID == "":
		return refuseMetadata("client_id is required in an update (RFC 7592, section 2.2)")
	case said.clientID != client.ID:
		return refuseMetadata("client_id is not the one of this client")
	case !said.hasSecret:
		return nil
	}
	if hash := client.GetHashedSecret(); len(hash) == 0 || r.hasher.Compare(ctx, hash, []byte(said.clientSecret)) != nil {
		return refuseMetadata("client_secret is not the current one, and can not be chosen by the client")
	}
	return nil
}

// ManagementResponse is the answer to a management request.
type ManagementResponse struct {
	// Information is nil after a deletion.
	Information *ClientInformation
}

// String tells whose registration was answered, and nothing secret.
func (m ManagementResponse) String() string {
	if m.Information == nil {
		return "dcr.ManagementResponse()"
	}
	return "dcr.ManagementResponse(" + m.Information.String() + ")"
}

// Format prints String, whatever the verb.
func (m ManagementResponse) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }

// LogValue is String.
func (m ManagementResponse) LogValue() slog.Value { return slog.StringValue(m.String()) }

// NewManagementResponse carries the request out.
//
// An update stores the entry of the new token, then replaces the record if its
// version is still the one that was read, which is the commit point, then removes
// the old entry. Where another request got ahead it returns ErrConflict, and nothing is
// changed: ManagementHandler looks again then, a few times. A deletion removes the record, which is the commit point and kills
// secret, tokens and grants, and then clears up. What can't be cleared up is dead
// all the same and told to the event sink.
func (p *Provider) NewManagementResponse(ctx context.Context, request *ManagementRequest) (_ *ManagementResponse, err error) {
	ctx = withVisit(ctx, request.visit)
	ctx, span := startSpan(ctx, "dcr.NewManagementResponse")
	defer endSpan(span, &err)
	spanClient(span, request.Client.ID)
	response, err := p.registry.carryOut(ctx, request)
	if err != nil {
		return nil, refuse(ctx, request.Client.ID, err)
	}
	return response, nil
}

func (r *registry) carryOut(ctx context.Context, m *ManagementRequest) (*ManagementResponse, error) {
	switch m.Method {
	case http.MethodDelete:
		return &ManagementResponse{}, r.delete(ctx, m)
	case http.MethodPut:
		return r.update(ctx, m)
	}
	return r.read(ctx, m)
}

// WriteManagementResponse sends the answer: 200 with the client information, or 204
// after a deletion. It is never to be cached.
func (p *Provider) WriteManagementResponse(ctx context.Context, w http.ResponseWriter, response *ManagementResponse) {
	if response.Information == nil {
		noStore(w.Header())
		w.WriteHeader(http.StatusNoContent)
		return
	}
	body, err := response.Information.MarshalJSON()
	if err != nil {
		p.WriteManagementError(ctx, w, err)
		return
	}
	writeJSON(w, http.StatusOK, body)
}

// WriteManagementError sends an error, as WriteRegistrationError does.
func (p *Provider) WriteManagementError(ctx context.Context, w http.ResponseWriter, err error) {
	p.registry.refused(ctx, err)
	writeError(w, err, managementMethods)
}

// read answers the registration. It writes only where the token rotates, or where
// the one before it ends because this one has arrived.
func (r *registry) read(ctx context.Context, m *ManagementRequest) (*ManagementResponse, error) {
	if r.cfg.RegistrationToken.RotateOnRead && m.Method == http.MethodGet {
		return r.change(ctx, m, func(*Client) (string, error) { return "", nil }, true)
	}
	if m.presented.Signature == m.Client.RegistrationToken.Signature && m.Client.PreviousRegistrationToken.Signature != "" {
		r.endGrace(ctx, m.Client)
	}
	return &ManagementResponse{r.information(m.Client, "", m.token, r.registrationEndpoint(ctx))}, nil
}

// endGrace lets the previous token end. Should the record have changed meanwhile,
// whoever changed it has decided.
func (r *registry) endGrace(ctx context.Context, client *Client) {
	version, previous := client.Version, client.PreviousRegistrationToken
	next := client.Clone()
	next.Version++
	next.PreviousRegistrationToken = RegistrationTokenRecord{}
	if err := r.clients.UpdateClient(ctx, next, version); err != nil {
		if !errors.Is(err, ErrConflict) && !errors.Is(err, fosite.ErrNotFound) {
			r.leftover(ctx, client.ID, err)
		}
		return
	}
	r.clear(ctx, client.ID, previous)
}

// update replaces the metadata (RFC 7592, section 2.2).
func (r *registry) update(ctx context.Context, m *ManagementRequest) (*ManagementResponse, error) {
	replace := func(next *Client) (secret string, err error) {
		next.Metadata = m.Metadata
		next.StatementIssuer = m.Metadata.statementIssuer
		next.UpdatedAt = r.now()
		next.AlwaysAskConsent, next.RequirePKCE = m.Metadata.decided.alwaysAskConsent, m.Metadata.decided.requirePKCE
		return r.settleSecret(ctx, next, m.Metadata.decided.rotateSecret)
	}
	return r.change(ctx, m, replace, !r.cfg.RegistrationToken.KeepOnUpdate)
}

// settleSecret gives a secret to a client that needs one and has none that works any
// more, and takes it from one that needs none. Any other secret stays, unless a policy
// wants a new one; the old one works on for the grace (fosite's rotated secrets).
func (r *registry) settleSecret(ctx context.Context, next *Client, rotate bool) (secret string, err error) {
	now := r.now()
	if !usesSecret(next.Metadata.TokenEndpointAuthMethod) {
		next.SecretHash, next.RotatedSecrets, next.SecretExpiresAt = nil, nil, time.Time{}
		return "", nil
	}
	works := len(next.SecretHash) > 0 && !next.past(next.SecretExpiresAt)
	if works && !rotate {
		return "", nil
	}
	next.RotatedSecrets = nil
	if grace := r.cfg.SecretGrace; works && grace > 0 {
		until := now.Add(grace)
		if end := next.SecretExpiresAt; !end.IsZero() && end.Before(until) {
			until = end
		}
		next.RotatedSecrets = []RotatedSecret{{Hash: next.SecretHash, ExpiresAt: until}}
	}
	if secret, next.SecretHash, err = r.issueSecret(ctx); err != nil {
		return "", err
	}
	next.SecretExpiresAt = r.secretExpiry(secret, now)
	return secret, nil
}

// reread takes the record as it is now, after another request got ahead, and holds the
// update against it: an update replaces everything, and the last one wins. Where the other
// has replaced the token, this one has lost, grace or not.
func (r *registry) reread(ctx context.Context, m *ManagementRequest) error {
	client, err := r.authenticate(ctx, m.issuer, m.Client.ID, m.token)
	if err != nil {
		return err
	}
	if m.presented.Signature == m.Client.RegistrationToken.Signature && m.presented.Signature != client.RegistrationToken.Signature {
		return ErrInvalidToken
	}
	m.Client = client
	m.presented = client.tokenRecord(r.strategy.AccessTokenSignature(ctx, m.token))
	if m.Method != http.MethodPut {
		return nil
	}
	return r.resolveUpdate(ctx, m)
}

// change writes a new version of the record. If another request gets ahead, it returns
// ErrConflict and has changed nothing.
func (r *registry) change(ctx context.Context, m *ManagementRequest, edit func(*Client) (string, error), rotate bool) (*ManagementResponse, error) {
	before := m.Client
	next := before.Clone()
	next.view.now = r.cfg.Now
	next.Version++
	secret, err := edit(next)
	if err != nil {
		return nil, err
	}
	token := m.token
	if rotate {
		var record RegistrationTokenRecord
		if token, record, err = r.issueToken(ctx); err != nil {
			return nil, err
		}
		r.rotate(next, m.presented, record)
	} else if m.presented.Signature == next.RegistrationToken.Signature {
		next.PreviousRegistrationToken = RegistrationTokenRecord{} // the new token has arrived
	}
	moved := r.cfg.RevokeOnRedirectChange && !slices.Equal(before.Metadata.RedirectURIs, next.Metadata.RedirectURIs)
	if moved {
		beginRemoval(next)
	}
	if err := r.commit(ctx, before, next, rotate); err != nil {
		return nil, err
	}
	if moved {
		if err := r.endGrants(ctx, before, next); err != nil {
			return nil, failure(err)
		}
	}
	r.clear(ctx, next.ID, staleRecords(before, next)...)
	if m.Method == http.MethodPut {
		r.tell(ctx, Event{Kind: EventUpdated, ClientID: next.ID, Before: before, After: next})
	}
	if rotate {
		r.tell(ctx, Event{Kind: EventTokenRotated, ClientID: next.ID, Before: before, After: next})
	}
	return &ManagementResponse{r.information(next, secret, token, r.registrationEndpoint(ctx))}, nil
}

// commit stores the entry of a new token and then the record.
func (r *registry) commit(ctx context.Context, before, next *Client, rotate bool) error {
	err := r.inTransaction(ctx, func(ctx context.Context) error {
		if rotate {
			if err := r.storeEntry(ctx, next, next.RegistrationToken); err != nil {
				return failure(err)
			}
		}
		return r.clients.UpdateClient(ctx, next, before.Version)
	})
	if err != nil && rotate && r.transactions == nil {
		r.clear(ctx, next.ID, next.RegistrationToken)
	}
	switch {
	case err == nil, errors.Is(err, ErrConflict):
		return err
	case asFault(err) == nil && errors.Is(err, fosite.ErrNotFound):
		return ErrInvalidToken // deleted meanwhile (T33)
	}
	return failure(err)
}

// delete removes the client. Of several requests one does it.
func (r *registry) delete(ctx context.Context, m *ManagementRequest) error {
	err := r.remove(ctx, m.Client)
	if errors.Is(err, fosite.ErrNotFound) {
		return ErrInvalidToken
	} else if err != nil {
		return failure(err)
	}
	return nil
}

// remove removes a client, whoever wants it, and then what it leaves behind.
func (r *registry) remove(ctx context.Context, client *Client) error {
	if err := r.clients.DeleteClient(ctx, client.ID); err != nil {
		return err
	}
	r.clear(ctx, client.ID, client.RegistrationToken, client.PreviousRegistrationToken)
	r.revokeGrants(ctx, client.ID)
	r.tell(ctx, Event{Kind: EventDeleted, ClientID: client.ID, Before: client})
	return nil
}

// staleRecords are the token records that a rotation has put out of use.
func staleRecords(before, next *Client) []RegistrationTokenRecord {
	var stale []RegistrationTokenRecord
	for _, record := range []RegistrationTokenRecord{before.RegistrationToken, before.PreviousRegistrationToken} {
		if record.Signature != "" && next.tokenRecord(record.Signature).Signature == "" {
			stale = append(stale, record)
		}
	}
	return stale
}

// clientIDOf returns the client identifier that the path names. Anything but an
// identifier as this package makes them is nobody's.
func clientIDOf(r *http.Request) string {
	id := r.PathValue("client_id")
	if id == "" {
		path := r.URL.EscapedPath()
		id = path[strings.LastIndexByte(path, '/')+1:]
	}
	if len(id) > 64 {
		return ""
	}
	for _, c := range []byte(id) {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return ""
		}
	}
	return id
}
