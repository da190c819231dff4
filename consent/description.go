package consent

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"

	dcr "github.com/fosite-contrib/fosite-dcr"
	"github.com/fosite-contrib/fosite-dcr/internal/plaintext"
	"github.com/fosite-contrib/fosite-dcr/internal/redirecturi"
	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// Description is what a consent page shows of a client. Almost all of it is what the client
// says about itself, so it is a claim even where Verified is set (T21): show the name as a
// claim, and show where the browser will be sent.
//
// Every string is one line of text without control characters and without invisible
// characters that change the order of what follows. It is text, not HTML: a page escapes it,
// and puts <bdi> around names and hosts, whose letters may run from right to left.
//
// The server fetches none of the URIs.
type Description struct {
	// Name is what the client calls itself, in the language that fits best, in up to 80
	// characters. Where Named is false, the client gave no name that can be seen: Name is then
	// the host of its identifier or of a redirect URI, or the beginning of the identifier.
	Name string
	// Named says that Name is a name that the client gave.
	Named bool
	// Language is the tag of the language that Name is in; empty where the client did not
	// say (RFC 7591, section 2.2).
	Language string

	// RedirectHosts are the hosts that the user and the code may be sent to, in the order of
	// the redirect URIs, each as Host shows it. Loopback hosts have no port here, because a
	// native client chooses another one each time (RFC 8252, section 7.3).
	RedirectHosts []string
	// IdentifierHost is the host of an identifier that is a URL, as clients have that publish a
	// document there; empty for other identifiers. A page shows it first.
	IdentifierHost string
	// LoopbackOnly says that every redirect URI leads to the user's own machine: any program
	// there can pose as the client (T50). The same holds for private-use schemes, which
	// RedirectHosts shows with a colon at the end.
	LoopbackOnly bool
	// Suspicious are remarks on the redirect URIs, the name and the identifier, for things that
	// most clients do not have, such as a host whose name has letters other than a to z and could
	// look like another. They are phrases in English that a page can show in a list.
	Suspicious []string

	// Verified says that somebody answers for the client: whoever was allowed to register it, or
	// the issuer of a software statement that holds the redirect URIs. A statement is public, so
	// one without redirect URIs verifies nothing (T63), nor does one of an issuer that the provider
	// does not trust any more. It does not say that the name is true. Where anybody can have an
	// account, it says little that a signed-in user registered the client.
	Verified bool
	// VouchedHow is "software_statement" or the Kind of the Registrant; empty where Verified is
	// false.
	VouchedHow string
	// VouchedBy is who answers for the client: the issuer of the statement, the user, or the
	// client whose access token was used. It is empty where that is not known, or Verified is
	// false. Whether users may learn about each other is for the application to decide.
	VouchedBy string

	// Registered is when the client was registered.
	Registered time.Time
	// SameName is how many other registered clients have the name that Name shows, as people
	// read it (dcr.NameKey; of their names, the one without a language tag counts). It is 1000
	// where there are more, and 0 where names are not counted. A name that many clients have
	// does not tell who a client is.
	SameName int

	// ClientURI is the client's page to link to, in the language that fits best. It is empty
	// unless somebody answers for it (a statement that holds it) or the page lies on the https host
	// of one of the redirect URIs: the page of a brand makes anybody look like the brand.
	ClientURI string
	// TOSURI is the page with the terms of service, under the same conditions.
	TOSURI string
	// PolicyURI is the page that says what the client does with data, under the same
	// conditions.
	PolicyURI string
	// LogoURI is a picture; empty unless somebody answers for it, as with the pages. A page that
	// shows it tells the picture's host about its visitors.
	LogoURI string
}

// Counter counts registered clients. *dcr.Provider is one.
type Counter interface {
	// CountClients returns how many clients of the issuer fit the filter, and most where there
	// are more. An error that wraps dcr.ErrNotSupported says that the storage can't count.
	CountClients(ctx context.Context, filter dcr.ClientFilter, most int) (int, error)
}

