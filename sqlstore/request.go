package sqlstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/oauth2"
	"github.com/ory/fosite/handler/openid"
	"golang.org/x/text/language"
)

// expiries are the kinds of token for which a session has an expiry.
var expiries = []fosite.TokenType{
	fosite.AccessToken, fosite.RefreshToken, fosite.AuthorizeCode, fosite.IDToken, fosite.PushedAuthorizeRequestContext,
}

// storedRequest is the JSON of a request, without its session and its client: the client is looked up at each read, so that
// its present registration counts.
type storedRequest struct {
	ID                string                     `json:"id,omitempty"`     // where there is no grant that has it
	Client            string                     `json:"client,omitempty"` // where there is no grant that has it
	RequestedAt       int64                      `json:"requested_at"`
	RequestedScope    fosite.Arguments           `json:"requested_scope,omitempty"`
	GrantedScope      fosite.Arguments           `json:"granted_scope,omitempty"`
	RequestedAudience fosite.Arguments           `json:"requested_audience,omitempty"`
	GrantedAudience   fosite.Arguments           `json:"granted_audience,omitempty"`
	Form              url.Values                 `json:"form,omitempty"`
	Lang              string                     `json:"lang,omitempty"`
	Expiries          map[fosite.TokenType]int64 `json:"expiries,omitempty"`
	Pushed            *storedPushed              `json:"pushed,omitempty"`
}

// storedPushed has the other members of a pushed request.
type storedPushed struct {
	ResponseTypes        fosite.Arguments        `json:"response_types,omitempty"`
	HandledResponseTypes fosite.Arguments        `json:"handled_response_types,omitempty"`
	RedirectURI          string                  `json:"redirect_uri,omitempty"`
	State                string                  `json:"state,omitempty"`
	StateInForm          bool                    `json:"state_in_form,omitempty"` // and not in State
	ResponseMode         fosite.ResponseModeType `json:"response_mode,omitempty"`
	DefaultResponseMode  fosite.ResponseModeType `json:"default_response_mode,omitempty"`
}

// encodeRequest returns the JSON of a request, and that of its session. All that one sign-in stores has one session but for
// the times at which it expires, so these lie in the request.
func encodeRequest(kind kind, r fosite.Requester) (request, session []byte, err error) {
	stored := storedRequest{
		RequestedAt:       pastColumn(r.GetRequestedAt()),
		RequestedScope:    r.GetRequestedScopes(),
		GrantedScope:      r.GetGrantedScopes(),
		RequestedAudience: r.GetRequestedAudience(),
		GrantedAudience:   r.GetGrantedAudience(),
		Form:              storable(kind, r.GetRequestForm()),
	}
	if localized, ok := r.(fosite.G11NContext); ok && localized.GetLang() != language.Und {
		stored.Lang = localized.GetLang().String()
	}
	if !kind.hasGrant() {
		stored.ID, stored.Client = r.GetID(), clientID(r)
	}
	if authorize, ok := r.(fosite.AuthorizeRequester); ok && kind == pushedRequest {
		stored.Pushed = pushedPart(authorize)
	}
	if stored.Expiries, session, err = encodeSession(r.GetSession()); err != nil {
		return nil, nil, fmt.Errorf("sqlstore: the session can't be stored: %w", err)
	}
	request, err = encode(stored)
	return request, session, err
}

// encode returns the JSON of a value, in which "<", ">" and "&" stay one byte each: no page shows it (T15).
func encode(value any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), err
}

func clientID(r fosite.Requester) string {
	if client := r.GetClient(); client != nil {
		return client.GetID()
	}
	return ""
}

// credentials are parameters that authenticate, or that nobody needs once the request was read. fosite stores the form of
// a pushed request as it was sent.
var credentials = []string{"client_secret", "client_assertion", "client_assertion_type", "request", "code", "code_verifier", "refresh_token", "password"}

// unread are parameters of tokens that nobody reads again. What was asked for has members of its own.
var unread = []string{"response_type", "scope"}

// storable leaves out what must not lie in a database, or need not.
func storable(kind kind, form url.Values) url.Values {
	form = maps.Clone(form)
	for _, name := range credentials {
		delete(form, name)
	}
	if kind != pushedRequest { // whose hint is yet to be compared with the user
		delete(form, "id_token_hint")
	}
	if kind == accessToken || kind == refreshToken {
		for _, name := range unread {
			delete(form, name)
		}
	}
	return form
}

