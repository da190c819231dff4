package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// What clients register: a native one, a confidential one, and one without users.
const (
	public = `{"client_name":"Some Editor","redirect_uris":["http://127.0.0.1:33418/callback","https://editor.example/redirect"],` +
		`"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"none",` +
		`"client_uri":"https://editor.example/","scope":"profile email","application_type":"native"}`
	confidential = `{"client_name":"Some Service","redirect_uris":["https://service.example/callback","https://service.example/other"],` +
		`"grant_types":["authorization_code","refresh_token"],"response_types":["code"],"token_endpoint_auth_method":"client_secret_basic",` +
		`"client_uri":"https://service.example/","scope":"profile email","application_type":"web"}`
	machine = `{"client_name":"Some Job","redirect_uris":[],"grant_types":["client_credentials"],"response_types":[],` +
		`"token_endpoint_auth_method":"client_secret_basic","scope":"profile email"}`
)

// static is the client that the servers know from their start.
var static = client{id: "static", secret: "the-secret-of-the-static-client"}

const (
	jsonBody = "application/json"
	formBody = "application/x-www-form-urlencoded"
)

func (w *worker) register(metadata string) (*client, error) {
	_, body, err := w.do(request{method: http.MethodPost, path: "/register", contentType: jsonBody, body: metadata, want: http.StatusCreated})
	if err != nil {
		return nil, err
	}
	c := new(client)
	return c, json.Unmarshal(body, c)
}

// UnmarshalJSON takes over what the client needs of an answer.
func (c *client) UnmarshalJSON(body []byte) error {
	var answer struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
		Token  string `json:"registration_access_token"`
	}
	err := json.Unmarshal(body, &answer)
	c.id, c.secret, c.token = answer.ID, answer.Secret, answer.Token
	return err
}

func registerPublic(w *worker) error       { return w.registerForNow(public) }
func registerConfidential(w *worker) error { return w.registerForNow(confidential) }

// registerForNow registers a client that forget deletes.
func (w *worker) registerForNow(metadata string) error {
	c, err := w.register(metadata)
	if err == nil && c.token != "" { // a server without management keeps it
		w.forNow = append(w.forNow, c)
	}
	return err
}

func (w *worker) forget() error {
	for len(w.forNow) > 0 {
		if err := deleteNext(w); err != nil {
			return err
		}
	}
	return nil
}

// deleteNext deletes one of the clients that registerForNow has registered.
func deleteNext(w *worker) error {
	c := w.forNow[0]
	w.forNow = w.forNow[1:]
	return w.delete(c)
}

// fill registers a client that the worker reads and updates later.
func fill(w *worker) error {
	c, err := w.register(public)
	w.clients = append(w.clients, c)
	return err
}

// following goes round the clients of the worker.
func (w *worker) following() *client {
	w.next++
	return w.clients[w.next%len(w.clients)]
}

func read(w *worker) error   { return w.read(w.following()) }
func update(w *worker) error { return w.update(w.following()) }

func (w *worker) read(c *client) error {
	_, _, err := w.do(request{method: http.MethodGet, path: "/register/" + c.id, authorization: "Bearer " + c.token, want: http.StatusOK})
	return err
}

// update gives the client a new name.
func (w *worker) update(c *client) error {
	c.updates++
	metadata := strings.Replace(public, "Some Editor", fmt.Sprint("Some Editor ", c.updates), 1)
	_, body, err := w.do(request{
		method: http.MethodPut, path: "/register/" + c.id, authorization: "Bearer " + c.token,
		contentType: jsonBody, body: `{"client_id":"` + c.id + `",` + metadata[1:], want: http.StatusOK,
	})
	if err == nil {
		err = json.Unmarshal(body, c)
	}
	return err
}

// lifeCycle is four requests.
func lifeCycle(w *worker) error {
	c, err := w.register(public)
	if err == nil {
		err = w.read(c)
	}
	if err == nil {
		err = w.update(c)
	}
	if err == nil {
		err = w.delete(c)
	}
	return err
}