// Describe returns what a consent page shows of the client. The locales are language tags
// or values of Accept-Language, in order of preference; those that can't be read are ignored.
//
// The provider counts the clients with the same name (Description.SameName). Where it is nil,
// or its storage can't count, names are not counted; that is no error. It also says whether it
// trusts the issuer of a software statement, by the method TrustsStatements of *dcr.Provider;
// without it no statement verifies anything. An error is one of the
// storage or of the issuer while clients were counted: the rest of the description is there
// even then.
//
// All registered redirect URIs count, also where the client of one authorization request shows
// a single one. A record that came into the storage by other means than registration is judged
// by the same rules: what they would have refused is left out, or there is a remark on it.
func Describe(ctx context.Context, provider Counter, client *dcr.Client, locales ...string) (Description, error) {
	if client == nil {
		return Description{}, errors.New("consent: there is no client to describe")
	}
	d := describe(client, trusted(provider, client), locales)
	key := dcr.NameKey(d.Name)
	if provider == nil || !d.Named || key == "" {
		return d, nil
	}
	found, err := provider.CountClients(ctx, dcr.ClientFilter{NameKey: key}, mostSameName+1)
	switch {
	case errors.Is(err, dcr.ErrNotSupported):
		return d, nil
	case err != nil:
		return d, err
	}
	if key == client.NameKey() && documentURL(client.ID) == nil { // a document's client is in no storage
		found--
	}
	d.SameName = min(max(found, 0), mostSameName)
	return d, nil
}

const mostSameName = 1000

// trusted reports whether the provider trusts the issuer of the client's software statement.
func trusted(provider Counter, client *dcr.Client) bool {
	p, ok := provider.(interface{ TrustsStatements(issuer string) bool })
	return ok && p.TrustsStatements(client.StatementIssuer)
}

// describe returns all of the description that the record itself says.
func describe(c *dcr.Client, statement bool, locales []string) Description {
	wanted := readLocales(locales)
	m := &c.Metadata
	d := Description{Registered: c.CreatedAt, LoopbackOnly: len(m.RedirectURIs) > 0}
	answers := vouched(c, statement)
	d.VouchedHow, d.VouchedBy, d.Verified = answers.how, answers.by, answers.ok
	elsewhere := ""
	for _, raw := range m.RedirectURIs {
		host, loopback := d.addRedirect(raw)
		d.LoopbackOnly = d.LoopbackOnly && loopback
		if elsewhere == "" && !loopback {
			elsewhere = host
		}
	}
	d.setIdentifier(c.ID)
	d.setName(c, answers, wanted, elsewhere)

	page := func(name, raw string) string { return safePage(m, raw, answers.holds(name)) }
	d.ClientURI, _ = inLanguage(m, "client_uri", wanted, page)
	d.TOSURI, _ = inLanguage(m, "tos_uri", wanted, page)
	d.PolicyURI, _ = inLanguage(m, "policy_uri", wanted, page)
	d.LogoURI, _ = inLanguage(m, "logo_uri", wanted, func(name, raw string) string {
		if !answers.holds(name) {
			return ""
		}
		return safePicture(raw)
	})
	return d
}

// voucher is who answers for a client, if anybody does.
type voucher struct {
	how, by string
	ok      bool
	members []string // what a software statement holds; nil means the whole registration
}

// holds reports whether somebody answers for a member, by its whole name.
func (v voucher) holds(name string) bool {
	return v.ok && (v.members == nil || slices.Contains(v.members, name))
}

// vouched tells who answers for the client. Nobody answers for a record that does not say who
// registered it. A statement is public: one that does not say where the user goes may have been
// replayed by anybody (T63).
func vouched(c *dcr.Client, statement bool) voucher {
	o := c.Origin
	switch {
	case statement && c.Metadata.SoftwareStatement != "" && slices.Contains(c.StatementMembers, "redirect_uris"):
		return voucher{"software_statement", plaintext.Line(c.StatementIssuer), true, c.StatementMembers}
	case o.Anonymous || o.Kind == "open" || o.Kind == "" && o.Subject == "" && o.ClientID == "" && o.InitialAccessToken == "":
		return voucher{}
	case o.Subject != "":
		return voucher{how: plaintext.Line(o.Kind), by: plaintext.Line(o.Subject), ok: true}
	}
	return voucher{how: plaintext.Line(o.Kind), by: plaintext.Line(o.ClientID), ok: true}
}

// addRedirect adds the host of a redirect URI, and the remarks on it.
func (d *Description) addRedirect(raw string) (host string, loopback bool) {
	u, err := url.Parse(raw)
	if err != nil {
		u = &url.URL{}
	}
	options := redirecturi.Options{PrivateUseSchemes: []string{u.Scheme}, MaxLength: len(raw)}
	if _, err := redirecturi.Check(raw, options); err != nil {
		d.suspect("a redirect URI " + err.Error())
	}
	host = Host(u)
	if u.Scheme == "https" || u.Scheme == "http" {
		shown, remark := plaintext.Host(u.Hostname())
		d.suspect(remark)
		if loopback = outbound.LoopbackHost(u.Hostname()); loopback {
			host = shown
		}
	}
	if host != "" && !slices.Contains(d.RedirectHosts, host) {
		d.RedirectHosts = append(d.RedirectHosts, host)
	}
	return host, loopback
}

