package cli

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// resetting is what the flags of group reset say; the first eight exclude each other.
type resetting struct {
	toEarliest, toLatest, toCurrent bool
	toDatetime, fromFile            string
	byDuration                      time.Duration
	shiftBy, toOffset               int64

	topics          []string
	execute, dryRun bool
	export          bool

	way    string // the name of the flag that is given
	millis int64  // of to-datetime and by-duration
	scopes []scope
}

// reset is what happens to one partition.
type reset struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed *int64 `json:"committed"` // null: nothing
	New       int64  `json:"new"`
}

func (c *client) groupReset() *cobra.Command {
	var r resetting
	cmd := &cobra.Command{
		Use:   "reset GROUP",
		Short: "Set the committed offsets of a consumer group",
		Long: "Sets where a consumer group reads on. Without --execute it only shows what would be set. The group must have no members:\n" +
			"stop its consumers first. Without --topic it is about every partition that the group has committed an offset of.",
		Example: "  chronik-server group reset billing --to-earliest\n" +
			"  chronik-server group reset billing --to-datetime 2026-01-02T15:04:05Z --topic orders --execute\n" +
			"  chronik-server group reset billing --shift-by -10 --topic orders:0,2 --execute\n" +
			"  chronik-server group reset billing --to-current --export > offsets.csv\n" +
			"  chronik-server group reset billing --from-file offsets.csv --execute",
		Args:              someArgs(1, 1, "the name of a group"),
		ValidArgsFunction: c.completeNames(listGroupNames),
	}
	flags := cmd.Flags()
	flags.BoolVar(&r.toEarliest, "to-earliest", false, "to the first record there is")
	flags.BoolVar(&r.toLatest, "to-latest", false, "behind the last record there is")
	flags.BoolVar(&r.toCurrent, "to-current", false, "to what is committed now; with --export, to keep it")
	textVar(flags, &r.toDatetime, "to-datetime", "", "time", "to the first record at or after this time: 2026-01-02T15:04:05Z, or milliseconds")
	flags.DurationVar(&r.byDuration, "by-duration", 0, "to the first record that is not older than this `span`, as 1h30m")
	flags.Int64Var(&r.shiftBy, "shift-by", 0, "`n` records on from what is committed; back if n < 0")
	flags.Int64Var(&r.toOffset, "to-offset", 0, "to this `offset`")
	textVar(flags, &r.fromFile, "from-file", "", "file", "as in this file, a line topic,partition,offset each; - is standard input")
	topicScopeVar(flags, &r.topics, "only this `topic`, or topic:partition,...; may be given again")
	flags.BoolVar(&r.execute, "execute", false, "do it, instead of showing it")
	flags.BoolVar(&r.dryRun, "dry-run", false, "only show it: the default")
	flags.BoolVar(&r.export, "export", false, "print it as a file for --from-file")
	_ = cmd.RegisterFlagCompletionFunc("topic", c.completeNames(listTopicNames))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := r.check(cmd, time.Now()); err != nil {
			return err
		}
		return c.run(cmd, false, func(ctx context.Context) error { return c.resetGroup(ctx, args[0], &r) })
	}
	return cmd
}

var resetWays = []string{"to-earliest", "to-latest", "to-current", "to-datetime", "by-duration", "shift-by", "to-offset", "from-file"}

// check finds which way the flags name, and what is wrong with it.
func (r *resetting) check(cmd *cobra.Command, now time.Time) error {
	for _, way := range resetWays {
		if !cmd.Flags().Changed(way) {
			continue
		}
		if r.way != "" {
			return usagef("--%s and --%s exclude each other: give one of them", r.way, way)
		}
		r.way = way
	}
	if r.way == "" {
		return usagef("group reset needs where to: one of --to-earliest, --to-latest, --to-datetime, --by-duration, --shift-by, --to-offset, --from-file, --to-current")
	}
	if r.execute && (r.dryRun || r.export) {
		return usagef("--execute excludes --dry-run and --export: leave out one of them")
	}
	var err error
	switch r.way {
	case "to-datetime":
		if r.millis, err = parseTime("--to-datetime", r.toDatetime, now); err != nil {
			return err
		}
	case "by-duration":
		if r.byDuration < 0 {
			return usagef("--by-duration %v: is a span before now: leave out the minus", r.byDuration)
		}
		r.millis = now.Add(-r.byDuration).UnixMilli()
	case "to-offset":
		if r.toOffset < 0 {
			return usagef("--to-offset %d: must be 0 or more; --shift-by moves by a number of records", r.toOffset)
		}
	case "from-file":
		if len(r.topics) > 0 {
			return usagef("--from-file and --topic exclude each other: the file names the partitions")
		}
	}
	r.scopes, err = parseScopes(r.topics)
	return err
}

