package dcr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"

	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/request"
	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// Management says what a client may do with its registration (RFC 7592).
type Management struct {
	Off          bool              // Off answers no registration access token; clients can't be managed
	ForbidUpdate bool              // ForbidUpdate answers 403 to an update by a client that may read
	ForbidDelete bool              // ForbidDelete answers 403 to a deletion by a client that may read
	Token        RegistrationToken // Token says how long a registration access token lives and when it is replaced
	// RevokeOnRedirectChange removes all tokens and grants of a client whose redirect URIs an update
	// changes, so that who stole its registration access token can't turn its users' consent to another
	// place (T39); also where a document changes them (T49). It takes a storage that implements GrantRevoker. Where the
	// removal fails, the update is taken back and fails. A list in another order is a change, too.
	RevokeOnRedirectChange bool
}

func (m Management) withDefaults() Management {
	m.Token = m.Token.withDefaults()
	return m
}

// managementMethods are those that a client configuration endpoint has. HEAD is a GET whose body net/http
// drops.
const managementMethods = "GET, HEAD, PUT, DELETE"

// ManagementRequest is a read, an update or a deletion by the client itself: the token is right and, for an
// update, the metadata is fine. Nothing is changed yet.
type ManagementRequest struct {
	Method   string         // Method is GET, HEAD, PUT or DELETE
	Client   *Client        // Client is the client as it is registered now
	Metadata ClientMetadata // Metadata is what an update registers instead

	token     string // as presented
	presented RegistrationTokenRecord
	issuer    string
	body      []byte
	caller    caller
}

// String says who asks for what, without the token.
func (m ManagementRequest) String() string {
	return "dcr.ManagementRequest(" + m.Method + " " + m.Client.String() + ")"
}

// Format prints String, whatever the verb.
func (m ManagementRequest) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, m.String()) }

// LogValue is String.
func (m ManagementRequest) LogValue() slog.Value { return slog.StringValue(m.String()) }

// manager carries out what clients do with their registration (RFC 7592).
type manager struct {
	config    Management
	location  *location
	admission *admission
	rulebook  *rulebook
	secrets   *secrets
	tokens    *registrationTokens
	lifetimes *lifetimes
	records   *records
	grants    *grants
	journal   *journal
}

// ManagementHandler returns the handler of the client configuration endpoint (RFC 7592, section 2), for any
// router. The client identifier is the path value "client_id" of the request, where the router sets one
// with SetPathValue or as net/http does, and otherwise what follows the last slash of the path.
func (s *manager) ManagementHandler() http.Handler {
	return s.location.openTo([]string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if r.Method == http.MethodPut {
			defer request.Bound(ctx, w)()
		}
		management, err := s.NewManagementRequest(ctx, r)
		if err != nil {
			s.WriteManagementError(ctx, w, err)
			return
		}
		response, err := s.NewManagementResponse(ctx, management)
		for range updateRounds - 1 {
			if !errors.Is(err, ErrConflict) {
				break
			}
			if err = s.readAgain(ctx, management); err != nil {
				break
			}
			response, err = s.NewManagementResponse(ctx, management)
		}
		if err != nil {
			s.WriteManagementError(ctx, w, err)
			return
		}
		s.WriteManagementResponse(ctx, w, response)
	}))
}

// NewManagementRequest reads a management request. A token that does not fit is refused in one way,
// ErrInvalidToken, whatever is wrong with it and whether the client exists; nothing is changed by it (RFC
// 7592 would have the server revoke a token that is presented for a client which is gone: then a wrong URL
// would cost a client its registration). The error is one for WriteManagementError.
//
// The body is read until it ends. ManagementHandler stops at the end of the context; whoever calls this
// method sets ReadTimeout of the http.Server.
func (s *manager) NewManagementRequest(ctx context.Context, r *http.Request) (_ *ManagementRequest, err error) {
	who := s.admission.callerOf(r)
	ctx, span := startSpan(withCaller(ctx, who), "dcr.NewManagementRequest")
	defer endSpan(span, &err)
	management, err := s.read(ctx, r, who)
	if err != nil {
		return nil, management.refused(err)
	}
	spanClient(span, management.Client.ID)
	return management, nil
}

// refused completes an error with what the event says. Client is nil where the token is wrong.
func (m *ManagementRequest) refused(err error) error {
	p := problemOf(err)
	p.caller = &m.caller
	if m.Client != nil {
		p.clientID, p.registrant = m.Client.ID, &m.Client.Origin
	}
	return p
}

