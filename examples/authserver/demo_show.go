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
	"code", "code_verifier", "password",
}

// unshown are the parameters that are not printed, since no step is about them.
var unshown = []string{"code_challenge", "code_challenge_method", "nonce", "request", "response_type", "state"}

// short shows enough of a secret to distinguish it from others: its prefix and four random characters.
// A JWT begins like every other of the same key, so of it the signature is shown.
func short(secret string) string {
	prefix, random := "", secret
	for _, known := range []string{"ory_at_", "ory_rt_", "ory_ac_", "dcrs_"} {
		if rest, ok := strings.CutPrefix(secret, known); ok {
			prefix, random = known, rest
		}
	}
	if parts := strings.Split(secret, "."); len(parts) == 3 {
		prefix, random = "eyJ…", parts[2]
	}
	if len(random) < 16 {
		return prefix + "…" // four characters would be too much of it
	}
	return prefix + random[:4] + "…"
}

func shortIfSecret(name, value string) string {
	if slices.Contains(secrets, name) {
		return short(value)
	}
	return value
}

// show prints a line, and after it as many parts as fit; the others follow on lines of their own.
func (c *conversation) show(lead string, parts []string, separator string) {
	const indent, width = "      ", 100
	line := lead
	for i, part := range parts {
		if i < len(parts)-1 {
			part += separator
		}
		switch {
		case len(line)+1+len(strings.TrimSpace(part)) > width:
			c.say("%s", strings.TrimRight(line, " "))
			line = indent + part
		case i == 0:
			line += " " + part
		default:
			line += part
		}
	}
	c.say("%s", line)
}

// members returns the members of an object that are to be printed, in the order in which they came.
func (c *conversation) members(object []byte) []string {
	return showMembers(object, func(name string) bool { return slices.Contains(c.shown, name) })
}

func allMembers(object []byte) []string {
	return showMembers(object, func(string) bool { return true })
}

func showMembers(object []byte, shown func(name string) bool) []string {
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
		if !shown(name) {
			left++
			continue
		}
		parts = append(parts, showMember(name, value))
	}
	if len(parts) == 0 {
		return nil
	}
	if left > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", left))
	}
	parts[0] = "{" + parts[0]
	parts[len(parts)-1] += "}"
	return parts
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
		if slices.Contains(unshown, name) {
			continue
		}
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
