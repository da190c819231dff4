package capability

import (
	"testing"

	"github.com/ory/fosite"
	"github.com/ory/fosite/handler/openid"
	"github.com/stretchr/testify/require"
)

// telling is a session that tells its issuer by a method.
type telling struct{ *openid.DefaultSession }

func (telling) GetIssuer() string { return "https://a.example" }

func TestSessionIssuer(t *testing.T) {
	t.Parallel()
	claiming := openid.NewDefaultSession()
	claiming.Claims.Issuer = "https://b.example"
	for want, sessions := range map[string][]fosite.Session{
		"":                  {nil, new(fosite.DefaultSession), openid.NewDefaultSession(), new(openid.DefaultSession)},
		"https://a.example": {telling{claiming}},
		"https://b.example": {claiming},
	} {
		for _, session := range sessions {
			require.Equal(t, want, SessionIssuer(session), "TRUST-02: %T", session)
		}
	}
	require.True(t, SameIssuer("https://a.example/", "https://a.example"))
	require.False(t, SameIssuer("https://a.example/x", "https://a.example"))
}
