package storagetest_test

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// filterFields are the fields of a filter, how each is taken away, and the row that is
// there for it.
var filterFields = []struct {
	name string
	drop func(*dcr.ClientFilter)
	row  string
}{
	{"the issuer", func(f *dcr.ClientFilter) { f.Issuer = "" }, "filter/issuer"},
	{"the kind", func(f *dcr.ClientFilter) { f.Kind = "" }, "filter/origin"},
	{"the subject", func(f *dcr.ClientFilter) { f.Subject = "" }, "filter/origin"},
	{"the initial access token", func(f *dcr.ClientFilter) { f.InitialAccessToken = "" }, "filter/origin"},
	{"never used", func(f *dcr.ClientFilter) { f.NeverUsed = false }, "filter/never_used"},
	{"the end", func(f *dcr.ClientFilter) { f.ExpiringBefore = time.Time{} }, "filter/expiring"},
	{"the software", func(f *dcr.ClientFilter) { f.SoftwareID = "" }, "filter/software_id"},
	{"the redirect host", func(f *dcr.ClientFilter) { f.RedirectHost = "" }, "filter/redirect_host"},
	{"the name key", func(f *dcr.ClientFilter) { f.NameKey = "" }, "filter/name_key"},
	{"the search", func(f *dcr.ClientFilter) { f.Search = "" }, "filter/search_name"},
	{"the beginning", func(f *dcr.ClientFilter) { f.CreatedFrom = time.Time{} }, "filter/created"},
	{"the time before", func(f *dcr.ClientFilter) { f.CreatedBefore = time.Time{} }, "filter/created"},
}

// filterDefects are those of single fields, and each field ignored, by lists and by counts,
// alone and beside others.
func filterDefects() []defect {
	var defects []defect
	for _, field := range filterFields {
		beside := func(f *dcr.ClientFilter) { // where another field is there, too
			rest := *f
			field.drop(&rest)
			if rest != (dcr.ClientFilter{Issuer: rest.Issuer}) {
				*f = rest
			}
		}
		caught := []string{field.row}
		if field.row != "filter/issuer" { // whose rows have no clients of another one
			caught = append(caught, "filter/combined")
			defects = append(defects, defect{"a list ignores " + field.name + " beside other fields",
				func(b *broken) { b.filtering(beside) }, []string{"filter/combined"}})
		}
		defects = append(defects,
			defect{"a list ignores " + field.name, func(b *broken) { b.filtering(field.drop) }, caught},
			defect{"a count ignores " + field.name, func(b *broken) { b.counting(field.drop) }, caught})
	}
	return slices.Concat(defects, valueDefects, searchDefects)
}

// withoutCase compares a value without regard to case.
func withoutCase(drop func(*dcr.ClientFilter), wanted func(dcr.ClientFilter) string, value func(*dcr.Client) string) func(*broken) {
	return func(b *broken) {
		b.matching(drop, func(f dcr.ClientFilter, c *dcr.Client) bool {
			return wanted(f) == "" || strings.EqualFold(wanted(f), value(c))
		})
	}
}

// redirecting takes a redirect host for that of a client by other means.
func redirecting(matches func(host string, uris []string) bool) func(*broken) {
	return func(b *broken) {
		b.matching(func(f *dcr.ClientFilter) { f.RedirectHost = "" }, func(f dcr.ClientFilter, c *dcr.Client) bool {
			return f.RedirectHost == "" || matches(f.RedirectHost, c.Metadata.RedirectURIs)
		})
	}
}

// anyURI is a test of one URI made one of all.
func anyURI(matches func(u *url.URL, host string) bool) func(*broken) {
	return redirecting(func(host string, uris []string) bool {
		return slices.ContainsFunc(uris, func(raw string) bool {
			u, err := url.Parse(raw)
			return err == nil && matches(u, host)
		})
	})
}

// ending takes a client for one that ends by other means.
func ending(ends func(c *dcr.Client, before time.Time) bool) func(*broken) {
	return func(b *broken) {
		b.matching(func(f *dcr.ClientFilter) { f.ExpiringBefore = time.Time{} }, func(f dcr.ClientFilter, c *dcr.Client) bool {
			return f.ExpiringBefore.IsZero() || ends(c, f.ExpiringBefore)
		})
	}
}

