package store

import (
	"encoding/json"
	"maps"
	"net/url"
	"time"

	"github.com/ory/fosite"
)

// storedRequest is the JSON form of a fosite request. The client is not in it: it is
// looked up at each read, so that its present registration counts.
type storedRequest struct {
	RequestedAt       time.Time        `json:"requested_at"`
	RequestedScope    fosite.Arguments `json:"requested_scope,omitempty"`
	GrantedScope      fosite.Arguments `json:"granted_scope,omitempty"`
	RequestedAudience fosite.Arguments `json:"requested_audience,omitempty"`
	GrantedAudience   fosite.Arguments `json:"granted_audience,omitempty"`
	Form              url.Values       `json:"form,omitempty"`
	Session           json.RawMessage  `json:"session,omitempty"`
	Pushed            *pushedRequest   `json:"pushed,omitempty"`
}

// pushedRequest has the other fields of a pushed request.
type pushedRequest struct {
	ResponseTypes        fosite.Arguments        `json:"response_types,omitempty"`
	HandledResponseTypes fosite.Arguments        `json:"handled_response_types,omitempty"`
	RedirectURI          string                  `json:"redirect_uri,omitempty"`
	State                string                  `json:"state,omitempty"`
	ResponseMode         fosite.ResponseModeType `json:"response_mode,omitempty"`
	DefaultResponseMode  fosite.ResponseModeType `json:"default_response_mode,omitempty"`
}

// requestText returns the JSON of a request.
func requestText(r fosite.Requester) (string, error) {
	stored := storedRequest{
		RequestedAt:       r.GetRequestedAt(),
		RequestedScope:    r.GetRequestedScopes(),
		GrantedScope:      r.GetGrantedScopes(),
		RequestedAudience: r.GetRequestedAudience(),
		GrantedAudience:   r.GetGrantedAudience(),
		Form:              withoutCredentials(r.GetRequestForm()),
	}
	var err error
	if session := r.GetSession(); session != nil {
		if stored.Session, err = json.Marshal(session); err != nil {
			return "", err
		}
	}
	if request, ok := r.(fosite.AuthorizeRequester); ok {
		stored.Pushed = pushedPart(request)
	}
	text, err := json.Marshal(stored)
	return string(text), err
}

// withoutCredentials leaves out the credentials of the client: fosite stores the form of a pushed
// request as it was sent.
func withoutCredentials(form url.Values) url.Values {
	form = maps.Clone(form)
	for _, name := range []string{"client_secret", "client_assertion", "client_assertion_type"} {
		delete(form, name)
	}
	return form
}

// pushedPart returns the fields that only pushed requests have.
func pushedPart(r fosite.AuthorizeRequester) *pushedRequest {
	part := &pushedRequest{
		ResponseTypes: r.GetResponseTypes(), State: r.GetState(),
		ResponseMode: r.GetResponseMode(), DefaultResponseMode: r.GetDefaultResponseMode(),
	}
	if uri := r.GetRedirectURI(); uri != nil {
		part.RedirectURI = uri.String()
	}
	if request, ok := r.(*fosite.AuthorizeRequest); ok {
		part.HandledResponseTypes = request.HandledResponseTypes
	}
	return part
}

// requestOf returns the request of a JSON text. It reads the session into the given one.
func requestOf(text string, session fosite.Session) (*fosite.AuthorizeRequest, error) {
	var stored storedRequest
	if err := json.Unmarshal([]byte(text), &stored); err != nil {
		return nil, err
	}
	if len(stored.Session) > 0 {
		if err := json.Unmarshal(stored.Session, session); err != nil {
			return nil, err
		}
	}
	request := fosite.NewAuthorizeRequest()
	request.Request = fosite.Request{
		RequestedAt:       stored.RequestedAt,
		RequestedScope:    stored.RequestedScope,
		GrantedScope:      stored.GrantedScope,
		RequestedAudience: stored.RequestedAudience,
		GrantedAudience:   stored.GrantedAudience,
		Form:              stored.Form,
		Session:           session,
	}
	if request.Form == nil {
		request.Form = url.Values{}
	}
	if part := stored.Pushed; part != nil {
		request.ResponseTypes, request.HandledResponseTypes = part.ResponseTypes, part.HandledResponseTypes
		request.State, request.ResponseMode, request.DefaultResponseMode = part.State, part.ResponseMode, part.DefaultResponseMode
		var err error
		if request.RedirectURI, err = url.Parse(part.RedirectURI); err != nil {
			return nil, err
		}
	}
	return request, nil
}
