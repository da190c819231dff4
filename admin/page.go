package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// parse reads the templates. Text that callers chose passes "seen", which makes invisible
// characters visible, and then html/template, which escapes it for its place (T21).
func (a *admin) parse() (*template.Template, error) {
	return template.New("pages").Funcs(template.FuncMap{
		"path":         a.path,
		"client":       a.clientPath,
		"document":     a.documentPath,
		"hasDocuments": func() bool { return a.options.Documents != nil },
		"host":         hostOf,
		"tail":         tail,
		"isURL":        isURL,
		"failed":       failed,
		"seen":         seen,
		"when":         func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") + " UTC" },
		"exact":        func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"away":         func(t time.Time) string { return away(t.Sub(a.options.Now())) },
		"expired":      func(t time.Time) bool { return !t.After(a.options.Now()) },
		"happened":     happened,
		"access":       access,
		"parts":        func(name string) []string { return strings.SplitAfter(name, "_") },
		"field":        field,
		"join":         func(list []string) string { return seen(strings.Join(list, ", ")) },
	}).ParseFS(files, "pages/*.html")
}

// path returns the path of a page: segments, escaped, under the prefix.
func (a *admin) path(segments ...string) string {
	path := a.options.Prefix
	for _, segment := range segments {
		path += "/" + url.PathEscape(segment)
	}
	return path
}

// seen replaces each character that is invisible, or changes the order of others, by its number.
func seen(s string) string {
	if !strings.ContainsFunc(s, unseen) {
		return s
	}
	var b strings.Builder
	for _, c := range s {
		if unseen(c) {
			fmt.Fprintf(&b, "[U+%04X]", c)
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// unseen reports whether a character is invisible, or changes the order of others.
func unseen(c rune) bool { return c == unicode.ReplacementChar || !unicode.IsGraphic(c) }

// away says how far away from now a time is, in the largest unit.
func away(d time.Duration) string {
	words := func(d time.Duration) string {
		for _, unit := range []struct {
			length time.Duration
			name   string
		}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
			if n := int(d / unit.length); n == 1 {
				return "1 " + unit.name
			} else if n > 1 {
				return fmt.Sprint(n, " ", unit.name, "s")
			}
		}
		return "less than a minute"
	}
	if d < 0 {
		return words(-d) + " ago"
	}
	return "in " + words(d)
}

// field returns the value of a form field for a time.
func field(value string) string {
	t, err := readTime(value)
	if err != nil {
		return ""
	}
	return t.UTC().Format(formTime)
}

// happened says in words what happened.
func happened(kind dcr.EventKind) string {
	switch kind {
	case dcr.EventShared:
		return "shared with an identical registration"
	case dcr.EventTokenRotated:
		return "registration access token replaced"
	case dcr.EventExpired:
		return "removed: expired or evicted"
	case dcr.EventGrantsRevoked:
		return "all tokens revoked"
	case dcr.EventLimited:
		return "refused: limit reached"
	case dcr.EventDocumentFailed:
		return "document not fetched or refused"
	case dcr.EventInitialAccessTokenMinted:
		return "initial access token created"
	}
	return seen(strings.ReplaceAll(string(kind), "_", " "))
}

// access says in words by what a registration was allowed: an access rule, or a software statement.
func access(kind string) string {
	switch kind {
	case dcr.KindOpen:
		return "open registration"
	case dcr.KindSignedIn:
		return "signed-in user"
	case dcr.KindAccessToken, dcr.KindInitialAccessToken, "software_statement":
		return strings.ReplaceAll(kind, "_", " ")
	}
	return seen(kind)
}

// counts returns a number in words where it stops at most.
func counts(n, most int) string {
	if n >= most {
		return fmt.Sprint(most, " or more")
	}
	return fmt.Sprint(n)
}

// frame is what every page has.
type frame struct {
	Title string
	Here  string // the entry of the navigation that this page is
}

// show writes a page. The whole page is made before anything is sent.
func (a *admin) show(w http.ResponseWriter, status int, name string, data any) error {
	var body bytes.Buffer
	if err := a.templates.ExecuteTemplate(&body, name, data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = body.WriteTo(w)
	return nil
}

// errorPage is the page of an error.
type errorPage struct {
	frame
	Text string
}

func (a *admin) showError(w http.ResponseWriter, answer *refusal) {
	titles := map[int]string{
		http.StatusBadRequest:     "The request is not valid",
		http.StatusForbidden:      "Not allowed",
		http.StatusNotFound:       "Not found",
		http.StatusNotImplemented: "The storage cannot do this",
	}
	title := titles[answer.status]
	switch {
	case title != "":
	case answer.status >= 500:
		title = "The server failed"
	default:
		title = "Not possible"
	}
	if err := a.show(w, answer.status, "error", errorPage{frame{Title: title}, answer.description}); err != nil {
		http.Error(w, answer.description, answer.status)
	}
}

func (a *admin) serveStyle(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write(a.style)
	return nil
}

// row is a member of the metadata on a page.
type row struct {
	Name   string
	Values []string
}

// rows returns the members of the metadata, the most important first.
func rows(metadata map[string]json.RawMessage) []row {
	first := []string{"redirect_uris", "scope", "grant_types", "response_types", "token_endpoint_auth_method"}
	place := func(name string) int {
		if i := slices.Index(first, name); i >= 0 {
			return i
		}
		return len(first)
	}
	var found []row
	for name, value := range metadata {
		found = append(found, row{name, valuesOf(value)})
	}
	slices.SortFunc(found, func(a, b row) int {
		if order := place(a.Name) - place(b.Name); order != 0 {
			return order
		}
		return strings.Compare(a.Name, b.Name)
	})
	return found
}

// valuesOf returns one JSON value as lines.
func valuesOf(value json.RawMessage) []string {
	var one string
	var many []string
	switch {
	case json.Unmarshal(value, &one) == nil:
		return []string{one}
	case json.Unmarshal(value, &many) == nil:
		return many
	}
	return []string{string(value)}
}
