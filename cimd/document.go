package cimd

import (
	"encoding/json"
	"net/http"
	"time"
)

// document is a fetched document with its times. It is not changed once it is made.
type document struct {
	body           []byte
	etag, modified string
	fetched        time.Time
	expires        time.Time // when its lifetime ends
}

// dated returns an empty document with times and validators of an answer.
func (d *Documents) dated(header http.Header) *document {
	now := d.options.Now()
	lifetime := min(max(freshness(header, now), d.options.MinAge), d.options.MaxAge)
	return &document{
		etag: validator(header, "ETag"), modified: validator(header, "Last-Modified"), fetched: now, expires: now.Add(lifetime),
	}
}

// validator returns a member of a header by which a host can be asked whether a document has changed.
func validator(header http.Header, name string) string {
	value := header.Get(name)
	if len(value) > maxValidator {
		return ""
	}
	return value
}

// ask makes a request conditional, where the document has a validator (RFC 9110, section 13.1).
func (c *document) ask(header http.Header) {
	if c == nil {
		return
	}
	if c.etag != "" {
		header.Set("If-None-Match", c.etag)
	}
	if c.modified != "" {
		header.Set("If-Modified-Since", c.modified)
	}
}

// renewed returns the document with the times of another, and with its validators where it has some.
func (c *document) renewed(fresh *document) *document {
	fresh.body = c.body
	if fresh.etag == "" {
		fresh.etag = c.etag
	}
	if fresh.modified == "" {
		fresh.modified = c.modified
	}
	return fresh
}

// expired returns the document as one whose lifetime ended at that time, unless it ended before.
func (c document) expired(at time.Time) *document {
	if at.Before(c.expires) {
		c.expires = at
	}
	return &c
}

// wire is a document as a storage keeps it.
type wire struct {
	Document     []byte    `json:"document"` // base64, so that it comes back byte for byte
	ETag         string    `json:"etag,omitempty"`
	LastModified string    `json:"last_modified,omitempty"`
	Fetched      time.Time `json:"fetched"`
	Expires      time.Time `json:"expires"`
}

func (c *document) record() ([]byte, error) {
	return json.Marshal(wire{c.body, c.etag, c.modified, c.fetched.UTC(), c.expires.UTC()})
}

// bounded returns the document with a lifetime that the options of this process allow. One from the future of its clock
// has none: the process that fetched it may have had a clock that was wrong.
func (c document) bounded(o Options) *document {
	if now := o.Now(); c.fetched.After(now.Add(time.Minute)) {
		c.fetched, c.expires = now, now
	}
	return c.expired(c.fetched.Add(o.MaxAge))
}

// fromRecord returns what a storage has kept, or nil where it is nothing that record made.
func fromRecord(record []byte) *document {
	var w wire
	if json.Unmarshal(record, &w) != nil || !isObject(w.Document) {
		return nil
	}
	return &document{w.Document, w.ETag, w.LastModified, w.Fetched, w.Expires}
}