func (d *Description) suspect(remark string) {
	if remark != "" && !slices.Contains(d.Suspicious, remark) {
		d.Suspicious = append(d.Suspicious, remark)
	}
}

func (d *Description) setIdentifier(id string) {
	u := documentURL(id)
	if u == nil {
		return
	}
	d.IdentifierHost = Host(u)
	_, remark := plaintext.Host(u.Hostname())
	d.suspect(remark)
}

// documentURL returns a client identifier that is the URL of the client's document, and nil for
// any other.
func documentURL(id string) *url.URL {
	u, err := url.Parse(id)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" {
		return nil
	}
	return u
}

// setName finds the best name, and without one something to tell the client by.
func (d *Description) setName(c *dcr.Client, answers voucher, wanted []language.Tag, elsewhere string) {
	name := func(any bool) (string, string) {
		return inLanguage(&c.Metadata, "client_name", wanted, func(name, value string) string {
			if !any && !answers.holds(name) {
				return ""
			}
			return plaintext.Line(value)
		})
	}
	if d.Name, d.Language = name(answers.members == nil); d.Name == "" {
		if d.Name, d.Language = name(true); d.Name != "" {
			d.suspect("the name is not in the software statement")
		}
	}
	d.Named = d.Name != ""
	switch {
	case d.Named && plaintext.MixesScripts(d.Name):
		d.suspect("the name mixes letters of different scripts in one word")
	case d.Named:
	case d.IdentifierHost != "":
		d.Name = d.IdentifierHost
	case elsewhere != "":
		d.Name = elsewhere
	default:
		d.Name = plaintext.Clip(plaintext.Line(c.ID), 12)
	}
}

// inLanguage returns the value of a member in the language that fits best, and the tag of
// that language. Where none fits it is the value without a tag, or else the English one, or
// else any. usable returns a value as it may be shown, and nothing for one that may not; it is
// given the whole name of the member.
func inLanguage(m *dcr.ClientMetadata, member string, wanted []language.Tag, usable func(name, value string) string) (value, lang string) {
	var values []string
	var tags []language.Tag
	for _, name := range slices.Sorted(maps.Keys(m.Localized)) {
		tagged, ok := strings.CutPrefix(name, member+"#")
		if !ok || len(tagged) > longestTag {
			continue
		}
		tag, err := language.Parse(tagged)
		if value := usable(name, m.Localized[name]); err == nil && value != "" {
			values, tags = append(values, value), append(tags, tag)
		}
	}
	plain, _ := m.Value(member).(string)
	if len(tags) == 0 {
		return usable(member, plain), ""
	}
	matcher := language.NewMatcher(tags)
	_, i, confidence := matcher.Match(wanted...)
	if confidence == language.No {
		if value := usable(member, plain); value != "" {
			return value, ""
		}
		_, i, _ = matcher.Match(language.English)
	}
	return values[i], tags[i].String()
}

// longestTag bounds a language tag, in bytes (RFC 5646, section 4.4.1).
const longestTag = 35

// readLocales reads language tags and values of Accept-Language. An entry that can't be read
// does not affect the others.
func readLocales(locales []string) []language.Tag {
	var wanted []language.Tag
	for _, locale := range locales {
		locale = locale[:min(len(locale), plaintext.LongestInput)]
		tags, _, err := language.ParseAcceptLanguage(locale)
		if err != nil {
			for entry := range strings.SplitSeq(locale, ",") {
				tag, _, _ := language.ParseAcceptLanguage(entry)
				tags = append(tags, tag...)
			}
		}
		wanted = append(wanted, tags...)
	}
	return wanted
}

// safePage returns a URL that may be linked to. A client that nobody answers for has no pages
// but those on a host that is sent the codes anyway (RFC 7591, section 5).
func safePage(m *dcr.ClientMetadata, raw string, verified bool) string {
	host := publicHost(raw, "https", "http")
	own := func(redirect string) bool { return publicHost(redirect, "https") == host }
	if host == "" || !verified && !slices.ContainsFunc(m.RedirectURIs, own) {
		return ""
	}
	return raw
}

func safePicture(raw string) string {
	if publicHost(raw, "https") == "" {
		return ""
	}
	return raw
}

// publicHost returns the host of a URL; nothing where the URL is not acceptable, or leads
// the user's browser into the user's own network.
func publicHost(raw string, schemes ...string) string {
	host, err := redirecturi.CheckURL(raw, redirecturi.URLOptions{Schemes: schemes, AllowFragment: true, MaxLength: len(raw)})
	if err != nil || outbound.SpecialHost(host) {
		return ""
	}
	return host
}