// read returns beside an error what it knows of the request by then.
func (s *manager) read(ctx context.Context, r *http.Request, from caller) (*ManagementRequest, error) {
	m := &ManagementRequest{Method: r.Method, caller: from}
	err := readingError(request.Method(r, http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete))
	if err != nil {
		return m, err
	}
	if m.token, err = BearerToken(r); err != nil {
		return m, err
	}
	if s.config.Off {
		return m, ErrInvalidToken.WithDebug("Config.Management.Off is set.")
	}
	if m.issuer, err = s.location.realm(ctx); err != nil {
		return m, err
	}
	client, presented, err := s.tokens.authenticate(ctx, m.issuer, request.ClientID(r), m.token, s.lifetimes.expiry())
	if err != nil {
		return m, err
	}
	m.Client, m.presented = client, presented
	if s.forbids(r.Method) {
		return m, ErrAccessDenied.WithDescription("This server does not allow clients to do this.")
	}
	if r.Method != http.MethodPut {
		return m, nil
	}
	return m, s.readUpdate(ctx, r, m)
}

// forbids reports whether the application forbids a client that is known what it asks for.
func (s *manager) forbids(method string) bool {
	return method == http.MethodPut && s.config.ForbidUpdate || method == http.MethodDelete && s.config.ForbidDelete
}

// readUpdate reads the body of a PUT, which is judged as that of a registration.
func (s *manager) readUpdate(ctx context.Context, r *http.Request, m *ManagementRequest) (err error) {
	if err := s.admission.limitUpdate(ctx, m.Client, m.caller); err != nil {
		return err
	}
	if err := readingError(request.JSON(r)); err != nil {
		return err
	}
	if m.body, err = request.Body(ctx, r, s.admission.limits.Body); err != nil {
		return readingError(err)
	}
	return s.resolveUpdate(ctx, m)
}

// serverMembers are the members of an update that the server has set before.
type serverMembers struct {
	clientID     string
	clientSecret string
	hasSecret    bool
}

// read reads a member of an update, which may repeat the identifier and the secret, and nothing else.
func (s *serverMembers) read(name string, value strictjson.Value) error {
	text, ok := value.Text()
	switch {
	case value.Kind() == strictjson.KindNull:
	case name != memberClientID && name != memberClientSecret:
		return refuseMetadata(name + " can not be set by the client (RFC 7592, section 2.2): leave it out")
	case !ok:
		return refuseMetadata(name + " is not a string")
	case name == memberClientID:
		s.clientID = text
	default:
		s.clientSecret, s.hasSecret = text, true
	}
	return nil
}

// resolveUpdate holds the body against the client as it is now.
func (s *manager) resolveUpdate(ctx context.Context, m *ManagementRequest) (err error) {
	var said serverMembers
	if err = s.rulebook.resolve(ctx, m.body, source{registrant: &m.Client.Origin, previous: m.Client, server: said.read}, &m.Metadata); err != nil {
		return err
	}
	return s.compare(ctx, m.Client, said)
}

// compare: the identifier has to stand in an update and to be the client's; the secret may, and has to be
// the current one (RFC 7592, section 2.2).
func (s *manager) compare(ctx context.Context, client *Client, said serverMembers) error {
	switch {
	case said.clientID == "":
		return refuseMetadata("client_id is required in an update (RFC 7592, section 2.2)")
	case said.clientID != client.ID:
		return refuseMetadata("client_id is not the one of this client")
	case said.hasSecret && !s.secrets.isCurrent(ctx, client, said.clientSecret):
		return refuseMetadata("client_secret is not the current one, and can not be chosen by the client")
	}
	return nil
}

// readAgain takes the record as it is now, after another request got ahead, and holds the update against
// it: an update replaces everything, and the last one wins. Where the other has replaced the token, this
// one has lost, grace or not.
func (s *manager) readAgain(ctx context.Context, m *ManagementRequest) error {
	ctx = withCaller(ctx, m.caller)
	client, presented, err := s.tokens.authenticate(ctx, m.issuer, m.Client.ID, m.token, s.lifetimes.expiry())
	if err != nil {
		return m.refused(err)
	}
	if m.presented.Signature == m.Client.RegistrationToken.Signature && m.presented.Signature != client.RegistrationToken.Signature {
		return m.refused(ErrInvalidToken)
	}
	m.Client, m.presented = client, presented
	if m.Method != http.MethodPut {
		return nil
	}
	if err = s.resolveUpdate(ctx, m); err != nil {
		err = m.refused(err)
	}
	return err
}

