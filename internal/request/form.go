package request

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Bounds of the parameters of a request, in bytes.
const (
	// StoredForm is tight: it is for endpoints where a storage keeps what fosite parses (T15).
	StoredForm = 32 << 10
	// AnyForm is fosite's own bound, for all other endpoints.
	AnyForm = 1 << 20
)

// maxParameters bounds the number of parameters.
const maxParameters = 128

// Bounds of a parameter that is a list: fosite compares each value with each other before it knows the client (T61), and
// storages keep the list with every token (T15, T59).
const (
	maxListLength = 8 << 10 // bytes
	maxListValues = 500
)

// ListError is the name of a parameter whose list is too long.
type ListError string

// Error says what the bounds are.
func (e ListError) Error() string {
	return fmt.Sprintf("The parameter %s has more than %d values, or more than %d bytes.", string(e), maxListValues, maxListLength)
}

// Form parses the parameters of a request, before fosite does it without a bound: the query and the body may have
// limit bytes each, and 128 parameters together. No parameter may come twice, in query and body together (RFC 6749,
// section 3.2), but for resource and audience. A list has at most 500 values and 8 KB. An identifier, code or token that can
// be none is replaced by one that is unknown, and any other parameter that a storage may keep has to be text without NUL.
// The error is ErrTooLarge, ErrRepeated, a ListError, or ErrUnreadable with the cause.
func Form(r *http.Request, limit int) error {
	if len(r.URL.RawQuery) > limit {
		return ErrTooLarge
	}
	if r.Body != nil {
		r.Body = http.MaxBytesReader(nil, r.Body, int64(limit))
	}
	err := r.ParseForm()
	if err == nil && r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		// This one forgets an error of the other, and has none at a second try.
		err = r.ParseMultipartForm(int64(limit))
	}
	switch _, tooLarge := errors.AsType[*http.MaxBytesError](err); {
	case tooLarge:
		return ErrTooLarge
	case err != nil && !errors.Is(err, http.ErrNotMultipart):
		return fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	size, count := 0, 0
	for name, values := range r.Form {
		for _, value := range values {
			size += len(name) + len(value)
			count++
		}
	}
	if size > 2*limit || count > maxParameters {
		return ErrTooLarge
	}
	for name, values := range r.Form {
		if len(values) > 1 && name != "resource" && name != "audience" {
			return ErrRepeated
		}
	}
	if err := Lists(r.Form); err != nil {
		return err
	}
	replaceImpossible(r)
	return stored(r.Form)
}

// Lists returns a ListError for a list that is too long. All of its values count together. Form has asked it; what fosite has
// read of a request object since is to be asked again.
func Lists(form url.Values) error {
	for _, name := range []string{"scope", "audience", "resource", "response_type", "grant_type", "prompt", "acr_values", "ui_locales"} {
		length, count := 0, 0
		for _, value := range form[name] {
			length += len(value)
			count += 1 + strings.Count(value, " ")
		}
		if length > maxListLength || count > maxListValues {
			return ListError(name)
		}
	}
	return nil
}
