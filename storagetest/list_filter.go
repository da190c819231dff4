package storagetest

import (
	"time"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

const (
	saysFits   = "Clients fit whose field is the one of the filter, compared byte by byte."
	saysSearch = "Search is all of the identifier, as it is; or its NameKey, unless that is empty, is part of the client's. Nothing in it is a pattern."
)

// listFilterRows check one field of the filter each, and then several together. What fits
// is what dcr.ClientFilter.Matches says.
var listFilterRows = []Row{
	{Name: "filter/issuer", Check: listing(filterIssuer), Says: saysFits,
		Why: "The operator of one issuer sees, or deletes, the clients of another."},
	{Name: "filter/origin", Check: listing(filterOrigin), Says: saysFits,
		Why: "A quota counts the clients of somebody else, or an operator can't find what one token or one user registered."},
	{Name: "filter/never_used", Check: listing(filterNeverUsed), Says: "NeverUsed means clients whose LastUsedAt is the zero time, and not 1970.",
		Why: "An operator who clears up what was never used removes clients that are in use."},
	{Name: "filter/expiring", Check: listing(filterExpiring), Says: "ExpiringBefore means clients whose ExpiresAt, or UnusedUntil where they were never used, is not zero and before the time.",
		Why: "Somebody is warned of the end of a client that does not end, or not warned of one that does."},
	{Name: "filter/software_id", Check: listing(filterSoftware), Says: saysFits,
		Why: "An operator who looks for a vulnerable program finds others, or not all of its clients."},
	{Name: "filter/redirect_host", Check: listing(filterRedirectHost), Says: "RedirectHost is the host of one of the redirect URIs, without a port; it arrives in lower case.",
		Why: "An operator who looks for clients of a host that was taken over misses some of them."},
	{Name: "filter/name_key", Check: listing(filterNameKey), Says: "NameKey is that of the client; it arrives as one (dcr.NameKey), and is compared as it is.",
		Why: "A consent page says that a name is the only one of its kind, where others have one that looks the same."},
	{Name: "filter/search_name", Check: listing(filterSearchName), Says: saysSearch,
		Why: "An operator does not find a client by what is seen of its name."},
	{Name: "filter/search_literal", Check: listing(filterSearchLiteral), Says: saysSearch,
		Why: "A search with a special character fails, or finds everything; in the worst case it changes the database."},
	{Name: "filter/search_id", Check: listing(filterSearchID), Says: saysSearch,
		Why: "An operator acts on another client than the one whose identifier was in the log."},
	{Name: "filter/created", Check: listing(filterCreated), Says: "CreatedFrom and CreatedBefore bound the time of registration: the beginning is part of the range, and the end is not.",
		Why: "Two ranges of time that meet have a client in common, or one that is in neither."},
	{Name: "filter/combined", Check: listing(filterCombined), Says: "Clients fit that fit every field of the filter that is not zero.",
		Why: "Each condition that an operator adds finds more clients instead of fewer."},
}

// among stores clients and checks that each filter picks those that fit, and counts them.
func (l *lister) among(edits []func(*dcr.Client), filters []dcr.ClientFilter) error {
	var clients []*dcr.Client
	for i, edit := range edits {
		c, err := l.create(i, edit)
		if err != nil {
			return err
		}
		clients = append(clients, c)
	}
	inOrder(clients)
	return l.picks(clients, filters)
}

func (l *lister) picks(clients []*dcr.Client, filters []dcr.ClientFilter) error {
	for _, filter := range filters {
		if filter.Issuer == "" {
			filter.Issuer = l.issuer
		}
		var want []*dcr.Client
		for _, c := range clients {
			if filter.Matches(c) {
				want = append(want, c)
			}
		}
		if err := l.lists(filter, dcr.ClientCursor{}, len(clients)+1, want); err != nil {
			return err
		}
		if err := l.counts(filter, len(clients)+1, len(want)); err != nil {
			return err
		}
	}
	return nil
}

// filterOf returns one filter for each value.
func filterOf(set func(f *dcr.ClientFilter, value string), values ...string) []dcr.ClientFilter {
	filters := make([]dcr.ClientFilter, len(values))
	for i, value := range values {
		set(&filters[i], value)
	}
	return filters
}

// clientOf returns one edit for each value.
func clientOf(set func(c *dcr.Client, value string), values ...string) []func(*dcr.Client) {
	edits := make([]func(*dcr.Client), len(values))
	for i, value := range values {
		edits[i] = func(c *dcr.Client) { set(c, value) }
	}
	return edits
}

func filterIssuer(l *lister) error {
	other := l.issuer + "/tenant"
	set := func(f *dcr.ClientFilter, issuer string) { f.Issuer = issuer }
	return l.among(
		clientOf(func(c *dcr.Client, issuer string) { c.Issuer = issuer }, l.issuer, other, "", l.issuer, other+"/"),
		filterOf(set, l.issuer, other, other+"/", other+"//"))
}

func filterOrigin(l *lister) error {
	edits := clientOf(func(c *dcr.Client, kind string) { c.Origin.Kind = kind }, "open", "Open", "user", "")
	edits = append(edits, clientOf(func(c *dcr.Client, subject string) { c.Origin.Subject = subject }, "alice", "Alice", "alice ", "")...)
	edits = append(edits, clientOf(func(c *dcr.Client, id string) { c.Origin.InitialAccessToken = id }, "poster", "POSTER", "")...)
	filters := filterOf(func(f *dcr.ClientFilter, kind string) { f.Kind = kind }, "open", "user", "ope", "nobody's")
	filters = append(filters, filterOf(func(f *dcr.ClientFilter, subject string) { f.Subject = subject }, "alice", "Alice", "alic", "a%")...)
	filters = append(filters, filterOf(func(f *dcr.ClientFilter, id string) { f.InitialAccessToken = id }, "poster", "POSTER", "post")...)
	return l.among(edits, filters)
}

func filterNeverUsed(l *lister) error {
	return l.among([]func(*dcr.Client){
		nil,
		func(c *dcr.Client) { c.LastUsedAt = l.at(9) },
		func(c *dcr.Client) { c.KeepUntil = l.at(9) },
		func(c *dcr.Client) { c.LastUsedAt = time.Unix(0, 0) },
		func(c *dcr.Client) { c.UnusedUntil = l.at(9) },
	}, []dcr.ClientFilter{{NeverUsed: true}, {}})
}

func filterExpiring(l *lister) error {
	end, later := l.at(100), l.at(200)
	return l.among([]func(*dcr.Client){
		nil,
		func(c *dcr.Client) { c.ExpiresAt = end },
		func(c *dcr.Client) { c.ExpiresAt = end.Add(-time.Second) },
		func(c *dcr.Client) { c.UnusedUntil = end },
		func(c *dcr.Client) { c.UnusedUntil = end.Add(-time.Second) },
		func(c *dcr.Client) { c.UnusedUntil, c.LastUsedAt = end.Add(-time.Second), l.at(50) },
		func(c *dcr.Client) { c.UnusedUntil, c.ExpiresAt = end.Add(-time.Second), later },
		func(c *dcr.Client) { c.UnusedUntil, c.ExpiresAt = later, end.Add(-time.Second) },
		func(c *dcr.Client) { c.LastUsedAt, c.ExpiresAt = l.at(50), end.Add(-time.Second) },
		func(c *dcr.Client) { c.KeepUntil, c.SecretExpiresAt = end.Add(-time.Second), end.Add(-time.Second) },
	}, []dcr.ClientFilter{{ExpiringBefore: end}, {ExpiringBefore: end.Add(-time.Second)}, {ExpiringBefore: end.Add(time.Second)}})
}

func filterSoftware(l *lister) error {
	return l.among(
		clientOf(func(c *dcr.Client, id string) { c.Metadata.SoftwareID = id }, "editor", "Editor", "editor 2", "", "editor"),
		filterOf(func(f *dcr.ClientFilter, id string) { f.SoftwareID = id }, "editor", "Editor", "edit", "editor%"))
}

func filterRedirectHost(l *lister) error {
	var edits []func(*dcr.Client)
	for _, uris := range [][]string{
		{"https://app.example/callback"},
		{"https://APP.Example/callback"},
		{"https://app.example:8443/callback"},
		{"https://first.example/", "com.example.app:/cb", "https://app.example/"},
		{"https://app.example/one", "https://app.example/two"}, // counts once
		{"https://notapp.example/"},
		{"https://app.example.evil.example/"},
		{"https://evil.example/app.example"},
		{"https://evil.example/?to=https://app.example/"},
		{"http://[::1]:1234/cb", "http://127.0.0.1/cb"},
		{"app.example:/cb"},
		{"app.example"},
		{"%"},
		{},
		nil,
	} {
		edits = append(edits, func(c *dcr.Client) { c.Metadata.RedirectURIs = uris })
	}
	set := func(f *dcr.ClientFilter, host string) { f.RedirectHost = host }
	return l.among(edits, filterOf(set, "app.example", "first.example", "::1", "127.0.0.1", "example", "app_example", "%"))
}

// names are such that people take some of them for one another.
var names = []string{
	"Example", "EXAMPLE", "  example ", "Ｅｘａｍｐｌｅ", "Example 2", "My Example App", "My\u00a0example   app",
	"Café", "Cafe\u0301", "CAFÉ", "Cafe", "ﬁle", "File", "straße", "STRASSE", "Пример", "пример", "例え", "",
	"\u200bExample", "ΟΔΟΣ", "οδός",
}

func setName(c *dcr.Client, name string) { c.Metadata.ClientName = name }

func filterNameKey(l *lister) error {
	keys := []string{"nobody", "exampl", "e%", "_xample"}
	for _, name := range names {
		keys = append(keys, dcr.NameKey(name))
	}
	return l.among(clientOf(setName, names...), filterOf(func(f *dcr.ClientFilter, key string) { f.NameKey = key }, keys...))
}

func filterSearchName(l *lister) error {
	wanted := []string{"exam", "EXAM", "ample a", "ａｍｐ", "café", "cafe\u0301", "cafe", "fil", "ß", "SS", "прим", "え", "my  example", "οδο", "nobody",
		" ", "\u200b"} // of which nothing is seen: no name has it
	return l.among(clientOf(setName, names...), filterOf(setSearch, wanted...))
}

func setSearch(f *dcr.ClientFilter, part string) { f.Search = part }

func filterSearchLiteral(l *lister) error {
	special := []string{"100% sure", "100 sure", "snake_case", "snakeXcase", `back\slash`, "backslash", `it's`, "its",
		`a "quoted" name`, "a*b", "a?b", "aXb", "[a-z]", "name'; DROP TABLE clients; --", "^start$", "a:b", "a&b|c", "(a", "$1", "?1", "@name"}
	wanted := []string{"%", "_", `\`, "'", `"`, "*", "?", "[a-z]", "100%", "e_c", `k\s`, `\%`, "''", "'; drop", "^", "$", ".", "a%b", "a_b", "a.b", "a|b", "&", "(", "$1", "?1", "@name"}
	return l.among(clientOf(setName, special...), filterOf(setSearch, wanted...))
}

// filterSearchID: all of the identifier finds a client, and a part of it none. A client that
// is named like the identifier of another is found by its name.
func filterSearchID(l *lister) error {
	first, err := l.create(0, nil)
	if err != nil {
		return err
	}
	second, err := l.create(1, func(c *dcr.Client) { c.Metadata.ClientName = "not " + first.ID })
	if err != nil {
		return err
	}
	id := second.ID
	clients := []*dcr.Client{second, first}
	return l.picks(clients, filterOf(setSearch, first.ID, id, id[1:], id[:len(id)-1], id[:len(id)-1]+"_", swapCase(id), "%", " "+id))
}

// swapCase returns an identifier of the suite, the beginning of which is in lower case and
// the rest in upper case, the other way round.
func swapCase(id string) string {
	swapped := []byte(id)
	for i, c := range swapped {
		if c|0x20 >= 'a' && c|0x20 <= 'z' {
			swapped[i] = c ^ 0x20
		}
	}
	return string(swapped)
}

// filterCreated: the beginning of a range is part of it, and the end is not.
func filterCreated(l *lister) error {
	var filters []dcr.ClientFilter
	for from := range 4 {
		filters = append(filters, dcr.ClientFilter{CreatedFrom: l.at(from)}, dcr.ClientFilter{CreatedBefore: l.at(from)})
		for before := range 5 {
			filters = append(filters, dcr.ClientFilter{CreatedFrom: l.at(from), CreatedBefore: l.at(before)})
		}
	}
	return l.among([]func(*dcr.Client){nil, nil, nil, func(c *dcr.Client) { c.UpdatedAt = l.at(0) }}, filters)
}

// filterCombined asks for every two conditions together, and for all. There is a client for
// each condition that it alone does not fit, one that fits all, and one that fits nothing.
func filterCombined(l *lister) error {
	conditions := []struct {
		ask  func(*dcr.ClientFilter)
		fit  func(*dcr.Client)
		miss func(*dcr.Client)
	}{
		{func(f *dcr.ClientFilter) { f.Kind = "user" }, func(c *dcr.Client) { c.Origin.Kind = "user" }, nil},
		{func(f *dcr.ClientFilter) { f.Subject = "alice" }, func(c *dcr.Client) { c.Origin.Subject = "alice" }, nil},
		{func(f *dcr.ClientFilter) { f.InitialAccessToken = "poster" }, func(c *dcr.Client) { c.Origin.InitialAccessToken = "poster" }, nil},
		{func(f *dcr.ClientFilter) { f.NeverUsed = true }, nil, func(c *dcr.Client) { c.LastUsedAt = l.at(20) }},
		{func(f *dcr.ClientFilter) { f.ExpiringBefore = l.at(100) }, func(c *dcr.Client) { c.ExpiresAt = l.at(50) }, nil},
		{func(f *dcr.ClientFilter) { f.SoftwareID = "editor" }, func(c *dcr.Client) { c.Metadata.SoftwareID = "editor" }, nil},
		{func(f *dcr.ClientFilter) { f.RedirectHost = "app.example" }, func(c *dcr.Client) { c.Metadata.RedirectURIs = []string{"https://app.example/"} }, nil},
		{func(f *dcr.ClientFilter) { f.NameKey = "some editor" }, func(c *dcr.Client) { setName(c, "Some Editor") }, func(c *dcr.Client) { setName(c, "Editor") }},
		{func(f *dcr.ClientFilter) { f.Search = "EDIT" }, nil, func(c *dcr.Client) { setName(c, "Some Program") }},
		{func(f *dcr.ClientFilter) { f.CreatedFrom = l.at(400) }, func(c *dcr.Client) { c.CreatedAt = l.at(500) }, func(c *dcr.Client) { c.CreatedAt = l.at(300) }},
		{func(f *dcr.ClientFilter) { f.CreatedBefore = l.at(600) }, nil, func(c *dcr.Client) { c.CreatedAt = l.at(700) }},
	}
	edits := []func(*dcr.Client){nil, func(c *dcr.Client) { c.LastUsedAt = l.at(20) }}
	for without := range len(conditions) + 1 {
		edits = append(edits, func(c *dcr.Client) {
			for i, condition := range conditions {
				if i != without && condition.fit != nil {
					condition.fit(c)
				}
			}
			if without < len(conditions) && conditions[without].miss != nil {
				conditions[without].miss(c)
			}
		})
	}
	var filters []dcr.ClientFilter
	var all dcr.ClientFilter
	for i, condition := range conditions {
		condition.ask(&all)
		for _, other := range conditions[:i] {
			var both dcr.ClientFilter
			condition.ask(&both)
			other.ask(&both)
			filters = append(filters, both)
		}
	}
	return l.among(edits, append(filters, all))
}
