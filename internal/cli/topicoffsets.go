package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

// partitionOffsets are the offsets of a partition that can be asked for.
type partitionOffsets struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Start     *int64 `json:"start"` // null: not known, because there is no leader to ask
	End       *int64 `json:"end"`
	At        *int64 `json:"at,omitempty"` // the first offset at or after the time that is asked for; the end if there is none
	Records   *int64 `json:"records"`      // from start, or from at, to end: no more than that, for a compacted log has gaps
	Size      *int64 `json:"size"`         // bytes on the disk of the replica that has most; null: nobody told
}

func (c *client) topicOffsets() *cobra.Command {
	var at string
	var partitions []int32
	cmd := &cobra.Command{
		Use:   "offsets NAME...",
		Short: "Print where partitions begin and end, and how large they are",
		Long: "Prints the first offset of partitions, the one after the last, and their size on disk; with --at also the first offset\n" +
			"whose record is not older than a time.",
		Example: "  chronik-server topic offsets orders\n" +
			"  chronik-server topic offsets orders --at -1h\n" +
			"  chronik-server topic offsets orders --at 2026-01-02T15:04:05Z -p 0",
		Args:              someArgs(1, 0, "the name of a topic"),
		ValidArgsFunction: c.completeNames(listTopicNames),
	}
	textVar(cmd.Flags(), &at, "at", "", "time", "the first offset at or after this time too: milliseconds, RFC 3339, or -1h")
	partitionsVar(cmd.Flags(), &partitions)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		millis := int64(-1)
		if at != "" {
			var err error
			if millis, err = parseTime("--at", strings.TrimPrefix(at, "@"), time.Now()); err != nil {
				return err
			}
		}
		return c.run(cmd, false, func(ctx context.Context) error {
			topics, err := c.findTopics(ctx, names)
			if err != nil {
				return err
			}
			if err := checkPartitions(topics, names, partitions); err != nil {
				return err
			}
			list, err := c.partitionOffsets(ctx, topics, names, partitions, millis)
			if err != nil {
				return err
			}
			return c.print(offsetsResult(list, millis >= 0))
		})
	}
	return cmd
}

// checkPartitions refuses partitions that a topic does not have.
func checkPartitions(topics kadm.TopicDetails, names []string, partitions []int32) error {
	for _, name := range names {
		for _, p := range partitions {
			if _, ok := topics[name].Partitions[p]; !ok {
				return notFoundf("topic %s has no partition %d: it has %s", name, p, plural(len(topics[name].Partitions), "partition"))
			}
		}
	}
	return nil
}

// partitionOffsets asks for the offsets of the given partitions, of all if none is given.
func (c *client) partitionOffsets(ctx context.Context, topics kadm.TopicDetails, names []string, partitions []int32, millis int64) ([]partitionOffsets, error) {
	starts, err := c.adm.ListStartOffsets(ctx, names...)
	if err = c.partly(err, "tell where its partitions begin"); err != nil {
		return nil, err
	}
	ends, err := c.adm.ListEndOffsets(ctx, names...)
	if err = c.partly(err, "tell where its partitions end"); err != nil {
		return nil, err
	}
	var timed kadm.ListedOffsets
	if millis >= 0 {
		timed, err = c.adm.ListOffsetsAfterMilli(ctx, millis, names...)
		if err = c.partly(err, "look up the time"); err != nil {
			return nil, err
		}
	}
	sizes := c.partitionSizes(ctx, topics, names)
	list := []partitionOffsets{}
	for _, name := range names {
		for _, p := range topics[name].Partitions.Numbers() {
			if len(partitions) > 0 && !slices.Contains(partitions, p) {
				continue
			}
			row := partitionOffsets{
				Topic: name, Partition: p, Start: known(starts, name, p), End: known(ends, name, p), At: known(timed, name, p), Size: sizes[name][p],
			}
			from := row.Start
			if millis >= 0 {
				from = row.At
			}
			if from != nil && row.End != nil {
				n := max(0, *row.End-*from)
				row.Records = &n
			}
			list = append(list, row)
		}
	}
	return list, nil
}

