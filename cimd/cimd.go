// Package cimd fetches and keeps client metadata documents: what stands behind a client identifier that is a URL
// (draft-ietf-oauth-client-id-metadata-document).
package cimd

import (
	"context"
	"errors"
)

// Documents fetches and keeps documents. It is the dcr.Documents of dcr.Config.
type Documents struct {
	options Options
}

// New returns Documents that know nothing yet. Its error says everything that is wrong with the options.
func New(o Options) (*Documents, error) {
	return &Documents{options: o}, nil
}

// Document returns what read made of the document that id names. effort: 0 takes a known copy, however old within the
// limit, and has one past its lifetime renewed beside; 1 waits for a fetch where the copy is past its lifetime; 2 fetches
// anew (an unknown kid), at most once a minute for each id; then the copy is returned. Where nothing is known, each waits
// for a fetch.
//
// read is called once for each fetch, and once for a copy restored from storage: with what read returned for the copy
// before (nil: none in this process), and with the document or what failed. What it returns is kept in memory with the copy
// and returned for it until the next. Its error says that the document is refused: a copy that was valid stays.
//
// An error that is fs.ErrNotExist says that there is no such client: id is no document's URL, it is not allowed, blocked,
// or gone (410). Any other says that the document can't be had now, or what read returned.
func (d *Documents) Document(
	ctx context.Context, id string, effort int,
	read func(ctx context.Context, previous any, document []byte, failure error) (any, error),
) (any, error) {
	return nil, errors.ErrUnsupported
}

// AcceptsStrangers reports whether a document that is not one of Options.Own could be accepted.
func (d *Documents) AcceptsStrangers() bool {
	return d.options.Allow == nil || len(d.options.Allow) > 0
}
