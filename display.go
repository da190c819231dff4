package dcr

import (
	"context"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"

	"github.com/fosite-contrib/fosite-dcr/internal/redirecturi"
	"github.com/fosite-contrib/fosite-dcr/outbound"
)

// Display is what a consent page shows of a client. Almost all of it is what the client
// says of itself, so it is a claim even where Verified is set (T21): show the name as one,
// and say where the browser will be sent.
//
// Every string is one line of text without control characters and without invisible ones
// that change the order of what follows. It is text, not HTML: a page escapes it, and puts
// <bdi> around names and hosts, whose own letters may run from right to left.
//
// The server fetches none of the URIs.
type Display struct {
	// Name is what the client calls itself, in the language that fits best, in up to 80
	// characters. Where Named is false it gave no name that can be seen, and Name is the
	// host of its identifier or of a redirect URI, or the beginning of the identifier.
	Name  string
	Named bool
	// Language is the tag of the language that Name is in; empty where the client did not
	// say.
	Language string

	// RedirectHosts are the hosts that may be sent the user and the code, in the order of
	// the redirect URIs, each as RedirectHost shows it; loopback hosts without the port,
	// which a native client chooses anew each time.
	RedirectHosts []string
	// IdentifierHost is the host of an identifier that is a URL, that of a client's
	// document; empty for other identifiers.
	IdentifierHost string
	// LoopbackOnly says that every redirect URI leads to this machine: any program on it
	// can pose as the client (T50). The same holds for private-use schemes, which
	// RedirectHosts shows with a colon at the end.
	LoopbackOnly bool
	// Suspicious are remarks on the redirect URIs, the name and the identifier that most
	// clients give no cause for, such as a host that mixes the letters of different scripts
	// to look like another. They are phrases in English that a page can show in a list.
	Suspicious []string

	// Verified says that somebody answers for the client: the issuer of a software
	// statement, or whoever was allowed to register it. It does not say that the name is
	// true. Where anybody can have an account, that a signed-in user registered the client
	// says little.
	Verified bool
	// VouchedHow is "software_statement" or the Kind of the Registrant, VouchedBy who it is:
	// the issuer of the statement, the user, or the client whose access token it was. The
	// latter is empty where that is not known, and both are where Verified is false. Whether
	// users may learn of each other is for the host to decide.
	VouchedHow string
	VouchedBy  string

	// Registered is when the client was registered.
	Registered time.Time
	// SameName is how many other registered clients are called what Name says, as people read
	// it (NameKey; their names without a language tag count), and 1000 where there are more. Provider.Display counts; Client.Display does
	// not. A name that many have says nothing of who it is.
	SameName int

	// ClientURI, TOSURI and PolicyURI are pages to link to, in the language that fits best;
	// they are empty unless somebody answers for the client or the page lies on the https
	// host of one of its redirect URIs: the page of a brand makes anybody look like the
	// brand.
	ClientURI string
	TOSURI    string
	PolicyURI string
	// LogoURI is a picture; empty unless somebody answers for the client. A page that shows
	// it tells the client's host about its visitors.
	LogoURI string
}

// Display returns what a consent page shows of the client. The locales are language tags
// or values of Accept-Language, in order of preference; those that can't be read are passed
// over.
//
// All redirect URIs count, also where the client of one authorization request shows one. A
// record that came into the storage by other means than registration is held to the same:
// what the rules would have refused is left out or remarked on.
func (c *Client) Display(locales ...string) Display {
	wanted := readLocales(locales)
	d := Display{Registered: c.CreatedAt, LoopbackOnly: len(c.Metadata.RedirectURIs) > 0}
	d.VouchedHow, d.VouchedBy, d.Verified = c.vouched()
	elsewhere := ""
	for _, raw := range c.Metadata.RedirectURIs {
		host, loopback := d.addRedirect(raw)
		d.LoopbackOnly = d.LoopbackOnly && loopback
		if elsewhere == "" && !loopback {
			elsewhere = host
		}
	}
	d.setIdentifier(c.ID)
	d.setName(c, wanted, elsewhere)

	page := func(raw string) string { return c.safePage(raw, d.Verified) }
	d.ClientURI, _ = c.Metadata.inLanguage("client_uri", wanted, page)
	d.TOSURI, _ = c.Metadata.inLanguage("tos_uri", wanted, page)
	d.PolicyURI, _ = c.Metadata.inLanguage("policy_uri", wanted, page)
	if d.Verified {
		d.LogoURI, _ = c.Metadata.inLanguage("logo_uri", wanted, safePicture)
	}
	return d
}

