package processes_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fosite-contrib/fosite-dcr/internal/dcrtest"
)

// The requests of the load that change something.
const (
	registration = "registration"
	update       = "update"
	deletion     = "deletion"
	signIn       = "sign-in"
	refresh      = "refresh"
)

const crashCallback = "https://client.example/callback"

// witness is a client that remembers what it was answered, and which answer it never got. One goroutine works with it.
type witness struct {
	dcrtest.Answer        // the last one with its registration
	secret         string // which the answer to an update leaves out
	number         int    // of updates that were answered; the metadata says it
	tokenBefore    string // the registration access token that the last update replaced

	access, refresh             string // of its grant; empty where it has none
	accessBefore, refreshBefore string // which the last refresh replaced
	code                        string // that was exchanged without an answer

	touched      bool   // since the last kill
	deleted      bool   // which was answered, or is known since
	unmanageable bool   // its token was replaced, and nobody knows the new one
	lost         string // the kind of the request that got no answer
}

// numbered is metadata of which each member says after which update it is.
func numbered(number int, pairs ...any) map[string]any {
	return service(fmt.Sprint("Update ", number), append(pairs,
		"grant_types", []string{"authorization_code", "refresh_token", "client_credentials"}, "scope", "offline_access",
		"redirect_uris", []string{crashCallback}, "software_version", fmt.Sprint(number),
		"client_uri", fmt.Sprintf("https://client.example/%d", number))...)
}

func (w *witness) basic() dcrtest.Edit { return dcrtest.Basic(w.ID(), w.secret) }

// key is the key of the client in the database.
func (w *witness) key() []byte {
	key := sha256.Sum256([]byte(w.ID()))
	return key[:]
}

// as is the client with another token.
func (w *witness) as(token string) dcrtest.Answer {
	return dcrtest.Answer{Members: map[string]any{"client_id": w.ID(), "registration_access_token": token}}
}

// heard notes the tokens of an answer.
func (w *witness) heard(tokens dcrtest.Answer) {
	w.accessBefore, w.refreshBefore = w.access, w.refresh
	w.access, w.refresh = tokens.Text("access_token"), tokens.Text("refresh_token")
}

// forgetGrant: the grant is dead.
func (w *witness) forgetGrant() {
	w.access, w.refresh, w.accessBefore, w.refreshBefore = "", "", "", ""
}

// errLost: the process was gone before its answer was there, whole.
var errLost = errors.New("the answer was lost")

// send sends a request whose answer may be lost. An answer of another status than this is an error, too.
func (p *process) send(status int, method, path string, body []byte, edits ...dcrtest.Edit) (answer dcrtest.Answer, err error) {
	request, err := http.NewRequest(method, p.URL+path, strings.NewReader(string(body)))
	if err != nil {
		return answer, err
	}
	for _, edit := range edits {
		edit(request)
	}
	response, err := dcrtest.Transport.RoundTrip(request)
	if err != nil {
		return answer, fmt.Errorf("%w: %w", errLost, err)
	}
	defer func() { _ = response.Body.Close() }()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		return answer, fmt.Errorf("%w: %w", errLost, err)
	}
	answer = dcrtest.Answer{Status: response.StatusCode, Header: response.Header, Body: string(read)}
	_ = json.Unmarshal(read, &answer.Members)
	if answer.Status != status {
		return answer, fmt.Errorf("%s %s is answered %d: %s", method, path, answer.Status, answer.Body)
	}
	return answer, nil
}

// sendJSON sends metadata, with a token where there is one.
func (p *process) sendJSON(status int, method, path string, metadata map[string]any, token string) (answer dcrtest.Answer, err error) {
	var body []byte
	if metadata != nil {
		if body, err = json.Marshal(metadata); err != nil {
			return answer, err
		}
	}
	edits := []dcrtest.Edit{dcrtest.Header("Content-Type", "application/json")}
	if token != "" {
		edits = append(edits, dcrtest.Bearer(token))
	}
	return p.send(status, method, path, body, edits...)
}

