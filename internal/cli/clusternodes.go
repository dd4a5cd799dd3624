package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// nodeVersions are the APIs that a node serves.
type nodeVersions struct {
	Node     int32         `json:"node"`
	APIs     []apiVersions `json:"apis"`
	Features []feature     `json:"features"`
	Error    string        `json:"error,omitempty"`
}

type apiVersions struct {
	Key  int16  `json:"key"`
	Name string `json:"name"`
	Min  int16  `json:"min"`
	Max  int16  `json:"max"`
}

type feature struct {
	Name      string `json:"name"`
	Min       int16  `json:"min"`
	Max       int16  `json:"max"`
	Finalized int16  `json:"finalized"` // -1: not set
}

func (c *client) clusterAPIVersions() *cobra.Command {
	return &cobra.Command{
		Use:   "api-versions",
		Short: "Print which versions of Kafka's APIs each node serves",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.run(cmd, false, func(ctx context.Context) error {
				answers, err := c.adm.ApiVersions(ctx)
				if err != nil {
					return err
				}
				nodes := []nodeVersions{}
				var failed error
				for _, a := range answers.Sorted() {
					n := nodeVersions{Node: a.NodeID, APIs: []apiVersions{}, Features: []feature{}}
					if a.Err != nil {
						n.Error = kafkaError(a.Err, "")
						failed = c.fail("node %d does not tell its versions: %s", n.Node, n.Error)
					} else {
						n.fill(a.Raw())
					}
					nodes = append(nodes, n)
				}
				return errors.Join(c.print(versionsResult(nodes)), failed)
			})
		},
	}
}

func (n *nodeVersions) fill(raw *kmsg.ApiVersionsResponse) {
	for _, k := range raw.ApiKeys {
		name := kmsg.NameForKey(k.ApiKey)
		if name == "" {
			name = "(unknown)"
		}
		n.APIs = append(n.APIs, apiVersions{k.ApiKey, name, k.MinVersion, k.MaxVersion})
	}
	slices.SortFunc(n.APIs, func(a, b apiVersions) int { return int(a.Key) - int(b.Key) })
	for _, f := range raw.SupportedFeatures {
		row := feature{f.Name, f.MinVersion, f.MaxVersion, -1}
		for _, is := range raw.FinalizedFeatures {
			if is.Name == f.Name {
				row.Finalized = is.MaxVersionLevel
			}
		}
		n.Features = append(n.Features, row)
	}
}

// versionsResult shows nodes that serve the same in one table.
func versionsResult(nodes []nodeVersions) result {
	r := result{value: nodes, table: func(t *table) {
		shown := map[int32]bool{}
		for _, n := range nodes {
			if shown[n.Node] || n.Error != "" {
				continue
			}
			alike := []int32{}
			for _, other := range nodes {
				if other.Error == "" && slices.Equal(n.APIs, other.APIs) && slices.Equal(n.Features, other.Features) {
					alike = append(alike, other.Node)
					shown[other.Node] = true
				}
			}
			t.line("node %s", ids(alike))
			t.head("KEY", "API", "MIN", "MAX")
			for _, a := range n.APIs {
				t.row(a.Key, a.Name, a.Min, a.Max)
			}
			if len(n.Features) > 0 {
				t.head("FEATURE", "MIN", "MAX", "IN FORCE")
			}
			for _, f := range n.Features {
				finalized := "-"
				if f.Finalized >= 0 {
					finalized = fmt.Sprint(f.Finalized)
				}
				t.row(f.Name, f.Min, f.Max, finalized)
			}
		}
	}}
	for _, n := range nodes {
		for _, a := range n.APIs {
			if !slices.Contains(r.names, a.Name) {
				r.names = append(r.names, a.Name)
			}
		}
	}
	return r
}

// logDir is a node's directory of logs.
type logDir struct {
	Node       int32          `json:"node"`
	Dir        string         `json:"dir"`
	Size       int64          `json:"size"`       // of the partitions in it
	Total      int64          `json:"total"`      // of the volume it lies on; -1: not told
	Usable     int64          `json:"usable"`     // of that what is free; -1: not told
	Error      string         `json:"error"`      // why it cannot be used; "": it can
	Partitions []dirPartition `json:"partitions"` // the largest first
}

type dirPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Size      int64  `json:"size"`
	OffsetLag int64  `json:"offsetLag"`
	Future    bool   `json:"future"` // it is being moved here from another directory
}

func (c *client) clusterDisk() *cobra.Command {
	var topics []string
	var partitions bool
	cmd := &cobra.Command{
		Use:   "disk",
		Short: "Print how much space the nodes' logs take, and how much is left",
		Long: "Prints the directories of every node with the size of the logs in them and what is free on their volume.\n" +
			"The exit code is 1 if a directory cannot be used, or a node does not tell.",
		Example: "  chronik-server cluster disk\n  chronik-server cluster disk --partitions --topic orders",
		Args:    noArgs,
	}
	topicScopeVar(cmd.Flags(), &topics, "count only this `topic`, or topic:partition,...; may be given again")
	cmd.Flags().BoolVar(&partitions, "partitions", false, "in a table: every partition too, the largest first")
	_ = cmd.RegisterFlagCompletionFunc("topic", c.completeNames(listTopicNames))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		scopes, err := parseScopes(topics)
		if err != nil {
			return err
		}
		return c.run(cmd, false, func(ctx context.Context) error {
			var set kadm.TopicsSet // nil: all
			if len(scopes) > 0 {
				if set, err = c.expand(ctx, scopes); err != nil {
					return err
				}
			}
			answers, err := c.adm.DescribeAllLogDirs(ctx, set)
			var missing error
			if err != nil {
				if err = c.partly(err, "tell its directories"); err != nil {
					if errors.Is(err, kerr.UnsupportedVersion) {
						return errors.New("these nodes are too old to tell of their directories: they do not serve DescribeLogDirs")
					}
					return err
				}
				missing = errReported
			}
			dirs := []logDir{}
			for _, a := range answers.Sorted() {
				d := describeDir(a)
				if d.Error != "" {
					missing = errReported
				}
				dirs = append(dirs, d)
			}
			return errors.Join(c.print(diskResult(dirs, partitions)), missing)
		})
	}
	return cmd
}

func describeDir(a kadm.DescribedLogDir) logDir {
	d := logDir{Node: a.Broker, Dir: a.Dir, Size: a.Size(), Total: a.TotalBytes, Usable: a.UsableBytes, Partitions: []dirPartition{}}
	if a.Err != nil {
		d.Error = kafkaError(a.Err, "")
	}
	for _, p := range a.Topics.Sorted() {
		d.Partitions = append(d.Partitions, dirPartition{p.Topic, p.Partition, p.Size, p.OffsetLag, p.IsFuture})
	}
	slices.SortStableFunc(d.Partitions, func(a, b dirPartition) int {
		switch {
		case a.Size > b.Size:
			return -1
		case a.Size < b.Size:
			return 1
		}
		return 0
	})
	return d
}

func diskResult(dirs []logDir, partitions bool) result {
	r := result{value: dirs, table: func(t *table) {
		volume := func(n int64) string {
			if n < 0 {
				return "-"
			}
			return byteText(n)
		}
		t.head("NODE", "DIRECTORY", "PARTITIONS", "SIZE", "FREE", "OF", "STATE")
		for _, d := range dirs {
			state := "ok"
			if d.Error != "" {
				state = d.Error
			}
			t.row(d.Node, d.Dir, len(d.Partitions), byteText(d.Size), volume(d.Usable), volume(d.Total), state)
		}
		if !partitions {
			return
		}
		t.line("")
		t.head("NODE", "TOPIC", "PARTITION", "SIZE", "LAG")
		for _, d := range dirs {
			for _, p := range d.Partitions {
				t.row(d.Node, p.Topic, p.Partition, byteText(p.Size), p.OffsetLag)
			}
		}
	}}
	for _, d := range dirs {
		r.names = append(r.names, fmt.Sprintf("%d:%s", d.Node, d.Dir))
	}
	return r
}
