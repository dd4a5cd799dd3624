package cli

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/chronik-stream/chronik/internal/group"
	"github.com/chronik-stream/chronik/internal/record"
	"github.com/chronik-stream/chronik/internal/vfs"
)

// dumpLimit is how far a batch is decompressed when its records are shown.
const dumpLimit = 256 << 20

// dump is one run of dump-log. It writes as it reads: a log may be larger than memory.
type dump struct {
	fs      vfs.FS
	out     io.Writer
	format  string
	records bool
	offsets bool
	bad     int // places that cannot be read

	one     func(path string, from int64) error // what is done with a segment
	checked *verification                       // of --verify
}

func (g *globals) dumpLog() *cobra.Command {
	var (
		raft, verify bool
		from         uint64
	)
	d := &dump{fs: vfs.OS{}}
	cmd := &cobra.Command{
		Use:   "dump-log PATH...",
		Short: "Print what stands in the files of a log",
		Long: "Prints the batches in segment files (*.log), or in all of a partition's directory, and checks every one of them.\n" +
			"--offsets shows the records of __consumer_offsets as what they mean; --raft reads the metadata log and its snapshots,\n" +
			"for which the node must be stopped. --verify prints no batches but one line a segment, and holds offsets and indexes against\n" +
			"them too. The exit code is 1 if something cannot be read, or is not as it should be.",
		Example: "  chronik-server dump-log chronik-data/node-1/orders-0 --records\n" +
			"  chronik-server dump-log chronik-data/node-1/__consumer_offsets-7 --offsets\n" +
			"  chronik-server dump-log chronik-data/node-1/orders-0 --verify\n" +
			"  chronik-server dump-log chronik-data/node-1 --raft",
		Args: someArgs(1, 0, "a file or a directory"),
	}
	flags := cmd.Flags()
	formatVar(flags, &d.format)
	flags.BoolVar(&d.records, "records", false, "the records in the batches too; with --raft, those in entries and snapshots")
	flags.BoolVar(&d.offsets, "offsets", false, "the records as those of __consumer_offsets")
	flags.BoolVar(&verify, "verify", false, "check segments and their indexes, and print one line for each")
	flags.BoolVar(&raft, "raft", false, "the metadata log in a data directory or its __raft_metadata-0")
	flags.Uint64Var(&from, "from", 0, "begin at this offset or index `n`")
	cmd.RunE = func(_ *cobra.Command, paths []string) error {
		d.out = g.program.Out
		if raft && d.offsets {
			return usagef("--raft and --offsets exclude each other: the metadata log holds no committed offsets")
		}
		if verify && (raft || d.records || d.offsets || from > 0) {
			return usagef("--verify reads whole segments and prints none of their records: leave out --raft, --records, --offsets and --from")
		}
		if verify {
			d.one = func(path string, _ int64) error { return d.verify(path) }
		} else {
			d.one = d.segment
		}
		for _, path := range paths {
			var err error
			if raft {
				err = d.raft(path, from)
			} else {
				err = d.path(path, int64(from))
			}
			if err != nil {
				return err
			}
		}
		if d.bad > 0 {
			return fmt.Errorf("%s cannot be read, as shown above", plural(d.bad, "place"))
		}
		return nil
	}
	return cmd
}

// item is one thing found: a kind, and what is known of it in order.
type item struct {
	kind   string
	name   string // for --format name
	indent string
	fields []field
}

type field struct {
	name  string
	value any
}

// show writes an item: kind name=value ... for people, one object for machines.
func (d *dump) show(i item) error {
	switch d.format {
	case "name":
		if i.name == "" {
			return nil
		}
		_, err := fmt.Fprintln(d.out, i.name)
		return err
	case "json", "yaml":
		var b strings.Builder
		fmt.Fprintf(&b, `{"kind":%q`, i.kind)
		for _, f := range i.fields {
			value, err := json.Marshal(f.value)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, `,%q:%s`, f.name, value)
		}
		b.WriteString("}")
		if d.format == "json" {
			_, err := fmt.Fprintln(d.out, b.String())
			return err
		}
		if _, err := fmt.Fprintln(d.out, "---"); err != nil {
			return err
		}
		return writeYAML(d.out, json.RawMessage(b.String()))
	}
	var b strings.Builder
	b.WriteString(i.indent + i.kind)
	for _, f := range i.fields {
		fmt.Fprintf(&b, " %s=%s", f.name, fieldText(f.value))
	}
	_, err := fmt.Fprintln(d.out, b.String())
	return err
}

