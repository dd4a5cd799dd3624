package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/term"
)

// nextRecord yields one record after the other, and io.EOF after the last.
type nextRecord func() (*kgo.Record, error)

// recordInput is how records stand in the inputs of produce.
type recordInput struct {
	shape
	separator, delimiter string // unescaped; separator "": lines have no keys
	layout               string
	json, whole          bool
}

// reader returns what yields the records of one input.
func (i recordInput) reader(in io.Reader) (nextRecord, error) {
	switch {
	case i.json:
		d := json.NewDecoder(in)
		return func() (*kgo.Record, error) { return decodeRecord(d) }, nil
	case i.whole:
		done := false
		return func() (*kgo.Record, error) {
			if done {
				return nil, io.EOF
			}
			done = true
			value, err := io.ReadAll(in)
			if err != nil {
				return nil, err
			}
			return i.record(nil, value)
		}, nil
	case i.layout != "":
		r, err := kgo.NewRecordReader(&lastLine{in: in}, strings.ReplaceAll(i.layout, "%s", "%v"))
		if err != nil {
			return nil, usagef("--layout %s: %v", i.layout, err)
		}
		return r.ReadRecord, nil
	}
	lines := bufio.NewReaderSize(in, 64<<10)
	return func() (*kgo.Record, error) {
		line, err := readUntil(lines, i.delimiter)
		if err != nil {
			return nil, err
		}
		if key, value, ok := bytes.Cut(line, []byte(i.separator)); i.separator != "" && ok {
			return i.record(key, value)
		}
		return i.record(nil, line) // a line without a separator has no key
	}, nil
}

// record makes a record of a key (nil: none) and a value as they stand in the input.
func (i recordInput) record(key, value []byte) (*kgo.Record, error) {
	r := &kgo.Record{}
	var err error
	if key != nil {
		if r.Key, err = i.parse(key); err != nil {
			return nil, err
		}
	}
	r.Value, err = i.parse(value)
	return r, err
}

// readUntil reads up to a delimiter, which is left out. What comes after the last one counts if there is any.
func readUntil(r *bufio.Reader, delimiter string) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice(delimiter[len(delimiter)-1])
		line = append(line, part...)
		switch {
		case err == nil && bytes.HasSuffix(line, []byte(delimiter)):
			return line[:len(line)-len(delimiter)], nil
		case errors.Is(err, io.EOF) && len(line) > 0:
			return line, nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// decodeRecord reads a record as consume --format json writes it. Where it came from is not where it goes:
// topic, partition and offset are passed over.
func decodeRecord(d *json.Decoder) (*kgo.Record, error) {
	var j recordJSON
	if err := d.Decode(&j); err != nil {
		return nil, err
	}
	r := &kgo.Record{Timestamp: j.Timestamp, Key: eitherOf(j.Key, j.KeyBytes), Value: eitherOf(j.Value, j.ValueRaw)}
	for _, h := range j.Headers {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: h.Key, Value: eitherOf(h.Value, h.ValueRaw)})
	}
	return r, nil
}

func eitherOf(text *string, raw []byte) []byte {
	if text != nil {
		return []byte(*text)
	}
	return raw
}

// readInputs yields the records of files one after the other; - is standard input.
func (i recordInput) readInputs(program *Program, paths []string) (nextRecord, error) {
	if len(paths) == 0 {
		paths = []string{"-"}
	}
	if _, err := i.reader(strings.NewReader("")); err != nil {
		return nil, err // wrong usage is told before anything is opened
	}
	var next nextRecord
	var file *os.File
	at := 0
	return func() (*kgo.Record, error) {
		for {
			if next == nil {
				if at == len(paths) {
					return nil, io.EOF
				}
				in := program.In
				if paths[at] != "-" {
					f, err := os.Open(paths[at])
					if err != nil {
						return nil, err
					}
					file, in = f, f
				} else if f, ok := in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
					fmt.Fprintln(program.Err, "type a record a line; Ctrl-D ends")
				}
				next, _ = i.reader(in)
			}
			r, err := next()
			if err == nil {
				return r, nil
			}
			if file != nil {
				_ = file.Close() // it was only read
				file = nil
			}
			if !errors.Is(err, io.EOF) {
				return nil, fmt.Errorf("%s: %w", inputName(paths[at]), err)
			}
			next = nil
			at++
		}
	}, nil
}

func inputName(path string) string {
	if path == "-" {
		return "standard input"
	}
	return path
}
