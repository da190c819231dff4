package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/ory/fosite"
	fositestorage "github.com/ory/fosite/storage"
)

const (
	// pageLifetime is how long a page may wait for its user.
	pageLifetime = 10 * time.Minute
	// maxSealed bounds what a request makes of a page's URL, in characters.
	maxSealed = 16 << 10
)

// pendingRequest is an authorization request whose user is asked something. It waits in the browser,
// sealed, in a form: so those who send requests and never answer need no room here (T59). It can't be
// changed between the page and the decision, and opens only in the browser that was shown the page.
type pendingRequest struct {
	request fosite.AuthorizeRequester // as it is now: the client may have changed since

	Query  string                   // of the authorization request
	Pushed *fosite.AuthorizeRequest // what the query refers to, where that was pushed: fosite returns it once
	At     time.Time                // when the request came
	Nonce  string                   // so that it is decided once
	Asked  string                   // for whom and what client a consent page asked, as consentKey; else empty
	Wanted []string                 // what it asked for
	Until  time.Time
}

// newPending reads an authorization request.
func (s *server) newPending(r *http.Request) (*pendingRequest, error) {
	request, err := s.provider.NewAuthorizeRequest(r.Context(), r)
	p := &pendingRequest{request: request, Query: r.URL.RawQuery, At: request.GetRequestedAt(), Nonce: rand.Text()}
	if read, ok := request.(*fosite.AuthorizeRequest); ok && s.wasPushed(r) {
		pushed := *read
		pushed.Client, pushed.Session = nil, nil // the client is looked up again, and a session begins with the code
		p.Pushed = &pushed
	}
	if err != nil {
		return p, err
	}
	switch sealed := s.seal(p, ""); {
	case sealed == "":
		err = fosite.ErrServerError
	case len(sealed) > maxSealed:
		err = fosite.ErrInvalidRequest.WithHint("The request is too long.")
	}
	return p, err
}

func (s *server) wasPushed(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Query().Get("request_uri"), s.fosite.GetPushedAuthorizeRequestURIPrefix(r.Context()))
}

// readAgain holds what was asked against the registration as it is now.
func (s *server) readAgain(r *http.Request, p *pendingRequest) error {
	ctx := r.Context()
	if p.Pushed != nil {
		ctx = context.WithValue(ctx, pushedKey{}, p.Pushed)
	}
	again, err := http.NewRequestWithContext(ctx, http.MethodGet, "/oauth2/auth?"+p.Query, nil)
	if err != nil {
		return fosite.ErrInvalidRequest.WithWrap(err)
	}
	again.Header.Set("Accept-Language", r.Header.Get("Accept-Language"))
	p.request, err = s.provider.NewAuthorizeRequest(ctx, again)
	if request, ok := p.request.(*fosite.AuthorizeRequest); ok {
		request.RequestedAt = p.At // a sign-in since then is one that the client asked for
	}
	return err
}

// storage is the one of -storage, but for a pushed request that comes back from a browser. That is in the context instead.
type storage struct{ store }

// transactionalStorage is one with transactions, such as a database.
type transactionalStorage struct {
	storage
	fositestorage.Transactional
}

// withPushed returns the storage to compose with. What wraps a storage must not hide what else it can do.
func withPushed(s store) fosite.Storage {
	wrapped := storage{s}
	if transactions, ok := s.(fositestorage.Transactional); ok {
		return transactionalStorage{wrapped, transactions}
	}
	return wrapped
}

type pushedKey struct{}

// GetPARSession returns a pushed request.
func (s storage) GetPARSession(ctx context.Context, uri string) (fosite.AuthorizeRequester, error) {
	if waited, ok := ctx.Value(pushedKey{}).(*fosite.AuthorizeRequest); ok {
		pushed := *waited
		pushed.Client = &fosite.DefaultClient{ID: pushed.Form.Get("client_id")}
		return &pushed, nil
	}
	return s.store.GetPARSession(ctx, uri)
}

// DeletePARSession removes a pushed request.
func (s storage) DeletePARSession(ctx context.Context, uri string) error {
	if ctx.Value(pushedKey{}) != nil {
		return nil
	}
	return s.store.DeletePARSession(ctx, uri)
}

// newSealer seals requests that wait in browsers.
func newSealer(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// seal returns a request for a form of this browser, which the value of its cookie stands for.
func (s *server) seal(p *pendingRequest, browser string) string {
	p.Until = time.Now().Add(pageLifetime)
	text, err := json.Marshal(p)
	if err != nil {
		s.log.Error("request not sealed", "cause", err)
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(s.sealer.Seal(nil, nil, text, []byte(browser)))
}

// open returns what was sealed for one of the values, if it still counts.
func (s *server) open(sealed string, browsers ...string) (*pendingRequest, bool) {
	bytes, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return nil, false
	}
	for _, browser := range browsers {
		var p pendingRequest
		if text, err := s.sealer.Open(nil, nil, bytes, []byte(browser)); err == nil {
			return &p, browser != "" && json.Unmarshal(text, &p) == nil && time.Now().Before(p.Until)
		}
	}
	return nil, false
}
