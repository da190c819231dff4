package cimd

import (
	"fmt"
	"net/http"
)

// Failure says why a document could not be fetched. Its text is for the operator: it may name addresses of the network
// that this server sees.
type Failure struct {
	reason    string
	status    int
	mediaType string
	cause     error
}

// Reason is one of lookup (the name has no address), address (it lies in a special-use range), tls (handshake or
// certificate), timeout, connection, status (another than 200), media_type, size, json (the body is no JSON object) and
// busy (a limit of this server).
func (f *Failure) Reason() string { return f.reason }

// Status is the status of the answer, or 0 where there was none.
func (f *Failure) Status() int { return f.status }

// MediaType is the Content-Type of the answer, cut to 100 bytes, or "" where there was none.
func (f *Failure) MediaType() string { return f.mediaType }

// Error implements error.
func (f *Failure) Error() string {
	text := "cimd: " + f.reason
	if f.status != 0 {
		text += fmt.Sprintf(" (status %d, %q)", f.status, f.mediaType)
	}
	return text + ": " + f.cause.Error()
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.cause }

// gone reports whether the host says that there is no document any more, and on purpose (RFC 9110, section 15.5.11).
func (f *Failure) gone() bool { return f.status == http.StatusGone }
