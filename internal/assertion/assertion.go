// Package assertion verifies JWTs that others have signed: the assertions by which clients authenticate (RFC 7523)
// and software statements (RFC 7591, section 2.3). Claims are read by their exact names, duplicates are refused, and
// keys come from where the server looks for them, never from the header of a JWT.
package assertion

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// ClockSkew is how far the clock of a signer may be ahead of this server's.
const ClockSkew = 30 * time.Second

// ErrKeysUnavailable is wrapped by the Failure that says that keys could not be fetched.
var ErrKeysUnavailable = errors.New("assertion: the keys can not be fetched")

// Failure is a failure of the server's own, or of what it depends on. It says nothing about the JWT.
type Failure struct {
	// Cause is the error of the storage as it was returned, or an error that wraps ErrKeysUnavailable and what the
	// fetch returned.
	Cause error
}

// Error returns the text of the cause.
func (f *Failure) Error() string { return f.Cause.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Cause }

// Exactly reads claims into the pointers in into, by their exact names; other claims are left out. Claims that are
// not one JSON object without duplicates, or of the wrong type, are an error. encoding/json would take "EXP" for
// "exp", and two readers would judge different tokens (T18).
func Exactly(payload []byte, into map[string]any) error {
	return strictjson.Object(payload, strictjson.Limits{}, func(name string, value strictjson.Value) error {
		if field, ok := into[name]; ok {
			return json.Unmarshal(value.Raw(), field)
		}
		return nil
	})
}

// audience is a string or an array of strings (RFC 7519, section 4.1.3).
type audience []string

func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// unixTime is a NumericDate (RFC 7519, section 2).
type unixTime float64
