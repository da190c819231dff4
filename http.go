package dcr

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// retryAfter is what a client is told to wait when the server can't answer now, in
// seconds.
const retryAfter = 30

// methodAllowed refuses a method that the resource does not have.
func methodAllowed(r *http.Request, methods ...string) error {
	if !slices.Contains(methods, r.Method) {
		return ErrMethodNotAllowed
	}
	return nil
}

// isJSON reports whether the body is said to be application/json, with whatever
// parameters and without a content coding.
func isJSON(r *http.Request) bool {
	if len(r.Header.Values("Content-Encoding")) > 0 {
		return false
	}
	content := r.Header.Values("Content-Type")
	if len(content) != 1 {
		return false
	}
	media, _, err := mime.ParseMediaType(content[0])
	return err == nil && media == "application/json"
}

// readBody returns the body of a request, no longer than limit. It returns when ctx
// ends, whatever the body does.
func readBody(ctx context.Context, r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, ErrBodyTooLarge
	}
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	body := readWith(ctx, http.MaxBytesReader(nil, r.Body, limit), r.ContentLength)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(body.err, &tooLarge):
		return nil, ErrBodyTooLarge
	case body.err != nil && ctx.Err() != nil:
		return nil, ErrBodyTimeout.WithWrap(ctx.Err())
	case body.err != nil:
		return nil, ErrBadBody.WithWrap(body.err).WithDebug(body.err.Error())
	}
	return body.bytes, nil
}

// readWith reads a body until ctx ends: by itself where that ends the read, and otherwise
// in a goroutine that is left behind.
func readWith(ctx context.Context, body io.Reader, length int64) bodyRead {
	if ctx.Value(readStops{}) != nil {
		return readAll(body, length)
	}
	arrived := make(chan bodyRead, 1)
	go func() { arrived <- readAll(body, length) }()
	select {
	case read := <-arrived:
		return read
	case <-ctx.Done():
		return bodyRead{err: ctx.Err()}
	}
}

// bodyRead is what came of reading a body.
type bodyRead struct {
	bytes []byte
	err   error
}

// readAll reads a body. It may run in a goroutine of its own, where a panic of a host's
// reader would end the program.
func readAll(body io.Reader, length int64) (read bodyRead) {
	defer func() {
		if p := recover(); p != nil {
			read.err = fmt.Errorf("reading the body panicked: %v", p)
		}
	}()
	// What is said of the length is believed as far as it costs little.
	buffer := bytes.NewBuffer(make([]byte, 0, min(max(length, 512), 8<<10)+bytes.MinRead))
	_, read.err = buffer.ReadFrom(body)
	read.bytes = buffer.Bytes()
	return read
}

// stopWith ends the reading of a request's body when ctx ends, at the connection: nothing
// else reaches a read that is under way. The returned context says that it will be so, and
// the returned function is to be called when the request is done.
func stopWith(ctx context.Context, w http.ResponseWriter) (context.Context, func() bool) {
	connection := connectionOf(w)
	if connection == nil || ctx.Done() == nil {
		return ctx, func() bool { return true }
	}
	stop := context.AfterFunc(ctx, func() { _ = connection.SetReadDeadline(time.Now()) })
	return context.WithValue(ctx, readStops{}, true), stop
}

// readStops marks a context whose end ends the reading of the body.
type readStops struct{}

type readDeadliner interface{ SetReadDeadline(time.Time) error }

// connectionOf looks through the wrappers of a ResponseWriter, as
// http.ResponseController does, for the one that reaches the connection.
func connectionOf(w http.ResponseWriter) readDeadliner {
	for {
		switch v := w.(type) {
		case readDeadliner:
			return v
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default:
			return nil
		}
	}
}

// BearerToken returns the token of the one Authorization header, for access rules of a
// host's own; the scheme is case-insensitive (RFC 9110, section 11.1). A token in the
// query or in a form does not count (T40). The error is ErrMissingToken or
// ErrInvalidToken.
func BearerToken(r *http.Request) (string, error) {
	header := r.Header.Values("Authorization")
	if len(header) == 0 {
		return "", ErrMissingToken
	}
	scheme, token, _ := strings.Cut(header[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrMissingToken
	}
	token = strings.TrimLeft(token, " ")
	if len(header) > 1 || token == "" || strings.ContainsAny(token, " \t,") {
		return "", ErrInvalidToken
	}
	return token, nil
}

// writeJSON sends a finished answer. Whatever it is, nobody may keep it (T25).
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	noStore(h)
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func noStore(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
}

// writeError sends an error (RFC 7591, section 3.2.2). allow is for 405.
func writeError(w http.ResponseWriter, err error, allow string) {
	answer := protocolError(err)
	h := w.Header()
	switch answer.CodeField {
	case http.StatusUnauthorized, http.StatusForbidden:
		if challenge := challengeOf(answer); challenge != "" {
			h.Set("WWW-Authenticate", challenge)
		}
	case http.StatusMethodNotAllowed:
		h.Set("Allow", allow)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		h.Set("Retry-After", strconv.Itoa(waitOf(err)))
	case http.StatusRequestEntityTooLarge:
		h.Set("Connection", "close")
	}
	writeJSON(w, answer.CodeField, errorBody(answer))
}

// challengeOf returns the challenge for an error of the Bearer scheme. One that
// carried no token gets no error code (RFC 6750, section 3.1).
func challengeOf(answer *fosite.RFC6749Error) string {
	switch {
	case isMissingToken(answer):
		return "Bearer"
	case answer.ErrorField == ErrInvalidToken.ErrorField, answer.ErrorField == ErrInsufficientScope.ErrorField:
		return `Bearer error="` + answer.ErrorField + `"`
	case answer.CodeField == http.StatusUnauthorized:
		return "Bearer"
	}
	return ""
}

func errorBody(answer *fosite.RFC6749Error) []byte {
	body := strictjson.AppendString([]byte(`{"error":`), answer.ErrorField)
	body = strictjson.AppendString(append(body, `,"error_description":`...), plainText(descriptionOf(answer)))
	return append(body, '}')
}

// plainText leaves the characters that an error_description may have (RFC 6749,
// section 5.2).
func plainText(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '"' || c == '\\':
			return '\''
		case c < 0x20 || c > 0x7e:
			return '?'
		}
		return c
	}, s)
}