// known returns a listed offset, nil if it could not be learned.
func known(list kadm.ListedOffsets, topic string, p int32) *int64 {
	if o, ok := list.Lookup(topic, p); ok && o.Err == nil {
		return &o.Offset
	}
	return nil
}

// partitionSizes returns how many bytes the largest replica of each partition has on its disk, as far as brokers tell.
func (c *client) partitionSizes(ctx context.Context, topics kadm.TopicDetails, names []string) map[string]map[int32]*int64 {
	var all kadm.TopicsSet
	for _, name := range names {
		all.Add(name, topics[name].Partitions.Numbers()...)
	}
	sizes := map[string]map[int32]*int64{}
	dirs, _ := c.adm.DescribeAllLogDirs(ctx, all) // who does not answer leaves a dash
	for _, broker := range dirs {
		for _, p := range broker.SortedPartitions() {
			if sizes[p.Topic] == nil {
				sizes[p.Topic] = map[int32]*int64{}
			}
			if size := sizes[p.Topic][p.Partition]; !p.IsFuture && (size == nil || *size < p.Size) {
				sizes[p.Topic][p.Partition] = &p.Size
			}
		}
	}
	return sizes
}

func offsetsResult(list []partitionOffsets, timed bool) result {
	r := result{value: list, table: func(t *table) {
		columns := []string{"TOPIC", "PARTITION", "START", "END", "RECORDS", "SIZE"}
		if timed {
			columns = slices.Insert(columns, 4, "AT")
		}
		t.head(columns...)
		for _, o := range list {
			size := "-"
			if o.Size != nil {
				size = byteText(*o.Size)
			}
			cells := []any{o.Topic, o.Partition, orUnknown(o.Start), orUnknown(o.End), orUnknown(o.Records), size}
			if timed {
				cells = slices.Insert(cells, 4, any(orUnknown(o.At)))
			}
			t.row(cells...)
		}
	}}
	for _, o := range list {
		r.names = append(r.names, fmt.Sprintf("%s-%d", o.Topic, o.Partition))
	}
	return r
}

// orUnknown is a number, or a dash where it is not known.
func orUnknown(n *int64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatInt(*n, 10)
}

// byteText writes a number of bytes for people: 1.5 MiB.
func byteText(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	size, unit := float64(n)/1024, "KiB"
	for _, u := range []string{"MiB", "GiB", "TiB"} {
		if size < 1024 {
			break
		}
		size, unit = size/1024, u
	}
	return fmt.Sprintf("%.1f %s", size, unit)
}

// truncation is what topic truncate does to one partition.
type truncation struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Start     int64  `json:"start"`
	NewStart  int64  `json:"newStart"`
}

