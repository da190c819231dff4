package dcr

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

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

// readBody returns the body of a request, no longer than limit.
func readBody(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, ErrBodyTooLarge
	}
	if r.Body == nil {
		return nil, nil
	}
	body, err := readAll(http.MaxBytesReader(nil, r.Body, limit), r.ContentLength)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, ErrBodyTooLarge
	case err != nil && r.Context().Err() != nil:
		return nil, failure(r.Context().Err())
	case err != nil:
		return nil, ErrBadBody.WithWrap(err).WithDebug(err.Error())
	}
	return body, nil
}

// readAll reads a body at once where its length is known, as it nearly always is.
func readAll(body io.Reader, length int64) ([]byte, error) {
	if length <= 0 {
		return io.ReadAll(body)
	}
	b := make([]byte, length)
	n, err := io.ReadFull(body, b)
	return b[:n], err
}

// bearerToken returns the token of the one Authorization header; the scheme is
// case-insensitive (RFC 9110, section 11.1). A token in the query or in a form does
// not count (T40).
func bearerToken(r *http.Request) (string, error) {
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
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(retryAfter))
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
	body = strictjson.AppendString(append(body, `,"error_description":`...), plainText(answer.DescriptionField))
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