// NewManagementResponse carries the request out. After a deletion it returns nil, and no error.
//
// An update stores the entry of the new token, replaces the record if its version is still the one that was read, which is the
// commit point, and removes the old entry, in one transaction where there are any. Where another request got ahead it returns
// ErrConflict, and nothing is changed: ManagementHandler looks again then, a few times. A deletion removes the record, which
// is the commit point and kills secret, tokens and grants, and then clears up. What can't be cleared up is dead all the same,
// and an event.
func (s *manager) NewManagementResponse(ctx context.Context, m *ManagementRequest) (_ *ClientInformation, err error) {
	ctx, span := startSpan(withCaller(ctx, m.caller), "dcr.NewManagementResponse")
	defer endSpan(span, &err)
	spanClient(span, m.Client.ID)
	response, err := s.carryOut(ctx, m)
	if err != nil {
		return nil, m.refused(err)
	}
	return response, nil
}

func (s *manager) carryOut(ctx context.Context, m *ManagementRequest) (*ClientInformation, error) {
	switch m.Method {
	case http.MethodDelete:
		return nil, s.delete(ctx, m)
	case http.MethodPut:
		return s.update(ctx, m)
	}
	return s.answer(ctx, m)
}

// WriteManagementResponse sends the answer: 200 with the client information, or 204 after a deletion. It is
// never to be cached.
func (s *manager) WriteManagementResponse(ctx context.Context, w http.ResponseWriter, response *ClientInformation) {
	if response == nil {
		noStore(w.Header())
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if err := writeInformation(w, http.StatusOK, response); err != nil {
		s.WriteManagementError(ctx, w, err)
	}
}

// WriteManagementError sends an error, as WriteRegistrationError does.
func (s *manager) WriteManagementError(ctx context.Context, w http.ResponseWriter, err error) {
	s.journal.refused(ctx, err)
	writeError(w, err, managementMethods)
}

// answer answers a read. It writes only where the token rotates, or where the one before it ends because
// this one has arrived.
func (s *manager) answer(ctx context.Context, m *ManagementRequest) (*ClientInformation, error) {
	if s.config.Token.RotateOnRead && m.Method == http.MethodGet {
		return s.replaceRecord(ctx, m, func(*Client) (string, error) { return "", nil }, true)
	}
	if m.presented.Signature == m.Client.RegistrationToken.Signature && m.Client.PreviousRegistrationToken.Signature != "" {
		s.endGrace(ctx, m.Client)
	}
	return information(m.Client, "", m.token, s.location.registrationEndpoint(ctx)), nil
}

// endGrace lets the previous token end. Should the record have changed meanwhile, whoever changed it has
// decided.
func (s *manager) endGrace(ctx context.Context, client *Client) {
	version, previous := client.Version, client.PreviousRegistrationToken
	next := client.Clone()
	next.Version++
	next.PreviousRegistrationToken = RegistrationTokenRecord{}
	if err := s.records.update(ctx, next, version); err != nil {
		if !errors.Is(err, ErrConflict) && !errors.Is(err, fosite.ErrNotFound) {
			s.journal.cleanupFailed(ctx, client.ID, err)
		}
		return
	}
	s.tokens.clear(ctx, client.ID, previous)
}

// update replaces the metadata (RFC 7592, section 2.2).
func (s *manager) update(ctx context.Context, m *ManagementRequest) (*ClientInformation, error) {
	replace := func(next *Client) (secret string, err error) {
		next.Metadata = m.Metadata
		next.StatementIssuer, next.StatementMembers = m.Metadata.statementIssuer, m.Metadata.statementMembers
		next.UpdatedAt = s.lifetimes.now()
		next.AlwaysAskConsent, next.RequirePKCE = m.Metadata.decision.alwaysAskConsent, m.Metadata.decision.requirePKCE
		return s.secrets.renew(ctx, next, m.Metadata.decision.rotateSecret)
	}
	return s.replaceRecord(ctx, m, replace, !s.config.Token.KeepOnUpdate)
}

// replaceRecord writes a new version of the record. If another request gets ahead, it returns ErrConflict
// and has changed nothing.
func (s *manager) replaceRecord(ctx context.Context, m *ManagementRequest, edit func(*Client) (string, error), rotate bool) (*ClientInformation, error) {
	before := m.Client
	changed := *before // no list is changed in its place
	next := &changed
	next.view = view{now: s.lifetimes.now}
	next.Version++
	secret, err := edit(next)
	if err != nil {
		return nil, err
	}
	issued := issuedToken{token: m.token}
	if rotate {
		if issued, err = s.tokens.issue(ctx); err != nil {
			return nil, err
		}
		s.tokens.rotate(next, m.presented, issued)
	} else if m.presented.Signature == next.RegistrationToken.Signature {
		next.PreviousRegistrationToken = RegistrationTokenRecord{} // the new token has arrived
	}
	moved := s.config.RevokeOnRedirectChange && !slices.Equal(before.Metadata.RedirectURIs, next.Metadata.RedirectURIs)
	if moved {
		markGrants(next)
	}
	if err := s.commit(ctx, before, next, rotate, moved); err != nil {
		return nil, err
	}
	if moved {
		if err := s.endGrants(ctx, before, next); err != nil {
			return nil, failure(err)
		}
	}
	if moved || s.records.transactions == nil {
		s.tokens.clear(ctx, next.ID, staleRecords(before, next)...)
	}
	s.recordChange(ctx, m.Method, rotate, before, next)
	return information(next, secret, issued.token, s.location.registrationEndpoint(ctx)), nil
}

func (s *manager) recordChange(ctx context.Context, method string, rotated bool, before, after *Client) {
	if method == http.MethodPut {
		s.journal.record(ctx, Event{Kind: EventUpdated, ClientID: after.ID, Before: before, After: after})
	}
	if rotated {
		s.journal.record(ctx, Event{Kind: EventTokenRotated, ClientID: after.ID, Before: before, After: after})
	}
}

// commit stores the entry of a new token and then the record. In a transaction it removes what has no use then, unless the
// update may be taken back.
func (s *manager) commit(ctx context.Context, before, next *Client, rotate, moved bool) error {
	err := s.records.inTransaction(ctx, func(ctx context.Context) error {
		if rotate {
			if err := s.tokens.store(ctx, next); err != nil {
				return failure(err)
			}
		}
		if err := s.records.update(ctx, next, before.Version); err != nil || moved || s.records.transactions == nil {
			return err
		}
		for _, stale := range staleRecords(before, next) {
			if err := s.tokens.remove(ctx, stale); err != nil {
				return failure(err)
			}
		}
		return nil
	})
	if err != nil && rotate && s.records.transactions == nil {
		s.tokens.clear(ctx, next.ID, next.RegistrationToken)
	}
	switch {
	case err == nil:
		return nil
	case asFault(err) == nil && errors.Is(err, fosite.ErrNotFound):
		return ErrInvalidToken // deleted meanwhile (T33)
	}
	return failure(err)
}

// endGrants removes the grants of a client whose redirect URIs have changed
// (Management.RevokeOnRedirectChange, T39). It does so after the commit: before it, an update that loses
// would end the grants of one that wins. Where the removal fails, the update is taken back, since the
// grants would be worth something at the new place.
func (s *manager) endGrants(ctx context.Context, before, after *Client) error {
	cleanup, cancel := cleanupContext(ctx)
	defer cancel()
	if err := s.grants.removeAll(cleanup, after); err != nil {
		s.takeBack(cleanup, before, after)
		return err
	}
	s.journal.record(ctx, Event{Kind: EventGrantsRevoked, ClientID: after.ID, After: after})
	return nil
}

// takeBack puts the record back that an update has replaced. Where another update has come in between, the
// removal is tried again instead. What can't be done is an event.
func (s *manager) takeBack(ctx context.Context, before, after *Client) {
	restored := before.Clone()
	restored.Version, restored.GrantsRevoked = after.Version+1, after.GrantsRevoked+1
	err := s.records.update(ctx, restored, after.Version)
	if errors.Is(err, ErrConflict) {
		err = s.grants.removeAll(ctx, after)
	}
	if err != nil && !errors.Is(err, fosite.ErrNotFound) {
		s.journal.cleanupFailed(ctx, after.ID, err)
	}
	if after.RegistrationToken.Signature != before.RegistrationToken.Signature {
		s.tokens.clear(ctx, after.ID, after.RegistrationToken)
	}
}

// delete removes the client. Of several requests one does it.
func (s *manager) delete(ctx context.Context, m *ManagementRequest) error {
	err := s.grants.removeClient(ctx, m.Client)
	if errors.Is(err, fosite.ErrNotFound) {
		return ErrInvalidToken
	} else if err != nil {
		return failure(err)
	}
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
