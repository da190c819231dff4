package dcr

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v3"

	"github.com/fosite-contrib/fosite-dcr/internal/keyset"
	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// entrance is the way by which metadata comes in: who speaks, and what becomes of
// the members that only the server may set.
type entrance struct {
	registrant *Registrant
	// previous is the client that an update replaces; nil for a registration.
	previous *Client
	// server takes the members that only the server may set. Where it is nil they
	// are skipped unread (RFC 7591, section 3.1: the server chooses them).
	server *serverMembers
}

// serverMembers are the members of an update that the server has set before.
type serverMembers struct {
	clientID     string
	clientSecret string
	hasSecret    bool
}

// Members that only the server may set. The first two may stand in an update,
// where they have to agree with the client (RFC 7592, section 2.2).
const (
	memberClientID                = "client_id"
	memberClientSecret            = "client_secret"
	memberClientIDIssuedAt        = "client_id_issued_at"
	memberClientSecretExpiresAt   = "client_secret_expires_at"
	memberRegistrationAccessToken = "registration_access_token"
	memberRegistrationClientURI   = "registration_client_uri"
)

func isServerMember(name string) bool {
	switch name {
	case memberClientID, memberClientSecret, memberClientIDIssuedAt, memberClientSecretExpiresAt,
		memberRegistrationAccessToken, memberRegistrationClientURI:
		return true
	}
	return false
}

// decodeClientMetadata reads names and types, strictly and once. It knows no rule
// but those of size and type.
func decodeClientMetadata(body []byte, l *limits, e entrance) (ClientMetadata, error) {
	var m ClientMetadata
	err := strictjson.Object(body, strictjson.Limits{}, func(name string, value strictjson.Value) error {
		if isServerMember(name) {
			return e.server.take(name, value)
		}
		return m.set(name, value, l)
	})
	var syntax strictjson.Error
	if errors.As(err, &syntax) {
		return ClientMetadata{}, refuseMetadata("The request body " + syntax.Error())
	}
	return m, err
}

// set puts one member into its place. Unknown members are ignored (RFC 7591,
// section 3.1), and null counts as omitted.
func (m *ClientMetadata) set(name string, value strictjson.Value, l *limits) error {
	row, tagged := memberNamed[name], false
	if row == nil {
		if row, tagged = taggedMember(name); !tagged {
			return m.setExtension(name, value, l)
		}
	}
	if value.Kind() == strictjson.KindNull {
		return nil
	}
	if tagged {
		return m.setLocalized(row, name, value, l)
	}
	switch field := row.settle(m).(type) {
	case *string:
		return row.setText(name, value, field)
	case *[]string:
		list, ok := value.Texts()
		if !ok {
			return row.refuse(name + " is not an array of strings")
		}
		*field = list
	case **bool:
		b, ok := value.Bool()
		if !ok {
			return row.refuse(name + " is not true or false")
		}
		*field = &b
	case **int64:
		n, ok := value.Integer()
		if !ok {
			return row.refuse(name + " is not an integer")
		}
		*field = &n
	case **jose.JSONWebKeySet:
		set, err := keyset.Parse(value.Raw(), l.keys)
		if err != nil {
			return row.refuse(name + " " + err.Error())
		}
		*field = set
	}
	return nil
}

// setExtension keeps a member that the host has named, and ignores all others (RFC
// 7591, section 3.1; T07).
func (m *ClientMetadata) setExtension(name string, value strictjson.Value, l *limits) error {
	if !l.anyExtension && !slices.Contains(l.extensions, name) || value.Kind() == strictjson.KindNull {
		return nil
	}
	if len(value.Raw()) > l.Extension {
		return refuseMetadata(name + " is longer than " + strconv.Itoa(l.Extension) + " bytes")
	}
	if m.Extensions == nil {
		m.Extensions = map[string]json.RawMessage{}
	}
	m.Extensions[name] = bytes.Clone(value.Raw())
	return nil
}

func (m *ClientMetadata) setLocalized(row *member, name string, value strictjson.Value, l *limits) error {
	var s string
	if err := row.setText(name, value, &s); err != nil || s == "" {
		return err
	}
	if m.Localized == nil {
		m.Localized = map[string]string{}
	}
	if len(m.Localized) == l.Localized {
		return refuseMetadata("There are too many members with a language tag, " + row.name + " among them")
	}
	m.Localized[name] = s
	return nil
}

