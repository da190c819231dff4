package redirecturi

import "strings"

// Matches reports whether a client that registered one redirect URI may use the requested one.
//
// It may where the two are equal byte for byte (RFC 9700, section 2.1). Where the registered one is
// acceptable to [Check] and http to a loopback address, the port may differ or be absent on either side,
// since native clients listen on whatever port is free (RFC 8252, section 7.3); with anyLocalhostPort that
// holds for the host localhost too. Nothing else may differ: neither an encoding of the path nor the case
// of the host. A requested port is a plain number from 1 to 65535.
func Matches(registered, requested string, anyLocalhostPort bool) bool {
	if registered == requested {
		return true
	}
	if !strings.HasPrefix(registered, "http://") || !strings.HasPrefix(requested, "http://") {
		return false
	}
	// What is cheap comes first: a request names what it likes, and clients register dozens of long URIs (T61).
	return equalButPort(registered, requested) && anyPort(registered, anyLocalhostPort)
}

// anyPort reports whether a registered redirect URI stands for every port.
func anyPort(registered string, anyLocalhostPort bool) bool {
	if without, _ := cutPort(registered); !anyLocalhostPort && strings.EqualFold(without.host, "localhost") {
		return false // before the rest is read: there may be dozens that differ in their ports (T61)
	}
	kind, err := Check(registered, Options{MaxLength: len(registered)})
	return err == nil && (kind == LoopbackIP || kind == Localhost && anyLocalhostPort)
}

// equalButPort compares two http URIs. It means something where the first is acceptable.
func equalButPort(registered, requested string) bool {
	want, _ := cutPort(registered)
	got, ok := cutPort(requested)
	return ok && want == got
}

// portless is an http URI without its port, as the bytes in front of it and those behind it.
type portless struct{ host, tail string }

// cutPort removes the port of an http URI; false where it has one that is none. All other judgement is left
// to the comparison with an acceptable URI. It looks no further than the end of the authority.
func cutPort(raw string) (portless, bool) {
	rest := strings.TrimPrefix(raw, "http://")
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, port, hasPort := splitPort(rest[:end])
	return portless{host: host, tail: rest[end:]}, !hasPort || isPort(port)
}
