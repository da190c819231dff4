// Package packed writes values one behind the other into a string, and reads them from it. One list of fields serves
// both ways: a method of [Codec] writes what its pointers point to, or reads it into that place.
//
// The strings stay in the process that wrote them: they are no format for files. Reading what nobody wrote yields zero
// values in the end, and never fails.
package packed

import (
	"encoding/binary"
	"strings"
	"time"
)

// Codec writes fields, or reads them. While it writes it changes none of them. What is read shares the memory of the
// string, where the method does not say otherwise.
type Codec struct {
	out            []byte
	in             string
	reading, brief bool
}

// Writer returns a Codec that writes, behind what a buffer holds.
func Writer(buffer []byte) Codec { return Codec{out: buffer} }

// Reader returns a Codec that reads what a Writer wrote.
func Reader(in string) Codec { return Codec{in: in, reading: true} }

// BriefReader is Reader for those who keep nothing of what they read: Owned does not copy.
func BriefReader(in string) Codec { return Codec{in: in, reading: true, brief: true} }

// Reading reports whether the Codec reads.
func (c *Codec) Reading() bool { return c.reading }

// Bytes returns what was written.
func (c *Codec) Bytes() []byte { return c.out }

// Number writes a number and returns it, or reads one.
func (c *Codec) Number(n uint64) uint64 {
	if !c.reading {
		c.out = binary.AppendUvarint(c.out, n)
		return n
	}
	if len(c.in) > 0 && c.in[0] < 0x80 { // most are short
		n, c.in = uint64(c.in[0]), c.in[1:]
		return n
	}
	n = 0
	for i := range min(len(c.in), binary.MaxVarintLen64) {
		b := c.in[i]
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			c.in = c.in[i+1:]
			return n
		}
	}
	c.in = ""
	return 0
}

// size is Number for a length in bytes or elements, each of which takes a byte at least. It is one more, so that 0 is
// for what is not there: -1 stands for it.
func (c *Codec) size(n int) int {
	read := c.Number(uint64(n + 1))
	if c.reading && read > uint64(len(c.in))+1 {
		c.in = ""
		return -1
	}
	return int(read) - 1
}

// Ints are numbers.
func (c *Codec) Ints(fields ...*int64) {
	for _, field := range fields {
		n := c.Number(uint64(*field<<1) ^ uint64(*field>>63))
		if c.reading {
			*field = int64(n>>1) ^ -int64(n&1)
		}
	}
}

// Flags are truths.
func (c *Codec) Flags(fields ...*bool) {
	for _, field := range fields {
		var n uint64
		if *field {
			n = 1
		}
		n = c.Number(n)
		if c.reading {
			*field = n == 1
		}
	}
}

// Texts are strings.
func (c *Codec) Texts(fields ...*string) {
	for _, field := range fields {
		switch {
		case !c.reading:
			c.size(len(*field))
			c.out = append(c.out, *field...)
		case len(c.in) > 0 && c.in[0]-1 < 0x7f && int(c.in[0]) <= len(c.in): // most are short
			n := c.in[0]
			*field, c.in = c.in[1:n], c.in[n:]
		default:
			n := max(0, c.size(0))
			*field, c.in = c.in[:n], c.in[n:]
		}
	}
}

// Owned is Texts for strings that others keep for longer than the rest: those that are read together have memory of
// their own together.
func (c *Codec) Owned(fields ...*string) {
	before := c.in
	c.Texts(fields...)
	if c.reading && !c.brief {
		again := Reader(strings.Clone(before[:len(before)-len(c.in)]))
		again.Texts(fields...)
	}
}

// Data are bytes, which are copied. nil comes back as nil.
func (c *Codec) Data(fields ...*[]byte) {
	for _, field := range fields {
		n := -1
		if *field != nil {
			n = len(*field)
		}
		switch n = c.size(n); {
		case !c.reading:
			c.out = append(c.out, *field...)
		case n < 0:
			*field = nil
		default:
			*field, c.in = append(make([]byte, 0, n), c.in[:n]...), c.in[n:]
		}
	}
}

// Lists are slices of strings. nil comes back as nil.
func (c *Codec) Lists(fields ...*[]string) {
	for _, field := range fields {
		Slice(c, field)
		for i := range *field {
			c.Texts(&(*field)[i])
		}
	}
}

// Slice writes the length of a slice, or makes one of the length that it reads. nil comes back as nil. Its elements are
// the caller's to write or read, and take a byte each at least.
func Slice[T any](c *Codec, field *[]T) {
	n := -1
	if *field != nil {
		n = len(*field)
	}
	n = c.size(n)
	if c.reading {
		*field = nil
		if n >= 0 {
			*field = make([]T, n)
		}
	}
}

// Map is a map with names for its keys, in no order. nil comes back as nil, and a value of bytes as a copy.
func Map[V ~string | ~[]byte](c *Codec, field *map[string]V) {
	n := -1
	if *field != nil {
		n = len(*field)
	}
	n = c.size(n)
	if !c.reading {
		for name, value := range *field {
			text := string(value)
			c.Texts(&name, &text)
		}
		return
	}
	*field = nil
	if n >= 0 {
		*field = make(map[string]V, n)
	}
	for range n {
		var name, text string
		c.Texts(&name, &text)
		(*field)[name] = V(text)
	}
}

// year1 is the zero time in seconds since 1970.
const year1 = -62135596800

// zeroTime is how Times writes the zero time.
const zeroTime = "\x00\x00"

// Times are times, which are read in UTC.
func (c *Codec) Times(fields ...*time.Time) {
	for _, field := range fields {
		if c.reading && strings.HasPrefix(c.in, zeroTime) { // most are never
			*field, c.in = time.Time{}, c.in[len(zeroTime):]
			continue
		}
		seconds, nanoseconds := field.Unix()-year1, uint64(field.Nanosecond())
		c.Ints(&seconds)
		nanoseconds = c.Number(nanoseconds)
		if c.reading {
			*field = time.Unix(seconds+year1, int64(nanoseconds)).UTC()
		}
	}
}

// fixed is how many bytes a time of Fixed takes.
const fixed = 12

// Fixed is Times for those that Later moves: they stand in front of all other fields.
func (c *Codec) Fixed(fields ...*time.Time) {
	for _, field := range fields {
		switch {
		case !c.reading:
			c.out = appendFixed(c.out, *field)
		case len(c.in) < fixed:
			*field, c.in = time.Time{}, ""
		default:
			b := []byte(c.in[:fixed])
			*field = time.Unix(int64(binary.BigEndian.Uint64(b)), int64(binary.BigEndian.Uint32(b[8:]))).UTC()
			c.in = c.in[fixed:]
		}
	}
}

func appendFixed(out []byte, t time.Time) []byte {
	out = binary.BigEndian.AppendUint64(out, uint64(t.Unix()))
	return binary.BigEndian.AppendUint32(out, uint32(t.Nanosecond()))
}

// Later returns a string whose first times, those of Fixed, are moved to the given ones, each for itself, if that is
// later; where none is it returns the string itself.
func Later(in string, times ...time.Time) string {
	var buffer [4 * fixed]byte
	front, moved, r := buffer[:0], false, Reader(in)
	for _, next := range times {
		var t time.Time
		if r.Fixed(&t); next.After(t) {
			t, moved = next, true
		}
		front = appendFixed(front, t)
	}
	if !moved {
		return in
	}
	return string(front) + r.in
}
