package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// consuming is what the flags of consume say.
type consuming struct {
	topics     []string
	group      string
	offset     string
	until      string
	number     int64
	partitions []int32
	layout     string
	separator  string
	delimiter  string
	null       string
	encoding   string
	follow     bool

	from  offsetSpec
	to    offsetSpec
	begin map[string]map[int32]int64 // where each partition begins if nothing is committed
	tail  *tail

	leaderless int // partitions that nobody can be asked for

	out  *bufio.Writer
	show func(r *kgo.Record) error
	left int64 // records still to show; < 0: no limit
}

func (g *globals) consume() *cobra.Command {
	var s consuming
	cmd := &cobra.Command{
		Use:   "consume TOPIC...",
		Short: "Read the records of topics",
		Long: "Reads topics from the start to where they end now, and stops there; --follow waits for what comes after.\n" +
			"With a group (-g) it reads on from what the group has committed, and commits what it has printed.\n\n" +
			layoutHelp,
		Example: "  chronik-server consume orders\n" +
			"  chronik-server consume orders -g billing --follow\n" +
			"  chronik-server consume orders --offset @-1h -f '%p %o %k=%s %h\\n'\n" +
			"  chronik-server consume orders --offset @2026-01-02 --until @2026-01-03 -K '\\t'\n" +
			"  chronik-server consume orders -p 0 --offset -10 --format json",
		Args: someArgs(1, 0, "the name of a topic"),
	}
	c := g.clientFlags(cmd)
	flags := cmd.Flags()
	s.offset, s.layout, s.delimiter = "start", `%s\n`, `\n`
	textVar(flags, &s.group, "group", "g", "group", "read as a member of this consumer group")
	textVar(flags, &s.offset, "offset", "", "where", "where to begin: start, end, N, -N (the last N), @TIME (milliseconds, a date or -1h)")
	textVar(flags, &s.until, "until", "", "where", "where to stop: before offset N, before what is not older than @TIME, or at end, which is the default")
	flags.Int64VarP(&s.number, "number", "n", 0, "stop after that many records; 0: no limit")
	partitionsVar(flags, &s.partitions)
	textVar(flags, &s.layout, "layout", "f", "form", "form of a record in the output")
	textVar(flags, &s.separator, "key-separator", "K", "text", "print the key too, and this between it and the value")
	textVar(flags, &s.delimiter, "delimiter", "D", "text", "print this after each record")
	textVar(flags, &s.null, "null", "Z", "text", "print this for a key or a value that is null; without it nothing is printed")
	choiceVar(flags, &s.encoding, "encoding", "", "how keys and values are printed", encodings...)
	flags.BoolVar(&s.follow, "follow", false, "wait for new records instead of stopping at the end")
	cmd.ValidArgsFunction = c.completeNames(listTopicNames)
	cmd.RunE = func(cmd *cobra.Command, topics []string) error {
		s.topics = topics
		opts, err := s.options(cmd, c)
		if err != nil {
			return err
		}
		return c.run(cmd, true, func(ctx context.Context) error { return c.consumeAll(ctx, &s) }, opts...)
	}
	return cmd
}

