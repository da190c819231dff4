package dcr

import (
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/fosite-contrib/fosite-dcr/internal/members"
)

// ClientInformation is the answer to a registration, a read and an update (RFC 7591, section 3.2.1; RFC
// 7592, section 3): the client's metadata as it is registered, and what the server has set.
// It holds a secret and a token. Printing it with fmt or log/slog shows neither.
type ClientInformation struct {
	ClientID string // ClientID is the client identifier
	// ClientSecret is there right after it was issued; afterwards nobody has it but the client.
	ClientSecret string
	// ClientSecretExpiresAt is zero for a secret that never expires, and of no meaning without one.
	ClientSecretExpiresAt time.Time
	ClientIDIssuedAt      time.Time // ClientIDIssuedAt is the time of registration
	// RegistrationAccessToken manages the client; empty where management is off.
	RegistrationAccessToken string
	RegistrationClientURI   string         // RegistrationClientURI is the URL at which it does
	Metadata                ClientMetadata // Metadata is what is registered, defaults and substitutions included

	hasSecret bool
}

// information is the one conversion from what the server keeps to what it answers. The secret and the token
// are empty where the answer has none; endpoint is the URL of the registration endpoint.
func information(client *Client, secret, token, endpoint string) *ClientInformation {
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
func (i *ClientInformation) MarshalJSON() ([]byte, error) { return i.appendJSON(make([]byte, 0, 1024)) }

func (i *ClientInformation) appendJSON(dst []byte) ([]byte, error) {
	dst = append(dst, '{')
	dst = members.AppendText(dst, memberClientID, i.ClientID)
	dst = members.AppendText(dst, memberClientSecret, i.ClientSecret)
	if i.hasSecret || i.ClientSecret != "" {
		dst = members.AppendTime(dst, memberClientSecretExpiresAt, i.ClientSecretExpiresAt)
	}
	dst = members.AppendTime(dst, memberClientIDIssuedAt, i.ClientIDIssuedAt)
	dst = members.AppendText(dst, memberRegistrationAccessToken, i.RegistrationAccessToken)
	dst = members.AppendText(dst, memberRegistrationClientURI, i.RegistrationClientURI)
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