// fieldText writes a value so that it stays one word, or stands in quotes.
func fieldText(v any) string {
	var text string
	switch v := v.(type) {
	case *string:
		if v == nil {
			return "null"
		}
		text = *v
	case []byte:
		text = base64.StdEncoding.EncodeToString(v)
	case []string:
		return "[" + strings.Join(v, " ") + "]"
	default:
		text = fmt.Sprint(v)
	}
	odd := func(r rune) bool {
		return r == '"' || r == '=' || r == ' ' || !unicode.IsPrint(r) || r == utf8.RuneError
	}
	if text == "" || strings.ContainsFunc(text, odd) {
		return strconv.Quote(text)
	}
	return text
}

// problem shows a place that cannot be read.
func (d *dump) problem(where string, err error) error {
	d.bad++
	return d.show(item{kind: "problem", fields: []field{{"at", where}, {"error", err.Error()}}})
}

// path dumps a segment file or every segment of a directory.
func (d *dump) path(path string, from int64) error {
	info, err := d.fs.Stat(path)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	if !info.IsDir {
		return d.one(path, from)
	}
	list, err := d.fs.ReadDir(path)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	if strings.HasPrefix(filepath.Base(path), group.Topic+"-") {
		d.offsets = true
	}
	var segments []string
	partition := false
	for _, f := range list {
		partition = partition || f.Name == "partition.metadata"
		if strings.HasSuffix(f.Name, ".log") && !f.IsDir {
			segments = append(segments, filepath.Join(path, f.Name))
		}
	}
	if len(segments) == 0 && partition {
		return d.show(item{kind: "empty", fields: []field{{"dir", path}}}) // nothing was ever written to it
	}
	if len(segments) == 0 {
		return fmt.Errorf("there is no segment (*.log) in %s: name a partition's directory, as chronik-data/node-1/orders-0; --raft reads the metadata log", path)
	}
	for i, s := range segments {
		if next := i + 1; next < len(segments) && baseOffset(segments[next]) <= from {
			continue // it ends before the offset that is asked for
		}
		if err := d.one(s, from); err != nil {
			return err
		}
	}
	return nil
}

// baseOffset is the offset in a segment's name, -1 if there is none.
func baseOffset(path string) int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(filepath.Base(path), ".log"), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// segment dumps the batches of one file.
func (d *dump) segment(path string, from int64) error {
	f, err := d.fs.Open(path)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", path, err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	if err := d.show(item{kind: "segment", fields: []field{{"file", path}, {"bytes", size}}}); err != nil {
		return err
	}
	r := segmentReader{f: f, size: size}
	for {
		b, at, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return d.problem(fmt.Sprintf("%s:%d", path, at), err)
		}
		if b.LastOffset() < from {
			continue
		}
		if err := d.batch(path, at, b); err != nil {
			return err
		}
	}
}

// segmentReader reads a segment's batches one after the other.
type segmentReader struct {
	f    vfs.File
	size int64
	at   int64
	buf  []byte
}

// next returns the next batch and its position; io.EOF at the end, and where only zeros follow,
// for the space of a segment may have been reserved.
func (r *segmentReader) next() (record.Batch, int64, error) {
	at := r.at
	if at == r.size {
		return nil, at, io.EOF
	}
	head := make([]byte, min(record.SizePrefix, r.size-at))
	if _, err := r.f.ReadAt(head, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, at, err
	}
	n, err := record.Size(head)
	if err != nil {
		zeros, zerr := r.zeros(at)
		switch {
		case zerr != nil:
			return nil, at, zerr
		case zeros:
			return nil, at, io.EOF
		case errors.Is(err, record.ErrIncomplete):
			return nil, at, r.torn(at)
		}
		return nil, at, err
	}
	if at+int64(n) > r.size {
		return nil, at, r.torn(at)
	}
	r.buf = slices.Grow(r.buf[:0], n)[:n]
	if _, err := r.f.ReadAt(r.buf, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, at, err
	}
	r.at = at + int64(n)
	return record.Batch(r.buf), at, nil
}

func (r *segmentReader) torn(at int64) error {
	return fmt.Errorf("the file ends within a batch, %s after its begin: it is being written, or was cut off and is repaired at the next start", plural(r.size-at, "byte"))
}