// options checks the flags and turns them into options of the client.
func (s *consuming) options(cmd *cobra.Command, c *client) ([]kgo.Opt, error) {
	now := time.Now()
	var err error
	if s.from, err = parseWhere("--offset", s.offset, now); err != nil {
		return nil, err
	}
	s.to = offsetSpec{kind: atEnd}
	if s.until != "" {
		if s.to, err = parseWhere("--until", s.until, now); err != nil {
			return nil, err
		}
		if s.follow && s.to.kind != atOffset {
			return nil, usagef("--follow waits for records that are not there yet, so it goes with --until N alone: leave out one of them")
		}
	}
	if s.number < 0 {
		return nil, usagef("--number %d: must be 0 or more", s.number)
	}
	s.left = s.number
	if s.number == 0 {
		s.left = -1
	}
	s.out = bufio.NewWriterSize(c.g.program.Out, 64<<10)
	form, err := s.form(cmd)
	if err != nil {
		return nil, err
	}
	s.show = recordPrinter(s.out, c.format, form)
	opts := []kgo.Opt{kgo.KeepControlRecords(), kgo.FetchMaxWait(500 * time.Millisecond)}
	if s.group == "" {
		return opts, nil
	}
	if len(s.partitions) > 0 {
		return nil, usagef("--partitions and --group exclude each other: a group's members share the partitions among themselves")
	}
	return append(opts,
		kgo.ConsumerGroup(s.group), kgo.DisableAutoCommit(),
		// Where nothing is committed the hook sees the offset -2, and puts the one that --offset means.
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AdjustFetchOffsetsFn(s.adjust),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { s.tail.assign(m) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { s.tail.revoke(m) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { s.tail.revoke(m) }),
	), nil
}

// form makes what writes a record in --format table, and checks the flags that say how.
func (s *consuming) form(cmd *cobra.Command) (appendRecord, error) {
	given := cmd.Flags().Changed
	sh := shape{encoding: s.encoding}
	if given("null") {
		sh.null = &s.null
	}
	if !given("key-separator") && !given("delimiter") {
		form, err := parseLayout(s.layout, sh)
		if err != nil {
			return nil, usagef("--layout %s: %v", s.layout, err)
		}
		return form, nil
	}
	if given("layout") {
		return nil, usagef("-f and -K or -D both describe the output: leave out one of them")
	}
	separator, err := unescape("-K", s.separator)
	if err != nil {
		return nil, err
	}
	delimiter, err := unescape("-D", s.delimiter)
	if err != nil {
		return nil, err
	}
	if !given("key-separator") {
		return inOrder(sh.value, literal(delimiter)), nil
	}
	return inOrder(sh.key, literal(separator), sh.value, literal(delimiter)), nil
}

// adjust is called with the offsets a group has committed for what this member was given.
func (s *consuming) adjust(_ context.Context, offsets map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for topic, partitions := range offsets {
		for p, o := range partitions {
			at := o.EpochOffset().Offset
			if begin, known := s.begin[topic][p]; at < 0 && known {
				at = begin
				partitions[p] = kgo.NewOffset().At(at)
			}
			s.tail.begin(topic, p, max(at, 0))
		}
	}
	return offsets, nil
}

// consumeAll reads until the end, the number or the person says stop.
func (c *client) consumeAll(ctx context.Context, s *consuming) (err error) {
	defer func() { err = errors.Join(err, s.out.Flush()) }()
	lookup, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	topics, err := c.findTopics(lookup, s.topics)
	if err != nil {
		return err
	}
	ends, err := c.adm.ListEndOffsets(lookup, s.topics...)
	if err = c.partly(err, "tell where its partitions end"); err != nil {
		return fmt.Errorf("cannot learn where %s ends: %s", strings.Join(s.topics, ", "), kafkaError(err, ""))
	}
	if s.begin, err = c.startOffsets(lookup, s, topics, ends); err != nil {
		return err
	}
	if s.leaderless > 0 {
		defer func() {
			if err == nil {
				err = fmt.Errorf("%s not read, for want of a leader; 'chronik-server cluster status' tells more", plural(s.leaderless, "partition"))
			}
		}()
	}
	if ends, err = c.bounds(lookup, s, ends); err != nil {
		return err
	}
	s.tail = newTail(ends)
	if s.group != "" {
		c.kgo.AddConsumeTopics(s.topics...)
		return c.poll(ctx, s)
	}
	offsets := map[string]map[int32]kgo.Offset{}
	for topic, partitions := range s.begin {
		offsets[topic] = map[int32]kgo.Offset{}
		for p, at := range partitions {
			s.tail.begin(topic, p, at)
			offsets[topic][p] = kgo.NewOffset().At(at)
		}
	}
	s.tail.assign(nil)
	c.kgo.AddConsumePartitions(offsets)
	return c.poll(ctx, s)
}

// bounds returns where each partition is to be read to, which --until puts before its end, or with --follow behind it.
func (c *client) bounds(ctx context.Context, s *consuming, ends kadm.ListedOffsets) (kadm.ListedOffsets, error) {
	if s.until == "" {
		return ends, nil
	}
	var timed kadm.ListedOffsets
	if s.to.kind == atTime {
		var err error
		timed, err = c.adm.ListOffsetsAfterMilli(ctx, s.to.n, s.topics...)
		if err = c.partly(err, "look up the time"); err != nil {
			return nil, err
		}
	}
	for topic, partitions := range ends {
		for p, end := range partitions {
			at, _ := timed.Lookup(topic, p)
			to := s.to.resolve(0, end.Offset, at.Offset)
			if s.follow {
				to = s.to.n
			}
			end.Offset = to
			partitions[p] = end
		}
	}
	return ends, nil
}

// poll prints what arrives, and commits it for a group.
func (c *client) poll(ctx context.Context, s *consuming) error {
	if s.group != "" {
		defer c.kgo.LeaveGroup()
	}
	began := time.Now()
	progress := began
	for s.left != 0 && (s.follow && s.until == "" || !s.tail.reached()) {
		wait, cancel := context.WithTimeout(ctx, time.Second)
		fetches := c.kgo.PollFetches(wait)
		cancel()
		for _, e := range fetches.Errors() {
			switch {
			case errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, context.Canceled):
			case e.Topic == "":
				return fmt.Errorf("cannot read: %s", kafkaError(e.Err, ""))
			default:
				return fmt.Errorf("cannot read %s-%d: %s", e.Topic, e.Partition, kafkaError(e.Err, ""))
			}
		}
		shown, err := s.showAll(fetches)
		if err = errors.Join(err, s.out.Flush()); err != nil {
			return err
		}
		if err := c.commit(ctx, s.group, shown); err != nil {
			return err
		}
		if len(shown) > 0 {
			progress = time.Now()
		}
		switch {
		case ctx.Err() != nil && s.follow:
			return nil // a person ended it: that is no failure
		case ctx.Err() != nil:
			return errors.New("interrupted before the end")
		case !s.tail.isAssigned() && time.Since(began) > c.timeout+10*time.Second:
			return fmt.Errorf("group %s gave this member nothing within %v; 'chronik-server group describe %s' tells who else is in it",
				s.group, time.Since(began).Round(time.Second), s.group)
		case !s.follow && s.left != 0 && !s.tail.reached() && time.Since(progress) > c.timeout+10*time.Second:
			return fmt.Errorf("nothing came for %v, before the end of %s; 'chronik-server topic describe' tells whether it has a leader",
				time.Since(progress).Round(time.Second), s.tail.waiting())
		}
	}
	return nil
}