func (w *worker) delete(c *client) error {
	_, _, err := w.do(request{method: http.MethodDelete, path: "/register/" + c.id, authorization: "Bearer " + c.token, want: http.StatusNoContent})
	return err
}

func tokenStatic(w *worker) error {
	_, err := w.clientCredentials(&static)
	return err
}

func tokenRegistered(w *worker) (err error) {
	if w.service == nil {
		if w.service, err = w.register(machine); err != nil {
			return err
		}
	}
	_, err = w.clientCredentials(w.service)
	return err
}

// tokenOwn is for a static client of the worker's own, as the registered one of tokenRegistered is, so both servers hold
// as many tokens.
func tokenOwn(w *worker) error {
	_, err := w.clientCredentials(w.ownStatic())
	return err
}

func (w *worker) ownStatic() *client {
	return &client{id: fmt.Sprint(static.id, w.number), secret: static.secret}
}

// tokenOfService is for one service after the other.
func tokenOfService(w *worker) error {
	w.nextService++
	_, err := w.clientCredentials(w.services[w.nextService%len(w.services)])
	return err
}

func introspectStatic(w *worker) error {
	if w.token == "" {
		issued, err := w.clientCredentials(&static)
		if err != nil {
			return err
		}
		w.token = issued.Access
	}
	body, err := w.post("/introspect", &static, url.Values{"token": {w.token}})
	if err == nil && !strings.Contains(string(body), `"active":true`) {
		err = fmt.Errorf("introspection of a good token: %s", body)
	}
	return err
}

func refreshStatic(w *worker) error { return w.refreshAs(&static, &w.staticRefresh) }

func refreshOwn(w *worker) error { return w.refreshAs(w.ownStatic(), &w.appRefresh) }

func refreshRegistered(w *worker) (err error) {
	if w.app == nil {
		if w.app, err = w.register(confidential); err != nil {
			return err
		}
	}
	return w.refreshAs(w.app, &w.appRefresh)
}

// refreshAs goes on with a grant of the client, which a user gives at first.
func (w *worker) refreshAs(c *client, held *string) error {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {*held}}
	if *held == "" {
		code, err := w.authorize(c)
		if err != nil {
			return err
		}
		form = url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}}
	}
	answer, err := w.issue(c, form)
	*held = answer.Refresh
	if err == nil && answer.Refresh == "" {
		err = errors.New("no refresh token in an answer")
	}
	return err
}

const callback = "https://service.example/callback"

func (w *worker) authorize(c *client) (code string, err error) {
	query := url.Values{"client_id": {c.id}, "response_type": {"code"}, "redirect_uri": {callback}, "scope": {"profile"}, "state": {"some-state"}}
	header, _, err := w.do(request{method: http.MethodGet, path: "/authorize?" + query.Encode(), want: http.StatusSeeOther})
	if err != nil {
		return "", err
	}
	location, err := url.Parse(header.Get("Location"))
	if err == nil && location.Query().Get("code") == "" {
		err = fmt.Errorf("no code in %s", location)
	}
	return location.Query().Get("code"), err
}

func (w *worker) clientCredentials(c *client) (issued, error) {
	return w.issue(c, url.Values{"grant_type": {"client_credentials"}, "scope": {"profile"}})
}

// issued is an answer of the token endpoint.
type issued struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func (w *worker) issue(c *client, form url.Values) (answer issued, err error) {
	body, err := w.post("/token", c, form)
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	if err == nil && answer.Access == "" {
		err = errors.New("no access token in an answer")
	}
	return answer, err
}

func (w *worker) post(path string, c *client, form url.Values) ([]byte, error) {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.id)+":"+url.QueryEscape(c.secret)))
	_, body, err := w.do(request{method: http.MethodPost, path: path, authorization: basic, contentType: formBody, body: form.Encode(), want: http.StatusOK})
	return body, err
}