func pushedPart(r fosite.AuthorizeRequester) *storedPushed {
	part := &storedPushed{
		ResponseTypes: r.GetResponseTypes(), StateInForm: r.GetState() == r.GetRequestForm().Get("state"),
		ResponseMode: r.GetResponseMode(), DefaultResponseMode: r.GetDefaultResponseMode(),
	}
	if !part.StateInForm {
		part.State = r.GetState()
	}
	if uri := r.GetRedirectURI(); uri != nil {
		part.RedirectURI = uri.String()
	}
	if request, ok := r.(*fosite.AuthorizeRequest); ok {
		part.HandledResponseTypes = request.HandledResponseTypes
	}
	return part
}

// encodeSession returns the JSON of a session with its expiries taken out. No session is an empty text.
func encodeSession(session fosite.Session) (ends map[fosite.TokenType]int64, text []byte, err error) {
	if session == nil || reflect.ValueOf(session).Kind() == reflect.Pointer && reflect.ValueOf(session).IsNil() {
		return nil, []byte{}, nil
	}
	ends = map[fosite.TokenType]int64{}
	for _, kind := range expiries {
		if end := session.GetExpiresAt(kind); !end.IsZero() {
			ends[kind] = nanoseconds(end)
		}
	}
	bare := clone(session)
	if reflect.TypeOf(bare) != reflect.TypeOf(session) {
		return nil, nil, fmt.Errorf("the method Clone of a %T returns a %T", session, bare)
	}
	for _, kind := range expiries {
		before := session.GetExpiresAt(kind)
		bare.SetExpiresAt(kind, time.Time{})
		if !session.GetExpiresAt(kind).Equal(before) {
			session.SetExpiresAt(kind, before)
			return nil, nil, fmt.Errorf("the method Clone of a %T copies no more than a reference to its expiries", session)
		}
	}
	text, err = encode(bare)
	return ends, text, err
}

// clone copies a session so far that its expiries can be taken out. fosite's own Clone methods work by reflection, and cost
// more than the rest of a row.
func clone(session fosite.Session) fosite.Session {
	switch s := session.(type) {
	case *fosite.DefaultSession:
		c := *s
		c.ExpiresAt = nil
		return &c
	case *openid.DefaultSession:
		c := *s
		c.ExpiresAt = nil
		return &c
	case *oauth2.JWTSession:
		c := *s
		c.ExpiresAt = nil
		return &c
	}
	return session.Clone()
}

// decodeRequest returns a request, whose session is of the type of the given one.
func decodeRequest(request, session []byte, like fosite.Session) (*fosite.AuthorizeRequest, storedRequest, error) {
	var stored storedRequest
	if err := json.Unmarshal(request, &stored); err != nil {
		return nil, stored, fmt.Errorf("sqlstore: a stored request: %w", err)
	}
	r := fosite.NewAuthorizeRequest()
	r.Request = fosite.Request{
		ID:                stored.ID,
		RequestedAt:       fromColumn(stored.RequestedAt),
		RequestedScope:    stored.RequestedScope,
		GrantedScope:      stored.GrantedScope,
		RequestedAudience: stored.RequestedAudience,
		GrantedAudience:   stored.GrantedAudience,
		Form:              stored.Form,
	}
	if r.Form == nil {
		r.Form = url.Values{}
	}
	if stored.Lang != "" {
		r.Lang = language.Make(stored.Lang)
	}
	if len(session) > 0 {
		var err error
		if r.Session, err = decodeSession(session, stored.Expiries, like); err != nil {
			return nil, stored, fmt.Errorf("sqlstore: a stored session: %w", err)
		}
	}
	if part := stored.Pushed; part != nil {
		r.ResponseTypes, r.HandledResponseTypes = part.ResponseTypes, part.HandledResponseTypes
		r.State, r.ResponseMode, r.DefaultResponseMode = part.State, part.ResponseMode, part.DefaultResponseMode
		if part.StateInForm {
			r.State = r.Form.Get("state")
		}
		uri, err := url.Parse(part.RedirectURI)
		if err != nil {
			return nil, stored, fmt.Errorf("sqlstore: a stored redirect URI: %w", err)
		}
		r.RedirectURI = uri
	}
	return r, stored, nil
}

// decodeSession reads a session into a new value of the type of the given one, of which nothing shows through. Whole
// numbers keep their value.
func decodeSession(text []byte, ends map[fosite.TokenType]int64, like fosite.Session) (fosite.Session, error) {
	session := like
	if t := reflect.TypeOf(like); t.Kind() == reflect.Pointer {
		session = reflect.New(t.Elem()).Interface().(fosite.Session)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(session); err != nil {
		return nil, err
	}
	for kind, end := range ends {
		session.SetExpiresAt(kind, fromColumn(end))
	}
	return session, nil
}
