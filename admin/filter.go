package admin

import (
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// query is the request for a list of clients.
type query struct {
	filter dcr.ClientFilter
	cursor string
	limit  int
}

const mostListed = 1000

// parameters has a function for each parameter of a list of clients, which reads its value. A
// function returns what is wrong, as a phrase that follows the name of the parameter.
var parameters = map[string]func(q *query, value string) string{
	"kind":                 text(func(q *query) *string { return &q.filter.Kind }),
	"subject":              text(func(q *query) *string { return &q.filter.Subject }),
	"initial_access_token": text(func(q *query) *string { return &q.filter.InitialAccessToken }),
	"software_id":          text(func(q *query) *string { return &q.filter.SoftwareID }),
	"cursor":               text(func(q *query) *string { return &q.cursor }),
	"expiring_before":      moment(func(q *query) *time.Time { return &q.filter.ExpiringBefore }),
	"created_from":         moment(func(q *query) *time.Time { return &q.filter.CreatedFrom }),
	"created_before":       moment(func(q *query) *time.Time { return &q.filter.CreatedBefore }),
	"redirect_host":        readHost,
	"never_used": func(q *query, value string) string {
		var err error
		if q.filter.NeverUsed, err = strconv.ParseBool(value); err != nil {
			return "is neither true nor false"
		}
		return ""
	},
	"name": func(q *query, value string) string {
		q.filter.NameKey = dcr.NameKey(value)
		return nothingSeen(q.filter.NameKey)
	},
	"search": func(q *query, value string) string {
		q.filter.Search = value
		return nothingSeen(dcr.NameKey(value))
	},
	"limit": func(q *query, value string) string {
		var phrase string
		q.limit, phrase = readLimit(value)
		return phrase
	},
}

// readLimit reads the limit of a list, or says what is wrong.
func readLimit(value string) (limit int, phrase string) {
	limit, err := strconv.Atoi(value)
	if err != nil || limit < 1 || limit > mostListed {
		return 0, "is not a number from 1 to 1000"
	}
	return limit, ""
}

// readQuery reads the parameters of a list. An unknown parameter is refused: otherwise an operator
// who mistypes a filter gets all clients, and believes that all match.
func readQuery(values url.Values) (*query, error) {
	q := &query{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		read, known := parameters[name]
		switch {
		case !known:
			return nil, unknownParameter(name)
		case len(values[name]) != 1:
			return nil, repeatedParameter(name)
		case values[name][0] == "":
			continue
		}
		if phrase := read(q, values[name][0]); phrase != "" {
			return nil, badRequest(name + " " + phrase + ".")
		}
	}
	return q, nil
}

func unknownParameter(name string) error {
	return badRequest(printable(name) + " is not a parameter of this list.")
}

func repeatedParameter(name string) error {
	return badRequest(name + " is given more than once.")
}

// printable is the beginning of a name that a caller chose, in ASCII.
func printable(name string) string {
	return strings.Trim(strconv.QuoteToASCII(name[:min(len(name), 40)]), `"`)
}

// text returns a function that takes a value as it is.
func text(place func(*query) *string) func(*query, string) string {
	return func(q *query, value string) string {
		*place(q) = value
		return ""
	}
}

// nothingSeen is the phrase for a value that would match every client.
func nothingSeen(key string) string {
	if key == "" {
		return "has no visible characters"
	}
	return ""
}

// formTime is the form in which browsers send a field for a time.
const formTime = "2006-01-02T15:04"

// moment returns a function that reads a time.
func moment(place func(*query) *time.Time) func(*query, string) string {
	return func(q *query, value string) string {
		t, err := readTime(value)
		if err != nil {
			return "is not a time such as 2026-01-31T12:00:00Z"
		}
		*place(q) = t
		return ""
	}
}

func readTime(value string) (t time.Time, err error) {
	for _, layout := range []string{time.RFC3339, formTime, "2006-01-02T15:04:05", time.DateOnly} {
		if t, err = time.Parse(layout, value); err == nil {
			return t, nil
		}
	}
	return t, err
}

// readHost reads a host in any spelling. Clients register theirs in ASCII.
func readHost(q *query, value string) string {
	host := strings.ToLower(strings.TrimSpace(value))
	if address, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		q.filter.RedirectHost = address.String()
		return ""
	}
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		host = ascii
	}
	if host == "" || strings.ContainsAny(host, "/:?#@ ") {
		return "is not a host name. Leave out the scheme, the port and the path"
	}
	q.filter.RedirectHost = host
	return ""
}
