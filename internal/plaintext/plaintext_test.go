package plaintext_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/plaintext"
)

func TestLine(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ given, want string }{
		"T21/bidi_override":       {"Goo\u202egle\u202c", "Google"},
		"T21/bidi_isolate":        {"\u2067App\u2069", "App"},
		"T21/bidi_mark":           {"App\u200f!\u200e\u061c", "App!"},
		"T21/line_breaks":         {"App\r\nis verified\u2028by\u2029us\u0085now", "App is verified by us now"},
		"T21/controls":            {"A\x00p\x1b[31mp\x7f", "Ap[31mp"},
		"T21/zero_width":          {"\ufeffA\u200bp\u2060p\u00ad", "App"},
		"T21/tags":                {"App\U000e0041\U000e007f", "App"},
		"T21/fillers":             {"A\u3164p\uffa0p\u115f", "App"},
		"T21/logo_in_a_font":      {"\uf8ff App", "App"},
		"T21/invalid_utf8":        {"A\xffp\xc3p", "App"},
		"T21/replacement":         {"A\ufffdpp\ufffc", "App"},
		"T21/spaces":              {"  A \u00a0\u3000 p\u2800p\t", "A p p"},
		"T21/nothing_seen":        {"\u200b \u2800\u202e\u0301\u200d", ""},
		"T21/marks_pile_up":       {"A" + strings.Repeat("\u0336\u0489", 50) + "pp", "A\u0336\u0489\u0336\u0489pp"},
		"T21/mark_on_nothing":     {"\u0301App \u0336x", "App x"},
		"T21/mark_after_unseen":   {"Cafe\u200b\u0301", "Café"},
		"T21/joiners":             {"\u200dA\u200d\u200dpp\u200c", "A\u200dpp"},
		"T21/marks_that_form_one": {"x\u0301\u0301\u0301\u0cc6\u0301\u0cc2", "x\u0301\u0301\u0301\u0cca"},
		"persian":                 {"می\u200cخواهم", "می\u200cخواهم"},
		"hebrew":                  {"שלום", "שלום"},
		"vietnamese":              {"Tie\u0302\u0301ng Vie\u0323\u0302t", "Tiếng Việt"},
		"family":                  {"👨\u200d👩\u200d👧 App", "👨\u200d👩\u200d👧 App"},
		"arabic_number_sign":      {"\u0600١٢", "\u0600١٢"},
		"markup_is_for_the_page":  {`<b>"&`, `<b>"&`},
		"empty":                   {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, plaintext.Line(c.given))
			requireLine(t, c.given)
		})
	}
}

func TestLineOfEveryCharacter(t *testing.T) {
	t.Parallel()
	for c := range characters {
		requireLine(t, "a"+string(c)+"b\u0301")
	}
}

// characters yields every character of Unicode, but for the many of Han, Hangul and Tangut.
func characters(yield func(rune) bool) {
	for c := rune(0); c <= 0xe0fff; c++ {
		switch {
		case c == 0x20000:
			c = 0xe0000 // between them are but characters of Han, and none
		case unicode.In(c, unicode.Han, unicode.Hangul, unicode.Tangut):
			continue
		case unicode.In(c, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z, unicode.C) && !yield(c):
			return
		}
	}
}

func TestLineIsShort(t *testing.T) {
	t.Parallel()
	flag, family := "🇨🇭", "👨\u200d👩\u200d👧\u200d👦"
	for name, c := range map[string]struct{ given, want string }{
		"fits":               {strings.Repeat("ä", 80), strings.Repeat("ä", 80)},
		"long":               {strings.Repeat("ä", 81), strings.Repeat("ä", 80) + "…"},
		"at_a_space":         {strings.Repeat("ä", 79) + " xyz", strings.Repeat("ä", 79) + "…"},
		"before_a_mark":      {strings.Repeat("ä", 79) + "x\u0323y", strings.Repeat("ä", 79) + "…"},
		"inside_a_flag":      {"x" + strings.Repeat(flag, 50), "x" + strings.Repeat(flag, 39) + "…"},
		"inside_a_family":    {"xxxx" + strings.Repeat(family, 20), "xxxx" + strings.Repeat(family, 10) + "…"},
		"skin_tone":          {strings.Repeat("x", 79) + "👍🏽y", strings.Repeat("x", 79) + "…"},
		"one_character_only": {"👨" + strings.Repeat("\u200d👨", 100), "👨" + strings.Repeat("\u200d👨", 39) + "\u200d…"},
		"enormous":           {strings.Repeat("日本", 1<<20), strings.Repeat("日本", 40) + "…"},
		"unseen_for_long":    {strings.Repeat("\u200b", plaintext.LongestInput) + "App", ""},
	} {
		t.Run("T21/"+name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, plaintext.Line(c.given))
			requireLine(t, c.given)
		})
	}
}

func TestClip(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		given string
		limit int
		want  string
	}{
		"shorter":  {"a0b1c2", 12, "a0b1c2"},
		"as_long":  {"a0b1c2", 6, "a0b1c2"},
		"longer":   {"a0b1c2", 4, "a0b1…"},
		"space":    {"a0 1c2", 3, "a0…"},
		"mark":     {"a0b\u0323c", 3, "a0…"},
		"zero":     {"a0", 0, "…"},
		"negative": {"a0", -1, "…"},
		"empty":    {"", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.want, plaintext.Clip(c.given, c.limit))
		})
	}
}

func TestMixesScripts(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"": false, "Google": false, "Яндекс Maps": false, "Приложение-App": false, "東京タワー": false, "LINEアプリ": false, "µTorrent": false,
		"München 24": false, "Tiếng Việt": false, "kt한국": false, "bpmㄅ漢": false, "नमस्ते": false, "App۵": false, "می\u200cخواهم": false,
		"Gооgle": true, "Gооgle Maps": true, "My Gооgle": true, "G\u200cоogle": true, "Αpple": true, "жω": true, "Appآ": true, "ꮪᎪx": true,
		"ᎪԱ": true, "한カ": true, "e\u0483": true, "שa": true, "ไtest": true,
	} {
		t.Run("T21/"+text, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, want, plaintext.MixesScripts(text))
		})
	}
}

// requireLine holds Line of a text against what Line promises of all.
func requireLine(t *testing.T, given string) {
	t.Helper()
	line := plaintext.Line(given)
	if line != plaintext.Line(line) {
		require.Equal(t, line, plaintext.Line(line), "%+q is the line of %+q, and not of itself", line, given)
	}
	bad := strings.ContainsFunc(line, func(c rune) bool {
		return unicode.In(c, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control, unicode.Co)
	})
	if bad || !utf8.ValidString(line) || utf8.RuneCountInString(line) > plaintext.LongestName+1 || strings.TrimSpace(line) != line {
		require.Fail(t, "no line", "%+q of %+q", line, given)
	}
}

func FuzzLine(f *testing.F) {
	for _, seed := range []string{"App", "\u202e", "e\u200b\u0301", "🇨🇭🇨", "x\u0301\u0301\u0301\u0cc6\u0301\u0cc2", strings.Repeat("ﷺ\u0301", 60), "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, given string) {
		requireLine(t, given)
		require.Equal(t, plaintext.MixesScripts(given), plaintext.MixesScripts(given+" a"))
	})
}
