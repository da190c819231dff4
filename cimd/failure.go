package cimd

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
// busy (limits of this server).
func (f *Failure) Reason() string { return f.reason }

// Status is the status of the answer, or 0 where there was none.
func (f *Failure) Status() int { return f.status }

// MediaType is the Content-Type of the answer, cut to 100 bytes, or "" where there was none.
func (f *Failure) MediaType() string { return f.mediaType }

// Error implements error.
func (f *Failure) Error() string { return "cimd: " + f.reason + ": " + f.cause.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.cause }
