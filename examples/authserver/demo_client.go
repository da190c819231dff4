package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// conversation sends requests over HTTP and prints them with their answers. After the first failure
// it sends nothing more, so that a list of calls needs one check at its end.
type conversation struct {
	base  string
	shown []string // the members of answers that are printed
	err   error

	ctx  context.Context
	out  io.Writer
	http *http.Client
	page *form // of the last page
	at   string
}

// open makes a client that keeps cookies, as a browser does, and follows no redirect
// by itself.
func (c *conversation) open(ctx context.Context, out io.Writer) {
	jar, _ := cookiejar.New(nil) // never fails without options
	c.ctx, c.out = ctx, out
	c.http = &http.Client{
		Jar:           jar,
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func (c *conversation) say(format string, args ...any) { fmt.Fprintf(c.out, format+"\n", args...) }

func (c *conversation) fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

func (c *conversation) equal(name string, got, want any) {
	if !reflect.DeepEqual(got, want) {
		c.fail("%s is %s, want %s", name, shortIfSecret(name, fmt.Sprint(got)), shortIfSecret(name, fmt.Sprint(want)))
	}
}

func (c *conversation) contains(name string, list any, want string) {
	if elements, _ := list.([]any); !slices.Contains(elements, any(want)) {
		c.fail("%s is %v, which lacks %q", name, list, want)
	}
}

func (c *conversation) present(answer map[string]any, members ...string) {
	for _, member := range members {
		if value, ok := answer[member]; !ok || value == "" {
			c.fail("the answer has no %s", member)
		}
	}
}

func (c *conversation) different(member string, before, after map[string]any) {
	if text(after, member) == "" || text(before, member) == text(after, member) {
		c.fail("%s was not replaced", member)
	}
}

func text(answer map[string]any, member string) string {
	value, _ := answer[member].(string)
	return value
}

func bearer(token string) string { return "Bearer " + token }

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
}

// call sends a request as a program does, and returns the JSON of the answer.
func (c *conversation) call(method, target string, body any, auth string, status int) map[string]any {
	if c.err != nil {
		return nil
	}
	content, media := c.request(method, target, body, auth)
	response := c.send(method, target, content, media, auth)
	if response == nil {
		return nil
	}
	var answer map[string]any
	if len(response.body) > 0 {
		if err := json.Unmarshal(response.body, &answer); err != nil {
			c.fail("the answer is not JSON: %v", err)
		}
	}
	c.show(fmt.Sprintf("    < %d %s", response.status, http.StatusText(response.status)), c.members(response.body), ", ")
	if response.status != status {
		c.fail("the status is %d, want %d", response.status, status)
	}
	return answer
}

// request prints a request and encodes its body: a form of url.Values, JSON of anything else.
func (c *conversation) request(method, target string, body any, auth string) (content []byte, media string) {
	path, _, _ := strings.Cut(target, "?")
	lead := "    > " + method + " " + strings.TrimPrefix(path, c.base)
	if auth != "" {
		lead += " with " + showAuth(auth)
	}
	switch body := body.(type) {
	case nil:
		c.show(lead, formParts(queryOf(target)), "&")
		return nil, ""
	case url.Values:
		c.show(lead, formParts(body), "&")
		return []byte(body.Encode()), "application/x-www-form-urlencoded"
	}
	content, err := json.Marshal(body)
	if err != nil {
		c.fail("%v", err)
	}
	c.show(lead, allMembers(content), ", ")
	return content, "application/json"
}

type answer struct {
	status   int
	location string
	body     []byte
}

func (c *conversation) send(method, target string, body []byte, media, auth string) *answer {
	request, err := http.NewRequestWithContext(c.ctx, method, target, bytes.NewReader(body))
	if err != nil {
		c.fail("%v", err)
		return nil
	}
	if media != "" {
		request.Header.Set("Content-Type", media)
	}
	if auth != "" {
		request.Header.Set("Authorization", auth)
	}
	response, err := c.http.Do(request)
	if err != nil {
		c.fail("%v", err)
		return nil
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		c.fail("%v", err)
		return nil
	}
	return &answer{response.StatusCode, response.Header.Get("Location"), content}
}

// browse sends a request as a browser does. It follows redirects within the server, and returns
// where one leads out of it.
func (c *conversation) browse(method, target string, fields url.Values) (left string) {
	if c.err != nil {
		return ""
	}
	var body any
	if fields != nil {
		body = fields
	}
	content, media := c.request(method, target, body, "")
	response := c.send(method, target, content, media, "")
	for response != nil && response.location != "" {
		next := resolve(target, response.location)
		if !strings.HasPrefix(next, c.base+"/") {
			path, _, _ := strings.Cut(next, "?")
			c.show(fmt.Sprintf("    < %d to %s", response.status, path), formParts(queryOf(next)), "&")
			return next
		}
		target = next
		response = c.send(http.MethodGet, target, nil, "", "")
	}
	if response == nil {
		return ""
	}
	c.page = readForm(response.body)
	c.at = target
	c.say("    < the page %q", c.page.title)
	return ""
}

// submit fills the form of the last page and sends it.
func (c *conversation) submit(values url.Values) (left string) {
	if c.err != nil {
		return ""
	}
	if c.page == nil || c.page.action == "" {
		c.fail("the page has no form")
		return ""
	}
	fields := c.page.hidden
	for name, value := range values {
		fields[name] = value
	}
	return c.browse(http.MethodPost, resolve(c.at, c.page.action), fields)
}

func resolve(base, reference string) string {
	from, err := url.Parse(base)
	if err != nil {
		return reference
	}
	to, err := from.Parse(reference)
	if err != nil {
		return reference
	}
	return to.String()
}

func queryOf(target string) url.Values {
	u, err := url.Parse(target)
	if err != nil {
		return nil
	}
	return u.Query()
}

// form is what the script needs of a page: its heading, and its first form.
type form struct {
	title  string
	action string
	hidden url.Values
}

func readForm(page []byte) *form {
	f := &form{hidden: url.Values{}}
	root, err := html.Parse(bytes.NewReader(page))
	if err != nil {
		return f
	}
	for node := range root.Descendants() {
		switch node.Data {
		case "h1":
			if node.FirstChild != nil {
				f.title = node.FirstChild.Data
			}
		case "form":
			f.action = attribute(node, "action")
		case "input":
			if attribute(node, "type") == "hidden" {
				f.hidden.Set(attribute(node, "name"), attribute(node, "value"))
			}
		}
	}
	return f
}

func attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
