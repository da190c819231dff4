package members_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/members"
)

// registration is a document of twelve members.
const registration = `{
  "name": "Example Client", "name#fr": "Exemple de client", "name#de": "Beispiel",
  "uris": ["http://127.0.0.1:33418/", "http://localhost:8787/callback", "com.example.app:/cb"],
  "kind": "native", "tags": ["authorization_code", "refresh_token"], "active": true, "size": 17,
  "signing_alg": "RS256", "signing_required": true, "logout_uri": "https://client.example/logout",
  "x_any": {"a": 1}
}`

func BenchmarkTable(b *testing.B) {
	l := wide()
	run := func(name string, pass func(d *document) error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d, err := decode(registration, l)
				if err == nil {
					err = pass(&d)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("decode", func(*document) error { return nil })
	run("decode_check_append", func(d *document) error {
		if err := table.Check(d, l); err != nil {
			return err
		}
		_, err := table.Append(make([]byte, 1, 1024), d)
		return err
	})
}

// The passes over a document that is sound allocate nothing for its members. The few that are allowed for a
// whole pass are those of a build with the race detector. A build that measures coverage allocates for its
// counters, so it is left out. It is not parallel, since it counts allocations.
func TestAllocations(t *testing.T) {
	if testing.CoverMode() != "" {
		return
	}
	d := read(t, `{"name":"n","kind":"web","tags":["a","b"],"active":true,"size":17,"signing_alg":"RS256","signing_required":true,"signing_algs":["a"],"logout_uri":"https://a.example/"}`)
	l, dst := limits(), append(make([]byte, 0, 1024), '{')
	honoured := map[string]members.Honoured{"signing_alg": {All: true}, "signing_required": {All: true}, "signing_algs": {All: true}, "logout_uri": {All: true}}
	for name, pass := range map[string]func() error{
		"Check":  func() error { return table.Check(d, l) },
		"Fit":    func() error { return table.Fit(d, honoured, true) },
		"Append": func() error { _, err := table.Append(dst, d); return err },
		"Prune":  func() error { table.Prune(d); return nil },
	} {
		var err error
		require.LessOrEqual(t, testing.AllocsPerRun(10, func() { err = pass() }), 5.0, name)
		require.NoError(t, err, name)
	}
}
