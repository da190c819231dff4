package consent_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/consent"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// notInStatement is the remark on a name that is the client's own beside a software statement.
const notInStatement = "the name is not in the software statement"

// TestDescribeStatement: a software statement is public, so a client is verified by one only where it says where the
// user goes, and only what it holds is shown as verified (T63).
func TestDescribeStatement(t *testing.T) {
	t.Parallel()
	const logo = "https://bank.example/logo.png"
	bank := []string{"https://bank.example/cb"}
	for name, row := range map[string]struct {
		claims   []any   // changes of the statement
		sent     members // beside the statement
		verified bool
		name     string
		page     string
		logo     string
		remarks  []string
	}{
		"holds_all": {
			claims: []any{"logo_uri", logo, "client_uri", "https://brand.example/"}, verified: true,
			name: "Bank App", page: "https://brand.example/", logo: logo,
		},
		"replayed": {
			claims: []any{"redirect_uris", nil, "logo_uri", logo, "client_uri", "https://bank.example/"},
			sent:   members{"redirect_uris": []string{"https://evil.example/cb"}}, name: "Bank App",
		},
		"replayed_with_their_redirects": {
			claims: []any{"redirect_uris", nil, "logo_uri", logo}, sent: members{"redirect_uris": bank}, name: "Bank App",
		},
		"logo_of_ones_own": {
			sent: members{"logo_uri": "https://evil.example/logo.png", "client_uri": "https://evil.example/"}, verified: true, name: "Bank App",
		},
		"page_on_the_redirect_host": {
			sent: members{"client_uri": "https://bank.example/app"}, verified: true, name: "Bank App", page: "https://bank.example/app",
		},
		"logo_in_a_language_of_ones_own": {
			claims: []any{"logo_uri", logo}, sent: members{"logo_uri#en": "https://evil.example/logo.png"}, verified: true, name: "Bank App", logo: logo,
		},
		"name_in_a_language_of_ones_own": {
			sent: members{"client_name#en": "Other Bank"}, verified: true, name: "Bank App",
		},
		"name_in_the_only_language_that_is_held": {
			claims: []any{"client_name", nil, "client_name#fr", "La Banque"}, sent: members{"client_name#en": "Other Bank", "client_name": "Other"},
			verified: true, name: "La Banque",
		},
		"name_in_a_held_language": {
			claims: []any{"client_name#en", "The Bank"}, verified: true, name: "The Bank",
		},
		"name_of_ones_own": {
			claims: []any{"client_name", nil}, sent: members{"client_name": "Other Bank"}, verified: true, name: "Other Bank",
			remarks: []string{notInStatement},
		},
		"null_is_no_claim": {
			claims: []any{"redirect_uris", (*string)(nil)}, sent: members{"redirect_uris": bank}, name: "Bank App",
		},
	} {
		t.Run("TRUST-01/"+name, func(t *testing.T) {
			t.Parallel()
			issuer := dcrtest.NewDirectory(t, "1")
			s := dcrtest.Start(t, dcrtest.Setup{Config: issuer.Trusted()})
			claims := dcrtest.StatementClaims(row.claims...)
			client := s.Register(t, dcrtest.With(members{"software_statement": issuer.Sign(t, claims)}, row.sent))
			record := dcrtest.RecordOf(t, s.Store, client.ID())
			d, err := consent.Describe(t.Context(), s.Provider, record, "en")
			require.NoError(t, err)
			require.Equal(t, row.verified, d.Verified)
			require.Equal(t, []string{row.name, row.page, row.logo}, []string{d.Name, d.ClientURI, d.LogoURI})
			require.Equal(t, row.remarks, d.Suspicious)
			if row.verified {
				require.Equal(t, []string{"software_statement", dcrtest.DirectoryIssuer}, []string{d.VouchedHow, d.VouchedBy})
			} else {
				require.Empty(t, d.VouchedHow+d.VouchedBy)
			}
		})
	}
}

// TestDescribeStatementIssuer: whoever is not trusted any more verifies nobody, and neither does a statement that a
// provider knows nothing of.
func TestDescribeStatementIssuer(t *testing.T) {
	t.Parallel()
	store, issuer := dcr.NewMemoryStore(), dcrtest.NewDirectory(t, "1")
	trusting, distrusting := dcrtest.Start(t, dcrtest.Setup{Storage: store, Config: issuer.Trusted()}), dcrtest.Start(t, dcrtest.Setup{Storage: store})
	client := trusting.Register(t, members{"software_statement": issuer.Sign(t, dcrtest.StatementClaims("logo_uri", "https://bank.example/logo.png"))})
	record := dcrtest.RecordOf(t, store, client.ID())
	require.Equal(t, []string{"client_name", "grant_types", "logo_uri", "redirect_uris", "software_id"}, record.StatementMembers)
	for name, row := range map[string]struct {
		provider consent.Counter
		verified bool
	}{
		"trusted": {trusting.Provider, true}, "not_any_more": {distrusting.Provider, false},
		"nobody_to_ask": {nil, false}, "does_not_say": {counter{}, false},
	} {
		t.Run("TRUST-01/issuer/"+name, func(t *testing.T) {
			t.Parallel()
			d, err := consent.Describe(t.Context(), row.provider, record)
			require.NoError(t, err)
			require.Equal(t, row.verified, d.Verified)
			require.Equal(t, row.verified, d.LogoURI != "")
			require.Equal(t, "Bank App", d.Name)
		})
	}
	t.Run("TRUST-01/issuer/of_the_registrant_s_own", func(t *testing.T) {
		t.Parallel()
		signedIn := record.Clone()
		signedIn.Origin = dcr.Registrant{Kind: dcr.KindSignedIn, Subject: "alice"}
		d, err := consent.Describe(t.Context(), distrusting.Provider, signedIn)
		require.NoError(t, err)
		require.Equal(t, []string{"signed_in", "alice"}, []string{d.VouchedHow, d.VouchedBy}, "who was allowed to register answers all the same")
	})
}