// Display is Client.Display with the number of clients that have the same name, where the
// storage implements ClientLister. Beside an error, which the storage returned, the rest of
// the display is there.
func (p *Provider) Display(ctx context.Context, client *Client, locales ...string) (Display, error) {
	d := client.Display(locales...)
	key := NameKey(d.Name)
	if !d.Named || key == "" || p.registry.list == nil {
		return d, nil
	}
	found, err := p.CountClients(ctx, ClientFilter{NameKey: key}, mostSameName+1)
	if err != nil {
		return d, err
	}
	if key == client.NameKey() && d.IdentifierHost == "" { // a document's client is in no storage
		found--
	}
	d.SameName = min(max(found, 0), mostSameName)
	return d, nil
}

const mostSameName = 1000

// vouched tells who answers for the client. A record that does not say who registered it
// was registered by nobody.
func (c *Client) vouched() (how, by string, ok bool) {
	o := c.Origin
	switch {
	case c.StatementIssuer != "" && c.Metadata.SoftwareStatement != "":
		return "software_statement", oneLine(c.StatementIssuer), true
	case o.Anonymous || o.Kind == "open" || o.Kind == "" && o.Subject == "" && o.ClientID == "" && o.InitialAccessToken == "":
		return "", "", false
	case o.Subject != "":
		return oneLine(o.Kind), oneLine(o.Subject), true
	}
	return oneLine(o.Kind), oneLine(o.ClientID), true
}