// showAll prints the records of one poll and returns the offsets behind them.
func (s *consuming) showAll(fetches kgo.Fetches) (map[string]map[int32]kgo.EpochOffset, error) {
	shown := map[string]map[int32]kgo.EpochOffset{}
	for iter := fetches.RecordIter(); !iter.Done() && s.left != 0; {
		r := iter.Next()
		if past := s.tail.read(r.Topic, r.Partition, r.Offset); past && (!s.follow || s.until != "") {
			continue // it came after the command had begun, or lies behind --until
		}
		if !r.Attrs.IsControl() {
			if err := s.show(r); err != nil {
				return shown, err
			}
			if s.left > 0 {
				s.left--
			}
		}
		if shown[r.Topic] == nil {
			shown[r.Topic] = map[int32]kgo.EpochOffset{}
		}
		shown[r.Topic][r.Partition] = kgo.EpochOffset{Epoch: r.LeaderEpoch, Offset: r.Offset + 1}
	}
	return shown, nil
}

// commit stores a group's offsets. What was printed is committed even if the person has just said stop.
func (c *client) commit(ctx context.Context, group string, offsets map[string]map[int32]kgo.EpochOffset) error {
	if group == "" || len(offsets) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
	defer cancel()
	var failed error
	c.kgo.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
		failed = err
		for i := 0; err == nil && i < len(answer.Topics); i++ {
			for _, p := range answer.Topics[i].Partitions {
				failed = errors.Join(failed, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	})
	if failed != nil {
		return fmt.Errorf("cannot commit the offsets of group %s: %s", group, kafkaError(failed, ""))
	}
	return nil
}

// tail knows how far the partitions that are read go on, to tell when the end is reached. The
// client's callbacks write it while the command reads it.
type tail struct {
	mu       sync.Mutex
	ends     kadm.ListedOffsets
	assigned bool // at least once, even with nothing
	next     map[string]map[int32]int64
}

// unknown is the position of a partition between its assignment and the answer to what is committed.
const unknown = -1

func newTail(ends kadm.ListedOffsets) *tail {
	return &tail{ends: ends, next: map[string]map[int32]int64{}}
}

func (t *tail) set(topic string, p int32, at int64) {
	if t.next[topic] == nil {
		t.next[topic] = map[int32]int64{}
	}
	t.next[topic][p] = at
}

func (t *tail) assign(partitions map[string][]int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.assigned = true
	for topic, list := range partitions {
		for _, p := range list {
			t.set(topic, p, unknown)
		}
	}
}

func (t *tail) revoke(partitions map[string][]int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for topic, list := range partitions {
		for _, p := range list {
			delete(t.next[topic], p)
		}
	}
}

func (t *tail) begin(topic string, p int32, at int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.set(topic, p, at)
}

// read notes a record and reports whether it lies past the end.
func (t *tail) read(topic string, p int32, offset int64) (past bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ours := t.next[topic][p]; ours {
		t.next[topic][p] = offset + 1
	}
	end, ok := t.ends.Lookup(topic, p)
	return !ok || offset >= end.Offset
}

func (t *tail) isAssigned() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.assigned
}