func (row *member) setText(name string, value strictjson.Value, field *string) error {
	s, ok := value.Text()
	switch {
	case !ok:
		return row.refuse(name + " is not a string")
	case s == "" && row.enum:
		return row.refuse(name + " is empty")
	}
	*field = s
	return nil
}

// taggedMember finds the row of a member with a language tag. One whose tag is
// malformed (RFC 5646, section 2.1) is unknown, and so ignored.
func taggedMember(name string) (*member, bool) {
	base, tag, ok := strings.Cut(name, "#")
	if !ok || !languageTag(tag) {
		return nil, false
	}
	row := memberNamed[base]
	return row, row != nil && row.tagged
}

// languageTag reports whether tag has the form of a language tag: subtags of one
// to eight letters and digits, the first of letters only.
func languageTag(tag string) bool {
	if len(tag) > 35 { // RFC 5646, section 4.4.1
		return false
	}
	for i, subtag := range strings.Split(tag, "-") {
		if len(subtag) < 1 || len(subtag) > 8 {
			return false
		}
		for _, c := range []byte(subtag) {
			letter := c|0x20 >= 'a' && c|0x20 <= 'z'
			if !letter && (i == 0 || c < '0' || c > '9') {
				return false
			}
		}
	}
	return true
}

// take reads a member that only the server may set. A registration skips it; an
// update may repeat the identifier and the secret, and nothing else.
func (s *serverMembers) take(name string, value strictjson.Value) error {
	if s == nil || value.Kind() == strictjson.KindNull {
		return nil
	}
	var field *string
	switch name {
	case memberClientID:
		field = &s.clientID
	case memberClientSecret:
		field, s.hasSecret = &s.clientSecret, true
	default:
		return refuseMetadata(name + " can not be set by the client (RFC 7592, section 2.2)")
	}
	text, ok := value.Text()
	if !ok {
		return refuseMetadata(name + " is not a string")
	}
	*field = text
	return nil
}

// MarshalJSON writes the metadata as the protocol has it: what is empty is left
// out, but for an empty list that says something.
func (m ClientMetadata) MarshalJSON() ([]byte, error) {
	dst, err := m.appendMembers([]byte{'{'})
	if err != nil {
		return nil, err
	}
	return append(dst, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON wrote, from a storage. It is not for
// requests: it applies no rule.
func (m *ClientMetadata) UnmarshalJSON(data []byte) error {
	read, err := decodeClientMetadata(data, storedLimits, entrance{})
	if err != nil {
		return err
	}
	*m = read
	return nil
}

// appendMembers writes the members, each behind a comma where it is not the first
// of its object.
func (m *ClientMetadata) appendMembers(dst []byte) ([]byte, error) {
	var err error
	for i := range members {
		row := &members[i]
		if dst, err = row.appendTo(dst, row.place(m)); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.Localized)) {
		dst = strictjson.AppendString(appendName(dst, name), m.Localized[name])
	}
	for _, name := range slices.Sorted(maps.Keys(m.Extensions)) {
		dst = append(appendName(dst, name), m.Extensions[name]...)
	}
	return dst, nil
}

func (row *member) appendTo(dst []byte, place any) ([]byte, error) {
	switch field := place.(type) {
	case *string:
		if *field != "" {
			dst = strictjson.AppendString(appendName(dst, row.name), *field)
		}
	case *[]string:
		if *field != nil {
			dst = strictjson.AppendStrings(appendName(dst, row.name), *field)
		}
	case **bool:
		if *field != nil {
			dst = strconv.AppendBool(appendName(dst, row.name), **field)
		}
	case **int64:
		if *field != nil {
			dst = strconv.AppendInt(appendName(dst, row.name), **field, 10)
		}
	case **jose.JSONWebKeySet:
		if *field == nil {
			return dst, nil
		}
		set, err := json.Marshal(*field)
		if err != nil {
			return nil, err
		}
		dst = append(appendName(dst, row.name), set...)
	}
	return dst, nil
}

func appendName(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(strictjson.AppendString(dst, name), ':')
}