func endsBefore(end, t time.Time) bool { return !end.IsZero() && end.Before(t) }

var valueDefects = []defect{
	{"subjects are compared without case", withoutCase(func(f *dcr.ClientFilter) { f.Subject = "" },
		func(f dcr.ClientFilter) string { return f.Subject }, func(c *dcr.Client) string { return c.Origin.Subject }), []string{"filter/origin"}},
	{"initial access tokens are compared without case", withoutCase(func(f *dcr.ClientFilter) { f.InitialAccessToken = "" },
		func(f dcr.ClientFilter) string { return f.InitialAccessToken }, func(c *dcr.Client) string { return c.Origin.InitialAccessToken }), []string{"filter/origin"}},
	{"software is compared without case", withoutCase(func(f *dcr.ClientFilter) { f.SoftwareID = "" },
		func(f dcr.ClientFilter) string { return f.SoftwareID }, func(c *dcr.Client) string { return c.Metadata.SoftwareID }), []string{"filter/software_id"}},
	{"an issuer with a path is that without", func(b *broken) {
		b.matching(func(f *dcr.ClientFilter) { f.Issuer = "" }, func(f dcr.ClientFilter, c *dcr.Client) bool {
			return strings.HasPrefix(c.Issuer, f.Issuer)
		})
	}, []string{"filter/issuer"}},
	{"a client with a refresh token counts as used", func(b *broken) {
		b.matching(func(*dcr.ClientFilter) {}, func(f dcr.ClientFilter, c *dcr.Client) bool { return !f.NeverUsed || c.KeepUntil.IsZero() })
	}, []string{"filter/never_used"}},
	{"1970 counts as never", func(b *broken) {
		b.matching(func(f *dcr.ClientFilter) { f.NeverUsed = false }, func(f dcr.ClientFilter, c *dcr.Client) bool {
			return !f.NeverUsed || !c.LastUsedAt.After(time.Unix(0, 0))
		})
	}, []string{"filter/never_used"}},
	{"the end of unused clients is left out", ending(func(c *dcr.Client, t time.Time) bool {
		return endsBefore(c.ExpiresAt, t)
	}), []string{"filter/expiring"}},
	{"the end of unused clients is that of used ones", ending(func(c *dcr.Client, t time.Time) bool {
		return endsBefore(c.ExpiresAt, t) || endsBefore(c.UnusedUntil, t)
	}), []string{"filter/expiring"}},
	{"the end of unused clients comes first", ending(func(c *dcr.Client, t time.Time) bool {
		if c.LastUsedAt.IsZero() && !c.UnusedUntil.IsZero() {
			return endsBefore(c.UnusedUntil, t)
		}
		return endsBefore(c.ExpiresAt, t)
	}), []string{"filter/expiring"}},
	{"clients without an end end first", ending(func(c *dcr.Client, t time.Time) bool {
		return c.ExpiresAt.Before(t) || c.LastUsedAt.IsZero() && c.UnusedUntil.Before(t)
	}), []string{"filter/expiring"}},
	{"an end at the time is one before it", ending(func(c *dcr.Client, t time.Time) bool {
		t = t.Add(time.Second)
		return endsBefore(c.ExpiresAt, t) || c.LastUsedAt.IsZero() && endsBefore(c.UnusedUntil, t)
	}), []string{"filter/expiring"}},
	{"hosts have a port", anyURI(func(u *url.URL, host string) bool { return strings.ToLower(u.Host) == host }), []string{"filter/redirect_host"}},
	{"hosts have a case", anyURI(func(u *url.URL, host string) bool { return u.Hostname() == host }), []string{"filter/redirect_host"}},
	{"hosts have no case, and neither has what is wanted an address", anyURI(func(u *url.URL, host string) bool {
		return strings.ToLower(u.Hostname()) == host && !strings.Contains(host, ":")
	}), []string{"filter/redirect_host"}},
	{"a host is the end of another", anyURI(func(u *url.URL, host string) bool {
		return strings.HasSuffix(strings.ToLower(u.Hostname()), host)
	}), []string{"filter/redirect_host"}},
	{"a host is the beginning of another", anyURI(func(u *url.URL, host string) bool {
		return strings.HasPrefix(strings.ToLower(u.Hostname()), host)
	}), []string{"filter/redirect_host"}},
	{"a host is found anywhere", redirecting(func(host string, uris []string) bool {
		return strings.Contains(strings.ToLower(strings.Join(uris, " ")), host)
	}), []string{"filter/redirect_host"}},
	{"only the first redirect URI counts", redirecting(func(host string, uris []string) bool {
		if len(uris) == 0 {
			return false
		}
		u, err := url.Parse(uris[0])
		return err == nil && strings.ToLower(u.Hostname()) == host
	}), []string{"filter/redirect_host"}},
	{"a client counts once for each redirect URI", func(b *broken) {
		b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
			found, err := b.MemoryStore.ListClients(ctx, f, from, limit)
			var joined []*dcr.Client
			for _, c := range found {
				joined = append(joined, slices.Repeat([]*dcr.Client{c}, max(1, len(c.Metadata.RedirectURIs)))...)
			}
			if f.RedirectHost == "" {
				joined = found
			}
			return joined, err
		}
	}, []string{"filter/redirect_host"}},
	{"a range begins after its beginning", func(b *broken) {
		b.filtering(func(f *dcr.ClientFilter) {
			if !f.CreatedFrom.IsZero() {
				f.CreatedFrom = f.CreatedFrom.Add(time.Second)
			}
		})
	}, []string{"filter/created"}},
	{"a range has its end", func(b *broken) {
		b.counting(func(f *dcr.ClientFilter) {
			if !f.CreatedBefore.IsZero() {
				f.CreatedBefore = f.CreatedBefore.Add(time.Second)
			}
		})
	}, []string{"filter/created"}},
	{"a range is one of changes", func(b *broken) {
		b.matching(func(f *dcr.ClientFilter) { f.CreatedFrom, f.CreatedBefore = time.Time{}, time.Time{} },
			func(f dcr.ClientFilter, c *dcr.Client) bool {
				return (f.CreatedFrom.IsZero() || !c.UpdatedAt.Before(f.CreatedFrom)) &&
					(f.CreatedBefore.IsZero() || c.UpdatedAt.Before(f.CreatedBefore))
			})
	}, []string{"filter/created"}},
}

