package metadata_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ory/fosite/compose"
	"github.com/stretchr/testify/require"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// documentedMember is a row of docs/metadata.md.
type documentedMember struct {
	name, kind, spec string
	// fate begins with a word for what becomes of the member: kept, ignored, left out,
	// refused, set, chosen from, or unsupported. What follows a semicolon explains it.
	fate string
}

// word is the part of the fate before the semicolon.
func (m documentedMember) word() string {
	word, _, _ := strings.Cut(m.fate, ";")
	return word
}

// fateOf maps the words to the support that the table of members has for them. The
// others are for members that the table does not have.
var fateOf = map[string]string{"kept": "registered", "ignored": "registered", "left out": "left out", "refused": "refused"}

// The headers of the tables of docs/metadata.md.
const (
	knownHeader       = "| Member | Type | Default | Rule | Specification | What becomes of it | Enforced by |"
	serverHeader      = "| Member | Type | Specification | In an update |"
	unsupportedHeader = "| Member | Specification | Why |"
	listHeader        = "| List | Value for |"
)

// parseMembers reads the tables of docs/metadata.md.
func parseMembers(document string) ([]documentedMember, error) {
	var found []documentedMember
	var faults []error
	header := ""
	for line := range strings.Lines(document) {
		line = strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(line, "|"):
			header = ""
		case header == "":
			header = line
		case !strings.HasPrefix(line, "|-"):
			m, err := parseMember(header, line)
			found, faults = append(found, m), append(faults, err)
		}
	}
	return found, errors.Join(faults...)
}

func parseMember(header, line string) (documentedMember, error) {
	cells := strings.Split(strings.Trim(line, "|"), "|")
	for i := range cells {
		cells[i] = strings.TrimSpace(cells[i])
	}
	m := documentedMember{name: strings.Trim(cells[0], "`")}
	switch {
	case slices.Contains(cells, ""):
		return m, fmt.Errorf("%s has an empty cell", m.name)
	case len(cells) != strings.Count(header, "|")-1:
		return m, fmt.Errorf("%s has %d cells", m.name, len(cells))
	case cells[0] != "`"+m.name+"`":
		return m, fmt.Errorf("%s is not written as code", m.name)
	}
	switch header {
	case knownHeader:
		m.kind, m.spec, m.fate = cells[1], cells[4], cells[5]
	case serverHeader:
		m.kind, m.spec, m.fate = cells[1], cells[2], "set; "+cells[3]
	case unsupportedHeader:
		m.spec, m.fate = cells[1], "unsupported; "+cells[2]
	case listHeader:
		m.fate = "chosen from; " + cells[1]
	default:
		return m, fmt.Errorf("%s stands in a table of an unknown form", m.name)
	}
	return m, nil
}

// compareMembers holds the documentation against the table of members, and returns
// where they differ.
func compareMembers(documented []documentedMember, table []dcr.Member) error {
	var faults []error
	wrong := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	left := map[string]dcr.Member{}
	for _, row := range table {
		left[row.Name] = row
		if row.List != "" {
			left[row.List] = row
		}
	}
	seen := map[string]bool{}
	for _, m := range documented {
		row, known := left[m.name]
		delete(left, m.name)
		switch {
		case seen[m.name]:
			wrong("%s is documented twice", m.name)
		case known && row.List == m.name:
			if m.fate != "chosen from; `"+row.Name+"`" {
				wrong("%s: %q, but a value for %s is chosen from it", m.name, m.fate, row.Name)
			}
		case known:
			faults = append(faults, compareMember(m, row))
		case m.word() == "set" != dcrtest.ServerMember(m.name):
			wrong("%s: only the server's own members are set by it", m.name)
		case m.word() != "set" && m.word() != "unsupported":
			wrong("%s is %s, but the package does not know it", m.name, m.word())
		}
		seen[m.name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		wrong("%s is not documented", name)
	}
	return errors.Join(faults...)
}

func compareMember(m documentedMember, row dcr.Member) error {
	kind := row.Type
	if row.Tagged {
		kind += ", tagged"
	}
	switch {
	case m.kind != kind:
		return fmt.Errorf("%s: type %q, but it is %q", m.name, m.kind, kind)
	case m.spec != row.Specification:
		return fmt.Errorf("%s: specification %q, but it is %q", m.name, m.spec, row.Specification)
	case fateOf[m.word()] != row.Support:
		return fmt.Errorf("%s: %q, but it is %q", m.name, m.word(), row.Support)
	}
	for _, value := range row.Values {
		if !strings.Contains(m.fate, value) {
			return fmt.Errorf("%s: %s is always honoured, which is not said", m.name, value)
		}
	}
	return nil
}

// countOfMembers is the line of docs/metadata.md that counts.
func countOfMembers(documented []documentedMember) string {
	count := map[string]int{}
	for _, m := range documented {
		count[m.word()]++
	}
	return fmt.Sprintf("Of the %d members below %d are kept, %d is ignored, %d are left out without support, "+
		"%d are refused without support, %d are chosen from, %d are set by the server, and %d are unsupported.", len(documented),
		count["kept"], count["ignored"], count["left out"], count["refused"], count["chosen from"], count["set"], count["unsupported"])
}

// TestMetadataDocumentation: docs/metadata.md says what the table of members says
// (COMP-07).
func TestMetadataDocumentation(t *testing.T) {
	t.Parallel()
	document := dcrtest.ReadFile(t, "docs/metadata.md")
	documented, err := parseMembers(document)
	require.NoError(t, err)
	require.NoError(t, compareMembers(documented, dcr.Members()))
	counted := regexp.MustCompile(`Of the [0-9]+ members [^.]*\.`).FindString(document)
	require.Equal(t, countOfMembers(documented), strings.Join(strings.Fields(counted), " "))
}

// TestMetadataDocumentationRefuses: each difference is found.
func TestMetadataDocumentationRefuses(t *testing.T) {
	t.Parallel()
	table := []dcr.Member{
		{Name: "fake", Type: "string", Specification: "Fake, section 1", Support: "refused", Tagged: true, Values: []string{"public"}, List: "fakes_supported"},
	}
	const head = knownHeader + "\n|---|---|---|---|---|---|---|\n"
	const good = "| `fake` | string, tagged | none | a name | Fake, section 1 | refused; public is kept | nobody |\n"
	const list = "\n" + listHeader + "\n|---|---|\n| `fakes_supported` | `fake` |\n"
	for want, document := range map[string]string{
		"":                               head + good + list,
		"fake is not documented":         head,
		"fakes_supported is not docum":   head + good,
		"fake is documented twice":       head + good + good,
		`type "boolean"`:                 head + strings.Replace(good, "string, tagged", "boolean", 1),
		`it is "string, tagged"`:         head + strings.Replace(good, ", tagged", "", 1),
		`it is "Fake, section 1"`:        head + strings.Replace(good, "section 1", "section 2", 1),
		`"kept", but it is "refused"`:    head + strings.Replace(good, "refused;", "kept;", 1),
		"public is always honoured":      head + strings.Replace(good, "; public is kept", "", 1),
		"a value for fake is chosen":     head + good + "\n" + listHeader + "\n|---|---|\n| `fakes_supported` | `other` |\n",
		"fake has an empty cell":         head + strings.Replace(good, "a name", "", 1),
		"fake has 8 cells":               head + strings.Replace(good, "a name", "a | name", 1),
		"is not written as code":         head + strings.Replace(good, "`", "", 2),
		"other is kept, but the package": head + good + strings.NewReplacer("fake", "other", "refused", "kept").Replace(good),
		"a table of an unknown form":     "| Member | Why |\n|---|---|\n| `fake` | because |\n",
		"client_id: only the server's":   head + good + "\n" + unsupportedHeader + "\n|---|---|---|\n| `client_id` | Fake | because |\n",
		"more: only the server's":        head + good + "\n" + serverHeader + "\n|---|---|---|---|\n| `more` | string | Fake | refused |\n",
	} {
		documented, err := parseMembers(document)
		if err == nil {
			err = compareMembers(documented, table)
		}
		if want == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, want)
	}
}

