package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/chronik-stream/chronik/internal/testcluster"
	"github.com/chronik-stream/chronik/internal/vnet"
)

// lags gathers a group's lag on a topic, by partition, from all nodes that run.
func lags(t *testing.T, c *testcluster.Cluster, group string) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for _, n := range c.Nodes {
		if !n.Running() {
			continue
		}
		families, err := n.Series().Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() != "kafka_consumergroup_lag" && f.GetName() != "kafka_consumergroup_lag_sum" {
				continue
			}
			for _, m := range f.GetMetric() {
				partition, ours := "sum", false
				for _, l := range m.GetLabel() {
					ours = ours || l.GetName() == "consumergroup" && l.GetValue() == group
					if l.GetName() == "partition" {
						partition = l.GetValue()
					}
				}
				if ours {
					all[partition] += m.GetGauge().GetValue() // of one broker only
				}
			}
		}
	}
	return all
}

// The coordinator of a group tells its lag also on the partitions that other brokers lead, once; while one of
// them is away the lag on the others is told without delay.
func TestLagOnPartitionsOfOthers(t *testing.T) {
	scenario(t, 3, func(t *testing.T, c *testcluster.Cluster) {
		k := once(c)
		defer k.Close()
		ctx, cancel := within(60 * time.Second)
		defer cancel()
		admin := kadm.NewClient(k)
		if _, err := admin.CreateTopic(ctx, 3, 1, nil, "spread"); err != nil {
			t.Fatal(err)
		}
		newInvariants(c).settled(t)
		commits := kadm.Offsets{}
		for p := range int32(3) {
			for i := range 5 {
				if err := produce(k, "spread", p, fmt.Sprint(i)); err != nil {
					t.Fatal(err)
				}
			}
			commits.AddOffset("spread", p, int64(p), -1)
		}
		if err := admin.CommitAllOffsets(ctx, "g", commits); err != nil {
			t.Fatal(err)
		}
		want := map[string]float64{"0": 5, "1": 4, "2": 3, "sum": 12}
		if got := lags(t, c, "g"); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the lag is %v, and should be %v", got, want)
		}

		coordinator := admin.FindGroupCoordinators(ctx, "g")["g"].NodeID
		dead := c.Nodes[coordinator%3] // ids begin at 1: the next one
		var gone string
		for _, p := range c.Nodes[coordinator-1].Node().Image().TopicByName("spread").Partitions {
			if p.Replicas[0] == dead.ID {
				gone = fmt.Sprint(p.Index)
			}
		}
		c.Net.Between(dead.Name, c.Nodes[coordinator-1].Name, vnet.Cut)
		delete(want, gone)
		delete(want, "sum")
		began := time.Now()
		if got := lags(t, c, "g"); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("with %s cut off the lag is %v, and should be %v", dead.Name, got, want)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("it took %v to find out", d)
		}
	})
}