// searching has another idea of what a search finds.
func searching(finds func(part string, c *dcr.Client) bool) func(*broken) {
	return func(b *broken) {
		b.matching(func(f *dcr.ClientFilter) { f.Search = "" }, func(f dcr.ClientFilter, c *dcr.Client) bool {
			return f.Search == "" || f.Search == c.ID || finds(f.Search, c)
		})
	}
}

// named compares the key of a name otherwise.
func named(same func(key, name string) bool) func(*broken) {
	return func(b *broken) {
		b.matching(func(f *dcr.ClientFilter) { f.NameKey = "" }, func(f dcr.ClientFilter, c *dcr.Client) bool {
			return f.NameKey == "" || same(f.NameKey, c.Metadata.ClientName)
		})
	}
}

// holds is what a search by name is.
func holds(c *dcr.Client, part string) bool {
	key := dcr.NameKey(part)
	return key != "" && strings.Contains(c.NameKey(), key)
}

// like is how databases compare with a pattern.
func like(pattern, text string) bool {
	pattern = regexp.QuoteMeta(pattern)
	pattern = strings.NewReplacer("%", ".*", "_", ".").Replace(pattern)
	return regexp.MustCompile(pattern).MatchString(text)
}

var searchDefects = []defect{
	{"a name key is the name", named(func(key, name string) bool { return key == name }), []string{"filter/name_key"}},
	{"a name key has no case but that of English", named(func(key, name string) bool {
		return key == strings.ToLower(strings.TrimSpace(name))
	}), []string{"filter/name_key"}},
	{"a name key is part of one", named(func(key, name string) bool {
		return strings.Contains(dcr.NameKey(name), key)
	}), []string{"filter/name_key"}},
	{"a name key is a pattern", named(func(key, name string) bool {
		return like("^"+key+"$", dcr.NameKey(name))
	}), []string{"filter/name_key"}},
	{"a name key is compared without accents", named(func(key, name string) bool {
		plain := strings.NewReplacer("é", "e")
		return plain.Replace(key) == plain.Replace(dcr.NameKey(name))
	}), []string{"filter/name_key"}},
	{"a search looks at names as they are", searching(func(part string, c *dcr.Client) bool {
		return strings.Contains(c.Metadata.ClientName, part)
	}), []string{"filter/search_name"}},
	{"a search has no key", searching(func(part string, c *dcr.Client) bool {
		return strings.Contains(c.NameKey(), strings.ToLower(part))
	}), []string{"filter/search_name"}},
	{"a search finds names that begin so", searching(func(part string, c *dcr.Client) bool {
		return strings.HasPrefix(c.NameKey(), dcr.NameKey(part))
	}), []string{"filter/search_name", "filter/search_literal", "filter/search_id"}},
	{"a search finds names that are so", searching(func(part string, c *dcr.Client) bool {
		return c.NameKey() == dcr.NameKey(part)
	}), []string{"filter/search_name", "filter/search_literal"}},
	{"a search takes a pattern", searching(func(part string, c *dcr.Client) bool {
		return like(dcr.NameKey(part), c.NameKey())
	}), []string{"filter/search_literal", "filter/search_id"}},
	{"a search takes a regular expression", searching(func(part string, c *dcr.Client) bool {
		found, err := regexp.MatchString(dcr.NameKey(part), c.NameKey())
		return err == nil && found
	}), []string{"filter/search_literal"}},
	{"a backslash escapes nothing", searching(func(part string, c *dcr.Client) bool {
		return strings.Contains(c.NameKey(), strings.ReplaceAll(dcr.NameKey(part), `\`, ""))
	}), []string{"filter/search_literal"}},
	{"a quotation mark ends the statement", func(b *broken) {
		b.list = func(ctx context.Context, f dcr.ClientFilter, from dcr.ClientCursor, limit int) ([]*dcr.Client, error) {
			if strings.Contains(f.Search, "'") {
				return nil, errOther
			}
			return b.MemoryStore.ListClients(ctx, f, from, limit)
		}
	}, []string{"filter/search_literal"}},
	{"a search for nothing that is seen finds everything", searching(func(part string, c *dcr.Client) bool {
		return strings.Contains(c.NameKey(), dcr.NameKey(part))
	}), []string{"filter/search_name"}},
	{"a search finds no identifiers", func(b *broken) {
		b.matching(func(f *dcr.ClientFilter) { f.Search = "" }, func(f dcr.ClientFilter, c *dcr.Client) bool {
			return f.Search == "" || holds(c, f.Search)
		})
	}, []string{"filter/search_id", "list/whole"}},
	{"a search finds parts of identifiers", searching(func(part string, c *dcr.Client) bool {
		return strings.Contains(c.ID, part) || holds(c, part)
	}), []string{"filter/search_id"}},
	{"a search finds identifiers without case", searching(func(part string, c *dcr.Client) bool {
		return strings.EqualFold(c.ID, part) || holds(c, part)
	}), []string{"filter/search_id"}},
	{"what looks like an identifier is no name", searching(func(part string, c *dcr.Client) bool {
		return !strings.HasPrefix(part, "storagetest-") && holds(c, part)
	}), []string{"filter/search_id"}},
	{"a search drops a space before an identifier", searching(func(part string, c *dcr.Client) bool {
		return strings.TrimSpace(part) == c.ID || holds(c, part)
	}), []string{"filter/search_id"}},
	{"one condition of several is enough", func(b *broken) {
		b.matching(func(f *dcr.ClientFilter) { *f = dcr.ClientFilter{Issuer: f.Issuer} }, func(f dcr.ClientFilter, c *dcr.Client) bool {
			f.Issuer = ""
			for _, field := range filterFields[1:] {
				rest := f
				field.drop(&rest)
				if rest != f && rest.Matches(c) {
					return true
				}
			}
			return f.Matches(c)
		})
	}, []string{"filter/combined"}},
}