// waiting names a partition that has not been read to its end.
func (t *tail) waiting() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for topic, partitions := range t.next {
		for p, at := range partitions {
			if end, ok := t.ends.Lookup(topic, p); ok && at < end.Offset {
				return fmt.Sprintf("%s-%d, read up to %d of %d", topic, p, max(at, 0), end.Offset)
			}
		}
	}
	return "its partitions"
}

// reached reports whether every partition has been read to its end.
func (t *tail) reached() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for topic, partitions := range t.next {
		for p, at := range partitions {
			if end, ok := t.ends.Lookup(topic, p); at == unknown || ok && at < end.Offset {
				return false
			}
		}
	}
	return t.assigned
}

// startOffsets returns where each partition is begun without a group.
func (c *client) startOffsets(ctx context.Context, s *consuming, topics kadm.TopicDetails, ends kadm.ListedOffsets) (map[string]map[int32]int64, error) {
	starts, err := c.adm.ListStartOffsets(ctx, s.topics...)
	if err = c.partly(err, "tell where its partitions begin"); err != nil {
		return nil, err
	}
	var timed kadm.ListedOffsets
	if s.from.kind == atTime {
		timed, err = c.adm.ListOffsetsAfterMilli(ctx, s.from.n, s.topics...)
		if err = c.partly(err, "look up the time"); err != nil {
			return nil, err
		}
	}
	begin := map[string]map[int32]int64{}
	for _, topic := range s.topics {
		for _, p := range s.partitions {
			if _, ok := topics[topic].Partitions[p]; !ok {
				return nil, notFoundf("topic %s has no partition %d: it has %s", topic, p, plural(len(topics[topic].Partitions), "partition"))
			}
		}
		begin[topic] = map[int32]int64{}
		for p := range topics[topic].Partitions {
			if len(s.partitions) > 0 && !slices.Contains(s.partitions, p) {
				continue
			}
			start, haveStart := starts.Lookup(topic, p)
			end, haveEnd := ends.Lookup(topic, p)
			if !haveStart || !haveEnd || start.Err != nil || end.Err != nil {
				s.leaderless++
				continue
			}
			at, _ := timed.Lookup(topic, p)
			begin[topic][p] = s.from.resolve(start.Offset, end.Offset, at.Offset)
		}
	}
	return begin, nil
}

// recordPrinter returns what writes one record in the asked format; form is that of table.
func recordPrinter(w io.Writer, format string, form appendRecord) func(r *kgo.Record) error {
	switch format {
	case "json":
		e := json.NewEncoder(w) // one line a record, so that a stream can be read as it comes
		e.SetEscapeHTML(false)
		return func(r *kgo.Record) error { return e.Encode(jsonRecord(r)) }
	case "yaml":
		return func(r *kgo.Record) error {
			if _, err := io.WriteString(w, "---\n"); err != nil {
				return err
			}
			return writeYAML(w, jsonRecord(r))
		}
	case "name":
		return func(r *kgo.Record) error {
			_, err := fmt.Fprintf(w, "%s-%d@%d\n", r.Topic, r.Partition, r.Offset)
			return err
		}
	}
	var b []byte
	return func(r *kgo.Record) error {
		b = form(b[:0], r)
		_, err := w.Write(b)
		return err
	}
}

// recordJSON is a record as JSON: bytes as text where they are UTF-8, else as base64 under another name.
type recordJSON struct {
	Topic     string       `json:"topic"`
	Partition int32        `json:"partition"`
	Offset    int64        `json:"offset"`
	Timestamp time.Time    `json:"timestamp"`
	Key       *string      `json:"key"`
	KeyBytes  []byte       `json:"keyBase64,omitempty"`
	Value     *string      `json:"value"`
	ValueRaw  []byte       `json:"valueBase64,omitempty"`
	Headers   []headerJSON `json:"headers,omitempty"`
}

type headerJSON struct {
	Key      string  `json:"key"`
	Value    *string `json:"value"`
	ValueRaw []byte  `json:"valueBase64,omitempty"`
}

func jsonRecord(r *kgo.Record) recordJSON {
	j := recordJSON{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UTC()}
	j.Key, j.KeyBytes = textOrBytes(r.Key)
	j.Value, j.ValueRaw = textOrBytes(r.Value)
	for _, h := range r.Headers {
		hj := headerJSON{Key: h.Key}
		hj.Value, hj.ValueRaw = textOrBytes(h.Value)
		j.Headers = append(j.Headers, hj)
	}
	return j
}

func textOrBytes(b []byte) (*string, []byte) {
	if b == nil {
		return nil, nil
	}
	if !utf8.Valid(b) {
		return nil, b
	}
	s := string(b)
	return &s, nil
}