// metadataSamples are values that pass the rules of their members, and that only a
// provider with the feature honours. Members without one here are true, 60, "sample" or
// a list of that, by their type.
var metadataSamples = map[string]any{
	"redirect_uris":                            []any{"https://client.example/other"},
	"token_endpoint_auth_method":               "client_secret_post",
	"token_endpoint_auth_signing_alg":          "ES256",
	"grant_types":                              []any{"authorization_code", "refresh_token"},
	"response_types":                           []any{"code"},
	"application_type":                         "native",
	"scope":                                    "profile",
	"subject_type":                             "pairwise",
	"request_uris":                             []any{"https://client.example/request#hash"},
	"post_logout_redirect_uris":                []any{"https://client.example/bye"},
	"backchannel_token_delivery_mode":          "poll",
	"backchannel_client_notification_endpoint": "https://client.example/notify",
}

func sampleOf(t *testing.T, m documentedMember, jwks any) any {
	t.Helper()
	if value, ok := metadataSamples[m.name]; ok {
		return value
	}
	kind, _, _ := strings.Cut(m.kind, ",")
	switch {
	case kind == "boolean":
		return true
	case kind == "integer":
		return 60.0
	case kind == "array of strings":
		return []any{"sample"}
	case kind == "JWK Set":
		return jwks
	case strings.HasSuffix(m.name, "_uri"):
		return "https://client.example/sample"
	}
	return "sample"
}

// TestMetadataFates: each member of docs/metadata.md becomes what it says there, with a
// provider that has nothing but the code grant (COMP-07, 7591-2-20).
func TestMetadataFates(t *testing.T) {
	t.Parallel()
	document := dcrtest.ReadFile(t, "docs/metadata.md")
	documented, err := parseMembers(document)
	require.NoError(t, err)
	s := dcrtest.Start(t, dcrtest.Setup{Factories: []compose.Factory{
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2RefreshTokenGrantFactory, compose.OAuth2PKCEFactory,
	}})
	keys := s.Do(t, http.MethodGet, "/jwks", nil).Members
	require.NotEmpty(t, keys)
	for _, m := range documented {
		if m.word() == "chosen from" {
			continue // TestEveryList, TestChoice
		}
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			value := sampleOf(t, m, keys)
			body := map[string]any{"redirect_uris": []string{"https://client.example/cb"}}
			body[m.name] = value
			requireFate(t, m, s.Post(t, body), value)
		})
	}
}

func requireFate(t *testing.T, m documentedMember, answer dcrtest.Answer, sent any) {
	t.Helper()
	if m.word() == "refused" {
		require.Equal(t, http.StatusBadRequest, answer.Status, answer.Body)
		require.Equal(t, "invalid_client_metadata", answer.Text("error"))
		require.Contains(t, answer.Text("error_description"), m.name)
		return
	}
	require.Equal(t, http.StatusCreated, answer.Status, answer.Body)
	switch m.word() {
	case "kept":
		require.Equal(t, sent, answer.Members[m.name])
	case "set":
		require.NotEqual(t, sent, answer.Members[m.name])
	default:
		require.NotContains(t, answer.Members, m.name)
	}
}