func (c *client) resetGroup(ctx context.Context, group string, r *resetting) error {
	if err := c.groupIsEmpty(ctx, group); err != nil {
		return err
	}
	plan, notes, err := c.planReset(ctx, group, r)
	if err != nil {
		return err
	}
	for _, note := range notes {
		c.noteln("chronik-server: %s", note)
	}
	if r.export {
		w := csv.NewWriter(c.g.program.Out)
		for _, p := range plan {
			_ = w.Write([]string{p.Topic, strconv.Itoa(int(p.Partition)), strconv.FormatInt(p.New, 10)})
		}
		w.Flush()
		return w.Error()
	}
	if !r.execute {
		if err := c.print(resetResult(group, plan)); err != nil {
			return err
		}
		c.noteln("chronik-server: nothing was changed; --execute does it")
		return nil
	}
	var offsets kadm.Offsets
	for _, p := range plan {
		offsets.Add(kadm.Offset{Topic: p.Topic, Partition: p.Partition, At: p.New, LeaderEpoch: -1})
	}
	answers, err := c.adm.CommitOffsets(ctx, group, offsets)
	if err != nil {
		return groupChangeError("set the offsets of", group, err)
	}
	var failed error
	plan = slices.DeleteFunc(plan, func(p reset) bool {
		a, ok := answers.Lookup(p.Topic, p.Partition)
		if ok && a.Err != nil {
			failed = c.fail("%v for %s-%d", groupChangeError("set the offset of", group, a.Err), p.Topic, p.Partition)
		}
		return !ok || a.Err != nil
	})
	return errors.Join(c.print(resetResult(group, plan)), failed)
}

// groupIsEmpty refuses a group that has members: they would go on with what they have, and commit over it.
func (c *client) groupIsEmpty(ctx context.Context, group string) error {
	described, err := c.adm.DescribeGroups(ctx, group)
	if err != nil {
		return err
	}
	g := described[group]
	switch {
	case errors.Is(g.Err, kerr.GroupIDNotFound):
		return nil // it begins with its first commit
	case g.Err != nil:
		return fmt.Errorf("cannot describe group %s: %w", group, c.explain(g.Err))
	case g.State == "Empty" || g.State == "Dead" || g.State == "":
		return nil
	}
	return fmt.Errorf("group %s has %s (%s), which would go on with the offsets they have: stop them first; 'chronik-server group describe %s --members' lists them",
		group, plural(len(g.Members), "member"), g.State, group)
}

// groupChangeError words why a group could not be changed, with what to do about it.
func groupChangeError(do, group string, err error) error {
	text := fmt.Sprintf("cannot %s group %s: %s", do, group, kafkaError(err, ""))
	switch {
	case errors.Is(err, kerr.NonEmptyGroup), errors.Is(err, kerr.UnknownMemberID), errors.Is(err, kerr.GroupSubscribedToTopic), errors.Is(err, kerr.RebalanceInProgress):
		return fmt.Errorf("%s; it has members: stop them first, 'chronik-server group describe %s --members' lists them", text, group)
	case errors.Is(err, kerr.GroupIDNotFound):
		return notFoundf("%s; 'chronik-server group list' lists those there are", text)
	}
	return errors.New(text)
}

