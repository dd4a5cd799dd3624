package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

func (g *globals) group() *cobra.Command {
	cmd := &cobra.Command{Use: "group", Short: "List, describe, reset and delete consumer groups"}
	c := g.clientFlags(cmd)
	return parent(cmd, c.groupList(), c.groupDescribe(), c.groupReset(), c.groupOffsetDelete(), c.groupDelete())
}

// groupRow is a group in lists.
type groupRow struct {
	Name         string `json:"name"`
	State        string `json:"state"`
	ProtocolType string `json:"protocolType"`
	Coordinator  int32  `json:"coordinator"`
}

func (c *client) groupList() *cobra.Command {
	var states []string
	cmd := &cobra.Command{Use: "list", Short: "List consumer groups", Args: noArgs}
	cmd.Flags().StringSliceVar(&states, "state", nil, "only groups in one of these `states`: Empty, Stable, PreparingRebalance, CompletingRebalance, Dead")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.run(cmd, false, func(ctx context.Context) error {
			groups, err := c.adm.ListGroups(ctx, states...)
			if err = c.partly(err, "list the groups"); err != nil {
				return err
			}
			rows := []groupRow{}
			for _, g := range groups.Sorted() {
				rows = append(rows, groupRow{g.Group, g.State, g.ProtocolType, g.Coordinator})
			}
			return c.print(result{value: rows, names: groups.Groups(), table: func(t *table) {
				if len(rows) == 0 {
					t.line("no groups")
					return
				}
				t.head("NAME", "STATE", "PROTOCOL", "COORDINATOR")
				for _, r := range rows {
					t.row(r.Name, r.State, orDash(r.ProtocolType), r.Coordinator)
				}
			}})
		})
	}
	return cmd
}

// partly lets a request to all brokers pass that some of them answered, and says which did not.
func (c *client) partly(err error, what string) error {
	var shards *kadm.ShardErrors
	if !errors.As(err, &shards) || shards.AllFailed {
		return err
	}
	for _, s := range shards.Errs {
		if s.Broker.NodeID < 0 {
			continue // nobody to ask; what that leaves out is for the caller to say
		}
		c.noteln("chronik-server: node %d did not %s: %s; what it has is missing here", s.Broker.NodeID, what, kafkaError(s.Err, ""))
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// groupDescription is a described group.
type groupDescription struct {
	groupRow
	Protocol   string           `json:"protocol"`
	Lag        int64            `json:"lag"` // of the partitions where it is known
	Members    []memberRow      `json:"members"`
	Partitions []groupPartition `json:"partitions"`
}

type memberRow struct {
	MemberID   string             `json:"memberId"`
	InstanceID string             `json:"instanceId,omitempty"`
	ClientID   string             `json:"clientId"`
	Host       string             `json:"host"`
	Assigned   map[string][]int32 `json:"assigned"`
}

type groupPartition struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed *int64 `json:"committed"` // null: nothing committed
	End       *int64 `json:"end"`       // null: not known
	Lag       *int64 `json:"lag"`
	MemberID  string `json:"memberId,omitempty"`
	ClientID  string `json:"clientId,omitempty"`
}

func (c *client) groupDescribe() *cobra.Command {
	var members bool
	cmd := &cobra.Command{
		Use:               "describe GROUP...",
		Short:             "Describe consumer groups: members, committed offsets, lag",
		Args:              someArgs(1, 0, "the name of a group"),
		ValidArgsFunction: c.completeNames(listGroupNames),
	}
	cmd.Flags().BoolVar(&members, "members", false, "in a table: the members and what they are assigned, instead of the partitions")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		return c.run(cmd, false, func(ctx context.Context) error {
			lags, err := c.adm.Lag(ctx, slices.Clone(names)...)
			if err != nil {
				return err
			}
			list := []groupDescription{}
			for _, name := range names {
				l, ok := lags[name]
				switch {
				case !ok || errors.Is(l.DescribeErr, kerr.GroupIDNotFound) || l.Error() == nil && l.State == "Dead" && len(l.Lag) == 0:
					known, _ := listGroupNames(ctx, c.adm)
					return notFoundf("there is no group %q%s", name, suggest(name, known))
				case l.Error() != nil:
					return fmt.Errorf("cannot describe group %s: %w", name, c.explain(l.Error()))
				}
				list = append(list, describeGroup(l))
			}
			return c.print(result{value: list, names: names, table: func(t *table) { groupTable(t, list, members) }})
		})
	}
	return cmd
}

func describeGroup(l kadm.DescribedGroupLag) groupDescription {
	d := groupDescription{
		groupRow: groupRow{l.Group, l.State, l.ProtocolType, l.Coordinator.NodeID}, Protocol: l.Protocol,
		Members: []memberRow{}, Partitions: []groupPartition{},
	}
	for _, m := range l.Members {
		row := memberRow{MemberID: m.MemberID, ClientID: m.ClientID, Host: strings.TrimPrefix(m.ClientHost, "/"), Assigned: map[string][]int32{}}
		if m.InstanceID != nil {
			row.InstanceID = *m.InstanceID
		}
		if a, ok := m.Assigned.AsConsumer(); ok {
			for _, t := range a.Topics {
				row.Assigned[t.Topic] = slices.Sorted(slices.Values(t.Partitions))
			}
		}
		d.Members = append(d.Members, row)
	}
	for _, p := range l.Lag.Sorted() {
		row := groupPartition{Topic: p.Topic, Partition: p.Partition}
		if p.Commit.At >= 0 {
			row.Committed = &p.Commit.At
		}
		if p.End.Err == nil {
			row.End = &p.End.Offset
		}
		if p.Err == nil && p.Lag >= 0 {
			row.Lag = &p.Lag
			d.Lag += p.Lag
		}
		if p.Member != nil {
			row.MemberID, row.ClientID = p.Member.MemberID, p.Member.ClientID
		}
		d.Partitions = append(d.Partitions, row)
	}
	return d
}

func groupTable(t *table, list []groupDescription, members bool) {
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
		t.line("%s: %s, %s, lag %d, coordinator %d, assignor %s", d.Name, d.State, plural(len(d.Members), "member"), d.Lag, d.Coordinator, orDash(d.Protocol))
		if members {
			t.head("CLIENT", "HOST", "INSTANCE", "ASSIGNED", "MEMBER")
			for _, m := range d.Members {
				t.row(orDash(m.ClientID), orDash(m.Host), orDash(m.InstanceID), orDash(assignedText(m.Assigned)), m.MemberID)
			}
			continue
		}
		t.head("TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "CLIENT")
		for _, p := range d.Partitions {
			t.row(p.Topic, p.Partition, text(p.Committed), text(p.End), text(p.Lag), orDash(p.ClientID))
		}
	}
}

// assignedText writes an assignment as orders[0,1] clicks[3].
func assignedText(assigned map[string][]int32) string {
	var parts []string
	for topic, partitions := range assigned {
		parts = append(parts, fmt.Sprintf("%s[%s]", topic, ids(partitions)))
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}