func (c *client) topicTruncate() *cobra.Command {
	var before string
	var partitions []int32
	var yes, dryRun bool
	cmd := &cobra.Command{
		Use:   "truncate NAME...",
		Short: "Delete the oldest records of topics",
		Long: "Deletes the records before an offset, or before a time, from topics. The topics, their offsets and what groups have\n" +
			"committed stay; records that are newer stay too.",
		Example: "  chronik-server topic truncate orders --before 1000 -p 0 --dry-run\n" +
			"  chronik-server topic truncate orders --before @-24h\n" +
			"  chronik-server topic truncate orders --before end --yes",
		Args:              someArgs(1, 0, "the name of a topic"),
		ValidArgsFunction: c.completeNames(listTopicNames),
	}
	textVar(cmd.Flags(), &before, "before", "", "where", "the first record that stays: end (none stays), N, -N (the last N stay), @TIME (milliseconds, RFC 3339 or -1h)")
	partitionsVar(cmd.Flags(), &partitions)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be deleted, and delete nothing")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if before == "" {
			return usagef("topic truncate needs --before, the first record that stays: end, N, -N or @TIME")
		}
		spec, err := parseWhere("--before", before, time.Now())
		if err != nil {
			return err
		}
		return c.run(cmd, true, func(ctx context.Context) error { // a person may think about the answer
			plan, err := c.planTruncation(ctx, names, partitions, spec)
			if err != nil {
				return err
			}
			if dryRun || len(plan) == 0 {
				return c.print(truncationResult(plan, "would be deleted"))
			}
			if !yes {
				records := int64(0)
				for _, p := range plan {
					records += p.NewStart - p.Start
				}
				if err := c.confirm(fmt.Sprintf("delete %s from %s?", plural(records, "record"), plural(len(plan), "partition"))); err != nil {
					return err
				}
			}
			ctx, cancel := context.WithTimeout(ctx, c.timeout)
			defer cancel()
			return c.truncate(ctx, plan)
		})
	}
	return cmd
}

// planTruncation finds where each partition is to begin; partitions that lose nothing are left out.
func (c *client) planTruncation(ctx context.Context, names []string, partitions []int32, spec offsetSpec) ([]truncation, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	topics, err := c.findTopics(ctx, names)
	if err != nil {
		return nil, err
	}
	if err := checkPartitions(topics, names, partitions); err != nil {
		return nil, err
	}
	millis := int64(-1)
	if spec.kind == atTime {
		millis = spec.n
	}
	list, err := c.partitionOffsets(ctx, topics, names, partitions, millis)
	if err != nil {
		return nil, err
	}
	plan := []truncation{}
	for _, o := range list {
		if o.Start == nil || o.End == nil || millis >= 0 && o.At == nil {
			return nil, fmt.Errorf("cannot truncate %s-%d: it has no leader; 'chronik-server cluster status' tells which node is missing, -p leaves it out", o.Topic, o.Partition)
		}
		if spec.kind == atOffset && spec.n > *o.End {
			return nil, fmt.Errorf("cannot truncate %s-%d before offset %d: it ends at %d", o.Topic, o.Partition, spec.n, *o.End)
		}
		at := int64(0)
		if o.At != nil {
			at = *o.At
		}
		if to := spec.resolve(*o.Start, *o.End, at); to > *o.Start {
			plan = append(plan, truncation{o.Topic, o.Partition, *o.Start, to})
		}
	}
	return plan, nil
}

func (c *client) truncate(ctx context.Context, plan []truncation) error {
	var offsets kadm.Offsets
	for _, p := range plan {
		offsets.Add(kadm.Offset{Topic: p.Topic, Partition: p.Partition, At: p.NewStart})
	}
	answers, err := c.adm.DeleteRecords(ctx, offsets)
	if err = c.partly(err, "delete records"); err != nil {
		return err
	}
	done := []truncation{}
	var failed error
	for _, p := range plan {
		a, err := answers.On(p.Topic, p.Partition, nil)
		if err == nil {
			err = a.Err
		}
		if err != nil {
			failed = c.fail("cannot truncate %s-%d: %s", p.Topic, p.Partition, kafkaError(err, ""))
			continue
		}
		p.NewStart = a.LowWatermark
		done = append(done, p)
	}
	return errors.Join(c.print(truncationResult(done, "deleted")), failed)
}

func truncationResult(list []truncation, what string) result {
	r := result{value: list, table: func(t *table) {
		if len(list) == 0 {
			t.line("no record is older than that")
			return
		}
		for _, p := range list {
			t.line("%s-%d: %s %s, it begins at %d", p.Topic, p.Partition, plural(p.NewStart-p.Start, "record"), what, p.NewStart)
		}
	}}
	for _, p := range list {
		r.names = append(r.names, fmt.Sprintf("%s-%d", p.Topic, p.Partition))
	}
	return r
}
