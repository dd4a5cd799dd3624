package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// producing is what the flags of produce say.
type producing struct {
	recordInput
	key       string
	hasKey    bool
	null      string
	tombstone bool
	inputs    []string
	headers   []string
	partition int32
	codec     string
	acks      string
}

func (g *globals) produce() *cobra.Command {
	var p producing
	cmd := &cobra.Command{
		Use:   "produce TOPIC [VALUE...]",
		Short: "Write records to a topic: the arguments, or the lines of files or of standard input",
		Long: "Writes records to a topic: one for each argument after the topic, or, without any, one for each line of the inputs.\n" +
			"It ends when the cluster has acknowledged all of them, and says where they are.\n\n" +
			"A layout (-f) reads other forms than lines: %k key, %s value, %t topic, %p partition, %d timestamp, %h{%k=%v } headers,\n" +
			"%K and %V the lengths of key and value, \\n \\t \\xNN characters; as in kgo.NewRecordReader.",
		Example: "  chronik-server produce orders hello world\n" +
			"  printf 'k1:one\\nk2:two\\n' | chronik-server produce orders -K :\n" +
			"  chronik-server produce orders -z zstd --input lines.txt\n" +
			"  chronik-server produce orders -k k1 --tombstone\n" +
			"  chronik-server consume orders --format json | chronik-server produce copy --json",
		Args: someArgs(1, 0, "the name of a topic"),
	}
	c := g.clientFlags(cmd)
	flags := cmd.Flags()
	textVar(flags, &p.key, "key", "k", "key", "key of all records")
	p.delimiter = `\n`
	textVar(flags, &p.separator, "key-separator", "K", "text", "what stands between key and value in a line; one without it has no key")
	textVar(flags, &p.delimiter, "delimiter", "D", "text", "what ends a record in the input")
	textVar(flags, &p.layout, "layout", "f", "form", `form of the input, as "%k %s\n"`)
	flags.BoolVar(&p.json, "json", false, "the input is JSON, as consume --format json prints it")
	flags.BoolVar(&p.whole, "whole", false, "each input is one record")
	flags.StringArrayVarP(&p.inputs, "input", "i", nil, "read this `file`, - is standard input; may be given again")
	textVar(flags, &p.null, "null", "Z", "text", "a key or value that is exactly this text is null; -Z '' makes empty ones null")
	flags.BoolVar(&p.tombstone, "tombstone", false, "write one record without a value, which deletes the key in a compacted topic")
	choiceVar(flags, &p.encoding, "encoding", "", "how keys and values are written in the input", encodings...)
	flags.StringArrayVarP(&p.headers, "header", "H", nil, "header of all records, as `key=value`; may be given again")
	flags.Int32VarP(&p.partition, "partition", "p", -1, "`number` of the partition of all records; -1: by key, or spread")
	choiceVar(flags, &p.codec, "compression", "z", "compression of the records", "none", "gzip", "snappy", "lz4", "zstd")
	choiceVar(flags, &p.acks, "acks", "", "whose acknowledgement to wait for", "all", "1", "0")
	cmd.ValidArgsFunction = c.completeNames(listTopicNames)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p.hasKey = cmd.Flags().Changed("key")
		if cmd.Flags().Changed("null") {
			p.shape.null = &p.null
		}
		opts, err := p.options()
		if err != nil {
			return err
		}
		headers, err := p.recordHeaders()
		if err != nil {
			return err
		}
		next, err := p.source(cmd, g.program, args[1:])
		if err != nil {
			return err
		}
		return c.run(cmd, true, func(ctx context.Context) error {
			if err := c.hasPartition(ctx, args[0], p.partition); err != nil {
				return err
			}
			return c.produceAll(ctx, args[0], func() (*kgo.Record, error) {
				r, err := next()
				if err == nil {
					r.Topic, r.Partition = args[0], p.partition
					r.Headers = append(r.Headers, headers...)
					if p.hasKey {
						r.Key = []byte(p.key)
					}
				}
				return r, err
			})
		}, append(opts, untilGivenUp(c.timeout)...)...)
	}
	return cmd
}

// untilGivenUp bounds how long a record is tried. The client library keeps the broker's reason to itself where
// time ends the tries, and tells it where their number does. So it is their number that ends them: one try in
// retryPause, which is what the library waits for new metadata as well, and time only where nobody answers.
func untilGivenUp(timeout time.Duration) []kgo.Opt {
	return []kgo.Opt{
		kgo.RecordRetries(max(1, int(timeout/retryPause))),
		kgo.RetryBackoffFn(func(int) time.Duration { return retryPause }),
		kgo.RecordDeliveryTimeout(max(time.Second, timeout*5/4)), // the library allows no less than a second
	}
}

