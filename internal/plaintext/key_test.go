package plaintext_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/plaintext"
)

// TestKey: names that people take for one another have one key, and others have not.
func TestKey(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		key   string
		names []string
	}{
		"ascii_case":          {"some editor", []string{"Some Editor", "SOME EDITOR", "some editor", "sOME eDITOR"}},
		"ascii_spaces":        {"some editor", []string{"  Some  Editor ", "Some\tEditor", "Some\nEditor\r\n"}},
		"other_spaces":        {"some editor", []string{"Some\u00a0Editor", "Some\u2003Editor", "Some\u3000Editor", "Some\u2028Editor", "\u2800Some Editor"}},
		"width":               {"some editor 2", []string{"Ｓｏｍｅ　Ｅｄｉｔｏｒ　２", "Some Editor ２"}},
		"half_width":          {"パソコン", []string{"パソコン", "ﾊﾟｿｺﾝ"}},
		"ligature":            {"file office", []string{"file office", "ﬁle oﬃce", "FILE OFFICE"}},
		"composed_accent":     {"café", []string{"Café", "Cafe\u0301", "CAFÉ", "CAFE\u0301", "Cafe\u200b\u0301"}},
		"two_marks":           {"ṩ", []string{"\u1e69", "s\u0323\u0307", "s\u0307\u0323", "\u1e9b\u0323", "\u1e68"}},
		"accents_differ":      {"cafe", []string{"Cafe", "CAFE"}},
		"case_that_grows":     {"strasse", []string{"Straße", "STRASSE", "STRAẞE"}},
		"greek_sigma":         {"οδοσ", []string{"ΟΔΟΣ", "οδος", "οδοσ"}},
		"cyrillic":            {"пример", []string{"Пример", "ПРИМЕР"}},
		"circled":             {"1", []string{"①", "１", "¹"}},
		"no_case":             {"例え", []string{"例え"}},
		"invisible":           {"example", []string{"Example\u200b", "Ex\u2060ample", "\ufeffExample", "Ex\u00adample", "\u202eExample", "Ex\u034fample", "\u2066Example\u2069", "Ex\u3164ample", "Ex\U000e0041ample"}},
		"invisible_selectors": {"example", []string{"Example\ufe0f", "Ex\ufe00ample", "Example\U000e0100"}},
		"invisible_joiners":   {"example", []string{"Ex\u200dample", "Exa\u200cmple", "Example\u200d"}},
		"controls":            {"example", []string{"Ex\x00ample", "Ex\x1bample", "\x7fExample"}},
		"not_utf8":            {"example", []string{"Ex\xffample", "Example\xc3", "\x80Example"}},
		"empty":               {"", []string{"", " ", "\t\n", "\u200b", "\u3164", "\u2800", "\xff", "\u0301\u0301"}},
	} {
		t.Run("T21/"+name, func(t *testing.T) {
			t.Parallel()
			for _, given := range append(row.names, row.key) {
				require.Equal(t, row.key, plaintext.Key(given), "%+q", given)
			}
		})
	}
}

// TestKeyOfLongNames: a key is bounded however long the name is, always the same for one name, and what
// looks alike to the end of what is shown counts as alike.
func TestKeyOfLongNames(t *testing.T) {
	t.Parallel()
	for name, part := range map[string]string{
		"ascii": "a", "spaces": "a ", "width": "Ａ", "grows": "ﷺ", "marks": "e\u0301", "only_marks": "\u0301", "joined": "👩\u200d",
		"flags": "🇫🇷", "not_utf8": "\xff", "zero": "\x00", "cut": "aé", "invisible": "\u200b",
	} {
		t.Run("T17/"+name, func(t *testing.T) {
			t.Parallel()
			long := strings.Repeat(part, 10_240/len(part))
			key := plaintext.Key(long)
			require.Equal(t, key, plaintext.Key(key))
			require.Equal(t, key, plaintext.Key(strings.ToUpper(strings.ToLower(long))), "case")
			require.Less(t, len(key), 8192)
			for cut := range 16 {
				require.NotPanics(t, func() { plaintext.Key(long[cut : len(long)-cut]) })
			}
		})
	}
	alike := strings.Repeat("Some Editor ", 20)
	require.Equal(t, plaintext.Key(alike+"one"), plaintext.Key(alike+"two"))
	require.NotEqual(t, plaintext.Key("Some Editor"), plaintext.Key(alike))
}

func TestKeyOfEveryCharacter(t *testing.T) {
	t.Parallel()
	for c := range characters {
		requireKey(t, "a"+string(c)+"\u0301\u0345")
	}
}

// requireKey: a key is the key of itself.
func requireKey(t *testing.T, name string) {
	t.Helper()
	if key := plaintext.Key(name); key != plaintext.Key(key) {
		require.Equal(t, key, plaintext.Key(key), "%+q is the key of %+q, and not of itself", key, name)
	}
}

func FuzzKey(f *testing.F) {
	for _, seed := range []string{
		"Some Editor", "Straße", "\u00a8\u0345", "ﷺ", "x\u0301\u0301\u0301\u0cc6\u0301\u0cc2", strings.Repeat("ﷺ\u0301 ", 60),
		strings.Repeat("a", 78) + " \u00a8ﷺ", "\u1e9e\u0323", "Ꭺꮪ", "\u0130\u0307",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) { requireKey(t, name) })
}

func BenchmarkKey(b *testing.B) {
	for name, given := range map[string]string{"ascii": "Some Editor", "accents": "Éditeur de modèles", "han": "東京のエディター"} {
		b.Run("name="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				plaintext.Key(given)
			}
		})
	}
}