// planReset finds the new offset of every partition, and notes what the person should know.
func (c *client) planReset(ctx context.Context, group string, r *resetting) (plan []reset, notes []string, err error) {
	committed, err := c.adm.FetchOffsets(ctx, group)
	if err == nil {
		err = committed.Error()
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, nil, err
	}
	var wanted kadm.Offsets
	var set kadm.TopicsSet
	switch {
	case r.way == "from-file":
		if wanted, err = c.readOffsets(r.fromFile); err != nil {
			return nil, nil, err
		}
		set = wanted.TopicsSet()
	case len(r.scopes) > 0:
		if set, err = c.expand(ctx, r.scopes); err != nil {
			return nil, nil, err
		}
	default:
		set = committed.Offsets().TopicsSet()
		if len(set) == 0 {
			return nil, nil, notFoundf("group %s has committed nothing: name the topics with --topic", group)
		}
	}
	names := sortedTopics(set)
	topics, err := c.findTopics(ctx, names)
	if err != nil {
		return nil, nil, err
	}
	millis := int64(-1)
	if r.way == "to-datetime" || r.way == "by-duration" {
		millis = r.millis
	}
	list, err := c.partitionOffsets(ctx, topics, names, nil, millis)
	if err != nil {
		return nil, nil, err
	}
	for _, o := range list {
		if _, asked := set[o.Topic][o.Partition]; !asked {
			continue
		}
		p, note, err := r.one(o, committed, wanted)
		if err != nil {
			return nil, nil, err
		}
		if note != "" {
			notes = append(notes, note)
		}
		if p != nil {
			plan = append(plan, *p)
		}
	}
	for _, name := range names {
		for p := range set[name] {
			if _, ok := topics[name].Partitions[p]; !ok {
				return nil, nil, notFoundf("topic %s has no partition %d: it has %s", name, p, plural(len(topics[name].Partitions), "partition"))
			}
		}
	}
	return nonNil(plan), notes, nil
}

// one finds the new offset of one partition; nil if there is nothing to set it from.
func (r *resetting) one(o partitionOffsets, committed kadm.OffsetResponses, wanted kadm.Offsets) (p *reset, note string, err error) {
	if o.Start == nil || o.End == nil {
		return nil, "", fmt.Errorf("cannot learn the offsets of %s-%d: it has no leader; 'chronik-server cluster status' tells which node is missing", o.Topic, o.Partition)
	}
	p = &reset{Topic: o.Topic, Partition: o.Partition}
	if at, ok := committed.Lookup(o.Topic, o.Partition); ok && at.At >= 0 {
		p.Committed = &at.At
	}
	switch r.way {
	case "to-earliest":
		p.New = *o.Start
	case "to-latest":
		p.New = *o.End
	case "to-datetime", "by-duration":
		if o.At == nil {
			return nil, "", fmt.Errorf("cannot look up the time in %s-%d: it has no leader", o.Topic, o.Partition)
		}
		p.New = *o.At
	case "to-current", "shift-by":
		if p.Committed == nil {
			return nil, fmt.Sprintf("%s-%d is left out: the group has committed nothing there", o.Topic, o.Partition), nil
		}
		p.New, note = within(o.Topic, o.Partition, *p.Committed+r.shiftBy, *o.Start, *o.End)
	case "to-offset":
		p.New, note = within(o.Topic, o.Partition, r.toOffset, *o.Start, *o.End)
	case "from-file":
		at, _ := wanted.Lookup(o.Topic, o.Partition)
		p.New, note = within(o.Topic, o.Partition, at.At, *o.Start, *o.End)
	}
	return p, note, nil
}

// readOffsets reads lines of topic,partition,offset, as --export and Kafka's tool write them.
func (c *client) readOffsets(path string) (kadm.Offsets, error) {
	in := c.g.program.In
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("cannot read the offsets: %w", err)
		}
		defer f.Close()
		in = f
	}
	r := csv.NewReader(in)
	r.FieldsPerRecord, r.Comment, r.TrimLeadingSpace = 3, '#', true
	var offsets kadm.Offsets
	for {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read the offsets in %s: %w; a line is topic,partition,offset", path, err)
		}
		line, _ := r.FieldPos(0)
		partition, err := strconv.ParseInt(fields[1], 10, 32)
		if err != nil || partition < 0 {
			return nil, fmt.Errorf("%s, line %d: %q is no partition; a line is topic,partition,offset", path, line, fields[1])
		}
		at, err := strconv.ParseInt(fields[2], 10, 64)
		if err != nil || at < 0 {
			return nil, fmt.Errorf("%s, line %d: %q is no offset; a line is topic,partition,offset", path, line, fields[2])
		}
		offsets.Add(kadm.Offset{Topic: fields[0], Partition: int32(partition), At: at})
	}
	if len(offsets) == 0 {
		return nil, fmt.Errorf("%s names no offset: a line is topic,partition,offset", path)
	}
	return offsets, nil
}

func resetResult(group string, plan []reset) result {
	r := result{value: plan, table: func(t *table) {
		t.head("GROUP", "TOPIC", "PARTITION", "COMMITTED", "NEW")
		for _, p := range plan {
			t.row(group, p.Topic, p.Partition, orUnknown(p.Committed), p.New)
		}
	}}
	for _, p := range plan {
		r.names = append(r.names, fmt.Sprintf("%s-%d", p.Topic, p.Partition))
	}
	return r
}