// hasPartition refuses a partition (-1: any) that a topic does not have. The topic may be one that is yet to be created.
func (c *client) hasPartition(ctx context.Context, topic string, partition int32) error {
	if partition < 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	topics, err := c.adm.ListTopicsWithInternal(ctx)
	if err != nil || !topics.Has(topic) {
		return err
	}
	return checkPartitions(topics, []string{topic}, []int32{partition})
}

// options turns flags into those of the client, or says which is wrong.
func (p *producing) options() ([]kgo.Opt, error) {
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	opts := []kgo.Opt{kgo.ProducerBatchCompression(codecs[p.codec]), kgo.AllowAutoTopicCreation()}
	switch p.acks {
	case "all":
		opts = append(opts, kgo.RequiredAcks(kgo.AllISRAcks()))
	case "1":
		opts = append(opts, kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite())
	case "0":
		opts = append(opts, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	}
	if p.partition >= 0 {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	} else if p.partition != -1 {
		return nil, usagef("--partition %d: must be a partition's number, or -1", p.partition)
	}
	return opts, nil
}

func (p *producing) recordHeaders() ([]kgo.RecordHeader, error) {
	var headers []kgo.RecordHeader
	for _, h := range p.headers {
		key, value, ok := strings.Cut(h, "=")
		if !ok {
			return nil, usagef("-H %s: write key=value, as in -H source=shop", h)
		}
		headers = append(headers, kgo.RecordHeader{Key: key, Value: []byte(value)})
	}
	return headers, nil
}

// source returns what yields one record after the other: of the arguments, or of the inputs.
func (p *producing) source(cmd *cobra.Command, program *Program, values []string) (nextRecord, error) {
	var forms []string // at most one of these
	for _, name := range []string{"layout", "json", "whole", "tombstone"} {
		if cmd.Flags().Changed(name) {
			forms = append(forms, "--"+name)
		}
	}
	lines := cmd.Flags().Changed("key-separator") || cmd.Flags().Changed("delimiter")
	encoded := cmd.Flags().Changed("null") || cmd.Flags().Changed("encoding")
	switch {
	case len(forms) > 1:
		return nil, usagef("%s exclude each other: give one of them", strings.Join(forms, " and "))
	case len(forms) == 1 && lines:
		return nil, usagef("-K and -D describe lines, and %s is another form of the input: leave out one of them", forms[0])
	case (p.layout != "" || p.json) && encoded:
		return nil, usagef("%s has its own forms of null and bytes: leave out -Z and --encoding", forms[0])
	case len(values) > 0 && (len(forms) > 0 || lines || len(p.inputs) > 0):
		return nil, usagef("values are given as arguments, and flags that describe another input: leave out one of them")
	case p.tombstone && !p.hasKey:
		return nil, usagef("--tombstone needs the key it deletes: give -k")
	case p.tombstone && len(p.inputs) > 0:
		return nil, usagef("--tombstone writes one record without a value, and --input names values: leave out one of them")
	case p.tombstone:
		return each(1, func(int) (*kgo.Record, error) { return &kgo.Record{}, nil }), nil
	case len(values) > 0:
		return each(len(values), func(n int) (*kgo.Record, error) { return p.record(nil, []byte(values[n])) }), nil
	}
	var err error
	if p.separator, err = unescape("-K", p.separator); err != nil {
		return nil, err
	}
	if p.delimiter, err = unescape("-D", p.delimiter); err != nil {
		return nil, err
	}
	if p.delimiter == "" {
		return nil, usagef("-D: is empty: give what ends a record, or --whole for an input that is one record")
	}
	return p.readInputs(program, p.inputs)
}

// each yields n records.
func each(n int, record func(int) (*kgo.Record, error)) nextRecord {
	at := -1
	return func() (*kgo.Record, error) {
		if at++; at >= n {
			return nil, io.EOF
		}
		return record(at)
	}
}

// lastLine ends its input with a line feed where the last line has none.
type lastLine struct {
	in   io.Reader
	last byte
	some bool
	done bool
}

func (l *lastLine) Read(p []byte) (int, error) {
	if l.done || len(p) == 0 {
		return 0, io.EOF
	}
	n, err := l.in.Read(p)
	if n > 0 {
		l.last, l.some = p[n-1], true
	}
	if errors.Is(err, io.EOF) && n < len(p) {
		l.done = true
		if l.some && l.last != '\n' {
			p[n] = '\n'
			return n + 1, io.EOF
		}
		return n, io.EOF
	}
	if errors.Is(err, io.EOF) {
		err = nil // no room for a line feed: the next read says so
	}
	return n, err
}

// produced is where the records of one partition went.
type produced struct {
	Partition int32 `json:"partition"`
	Records   int64 `json:"records"`
	First     int64 `json:"first"` // offsets; -1 where acks=0 leaves them unknown
	Last      int64 `json:"last"`
}

type production struct {
	Topic      string     `json:"topic"`
	Records    int64      `json:"records"`
	Partitions []produced `json:"partitions"`
}

// produceAll writes records until next says io.EOF, and waits for all acknowledgements.
func (c *client) produceAll(ctx context.Context, topic string, next func() (*kgo.Record, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		mu     sync.Mutex
		parts  = map[int32]*produced{}
		failed error
	)
	acked := func(r *kgo.Record, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			if failed == nil {
				failed = err
				cancel() // what comes after a lost record is not sent: the input's order is the topic's
			}
			return
		}
		p := parts[r.Partition]
		if p == nil {
			p = &produced{Partition: r.Partition, First: r.Offset}
			parts[r.Partition] = p
		}
		p.Records++
		p.First, p.Last = min(p.First, r.Offset), max(p.Last, r.Offset)
	}
	inputErr := c.feed(ctx, next, acked)
	if err := c.kgo.Flush(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	done := production{Topic: topic, Partitions: []produced{}}
	for _, p := range parts {
		done.Records += p.Records
		done.Partitions = append(done.Partitions, *p)
	}
	slices.SortFunc(done.Partitions, func(a, b produced) int { return int(a.Partition - b.Partition) })
	if done.Records > 0 || failed == nil && inputErr == nil {
		if err := c.print(done.result()); err != nil {
			return err
		}
	}
	switch {
	case c.cmd.Context().Err() != nil:
		return errors.New("interrupted; what is acknowledged is written")
	case errors.Is(failed, kerr.UnknownTopicOrPartition):
		return notFoundf("there is no topic %q, and the cluster makes none by itself: 'chronik-server topic create %s' does", topic, topic)
	case errors.Is(failed, kgo.ErrRecordTimeout):
		return fmt.Errorf("cannot write to %s: no acknowledgement within %v%s; 'chronik-server cluster status' tells whether a node is missing", topic, c.timeout, lastWord(failed))
	case failed != nil:
		return writeError(topic, failed)
	}
	return inputErr
}

// lastWord is what the broker said to the last try, where the client library tells it.
func lastWord(err error) string {
	var ke *kerr.Error
	if !errors.As(err, &ke) {
		return ""
	}
	return ", at last " + kafkaError(ke, "")
}

// writeError words why records were not taken, with what to do about it.
func writeError(topic string, err error) error {
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return fmt.Errorf("cannot write to %s: %s%s", topic, kafkaError(err, ""), remedies[ke])
	}
	return fmt.Errorf("cannot write to %s: %w", topic, err)
}

