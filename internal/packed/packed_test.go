package packed_test

import (
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/packed"
)

// fields has one of each kind, and two where the order counts.
type fields struct {
	first, second time.Time
	number        int64
	flag          bool
	text, owned   string
	data          []byte
	list          []string
	slice         []int64
	texts         map[string]string
	raws          map[string][]byte
	at            time.Time
	behind        string
}

func (f *fields) pack(c *packed.Codec) {
	c.Fixed(&f.first, &f.second)
	c.Owned(&f.text, &f.owned)
	c.Ints(&f.number)
	c.Flags(&f.flag)
	c.Data(&f.data)
	c.Lists(&f.list)
	packed.Slice(c, &f.slice)
	for i := range f.slice {
		c.Ints(&f.slice[i])
	}
	packed.Map(c, &f.texts)
	packed.Map(c, &f.raws)
	c.Times(&f.at)
	c.Texts(&f.behind)
}

func (f *fields) written() string {
	w := packed.Writer([]byte("in front"))
	f.pack(&w)
	return strings.TrimPrefix(string(w.Bytes()), "in front")
}

func read(c packed.Codec) (f fields) {
	f.pack(&c)
	return f
}

// FuzzCodec writes and reads any values. What was cut off, or was never written, is read as anything, without a panic.
func FuzzCodec(f *testing.F) {
	f.Add(int64(0), int64(0), false, "", []byte(nil))
	f.Add(int64(-62135596800), int64(1), true, "some text", []byte("some data"))
	f.Add(int64(-1<<63), int64(999_999_999), true, strings.Repeat("long", 100), []byte{})
	f.Add(int64(1<<63-1), int64(-1), false, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f\xff", []byte{0})
	f.Fuzz(func(t *testing.T, seconds, nanoseconds int64, flag bool, text string, data []byte) {
		at := time.Unix(seconds, nanoseconds).UTC()
		in := fields{
			first: at, second: time.Unix(nanoseconds, seconds).UTC(), number: seconds, flag: flag, text: text, owned: string(data), data: data,
			at: at, behind: "behind", slice: []int64{nanoseconds}, texts: map[string]string{text: string(data), "b": ""},
		}
		if flag {
			in.list, in.raws, in.slice, in.texts = []string{text, "", string(data)}, map[string][]byte{text: append([]byte{}, data...)}, nil, nil
		}
		written := in.written()
		require.Equal(t, in, read(packed.Reader(written)))
		require.Equal(t, in, read(packed.BriefReader(written)))
		for i := range min(len(written), 300) {
			read(packed.Reader(written[:i]))
		}
		read(packed.Reader(text))
	})
}

// TestCodecKeepsWhatIsEmpty: nil is not what is empty, and never is no time of this world.
func TestCodecKeepsWhatIsEmpty(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]fields{
		"nothing": {},
		"empty":   {data: []byte{}, list: []string{}, slice: []int64{}, texts: map[string]string{}, raws: map[string][]byte{}},
		"1970":    {first: time.Unix(0, 0).UTC(), at: time.Unix(0, 0).UTC()},
		"before":  {first: time.Unix(-1, 999_999_999).UTC(), at: time.Unix(-1, 999_999_999).UTC()},
	} {
		require.Equal(t, in, read(packed.Reader(in.written())), name)
	}
	there := time.Date(2026, 5, 4, 3, 2, 1, 7, time.FixedZone("there", 3600))
	require.Equal(t, fields{first: there.UTC(), at: there.UTC()}, read(packed.Reader((&fields{first: there, at: there}).written())))
}

// TestLater moves the times in front, each for itself, and leaves the rest.
func TestLater(t *testing.T) {
	t.Parallel()
	at := func(second int64) time.Time { return time.Unix(second, 5).UTC() }
	in := fields{first: at(10), text: "text", behind: "behind"}
	written := in.written()
	for _, row := range []struct {
		name        string
		first       time.Time
		second      time.Time
		want, wants time.Time
	}{
		{"both", at(11), at(-1), at(11), at(-1)},
		{"first", at(11), time.Time{}, at(11), time.Time{}},
		{"second", at(9), at(1), at(10), at(1)},
		{"neither", at(10), time.Time{}, at(10), time.Time{}},
	} {
		want := in
		want.first, want.second = row.want, row.wants
		require.Equal(t, want, read(packed.Reader(packed.Later(written, row.first, row.second))), row.name)
	}
	same := packed.Later(written, at(10), time.Time{})
	require.Same(t, unsafe.StringData(written), unsafe.StringData(same), "nothing is later")
}
