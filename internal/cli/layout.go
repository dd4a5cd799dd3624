package cli

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// layoutHelp describes -f of consume: what kcat's -f takes, and the forms in braces of kgo.NewRecordFormatter.
const layoutHelp = "A layout (-f) prints other forms than the value and a line feed, with what kcat has for it: %t topic, %p partition, %o offset,\n" +
	"%k key, %s value, %K and %S their lengths (-1 for null), %R the value's length as 4 bytes, %T timestamp in milliseconds,\n" +
	"%h headers as name=value,...; and also %v for %s, %H number of headers, %h{%k: %v } headers one by one, %e leader epoch,\n" +
	"%T{strftime[%F %T]} times, %s{hex} %k{base64} encoded bytes, %% \\n \\r \\t \\xNN characters."

// appendRecord writes a part of a record, or all of it.
type appendRecord func(b []byte, r *kgo.Record) []byte

// shape says how keys and values are written, and read: as they are or encoded, and what stands for null.
type shape struct {
	encoding string  // text, hex, base64
	null     *string // nil: nothing does
}

// bytes appends a key or a value.
func (s shape) bytes(b, p []byte) []byte {
	switch {
	case p == nil && s.null != nil:
		return append(b, *s.null...)
	case s.encoding == "hex":
		return hex.AppendEncode(b, p)
	case s.encoding == "base64":
		return base64.StdEncoding.AppendEncode(b, p)
	}
	return append(b, p...)
}

// parse is the reverse of bytes.
func (s shape) parse(text []byte) ([]byte, error) {
	p := text
	var err error
	switch {
	case s.null != nil && string(text) == *s.null:
		return nil, nil
	case s.encoding == "hex":
		p, err = hex.AppendDecode([]byte{}, text)
	case s.encoding == "base64":
		p, err = base64.StdEncoding.AppendDecode([]byte{}, text)
	}
	if err != nil {
		return nil, fmt.Errorf("%.40q is not %s: %w", text, s.encoding, err)
	}
	return p, nil
}

func (s shape) key(b []byte, r *kgo.Record) []byte   { return s.bytes(b, r.Key) }
func (s shape) value(b []byte, r *kgo.Record) []byte { return s.bytes(b, r.Value) }

// literal appends the same text for every record.
func literal(text string) appendRecord {
	return func(b []byte, _ *kgo.Record) []byte { return append(b, text...) }
}

// inOrder appends one part after the other.
func inOrder(parts ...appendRecord) appendRecord {
	return func(b []byte, r *kgo.Record) []byte {
		for _, part := range parts {
			b = part(b, r)
		}
		return b
	}
}

// parseLayout makes what writes a record in the form of a layout. The verbs that kcat and kgo give different
// meanings, and those that only kcat has, are written here; all else is kgo's.
func parseLayout(text string, s shape) (appendRecord, error) {
	var parts []appendRecord
	var rest strings.Builder // what has been read and is kgo's
	flush := func() error {
		if rest.Len() == 0 {
			return nil
		}
		f, err := kgo.NewRecordFormatter(rest.String())
		rest.Reset()
		parts = append(parts, func(b []byte, r *kgo.Record) []byte { return f.AppendRecord(b, r) })
		return err
	}
	for len(text) > 0 {
		if text[0] != '%' || len(text) == 1 {
			n := 1
			if text[0] == '\\' {
				n = min(2, len(text))
			}
			rest.WriteString(text[:n])
			text = text[n:]
			continue
		}
		verb := text[1]
		braces := inBraces(text[2:])
		if verb == '%' || verb == '{' || verb == '}' {
			braces = ""
		}
		text = text[2+len(braces):]
		own := ownVerb(verb, s)
		if braces != "" || own == nil {
			rest.WriteString(kgoVerb(verb, braces))
			continue
		}
		if err := flush(); err != nil {
			return nil, err
		}
		parts = append(parts, own)
	}
	if err := flush(); err != nil {
		return nil, err
	}
	return inOrder(parts...), nil
}

// inBraces returns the braces that text begins with, and what is in them.
func inBraces(text string) string {
	depth := 0
	for i, c := range text {
		switch c {
		case '{':
			depth++
		case '}':
			depth--
		}
		if depth == 0 {
			if i == 0 {
				return ""
			}
			return text[:i+1]
		}
	}
	return text // not closed: kgo says so
}

// ownVerb is what a verb without braces appends; nil if it is kgo's.
func ownVerb(verb byte, s shape) appendRecord {
	size := func(p []byte) int64 {
		if p == nil {
			return -1
		}
		return int64(len(p))
	}
	switch verb {
	case 'k':
		return s.key
	case 's', 'v':
		return s.value
	case 'K':
		return func(b []byte, r *kgo.Record) []byte { return strconv.AppendInt(b, size(r.Key), 10) }
	case 'S', 'V':
		return func(b []byte, r *kgo.Record) []byte { return strconv.AppendInt(b, size(r.Value), 10) }
	case 'R':
		return func(b []byte, r *kgo.Record) []byte { return binary.BigEndian.AppendUint32(b, uint32(size(r.Value))) }
	case 'h':
		return s.headers
	}
	return nil
}

// headers appends name=value,...; NULL is a header without a value, as with kcat.
func (s shape) headers(b []byte, r *kgo.Record) []byte {
	for i, h := range r.Headers {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, h.Key...), '=')
		if h.Value == nil && s.null == nil {
			b = append(b, "NULL"...)
			continue
		}
		b = s.bytes(b, h.Value)
	}
	return b
}

// kgoVerb writes a verb as kgo has it.
func kgoVerb(verb byte, braces string) string {
	switch verb {
	case 's':
		verb = 'v'
	case 'S':
		verb = 'V'
	case 'T':
		verb = 'd'
	case 'h':
		braces = strings.ReplaceAll(braces, "%s", "%v")
	}
	return "%" + string(verb) + braces
}

// unescape reads \n, \t, \\ and \xNN in a delimiter.
func unescape(flag, text string) (string, error) {
	if !strings.Contains(text, `\`) {
		return text, nil
	}
	s, err := strconv.Unquote(`"` + strings.ReplaceAll(text, `"`, `\"`) + `"`)
	if err != nil {
		return "", usagef(`%s %s: is not a text with escapes: write \n, \t, \\ or \xNN`, flag, text)
	}
	return s, nil
}

// encodings are what --encoding takes; the first is the default.
var encodings = []string{"text", "hex", "base64"}