// addRedirect adds the host of a redirect URI, and what is to be said of it.
func (d *Display) addRedirect(raw string) (host string, loopback bool) {
	u, err := url.Parse(raw)
	if err != nil {
		u = &url.URL{}
	}
	options := redirecturi.Options{PrivateUseSchemes: []string{u.Scheme}, MaxLength: len(raw)}
	if _, err := redirecturi.Check(raw, options); err != nil {
		d.suspect("a redirect URI " + err.Error())
	}
	host = RedirectHost(u)
	if isWeb(u) {
		shown, remark := showHost(u.Hostname())
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

func (d *Display) suspect(remark string) {
	if remark != "" && !slices.Contains(d.Suspicious, remark) {
		d.Suspicious = append(d.Suspicious, remark)
	}
}

func (d *Display) setIdentifier(id string) {
	u, err := url.Parse(id)
	if err != nil || u.Scheme != "https" {
		return
	}
	d.IdentifierHost = RedirectHost(u)
	_, remark := showHost(u.Hostname())
	d.suspect(remark)
}

// setName finds the best name, and without one something to tell the client by.
func (d *Display) setName(c *Client, wanted []language.Tag, elsewhere string) {
	d.Name, d.Language = c.Metadata.inLanguage("client_name", wanted, oneLine)
	d.Named = d.Name != ""
	switch {
	case d.Named && mixesScripts(d.Name):
		d.suspect("the name mixes letters of different scripts in one word")
	case d.Named:
	case d.IdentifierHost != "":
		d.Name = d.IdentifierHost
	case elsewhere != "":
		d.Name = elsewhere
	default:
		d.Name = clip(oneLine(c.ID), 12)
	}
}

// inLanguage returns the value of a member in the language that fits best, and the tag of
// that language. Where none fits it is the value without a tag, or else the English one, or
// else any. usable returns a value as it may be shown, and nothing for one that may not.
func (m *ClientMetadata) inLanguage(member string, wanted []language.Tag, usable func(string) string) (value, lang string) {
	var values []string
	var tags []language.Tag
	for _, name := range slices.Sorted(maps.Keys(m.Localized)) {
		tagged, ok := strings.CutPrefix(name, member+"#")
		if !ok || !languageTag(tagged) {
			continue
		}
		tag, err := language.Parse(tagged)
		if value := usable(m.Localized[name]); err == nil && value != "" {
			values, tags = append(values, value), append(tags, tag)
		}
	}
	plain, _ := memberNamed[member].place(m).(*string)
	if len(tags) == 0 {
		return usable(*plain), ""
	}
	matcher := language.NewMatcher(tags)
	_, i, confidence := matcher.Match(wanted...)
	if confidence == language.No {
		if value := usable(*plain); value != "" {
			return value, ""
		}
		_, i, _ = matcher.Match(language.English)
	}
	return values[i], tags[i].String()
}

// readLocales reads language tags and values of Accept-Language. One entry that can't be
// read takes no other with it.
func readLocales(locales []string) []language.Tag {
	var wanted []language.Tag
	for _, locale := range locales {
		locale = locale[:min(len(locale), longestInput)]
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

// safePage returns a URL that may be linked to. Who answers for nothing has no pages but
// those on a host that is sent the codes anyway (RFC 7591, section 5).
func (c *Client) safePage(raw string, verified bool) string {
	host := publicHost(raw, "https", "http")
	own := func(redirect string) bool { return publicHost(redirect, "https") == host }
	if host == "" || !verified && !slices.ContainsFunc(c.Metadata.RedirectURIs, own) {
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

const (
	longestName  = 80   // characters that are shown
	longestInput = 4096 // bytes that are looked at
	mostMarks    = 4    // on one letter, so that they do not cover the lines above
)

// oneLine makes a text of strangers fit to be shown: what the rule text refuses is left
// out, and so is what else can't be seen; what remains is one line of bounded length.
func oneLine(s string) string {
	s = s[:min(len(s), longestInput)]
	var line []rune
	marks, joined := mostMarks, true // at the beginning there is nothing to mark or to join
	for _, c := range norm.NFC.String(strings.ToValidUTF8(s, "")) {
		marks++
		switch {
		case unicode.IsSpace(c) || c == 0x2800: // the empty Braille pattern
			c, marks, joined = ' ', mostMarks, true
		case isJoiner(c) && joined, isUnseen(c), unicode.In(c, unicode.Mn, unicode.Me) && marks > mostMarks:
			continue
		case isJoiner(c):
			joined = true
		case !unicode.In(c, unicode.Mn, unicode.Me):
			marks, joined = 0, false
		}
		line = append(line, c)
	}
	return clip(strings.TrimRight(strings.Join(strings.Fields(string(line)), " "), "\u200c\u200d"), longestName)
}

// isJoiner reports whether c joins or parts the letters beside it, in Persian, in the
// scripts of India, in pictures of families.
func isJoiner(c rune) bool { return c == 0x200c || c == 0x200d }

// isUnseen reports whether c leaves no mark of its own: controls, direction, separators,
// fillers. Characters of private use are among them, since some fonts have logos there.
func isUnseen(c rune) bool {
	return !isJoiner(c) && !unicode.Is(unicode.Prepended_Concatenation_Mark, c) &&
		unicode.In(c, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point) ||
		c == unicode.ReplacementChar || c == 0xfffc || c == 0x1d159 // an object, a musical note without a head
}

// clip shortens a text that would push what matters off the page, at a place where it does
// not cut a character as readers see it.
func clip(s string, limit int) string {
	runes := []rune(s)
	if len(runes) <= limit {
		return s
	}
	end := limit
	for end > 0 && isInside(runes, end) {
		end--
	}
	if end == 0 {
		end = limit
	}
	return strings.TrimRight(string(runes[:end]), " ") + "…"
}

// isInside reports whether the characters at i-1 and i belong together: a letter and its
// marks, a picture and its skin tone, what a joiner joins, the two letters of a flag.
func isInside(runes []rune, i int) bool {
	c := runes[i]
	if unicode.IsMark(c) || isJoiner(c) || runes[i-1] == 0x200d || c >= 0x1f3fb && c <= 0x1f3ff {
		return true
	}
	letters := 0
	for ; letters < i && unicode.Is(unicode.Regional_Indicator, runes[i-1-letters]); letters++ {
	}
	return unicode.Is(unicode.Regional_Indicator, c) && letters%2 == 1
}
