package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"golang.org/x/term"

	"github.com/chronik-stream/chronik/internal/metadata"
)

func (g *globals) topic() *cobra.Command {
	cmd := &cobra.Command{Use: "topic", Short: "Create, list, describe, change and delete topics"}
	c := g.clientFlags(cmd)
	return parent(cmd, c.topicCreate(), c.topicList(), c.topicDescribe(), c.topicAlter(), c.topicAddPartitions(),
		c.topicOffsets(), c.topicTruncate(), c.topicDelete())
}

// topicRow is a topic in lists.
type topicRow struct {
	Name              string `json:"name"`
	ID                string `json:"id"`
	Partitions        int    `json:"partitions"`
	ReplicationFactor int    `json:"replicationFactor"`
	Internal          bool   `json:"internal"`
}

func (c *client) topicCreate() *cobra.Command {
	var (
		partitions  int32
		replicas    int16
		configs     []string
		ifNotExists bool
	)
	cmd := &cobra.Command{
		Use:     "create NAME...",
		Short:   "Create topics",
		Example: "  chronik-server topic create orders -p 6 -c retention.ms=3600000",
		Args:    someArgs(1, 0, "the name of a topic"),
	}
	cmd.Flags().Int32VarP(&partitions, "partitions", "p", -1, "`number` of partitions; -1: as the cluster's num.partitions says")
	cmd.Flags().Int16VarP(&replicas, "replication-factor", "r", -1, "`number` of replicas of each; -1: as default.replication.factor says")
	cmd.Flags().StringArrayVarP(&configs, "topic-config", "c", nil, "a property of the topic, as `key=value`; may be given again")
	cmd.Flags().BoolVar(&ifNotExists, "if-not-exists", false, "a topic that is there already is no failure")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		set := map[string]*string{}
		for _, pair := range configs {
			key, value, ok := strings.Cut(pair, "=")
			if !ok {
				return usagef("-c %s: write key=value, as in -c retention.ms=3600000", pair)
			}
			set[key] = &value
		}
		if partitions == 0 || partitions < -1 || replicas == 0 || replicas < -1 {
			return usagef("a topic needs at least 1 partition and 1 replica: give -p and -r 1 or more, or leave them out")
		}
		return c.run(cmd, false, func(ctx context.Context) error {
			return c.createTopics(ctx, names, partitions, replicas, set, ifNotExists)
		})
	}
	return cmd
}

func (c *client) createTopics(ctx context.Context, names []string, partitions int32, replicas int16, configs map[string]*string, ifNotExists bool) error {
	answers, err := c.adm.CreateTopics(ctx, partitions, replicas, configs, names...)
	if err != nil {
		return err
	}
	var rows []topicRow
	var failed error
	t := &table{}
	for _, name := range names {
		a, err := answers.On(name, nil)
		if err == nil {
			err = a.Err
		}
		switch {
		case err == nil:
			row := topicRow{Name: name, ID: metadata.FormatID(metadata.ID(a.ID)), Partitions: int(a.NumPartitions), ReplicationFactor: int(a.ReplicationFactor)}
			rows = append(rows, row)
			t.line("created %s: %s, replication factor %d", name, plural(a.NumPartitions, "partition"), a.ReplicationFactor)
		case ifNotExists && errors.Is(err, kerr.TopicAlreadyExists):
			t.line("%s is there already", name)
		default:
			failed = c.fail("cannot create %s: %s", name, kafkaError(err, a.ErrMessage))
		}
	}
	r := result{value: nonNil(rows), table: func(out *table) { *out = *t }}
	for _, row := range rows {
		r.names = append(r.names, row.Name)
	}
	return errors.Join(c.print(r), failed)
}

// fail reports one of several things that went wrong and returns what the command ends with.
func (c *client) fail(format string, args ...any) error {
	c.noteln("chronik-server: "+format, args...)
	return errReported
}

// nonNil makes an empty list of none, so that JSON shows [] and not null.
func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

func (c *client) topicList() *cobra.Command {
	var internal bool
	var pattern string
	cmd := &cobra.Command{Use: "list", Short: "List topics", Args: noArgs}
	cmd.Flags().BoolVarP(&internal, "internal", "i", false, "internal topics too")
	cmd.Flags().StringVarP(&pattern, "regex", "r", "", "only topics whose whole name matches this `RE`")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		match, err := wholeName(pattern)
		if err != nil {
			return err
		}
		return c.run(cmd, false, func(ctx context.Context) error {
			topics, err := c.adm.ListTopicsWithInternal(ctx)
			if err != nil {
				return err
			}
			var rows []topicRow
			for _, t := range topics.Sorted() {
				if t.IsInternal && !internal || !match.MatchString(t.Topic) {
					continue
				}
				rows = append(rows, describeRow(t))
			}
			r := result{value: nonNil(rows), table: func(t *table) {
				if len(rows) == 0 {
					t.line("no topics")
					return
				}
				t.head("NAME", "PARTITIONS", "REPLICAS")
				for _, row := range rows {
					t.row(row.Name, row.Partitions, row.ReplicationFactor)
				}
			}}
			for _, row := range rows {
				r.names = append(r.names, row.Name)
			}
			return c.print(r)
		})
	}
	return cmd
}

func describeRow(t kadm.TopicDetail) topicRow {
	return topicRow{
		Name: t.Topic, ID: metadata.FormatID(metadata.ID(t.ID)), Partitions: len(t.Partitions), ReplicationFactor: t.Partitions.NumReplicas(), Internal: t.IsInternal,
	}
}