// feed hands records to the client until there is no more, or ctx ends. Reading is left to a goroutine,
// for a terminal may not give the next line before a person has typed it: it ends with the process.
func (c *client) feed(ctx context.Context, next func() (*kgo.Record, error), acked func(*kgo.Record, error)) error {
	type input struct {
		record *kgo.Record
		err    error
	}
	inputs := make(chan input, 1000)
	go func() {
		for {
			r, err := next()
			select {
			case inputs <- input{r, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	for {
		select {
		case in := <-inputs:
			if errors.Is(in.err, io.EOF) {
				return nil
			}
			if in.err != nil {
				return fmt.Errorf("cannot read a record: %w", in.err)
			}
			c.kgo.Produce(ctx, in.record, acked)
		case <-ctx.Done():
			return nil
		}
	}
}

func (p production) result() result {
	r := result{value: p, table: func(t *table) {
		t.line("wrote %s to %s", plural(p.Records, "record"), p.Topic)
		for _, part := range p.Partitions {
			switch {
			case part.First < 0:
				t.line("  partition %d: %s", part.Partition, plural(part.Records, "record"))
			case part.First == part.Last:
				t.line("  partition %d: offset %d", part.Partition, part.First)
			default:
				t.line("  partition %d: offsets %d to %d", part.Partition, part.First, part.Last)
			}
		}
	}}
	for _, part := range p.Partitions {
		r.names = append(r.names, fmt.Sprintf("%s-%d", p.Topic, part.Partition))
	}
	return r
}