// sendForm asks for tokens.
func (p *process) sendForm(form url.Values, client *witness) (dcrtest.Answer, error) {
	return p.send(http.StatusOK, http.MethodPost, "/oauth2/token", []byte(form.Encode()),
		dcrtest.Header("Content-Type", "application/x-www-form-urlencoded"), client.basic())
}

// crashWorker sends one request after the other, by clients of its own.
type crashWorker struct {
	random   *rand.Rand
	clients  []*witness // that can be used further
	deleted  []*witness // since the last kill
	answered map[string]int
	lost     string // the kind of the request that got no answer
	wrong    error  // an answer that should not have been
}

// run sends requests until one gets no answer. It tells of each answer.
func (w *crashWorker) run(to *process, answered func()) {
	w.lost, w.deleted = "", nil
	for _, client := range w.clients {
		client.touched = false
	}
	for {
		kind, client := w.choose()
		err := w.ask(to, kind, client)
		switch {
		case errors.Is(err, errLost):
			w.lost = kind
			if client != nil {
				client.lost = kind
			}
			return
		case err != nil:
			w.wrong = fmt.Errorf("%s: %w", kind, err)
			return
		}
		w.answered[kind]++
		answered()
	}
}

// choose says what comes next, and by which client.
func (w *crashWorker) choose() (kind string, client *witness) {
	n := w.random.IntN(12)
	if len(w.clients) == 0 || n < 2 && len(w.clients) < 5 {
		return registration, nil
	}
	client = w.clients[w.random.IntN(len(w.clients))]
	client.touched = true
	switch {
	case n < 4:
		return deletion, client
	case n < 7:
		return update, client
	case client.refresh == "":
		return signIn, client
	}
	return refresh, client
}

func (w *crashWorker) ask(to *process, kind string, client *witness) error {
	switch kind {
	case registration:
		return w.register(to)
	case update:
		return client.update(to)
	case deletion:
		return w.delete(to, client)
	case signIn:
		return client.signIn(to)
	}
	return client.renew(to)
}

func (w *crashWorker) register(to *process) error {
	answer, err := to.sendJSON(http.StatusCreated, http.MethodPost, "/register", numbered(0), "")
	if err == nil {
		w.clients = append(w.clients, &witness{Answer: answer, secret: answer.Secret(), touched: true})
	}
	return err
}

func (w *crashWorker) delete(to *process, client *witness) error {
	_, err := to.sendJSON(http.StatusNoContent, http.MethodDelete, "/register/"+client.ID(), nil, client.Token())
	if err == nil {
		client.deleted = true
		w.clients = slices.DeleteFunc(w.clients, func(c *witness) bool { return c == client })
		w.deleted = append(w.deleted, client)
	}
	return err
}

// update replaces the metadata, and with it the registration access token.
func (w *witness) update(to *process) error {
	answer, err := to.sendJSON(http.StatusOK, http.MethodPut, "/register/"+w.ID(), numbered(w.number+1, "client_id", w.ID()), w.Token())
	if err != nil {
		return err
	}
	if answer.Token() == w.Token() {
		return errors.New("the token is still the same")
	}
	w.tokenBefore, w.Answer = w.Token(), answer
	w.number++
	return nil
}

// signIn takes a user through the code flow.
func (w *witness) signIn(to *process) error {
	query := dcrtest.AuthorizeQuery(w.ID(), crashCallback, "scope", "offline_access")
	allowed, err := to.send(http.StatusSeeOther, http.MethodGet, "/oauth2/auth?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	location, err := url.Parse(allowed.Header.Get("Location"))
	if err != nil {
		return err
	}
	w.code = location.Query().Get("code")
	tokens, err := to.sendForm(dcrtest.CodeForm("", w.code, crashCallback), w)
	if err == nil {
		w.code = ""
		w.heard(tokens)
	}
	return err
}

// renew uses the refresh token.
func (w *witness) renew(to *process) error {
	tokens, err := to.sendForm(dcrtest.RefreshForm("", w.refresh), w)
	if err == nil {
		w.heard(tokens)
	}
	return err
}
