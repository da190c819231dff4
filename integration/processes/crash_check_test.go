package processes_test

import (
	"crypto/sha256"
	"database/sql"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// The kinds of a row in the tokens that are looked at by themselves.
const (
	registrationRow = "7"
	grantRows       = "4, 5" // access and refresh tokens
)

// requireAnswered: all that the client was answered holds.
func (c *crashes) requireAnswered(t *testing.T, w *witness) {
	t.Helper()
	if w.deleted {
		c.requireDeleted(t, w)
		return
	}
	c.requireRegistered(t, w)
	require.Len(t, c.entries(t, w), 1, "one registration access token")
	c.requireGrant(t, w)
}

// requireRegistered: the registration is the one that was answered last, its token works and no earlier one, and the
// secret gets a token.
func (c *crashes) requireRegistered(t *testing.T, w *witness) {
	t.Helper()
	read := c.server().manage(t, http.MethodGet, w.Answer, nil)
	require.Equal(t, http.StatusOK, read.Status, read.Body)
	requireNumber(t, w.number, read.Text("client_name"), read.Text("software_version"), read.Text("client_uri"))
	if w.tokenBefore != "" {
		c.requireRefused(t, w.as(w.tokenBefore))
	}
	c.requireUsable(t, w)
}

// requireNumber: the metadata is that of an update, and nothing in it of another one.
func requireNumber(t *testing.T, number int, name, version, uri string) {
	t.Helper()
	want := numbered(number)
	require.Equal(t, []any{want["client_name"], want["software_version"], want["client_uri"]}, []any{name, version, uri})
}

func (c *crashes) requireRefused(t *testing.T, client dcrtest.Answer) {
	t.Helper()
	refused := c.server().manage(t, http.MethodGet, client, nil)
	require.Equal(t, http.StatusUnauthorized, refused.Status, refused.Body)
	require.Equal(t, "invalid_token", refused.Text("error"))
}

// requireUsable: the client gets a token.
func (c *crashes) requireUsable(t *testing.T, w *witness) {
	t.Helper()
	tokens := c.token(t, w, url.Values{"grant_type": {"client_credentials"}})
	require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
}

// token asks for tokens.
func (c *crashes) token(t *testing.T, w *witness, form url.Values) dcrtest.Answer {
	t.Helper()
	return c.server().Form(t, "/oauth2/token", form, w.basic())
}

// requireDeleted: nothing of the client works any more.
func (c *crashes) requireDeleted(t *testing.T, w *witness) {
	t.Helper()
	c.requireRefused(t, w.Answer)
	forms := []url.Values{{"grant_type": {"client_credentials"}}}
	if w.refresh != "" {
		forms = append(forms, dcrtest.RefreshForm("", w.refresh))
		dcrtest.RequireInactive(t, c.server().Server, w.access)
	}
	for _, form := range forms {
		refused := c.token(t, w, form)
		require.Equal(t, http.StatusUnauthorized, refused.Status, refused.Body)
		require.Equal(t, "invalid_client", refused.Text("error"))
	}
	require.Zero(t, c.query(t, `SELECT count(*) FROM dcr_clients WHERE key = $1`, w.key()))
}

// requireGrant: of the client's grant live the tokens that were answered last, and no others.
func (c *crashes) requireGrant(t *testing.T, w *witness) {
	t.Helper()
	if w.refresh == "" {
		require.Zero(t, c.live(t, w), "the client has no grant")
		return
	}
	c.requireLastTokens(t, w)
	first := w.refreshBefore
	renewed := c.token(t, w, dcrtest.RefreshForm("", w.refresh))
	require.Equal(t, http.StatusOK, renewed.Status, renewed.Body)
	w.heard(renewed)
	if first != "" && c.random.IntN(4) == 0 {
		c.requireUsedUp(t, w, dcrtest.RefreshForm("", first))
	}
}

func (c *crashes) requireLastTokens(t *testing.T, w *witness) {
	t.Helper()
	require.Equal(t, 2, c.live(t, w), "an access token and a refresh token")
	dcrtest.RequireActive(t, c.server().Server, w.access, w.ID())
	if w.refreshBefore != "" {
		require.False(t, c.active(t, w, w.refreshBefore))
	}
}

// requireUsedUp: what was used already is refused, and its grant is dead from then on.
func (c *crashes) requireUsedUp(t *testing.T, w *witness, form url.Values) {
	t.Helper()
	refused := c.token(t, w, form)
	require.Equal(t, http.StatusBadRequest, refused.Status, refused.Body)
	require.Equal(t, "invalid_grant", refused.Text("error"))
	require.Zero(t, c.live(t, w), "nothing of the grant lives")
	if w.refresh != "" {
		require.False(t, c.active(t, w, w.refresh))
		dcrtest.RequireInactive(t, c.server().Server, w.access)
	}
	w.forgetGrant()
}

// active asks about a token of the client as the client itself.
func (c *crashes) active(t *testing.T, w *witness, token string) bool {
	t.Helper()
	answer := c.server().Form(t, "/oauth2/introspect", url.Values{"token": {token}}, w.basic())
	require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	return answer.Members["active"] == true
}

// live counts the tokens of the client's grants that the database takes for good.
func (c *crashes) live(t *testing.T, w *witness) int {
	t.Helper()
	return c.query(t, `SELECT count(*) FROM dcr_tokens WHERE state = 0 AND kind IN (`+grantRows+`)
		AND grant_id IN (SELECT grant_id FROM dcr_tokens WHERE client = $1 AND kind = 5)`, w.key())
}

// entries returns the keys under which registration access tokens of the client lie in the database.
func (c *crashes) entries(t *testing.T, w *witness) []string {
	t.Helper()
	return c.column(t, `SELECT key FROM dcr_tokens WHERE client = $1 AND kind = `+registrationRow, w.key())
}

// entryOf is the key of the entry of a registration access token, by its signature.
func entryOf(signature string) string {
	key := sha256.Sum256([]byte(registrationRow + "dcr.registration." + signature))
	return string(key[:])
}

// signature is that of a token of fosite.
func signature(token string) string { return token[strings.LastIndexByte(token, '.')+1:] }

// query asks the database for a number.
func (c *crashes) query(t *testing.T, query string, args ...any) (number int) {
	t.Helper()
	require.NoError(t, c.db.QueryRowContext(t.Context(), query, args...).Scan(&number))
	return number
}

// column asks the database for the values of a column.
func (c *crashes) column(t *testing.T, query string, args ...any) (values []string) {
	t.Helper()
	rows, err := c.db.QueryContext(t.Context(), query, args...)
	require.NoError(t, err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var value sql.RawBytes
		require.NoError(t, rows.Scan(&value))
		values = append(values, string(value))
	}
	require.NoError(t, rows.Err())
	return values
}

// requireLost: a request whose answer was lost has changed all that it changes, or nothing.
func (c *crashes) requireLost(t *testing.T, w *witness) {
	t.Helper()
	switch w.lost {
	case update:
		c.requireLostUpdate(t, w)
	case deletion:
		c.requireLostDeletion(t, w)
	case signIn:
		c.requireLostSignIn(t, w)
	case refresh:
		c.requireLostRefresh(t, w)
	}
}

// requireLostUpdate: one registration access token works. It is the old one with the old metadata, or the new one, which
// nobody knows, with the new metadata. The record names it, and its entry exists.
func (c *crashes) requireLostUpdate(t *testing.T, w *witness) {
	t.Helper()
	record := c.p.record(t, w.Answer)
	old, named := entryOf(signature(w.Token())), entryOf(record.RegistrationToken.Signature)
	entries := c.entries(t, w)
	require.Contains(t, entries, named)
	require.Empty(t, record.PreviousRegistrationToken.Signature)
	number, m := w.number, record.Metadata
	if named != old {
		number++
	}
	require.EqualValues(t, 1+number, record.Version)
	requireNumber(t, number, m.ClientName, m.SoftwareVersion, m.ClientURI)
	if named == old {
		c.tally["update undone"]++
		c.requireAnswered(t, w)
		return
	}
	c.tally["update done"]++
	c.requireRefused(t, w.Answer)
	c.requireUsable(t, w)
	c.requireGrant(t, w)
	w.unmanageable = true
}

// requireLostDeletion: the client is there with all that it had, or is dead with all that it had.
func (c *crashes) requireLostDeletion(t *testing.T, w *witness) {
	t.Helper()
	if c.query(t, `SELECT count(*) FROM dcr_clients WHERE key = $1`, w.key()) > 0 {
		c.tally["deletion undone"]++
		c.requireAnswered(t, w)
		return
	}
	c.tally["deletion done"]++
	w.deleted = true
	c.requireDeleted(t, w)
}

// requireLostSignIn: the code works, or was used. Then nobody knows its tokens, and a second use ends them.
func (c *crashes) requireLostSignIn(t *testing.T, w *witness) {
	t.Helper()
	c.requireRegistered(t, w)
	live := c.live(t, w)
	switch {
	case w.code == "":
		require.Zero(t, live)
		c.tally["sign-in without a code"]++
		return
	case live > 0:
		require.Equal(t, 2, live)
		c.tally["sign-in done"]++
		c.requireUsedUp(t, w, dcrtest.CodeForm("", w.code, crashCallback))
		return
	}
	c.tally["sign-in undone"]++
	tokens := c.token(t, w, dcrtest.CodeForm("", w.code, crashCallback))
	require.Equal(t, http.StatusOK, tokens.Status, tokens.Body)
	w.heard(tokens)
	c.requireGrant(t, w)
}

// requireLostRefresh: the old refresh token works, or was used, and then a second use ends the grant. Never two live.
func (c *crashes) requireLostRefresh(t *testing.T, w *witness) {
	t.Helper()
	c.requireRegistered(t, w)
	require.Equal(t, 2, c.live(t, w), "an access token and a refresh token, old or new")
	if c.active(t, w, w.refresh) {
		c.tally["refresh undone"]++
		c.requireGrant(t, w)
		return
	}
	c.tally["refresh done"]++
	dcrtest.RequireInactive(t, c.server().Server, w.access)
	c.requireUsedUp(t, w, dcrtest.RefreshForm("", w.refresh))
}
