package wire

import (
	"fmt"
	"strconv"
	"strings"
)

// shapes has the fields of the requests that kmsg decodes, in the versions of the API table. An element of a shape is
//
//	i8 i16 i32 i64 uuid str bytes   a field of this type; a boolean is an i8
//	[x]                             an array of x
//	{…}                             a structure, which ends with its tagged fields in a flexible version
//	?{…}                            a structure that may be null
//
// and @4 or @2-7 behind a field says from which version, and to which, there is one. None of these requests has a tagged field
// that is known. Source: the message schemas of Kafka 4.4.
var shapes = map[int16]string{
	2:  "i32 i8@2 [{str [{i32 i32@4 i64}]}] i32@10",
	3:  "[{uuid@10 str}] i8@4 i8@8-10 i8@8",
	8:  "str i32 str str@7 i64@2-4 [{str@0-9 uuid@10 [{i32 i64 i32@6 str}]}]",
	9:  "str@0-7 [{str [i32]}]@0-7 [{str str@9 i32@9 [{str@8-9 uuid@10 [i32]}]}]@8 i8@7",
	10: "str@0-3 i8@1 [str]@4",
	11: "str i32 i32@1 str str@5 str [{str bytes}] str@8",
	12: "str i32 str str@3",
	13: "str str@0-2 [{str str str@5}]@3",
	14: "str i32 str str@3 str@5 str@5 [{str bytes}]",
	15: "[str] i8@3",
	16: "[str]@4 [str]@5",
	18: "str@3 str@3 str@5 i32@5",
	19: "[{str i32 i16 [{i32 [i32]}] [{str str}]}] i32 i8@1",
	20: "[str]@0-5 [{str uuid}]@6 i32",
	21: "[{str [{i32 i64}]}] i32",
	22: "str i32 i64@3 i16@3",
	23: "i32@3 [{str [{i32 i32 i32}]}]",
	32: "[{i8 str [str]}] i8@1 i8@3",
	33: "[{i8 str [{str str}]}] i8",
	35: "[{str [i32]}]",
	37: "[{str i32 [{[i32]}]}] i32 i8",
	42: "[str]",
	44: "[{i8 str [{str i8 str}]}] i8",
	47: "str [{str [{i32}]}]",
	55: "[{str [{i32}]}]",
	60: "i8 i8@1 i8@2",
	61: "[{str [i32]}]",
	74: "[i8]@1",
	75: "[{str}] i32 ?{str i32}",
}

// kind is the type of a field.
type kind int8

const (
	fixed kind = iota // of size bytes
	str
	byteString
	array
	structure
	nullable // structure, behind a byte that says whether there is one
)

// shape is one field.
type shape struct {
	kind        kind
	size        int // of a fixed one
	since, last int16
	of          []shape // the fields of a structure, the one element of an array
}

// compiled has the shapes as they are walked, by key.
var compiled = compile()

func compile() (all [MaxKey + 1][]shape) {
	for key, text := range shapes {
		p := shapeParser{text: text}
		all[key] = p.fields("")
	}
	return all
}

// shapeParser reads a shape; the table is the program's own, and a mistake in it is a panic when the program starts.
type shapeParser struct{ text string }

func (p *shapeParser) next(s string) bool {
	rest, ok := strings.CutPrefix(p.text, s)
	p.text = rest
	return ok
}

func (p *shapeParser) fields(end string) (all []shape) {
	for p.text != "" && !(end != "" && p.next(end)) {
		all = append(all, p.field())
		p.next(" ")
	}
	return all
}

func (p *shapeParser) field() shape {
	f := shape{last: 1<<15 - 1}
	switch {
	case p.next("["):
		f.kind, f.of = array, p.fields("]")
	case p.next("{"):
		f.kind, f.of = structure, p.fields("}")
	case p.next("?{"):
		f.kind, f.of = nullable, p.fields("}")
	case p.next("str"):
		f.kind = str
	case p.next("bytes"):
		f.kind = byteString
	case p.next("uuid"):
		f.size = 16
	case p.next("i8"):
		f.size = 1
	case p.next("i16"):
		f.size = 2
	case p.next("i32"):
		f.size = 4
	case p.next("i64"):
		f.size = 8
	default:
		panic("wire: a shape goes on with " + strconv.Quote(p.text))
	}
	if p.next("@") {
		f.since = p.version()
		if p.next("-") {
			f.last = p.version()
		}
	}
	return f
}

func (p *shapeParser) version() int16 {
	end := strings.IndexFunc(p.text, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(p.text)
	}
	n, err := strconv.ParseInt(p.text[:end], 10, 16)
	if err != nil {
		panic("wire: a shape's version: " + err.Error())
	}
	p.text = p.text[end:]
	return int16(n)
}

// maxElements bounds the elements of all arrays of one request that kmsg decodes. An empty name takes one byte, and
// what is answered for it a few hundred.
const maxElements = 100_000

// CheckBody walks the body of a request that kmsg is to decode: every field must be there, no array and no set of tagged
// fields may claim more elements than the bytes that are left can hold, and all arrays together have at most maxElements, whose
// number it returns. kmsg holds only arrays against the bytes, and by one byte an
// element; what a count of tagged fields claims it goes through to the end, four billion times. Bytes behind the last field
// are passed over, as in Kafka.
func CheckBody(key, version int16, body []byte) (elements int, err error) {
	if key < 0 || key > MaxKey || compiled[key] == nil {
		return 0, fmt.Errorf("%w: no request of key %d is known", ErrMalformed, key)
	}
	w := walk{r: Reader{B: body}, version: version, flexible: Flexible(key, version)}
	w.fields(compiled[key])
	return w.elements, w.r.err
}

// walk is one walk through a body.
type walk struct {
	r        Reader
	version  int16
	flexible bool
	elements int
}

// fields walks a structure.
func (w *walk) fields(all []shape) {
	for i := range all {
		if w.has(&all[i]) {
			w.field(&all[i])
		}
	}
	if w.flexible {
		w.r.Tags(nil)
	}
}

func (w *walk) has(f *shape) bool { return w.version >= f.since && w.version <= f.last }

func (w *walk) field(f *shape) {
	switch f.kind {
	case fixed:
		w.r.Span(f.size)
	case str:
		w.r.String(w.flexible)
	case byteString:
		w.r.Bytes(w.flexible)
	case array:
		n := w.r.Array(w.flexible, w.least(&f.of[0]))
		if w.elements += max(n, 0); w.elements > maxElements {
			w.r.fail(fmt.Errorf("%w: more than %d elements in one request", ErrTooMany, maxElements))
		}
		for ; n > 0 && w.r.err == nil; n-- {
			w.field(&f.of[0])
		}
	case structure:
		w.fields(f.of)
	case nullable:
		if w.r.Int8() >= 0 {
			w.fields(f.of)
		}
	}
}

// least is the smallest number of bytes that a field takes.
func (w *walk) least(f *shape) (n int) {
	switch {
	case f.kind == fixed:
		return f.size
	case f.kind == nullable, f.kind != structure && w.flexible:
		return 1
	case f.kind == str:
		return 2
	case f.kind != structure:
		return 4
	}
	for i := range f.of {
		if w.has(&f.of[i]) {
			n += w.least(&f.of[i])
		}
	}
	if w.flexible {
		n++
	}
	return n
}
