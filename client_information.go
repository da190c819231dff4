package dcr

import (
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"time"

	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// ClientInformation is the answer to a registration, a read and an update (RFC
// 7591, section 3.2.1; RFC 7592, section 3): the client's metadata as it is
// registered, and what the server has set.
//
// It holds a secret and a token. Printing it with fmt or log/slog shows neither.
type ClientInformation struct {
	ClientID string
	// ClientSecret is there right after it was issued; afterwards nobody has it but
	// the client.
	ClientSecret string
	// ClientSecretExpiresAt is zero for a secret that never expires, and of no
	// meaning for a client without one.
	ClientSecretExpiresAt time.Time
	ClientIDIssuedAt      time.Time
	// RegistrationAccessToken and RegistrationClientURI are empty where management is
	// off.
	RegistrationAccessToken string
	RegistrationClientURI   string
	// Metadata is what is registered, defaults and substitutions included.
	Metadata ClientMetadata

	hasSecret bool
}

// information is the one conversion from what the server keeps to what it answers.
func (r *registry) information(client *Client, secret, token, endpoint string) *ClientInformation {
	info := &ClientInformation{
		ClientID:              client.ID,
		ClientSecret:          secret,
		ClientSecretExpiresAt: client.SecretExpiresAt,
		ClientIDIssuedAt:      client.CreatedAt,
		Metadata:              client.Metadata,
		hasSecret:             client.hasSecret(),
	}
	if token != "" {
		info.RegistrationAccessToken = token
		info.RegistrationClientURI = endpoint + "/" + client.ID
	}
	return info
}

// MarshalJSON writes the information as the protocol has it.
func (i *ClientInformation) MarshalJSON() ([]byte, error) {
	dst := make([]byte, 1, 1024)
	dst[0] = '{'
	dst = appendText(dst, memberClientID, i.ClientID)
	dst = appendText(dst, memberClientSecret, i.ClientSecret)
	if i.hasSecret || i.ClientSecret != "" {
		dst = appendTime(dst, memberClientSecretExpiresAt, i.ClientSecretExpiresAt)
	}
	dst = appendTime(dst, memberClientIDIssuedAt, i.ClientIDIssuedAt)
	dst = appendText(dst, memberRegistrationAccessToken, i.RegistrationAccessToken)
	dst = appendText(dst, memberRegistrationClientURI, i.RegistrationClientURI)
	dst, err := i.Metadata.appendMembers(dst)
	if err != nil {
		return nil, err
	}
	return append(dst, '}'), nil
}

// String shows the client identifier and nothing else.
func (i ClientInformation) String() string { return "dcr.ClientInformation(" + i.ClientID + ")" }

// Format prints String, whatever the verb.
func (i ClientInformation) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, i.String()) }

// LogValue shows the client identifier and nothing else.
func (i ClientInformation) LogValue() slog.Value { return slog.StringValue(i.String()) }

func appendText(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return strictjson.AppendString(appendName(dst, name), value)
}

// appendTime writes seconds since the epoch; 0 means never (RFC 7591, section
// 3.2.1).
func appendTime(dst []byte, name string, t time.Time) []byte {
	var seconds int64
	if !t.IsZero() {
		seconds = t.Unix()
	}
	return strconv.AppendInt(appendName(dst, name), seconds, 10)
}
