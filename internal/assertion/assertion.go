// Package assertion verifies JWTs that others have signed: the assertions by which clients authenticate (RFC 7523)
// and software statements (RFC 7591, section 2.3). Claims are read by their exact names, duplicates are refused, and
// keys come from where the server looks for them, never from the header of a JWT.
package assertion

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"

	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// ClockSkew is how far the clock of a signer may be ahead of this server's, and behind it.
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

// past reports whether a time lies back by more than the clocks may differ. Nil does not.
func (t *unixTime) past(now time.Time) bool {
	return t != nil && float64(*t) <= seconds(now)-ClockSkew.Seconds()
}

// future reports whether a time lies ahead by more than the clocks may differ. Nil does not.
func (t *unixTime) future(now time.Time) bool {
	return t != nil && float64(*t) > seconds(now)+ClockSkew.Seconds()
}

func seconds(at time.Time) float64 { return float64(at.UnixNano()) / float64(time.Second) }

// parseCompact reads a JWT. It is in compact form (RFC 7519, section 3); the parser takes the JSON form too, and
// spaces in either.
func parseCompact(raw string) (*jose.JSONWebSignature, error) {
	signed, err := jose.ParseSigned(raw)
	if err != nil {
		return nil, err
	}
	if len(signed.Signatures) != 1 || strings.ContainsAny(raw, "{ \t\r\n") {
		return nil, errors.New("assertion: not one signature in compact form")
	}
	return signed, nil
}

// unavailable is the failure of a fetch of keys.
func unavailable(err error) *Failure {
	return &Failure{fmt.Errorf("%w: %w: %s", ErrKeysUnavailable, err, detail(err))}
}

// detail is what an operator wants to know of an error: of one of fosite's it is more than the code.
func detail(err error) string {
	var answer *fosite.RFC6749Error
	if !errors.As(err, &answer) {
		return err.Error()
	}
	return strings.TrimSpace(answer.HintField + " " + answer.DebugField)
}
