package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/auth"
	"github.com/modelcontextprotocol/go-sdk/oauthex"
	"golang.org/x/oauth2"
)

// client is an MCP client's memory of one MCP server, and the auth.OAuthHandler of its transport. The SDK's own handler
// discovers, registers, sends the browser to the authorization server and redeems the code. By itself it would
// register again with every sign-in, never refresh a token that the server refuses before its time, and not notice
// that its registration is gone: that is here.
type client struct {
	// config has the ways in. The SDK takes the first of document, pre-registered client and registration that the
	// authorization server offers.
	config auth.AuthorizationCodeHandlerConfig

	mu         sync.Mutex
	registered *oauthex.ClientCredentials // what a registration gave; a real client keeps it on disk
	oauth      *oauth2.Config
	source     oauth2.TokenSource // refreshes; nil where there are no tokens
	ctx        context.Context    // of requests to the token endpoint
	token      *oauth2.Token      // the last one of source; a real client keeps it on disk, too
}

// TokenSource returns what the next request is to carry. A token that has expired is refreshed before.
func (c *client) TokenSource(context.Context) (oauth2.TokenSource, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.source == nil {
		return nil, nil
	}
	if err := c.renew(c.source); err != nil {
		return nil, err // the authorization server is down: keep everything and try again later
	}
	if c.source == nil {
		return nil, nil // the request goes without a token, and is answered with a challenge
	}
	return oauth2.StaticTokenSource(c.token), nil
}

// Authorize is called when the MCP server has answered 401 or 403.
func (c *client) Authorize(ctx context.Context, request *http.Request, response *http.Response) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if response.StatusCode == http.StatusUnauthorized && c.source != nil {
		// The token has expired by the server's clock, or was revoked. A refresh costs the user nothing.
		if err := c.renew(c.oauth.TokenSource(c.ctx, &oauth2.Token{RefreshToken: c.token.RefreshToken})); err != nil {
			return errors.Join(err, response.Body.Close())
		}
		if c.source != nil {
			return response.Body.Close()
		}
	}
	handler, err := auth.NewAuthorizationCodeHandler(c.signIn())
	if err != nil {
		return errors.Join(err, response.Body.Close())
	}
	err = handler.Authorize(ctx, request, response) // closes the body
	if !c.lost(err) && errors.Is(err, errNobodyCame) {
		c.registered = nil // of a client that it does not know the authorization server tells the user alone
	}
	return err // the next try begins with what is left
}

// errNobodyCame is a sign-in that has not brought the browser back to the client, in a real client after some minutes.
var errNobodyCame = errors.New("nobody came back from the sign-in")

// renew takes a token from a source. It returns an error only where nothing is lost. Otherwise it forgets what is no
// good any more.
func (c *client) renew(source oauth2.TokenSource) error {
	token, err := source.Token()
	if c.lost(err) {
		return nil
	}
	if err == nil {
		c.source, c.token = source, token
	}
	return err
}

// lost reports whether an error of the token endpoint means that tokens, or the registration too, are gone, and
// forgets them (RFC 6749, section 5.2). Any other error, such as 503, is no reason to forget anything.
func (c *client) lost(err error) bool {
	var refusal *oauth2.RetrieveError
	if !errors.As(err, &refusal) {
		return false
	}
	switch refusal.ErrorCode {
	case "invalid_client":
		c.registered, c.source, c.token = nil, nil, nil
		return true
	case "invalid_grant":
		c.source, c.token = nil, nil
		return true
	}
	return false
}

// signIn configures the SDK's handler for one sign-in. The client registers only where it has not yet, and asks for what
// it had and what the challenge names.
func (c *client) signIn() *auth.AuthorizationCodeHandlerConfig {
	config := c.config
	if c.registered != nil {
		config.PreregisteredClient = c.registered
	}
	if had := c.scopes(); len(had) > 0 {
		config.ScopeFilter = func(named []string) []string { return union(had, named) }
	}
	config.NewTokenSource = func(ctx context.Context, oauth *oauth2.Config, token *oauth2.Token) (oauth2.TokenSource, error) {
		c.keep(oauth)
		c.ctx, c.oauth, c.token, c.source = ctx, oauth, token, oauth.TokenSource(ctx, token)
		return c.source, nil
	}
	return &config
}

// keep keeps what a registration gave. A document and a pre-registered client are in the configuration.
func (c *client) keep(oauth *oauth2.Config) {
	document := c.config.ClientIDMetadataDocumentConfig
	if c.config.PreregisteredClient != nil || document != nil && document.URL == oauth.ClientID {
		return
	}
	c.registered = &oauthex.ClientCredentials{ClientID: oauth.ClientID}
	if oauth.ClientSecret != "" {
		c.registered.ClientSecretAuth = &oauthex.ClientSecretAuth{ClientSecret: oauth.ClientSecret}
	}
}

// scopes are those of the token.
func (c *client) scopes() []string {
	if c.token == nil {
		return nil
	}
	granted, _ := c.token.Extra("scope").(string)
	return strings.Fields(granted)
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
