package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// secrets are the members and parameters that are shown shortened.
var secrets = []string{
	"access_token", "refresh_token", "id_token", "token", "registration_access_token", "client_secret",
	"code", "code_verifier", "password", "request",
}

// short shows enough of a value to tell it from others.
func short(value string) string {
	if len(value) <= 6 {
		return value
	}
	return value[:6] + "..."
}

func shortIfSecret(name, value string) string {
	if slices.Contains(secrets, name) {
		return short(value)
	}
	return value
}

// show prints parts below a line, as many a line as fit.
func (c *conversation) show(parts []string, separator string) {
	const indent, width = "      ", 96
	line := ""
	for i, part := range parts {
		if i < len(parts)-1 {
			part += separator
		}
		if line != "" && len(line)+len(strings.TrimSpace(part)) > width {
			c.say("%s%s", indent, strings.TrimRight(line, " "))
			line = ""
		}
		line += part
	}
	c.say("%s%s", indent, line)
}

// showURL prints a URL, with its query below where it is long.
func (c *conversation) showURL(lead, target string) {
	path, _, _ := strings.Cut(target, "?")
	path = strings.TrimPrefix(path, c.base)
	parts := formParts(queryOf(target))
	switch query := strings.Join(parts, "&"); {
	case query == "":
		c.say("    %s %s", lead, path)
	case len(query) < 60:
		c.say("    %s %s?%s", lead, path, query)
	default:
		c.say("    %s %s?", lead, path)
		c.show(parts, "&")
	}
}

// showJSON prints an object, its members in the order in which they came.
func (c *conversation) showJSON(object []byte) {
	decoder := json.NewDecoder(bytes.NewReader(object))
	var parts []string
	left := 0
	for token, err := decoder.Token(); err == nil; token, err = decoder.Token() {
		name, ok := token.(string)
		if !ok {
			continue // a brace
		}
		var value json.RawMessage
		if decoder.Decode(&value) != nil {
			break
		}
		if c.brief != nil && !slices.Contains(c.brief, name) {
			left++
			continue
		}
		parts = append(parts, showMember(name, value))
	}
	if len(parts) == 0 {
		return
	}
	if left > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", left))
	}
	parts[0] = "{" + parts[0]
	parts[len(parts)-1] += "}"
	c.show(parts, ", ")
}

func showMember(name string, value json.RawMessage) string {
	var secret string
	if slices.Contains(secrets, name) && json.Unmarshal(value, &secret) == nil {
		return fmt.Sprintf("%q: %q", name, short(secret))
	}
	return fmt.Sprintf("%q: %s", name, value)
}

// formParts shows parameters, readable rather than encoded.
func formParts(values url.Values) []string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		for _, value := range values[name] {
			parts = append(parts, name+"="+shortIfSecret(name, value))
		}
	}
	return parts
}

// showAuth shows the credentials of an Authorization header.
func showAuth(header string) string {
	scheme, credentials, _ := strings.Cut(header, " ")
	if scheme != "Basic" {
		return scheme + " " + short(credentials)
	}
	decoded, _ := base64.StdEncoding.DecodeString(credentials)
	id, secret, _ := strings.Cut(string(decoded), ":")
	return "Basic " + id + ":" + short(secret)
}
