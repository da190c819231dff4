package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"golang.org/x/net/html"
)

// browser plays the user, who signs in and allows what the page asks, and the user's browser, which the client opens.
// It reads where the last redirect leads and does not follow it: no client listens there.
type browser struct {
	name, password string
	requests       *http.Client // follows no redirect
}

// visit is an auth.AuthorizationCodeFetcher.
func (b *browser) visit(ctx context.Context, args *auth.AuthorizationArgs) (*auth.AuthorizationResult, error) {
	page, status, err := b.open(ctx, http.MethodGet, args.URL, nil)
	if err != nil {
		return nil, err
	}
	form, action := readForm(page)
	if action == "" {
		return nil, fmt.Errorf("%w: the browser shows an error, %d", errNobodyCame, status)
	}
	form.Set("user", b.name)
	form.Set("password", b.password)
	form.Set("decision", "allow")
	target, err := resolve(args.URL, action)
	if err != nil {
		return nil, err
	}
	location, _, err := b.open(ctx, http.MethodPost, target, form)
	if err != nil {
		return nil, err
	}
	if codeOf(location) == "" {
		return nil, errors.New("the browser brought no code")
	}
	back := queryOf(location)
	return &auth.AuthorizationResult{Code: back.Get("code"), State: back.Get("state"), Iss: back.Get("iss")}, nil
}

func codeOf(location string) string { return queryOf(location).Get("code") }

func queryOf(location string) url.Values {
	u, err := url.Parse(location)
	if err != nil {
		return nil
	}
	return u.Query()
}

// open returns the page at an address, or where it redirects to.
func (b *browser) open(ctx context.Context, method, target string, form url.Values) (page string, status int, err error) {
	request, err := http.NewRequestWithContext(ctx, method, target, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, err
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := b.requests.Do(request)
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = response.Body.Close() }()
	if location := response.Header.Get("Location"); location != "" {
		return location, response.StatusCode, nil
	}
	content, err := io.ReadAll(response.Body)
	return string(content), response.StatusCode, err
}

func resolve(page, reference string) (string, error) {
	base, err := url.Parse(page)
	if err != nil {
		return "", err
	}
	target, err := base.Parse(reference)
	if err != nil {
		return "", err
	}
	return target.String(), nil
}

// readForm returns the hidden fields of a page's form, and where it goes; empty where there is none.
func readForm(page string) (fields url.Values, action string) {
	fields = url.Values{}
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return fields, ""
	}
	for node := range root.Descendants() {
		switch {
		case node.Data == "form":
			action = attribute(node, "action")
		case node.Data == "input" && attribute(node, "type") == "hidden":
			fields.Set(attribute(node, "name"), attribute(node, "value"))
		}
	}
	return fields, action
}

func attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
