package cimd

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// freshness is how long a shared cache may use an answer (RFC 9111, section 4.2.1): s-maxage before max-age before Expires,
// less Age. Without any it is 0, and so it is for what a shared cache must not keep or has to ask about each time.
func freshness(header http.Header, now time.Time) time.Duration {
	directives := cacheControl(header)
	for _, name := range []string{"no-store", "no-cache", "private"} {
		if _, ok := directives[name]; ok {
			return 0
		}
	}
	age := seconds(header.Get("Age"))
	for _, name := range []string{"s-maxage", "max-age"} {
		if value, ok := directives[name]; ok {
			return max(0, seconds(value)-age)
		}
	}
	expires, err := http.ParseTime(header.Get("Expires"))
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(header.Get("Date")); err == nil {
		now = date
	}
	return max(0, expires.Sub(now)-age)
}

// cacheControl returns the directives of a header, names in lower case, values without quotes. The first of a name counts.
func cacheControl(header http.Header) map[string]string {
	directives := map[string]string{}
	for directive := range strings.SplitSeq(strings.Join(header.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(directive, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if _, ok := directives[name]; !ok {
			directives[name] = strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return directives
}

// seconds reads a number of seconds. What is none is 0; what is too large for a clock is a year.
func seconds(text string) time.Duration {
	const year = 365 * 24 * 60 * 60
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0
	}
	number, err := strconv.Atoi(text)
	if err != nil {
		number = year
	}
	return time.Duration(min(number, year)) * time.Second
}
