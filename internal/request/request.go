// Package request bounds what an HTTP request may bring: its method, its media type, its body and the
// parameters of a form. It returns sentinel errors; which answer each of them gets is the caller's business.
package request

import (
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// What is wrong with a request, for errors.Is. The cause is wrapped where there is one.
var (
	// ErrMethod says that the resource does not have this method.
	ErrMethod = errors.New("request: the method is not allowed")
	// ErrMediaType says that the body is not declared as what the resource reads.
	ErrMediaType = errors.New("request: the media type is not supported")
	// ErrTooLarge says that the body or the parameters are past a bound.
	ErrTooLarge = errors.New("request: too large")
	// ErrRepeated says that a parameter was sent more than once.
	ErrRepeated = errors.New("request: a parameter is repeated")
	// ErrTimeout says that the context ended before the body was read.
	ErrTimeout = errors.New("request: the body did not arrive in time")
	// ErrUnreadable says that the body or the parameters can not be read.
	ErrUnreadable = errors.New("request: unreadable")
)

// Method returns ErrMethod unless the method of the request is one of those allowed.
func Method(r *http.Request, allowed ...string) error {
	if !slices.Contains(allowed, r.Method) {
		return ErrMethod
	}
	return nil
}

// JSON returns ErrMediaType unless the body is declared as application/json, with any parameters and without
// a content coding.
func JSON(r *http.Request) error {
	if len(r.Header.Values("Content-Encoding")) > 0 {
		return ErrMediaType
	}
	content := r.Header.Values("Content-Type")
	if len(content) != 1 {
		return ErrMediaType
	}
	if content[0] == "application/json" {
		return nil
	}
	media, _, err := mime.ParseMediaType(content[0])
	if err != nil || media != "application/json" {
		return ErrMediaType
	}
	return nil
}

// Bearer returns the token of the one Authorization header; the scheme is case-insensitive (RFC 9110, section
// 11.1). present is false where the request has no Bearer token, and ok is false where it has none or one that can be
// none, or several Authorization headers. A token in the query or in a form does not count (T40).
func Bearer(r *http.Request) (token string, present, ok bool) {
	header := r.Header.Values("Authorization")
	if len(header) == 0 {
		return "", false, false
	}
	scheme, token, _ := strings.Cut(header[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false, false
	}
	token = strings.TrimLeft(token, " ")
	if len(header) > 1 || token == "" || !IsToken(token) || strings.ContainsAny(token, " \t,") {
		return "", true, false
	}
	return token, true, true
}

// OneToken returns ErrRepeated where a request with an Authorization header has a token elsewhere, too: in the query, or
// in a form that was parsed (RFC 6750, section 2).
func OneToken(r *http.Request) error {
	elsewhere := r.URL.Query().Has("access_token") || r.Form.Has("access_token")
	if elsewhere && len(r.Header.Values("Authorization")) > 0 {
		return ErrRepeated
	}
	return nil
}

// ClientID returns the client identifier that the path names. Anything but an identifier as this package
// makes them is no client's.
func ClientID(r *http.Request) string {
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
