package resource_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/resource"
)

func TestNarrow(t *testing.T) {
	t.Parallel()
	granted := []string{"https://a.example", "https://b.example/"}
	for name, row := range map[string]struct {
		resources, want []string
		known           bool
	}{
		"none":           {nil, granted, true},
		"empty":          {[]string{""}, granted, true},
		"one":            {[]string{"https://b.example/"}, granted[1:], true},
		"slash_less":     {[]string{"https://b.example"}, granted[1:], true},
		"slash_more":     {[]string{"https://a.example/"}, granted[:1], true},
		"twice":          {[]string{"https://a.example", "https://a.example/"}, granted[:1], true},
		"both":           {[]string{"https://b.example/", "https://a.example"}, []string{granted[1], granted[0]}, true},
		"unknown":        {[]string{"https://c.example"}, granted, false},
		"one_unknown":    {[]string{"https://c.example", "https://a.example"}, granted[:1], false},
		"below":          {[]string{"https://a.example/path"}, granted, false},
		"two_slashes":    {[]string{"https://a.example//"}, granted, false},
		"another_letter": {[]string{"https://A.example"}, granted, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, known := resource.Narrow(granted, row.resources)
			require.Equal(t, row.want, got)
			require.Equal(t, row.known, known)
		})
	}
	got, known := resource.Narrow(nil, []string{"https://a.example"})
	require.Empty(t, got)
	require.False(t, known)
}
