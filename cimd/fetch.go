package cimd

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// maxValidator bounds an ETag or a Last-Modified that is kept, in bytes.
const maxValidator = 256

// newClient returns the guarded client. The context of a fetch bounds its time, not the client: so a wait for other
// requests can be told from a slow host.
func newClient(o Options, resolver *net.Resolver) *http.Client {
	client := outbound.NewClient(outbound.Options{
		Timeout: o.Timeout, MaxBytes: o.MaxBytes, Resolver: resolver, RootCAs: o.RootCAs, Proxy: o.Proxy, UserAgent: o.UserAgent,
		InsecureAllowLoopback: o.InsecureAllowLoopback, AllowPrivate: o.AllowPrivate,
		HostRequests: o.HostFetches, Requests: o.Fetches,
	})
	client.Timeout = 0
	return client
}

// fetch gets a document, or, where the host says that the known one is still good, that one with a new lifetime.
// Status and media type are judged before the body is read.
func (d *Documents) fetch(ctx context.Context, id, site string, known *document) (*document, *Failure) {
	client, counted := d.client, site
	if known != nil || slices.Contains(d.options.Allow, id) {
		client, counted = d.named, id // a flood of others takes nothing from those that are known or named
	}
	if !d.pace.Allow(counted, d.options.Now()) {
		return nil, &Failure{reason: "busy", cause: errPace}
	}
	ctx, cancel := context.WithTimeout(ctx, d.options.Timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, id, nil)
	if err != nil {
		return nil, failed(err)
	}
	request.Header.Set("Accept", "application/json")
	known.ask(request.Header)
	response, err := client.Do(request)
	if err != nil {
		return nil, failed(err)
	}
	defer response.Body.Close()
	fresh := d.dated(response.Header)
	switch {
	case response.StatusCode == http.StatusNotModified && known != nil:
		return known.renewed(fresh), nil
	case response.StatusCode != http.StatusOK:
		return nil, failed(&outbound.StatusError{Status: response.StatusCode}).from(response)
	case !acceptable(response.Header):
		return nil, (&Failure{reason: "media_type", cause: outbound.ErrMediaType}).from(response)
	}
	fresh.body, err = io.ReadAll(response.Body)
	if err != nil {
		return nil, failed(err).from(response)
	}
	if !isObject(fresh.body) {
		return nil, (&Failure{reason: "json", cause: errNoObject}).from(response)
	}
	return fresh, nil
}

var (
	errPace     = errors.New("the host was asked too often within a minute")
	errNoObject = errors.New("the body is not a JSON object")
)

// acceptable reports whether a header announces JSON in no coding that the client did not undo.
func acceptable(header http.Header) bool {
	if coding := header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return false
	}
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	subtype, application := strings.CutPrefix(mediaType, "application/")
	return err == nil && application && (subtype == "json" || strings.HasSuffix(subtype, "+json"))
}

func isObject(body []byte) bool {
	return json.Valid(body) && bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{"))
}

// failed returns the failure that an error of the client is.
func failed(err error) *Failure {
	f := &Failure{reason: "connection", cause: err}
	var status *outbound.StatusError
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var timeout net.Error
	switch {
	case errors.As(err, &status):
		f.reason, f.status = "status", status.Status
	case errors.Is(err, outbound.ErrAddress), errors.Is(err, outbound.ErrScheme):
		f.reason = "address"
	case errors.Is(err, outbound.ErrBusy):
		f.reason = "busy"
	case errors.Is(err, outbound.ErrTooLarge):
		f.reason = "size"
	case errors.As(err, &name):
		f.reason = "lookup"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		f.reason = "timeout"
	case errors.Is(err, outbound.ErrTLS), errors.As(err, &certificate):
		f.reason = "tls"
	}
	return f
}

// from adds what is known of an answer.
func (f *Failure) from(response *http.Response) *Failure {
	f.status = response.StatusCode
	f.mediaType = response.Header.Get("Content-Type")
	f.mediaType = f.mediaType[:min(len(f.mediaType), 100)]
	return f
}

// hides reports whether a failure may have been decided by what lies in the network of this server: then it takes as
// long as all others of this kind (see Documents.hold).
func (f *Failure) hides() bool { return f != nil && (f.reason == "lookup" || f.reason == "address") }

// hold waits until a failure that hides something is as old as all of them.
func (d *Documents) hold(since time.Time) { time.Sleep(d.held - time.Since(since)) }