func (r *segmentReader) zeros(at int64) (bool, error) {
	p := make([]byte, 64<<10)
	for at < r.size {
		n, err := r.f.ReadAt(p[:min(int64(len(p)), r.size-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return false, err
		}
		for _, b := range p[:n] {
			if b != 0 {
				return false, nil
			}
		}
		if n == 0 {
			break
		}
		at += int64(n)
	}
	return true, nil
}

// batch shows one batch, and its records if they are asked for.
func (d *dump) batch(path string, at int64, b record.Batch) error {
	err := b.Check()
	fields := []field{
		{"base", b.BaseOffset()},
		{"last", b.LastOffset()},
		{"records", b.Count()},
		{"at", at},
		{"bytes", len(b)},
		{"epoch", b.LeaderEpoch()},
		{"codec", b.Codec().String()},
		{"crc", fmt.Sprintf("%08x", b.CRC())},
		{"timestamp", timeText(b.MaxTimestamp())},
		{"timestampType", b.TimestampType().String()},
	}
	if b.HasProducerID() {
		fields = append(fields, field{"producerId", b.ProducerID()}, field{"producerEpoch", b.ProducerEpoch()}, field{"sequence", b.BaseSequence()})
	}
	if b.IsTransactional() {
		fields = append(fields, field{"transactional", true})
	}
	if b.IsControl() {
		fields = append(fields, field{"control", true})
	}
	if e := d.show(item{kind: "batch", name: strconv.FormatInt(b.BaseOffset(), 10), indent: "  ", fields: fields}); e != nil {
		return e
	}
	if err == nil {
		err = b.Walk(dumpLimit, nil) // a batch is only whole if its records are
	}
	if err != nil {
		return d.problem(fmt.Sprintf("%s:%d", path, at), err)
	}
	if !d.records && !d.offsets {
		return nil
	}
	for r, err := range b.Records(dumpLimit) {
		if err != nil {
			return d.problem(fmt.Sprintf("%s:%d", path, at), err)
		}
		if err := d.record(b, r); err != nil {
			return err
		}
	}
	return nil
}

func (d *dump) record(b record.Batch, r record.Record) error {
	fields := []field{{"offset", b.BaseOffset() + int64(r.OffsetDelta)}, {"timestamp", timeText(b.Timestamp(r))}}
	if d.offsets && !b.IsControl() {
		i := offsetsRecord(r)
		i.fields = append(fields, i.fields...)
		i.indent = "    "
		return d.show(i)
	}
	fields = append(fields, bytesFields("key", r.Key)...)
	fields = append(fields, bytesFields("value", r.Value)...)
	var headers []string
	for h := range r.Headers.All() {
		headers = append(headers, strconv.Quote(h.Key)+":"+strconv.Quote(string(h.Value)))
	}
	if len(headers) > 0 {
		fields = append(fields, field{"headers", headers})
	}
	return d.show(item{kind: "record", indent: "    ", fields: fields})
}

// bytesFields shows bytes as text where they are UTF-8, else as base64 under another name.
func bytesFields(name string, p []byte) []field {
	text, raw := textOrBytes(p)
	if raw != nil {
		return []field{{name + "Base64", raw}}
	}
	return []field{{name, text}}
}

// offsetsRecord shows a record of __consumer_offsets as what it means.
func offsetsRecord(r record.Record) item {
	key, err := group.ParseKey(r.Key)
	switch {
	case err != nil:
		return item{kind: "unreadable", fields: append([]field{{"error", err.Error()}}, bytesFields("key", r.Key)...)}
	case key.Kind == group.KeyOffset:
		return committedRecord(key, r.Value)
	case key.Kind == group.KeyGroup:
		return groupRecord(key, r.Value)
	default:
		return item{kind: "other", fields: append([]field{{"keyVersion", key.Version}}, bytesFields("key", r.Key)...)}
	}
}

func committedRecord(key group.Key, value []byte) item {
	fields := []field{{"group", key.Group}, {"topic", key.Topic}, {"partition", key.Partition}}
	if value == nil {
		return item{kind: "offset-deleted", fields: fields}
	}
	c, err := group.ParseOffset(value)
	if err != nil {
		return item{kind: "unreadable", fields: append(fields, field{"error", err.Error()})}
	}
	return item{kind: "offset", fields: append(fields,
		field{"committed", c.Offset}, field{"leaderEpoch", c.LeaderEpoch}, field{"metadata", c.Metadata}, field{"committedAt", timeText(c.CommitMillis)})}
}

func groupRecord(key group.Key, value []byte) item {
	fields := []field{{"group", key.Group}}
	if value == nil {
		return item{kind: "group-deleted", fields: fields}
	}
	m, err := group.ParseMetadata(value)
	if err != nil {
		return item{kind: "unreadable", fields: append(fields, field{"error", err.Error()})}
	}
	var members []string
	for _, member := range m.Members {
		members = append(members, member.ID)
	}
	return item{kind: "group", fields: append(fields,
		field{"generation", m.Generation}, field{"protocolType", m.ProtocolType}, field{"protocol", m.Protocol},
		field{"leader", m.Leader}, field{"members", nonNil(members)})}
}

// timeText is a timestamp in UTC, "none" where there is none.
func timeText(ms int64) string {
	if ms < 0 {
		return "none"
	}
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}