// wholeName compiles a pattern that must match the whole of a name; the empty one matches all.
func wholeName(pattern string) (*regexp.Regexp, error) {
	if pattern == "" {
		return regexp.MustCompile(""), nil
	}
	match, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return nil, usagef("--regex %s: %v", pattern, strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return match, nil
}

// partitionRow is a partition of a described topic.
type partitionRow struct {
	Partition   int32   `json:"partition"`
	Leader      int32   `json:"leader"` // -1: none
	LeaderEpoch int32   `json:"leaderEpoch"`
	Replicas    []int32 `json:"replicas"`
	ISR         []int32 `json:"isr"`
	Start       *int64  `json:"start"` // null: not known, because there is no leader to ask
	End         *int64  `json:"end"`
}

type topicDescription struct {
	topicRow
	Partitions []partitionRow `json:"partitions"` // in place of their number
}

func (c *client) topicDescribe() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "describe NAME...",
		Short:             "Describe topics: leaders, replicas and offsets of their partitions",
		Args:              someArgs(1, 0, "the name of a topic"),
		ValidArgsFunction: c.completeNames(listTopicNames),
	}
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		return c.run(cmd, false, func(ctx context.Context) error {
			topics, err := c.findTopics(ctx, names)
			if err != nil {
				return err
			}
			starts, _ := c.adm.ListStartOffsets(ctx, names...) // what is missing is shown as such
			ends, _ := c.adm.ListEndOffsets(ctx, names...)
			list := []topicDescription{}
			for _, name := range names {
				list = append(list, describeTopic(topics[name], starts, ends))
			}
			return c.print(result{value: list, names: names, table: func(t *table) { topicTable(t, list) }})
		})
	}
	return cmd
}

// findTopics returns the topics of the given names, or which of them is not there.
func (c *client) findTopics(ctx context.Context, names []string) (kadm.TopicDetails, error) {
	topics, err := c.adm.ListTopicsWithInternal(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !topics.Has(name) {
			return nil, notFoundf("there is no topic %q%s", name, suggest(name, topics.Names()))
		}
	}
	return topics, nil
}

func describeTopic(t kadm.TopicDetail, starts, ends kadm.ListedOffsets) topicDescription {
	d := topicDescription{topicRow: describeRow(t), Partitions: []partitionRow{}}
	offset := func(list kadm.ListedOffsets, p int32) *int64 {
		if o, ok := list.Lookup(t.Topic, p); ok && o.Err == nil {
			return &o.Offset
		}
		return nil
	}
	for _, p := range t.Partitions.Sorted() {
		d.Partitions = append(d.Partitions, partitionRow{
			Partition: p.Partition, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, Replicas: nonNil(p.Replicas), ISR: nonNil(p.ISR),
			Start: offset(starts, p.Partition), End: offset(ends, p.Partition),
		})
	}
	return d
}

func topicTable(t *table, list []topicDescription) {
	text := func(n *int64) string {
		if n == nil {
			return "-"
		}
		return fmt.Sprint(*n)
	}
	for i, d := range list {
		if i > 0 {
			t.line("")
		}
		t.line("%s: %s, replication factor %d, id %s", d.Name, plural(len(d.Partitions), "partition"), d.ReplicationFactor, d.ID)
		t.head("PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "START", "END")
		for _, p := range d.Partitions {
			leader := fmt.Sprint(p.Leader)
			if p.Leader < 0 {
				leader = "none"
			}
			t.row(p.Partition, leader, p.LeaderEpoch, ids(p.Replicas), ids(p.ISR), text(p.Start), text(p.End))
		}
	}
}

func (c *client) topicDelete() *cobra.Command {
	var yes bool
	var pattern string
	cmd := &cobra.Command{
		Use:               "delete NAME...",
		Short:             "Delete topics and all their records",
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: c.completeNames(listTopicNames),
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().StringVarP(&pattern, "regex", "r", "", "all topics whose whole name matches this `RE`, internal ones never")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if (len(names) == 0) == (pattern == "") {
			return usagef("topic delete needs either names or --regex: %s", cmd.UseLine())
		}
		match, err := wholeName(pattern)
		if err != nil {
			return err
		}
		return c.run(cmd, false, func(ctx context.Context) error {
			topics, err := c.findTopics(ctx, names)
			if err != nil {
				return err
			}
			if pattern != "" {
				for _, t := range topics.Sorted() {
					if !t.IsInternal && match.MatchString(t.Topic) {
						names = append(names, t.Topic)
					}
				}
				if len(names) == 0 {
					return notFoundf("no topic matches %s", pattern)
				}
			}
			if !yes {
				if err := c.confirm(fmt.Sprintf("delete %s and all records in it?", strings.Join(names, ", "))); err != nil {
					return err
				}
			}
			return c.deleteTopics(ctx, names)
		})
	}
	return cmd
}

// confirm asks the person at the terminal; where there is none, the command must be given --yes.
func (c *client) confirm(question string) error {
	in, ok := c.g.program.In.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return usagef("this cannot be undone, and there is no terminal to ask at: give --yes")
	}
	fmt.Fprintf(c.g.program.Err, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(in).ReadString('\n')
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("nothing was deleted")
	}
	return nil
}

func (c *client) deleteTopics(ctx context.Context, names []string) error {
	answers, err := c.adm.DeleteTopics(ctx, names...)
	if err != nil {
		return err
	}
	var deleted []string
	var failed error
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		a, err := answers.On(name, nil)
		if err == nil {
			err = a.Err
		}
		if err != nil {
			failed = c.fail("cannot delete %s: %s", name, kafkaError(err, a.ErrMessage))
			continue
		}
		deleted = append(deleted, name)
	}
	return errors.Join(c.print(result{value: nonNil(deleted), names: deleted, table: func(t *table) {
		for _, name := range deleted {
			t.line("deleted %s", name)
		}
	}}), failed)
}