func (c *client) groupDelete() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:               "delete GROUP...",
		Short:             "Delete consumer groups and what they have committed",
		Long:              "Deletes consumer groups with all the offsets they have committed. A group must have no members: stop its consumers first.",
		Args:              someArgs(1, 0, "the name of a group"),
		ValidArgsFunction: c.completeNames(listGroupNames),
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if !yes {
			if err := c.confirm(fmt.Sprintf("delete %s and all they have committed?", plural(len(names), "group"))); err != nil {
				return err
			}
		}
		return c.run(cmd, false, func(ctx context.Context) error {
			answers, err := c.adm.DeleteGroups(ctx, names...)
			if err = c.partly(err, "delete groups"); err != nil {
				return err
			}
			deleted := []string{}
			var failed error
			for _, name := range names {
				a, err := answers.On(name, nil)
				if err == nil {
					err = a.Err
				}
				if err != nil {
					err = groupChangeError("delete", name, err)
					_ = c.fail("%v", err)
					failed = reported(err)
					continue
				}
				deleted = append(deleted, name)
			}
			return errors.Join(c.print(result{value: deleted, names: deleted, table: func(t *table) {
				for _, name := range deleted {
					t.line("deleted %s", name)
				}
			}}), failed)
		})
	}
	return cmd
}

// reported is an error that was shown already, with the exit code it has.
func reported(err error) error {
	var coded *exitError
	if errors.As(err, &coded) {
		return &exitError{coded.code, errReported}
	}
	return errReported
}

func (c *client) groupOffsetDelete() *cobra.Command {
	var yes bool
	var topics []string
	cmd := &cobra.Command{
		Use:               "offset-delete GROUP",
		Short:             "Delete what a consumer group has committed for topics",
		Long:              "Deletes the offsets that a consumer group has committed for some topics. No member of it may be subscribed to them.",
		Example:           "  chronik-server group offset-delete billing --topic orders --topic clicks:0,1",
		Args:              someArgs(1, 1, "the name of a group"),
		ValidArgsFunction: c.completeNames(listGroupNames),
	}
	topicScopeVar(cmd.Flags(), &topics, "this `topic`, or topic:partition,...; may be given again")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	_ = cmd.RegisterFlagCompletionFunc("topic", c.completeNames(listTopicNames))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		scopes, err := parseScopes(topics)
		if err != nil {
			return err
		}
		if len(scopes) == 0 {
			return usagef("group offset-delete needs --topic, as in --topic orders or --topic orders:0,2")
		}
		if !yes {
			if err := c.confirm(fmt.Sprintf("delete what group %s has committed for %s?", args[0], plural(len(scopes), "topic"))); err != nil {
				return err
			}
		}
		return c.run(cmd, false, func(ctx context.Context) error { return c.deleteOffsets(ctx, args[0], scopes) })
	}
	return cmd
}

func (c *client) deleteOffsets(ctx context.Context, group string, scopes []scope) error {
	// A topic need not be there any more for its offsets to be deleted: what is committed tells the partitions.
	committed, err := c.adm.FetchOffsets(ctx, group)
	if err != nil {
		return groupChangeError("read the offsets of", group, err)
	}
	var set kadm.TopicsSet
	for _, s := range scopes {
		for _, p := range committed[s.topic] {
			if p.At >= 0 && (len(s.partitions) == 0 || slices.Contains(s.partitions, p.Partition)) {
				set.Add(s.topic, p.Partition)
			}
		}
		if _, some := set[s.topic]; !some {
			return notFoundf("group %s has committed nothing for %s", group, s.topic)
		}
	}
	answers, err := c.adm.DeleteOffsets(ctx, group, set)
	if err != nil {
		return groupChangeError("delete offsets of", group, err)
	}
	deleted := []string{}
	var failed error
	for _, t := range set.Sorted() {
		for _, p := range t.Partitions {
			name := fmt.Sprintf("%s-%d", t.Topic, p)
			if err, ok := answers.Lookup(t.Topic, p); ok && err != nil {
				failed = c.fail("%s: %v", name, groupChangeError("delete the offset of", group, err))
				continue
			}
			deleted = append(deleted, name)
		}
	}
	return errors.Join(c.print(result{value: deleted, names: deleted, table: func(t *table) {
		for _, name := range deleted {
			t.line("deleted the offset of %s", name)
		}
	}}), failed)
}
