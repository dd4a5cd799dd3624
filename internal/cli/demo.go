package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	demoTopic      = "demo"
	demoGroup      = "demo-readers"
	demoPartitions = 6
	demoLimit      = 90 * time.Second // something hangs
)

func (g *globals) demo() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show a cluster of three nodes that loses its Raft leader, PASS or FAIL",
		Long: "Starts three nodes as processes of their own in a temporary directory, writes records with acks=all and reads them\n" +
			"with a consumer group, kills the Raft leader with kill -9 in the middle, waits for the next one, starts the dead node\n" +
			"again, and reads every acknowledged record back by its content. The last line is PASS or FAIL, the exit code 0 or 1.",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("cannot find the own binary, which is to run the nodes: %w", err)
			}
			d := &demo{program: g.program, binary: self, out: g.program.Out, began: time.Now()}
			return d.run(cmd.Context(), keep)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the cluster running at the end, until Ctrl-C")
	return cmd
}

// demo is one run. Its own goroutine does one step after the other; the load's goroutines and one a
// node process end with it.
type demo struct {
	program *Program
	binary  string
	out     io.Writer
	began   time.Time

	unheard context.CancelFunc // ends the demo when nobody reads its output

	dir   string
	nodes []*demoNode
	load  *demoLoad
	cl    *kgo.Client // for the steps' own requests
	times []string    // what was measured, for the last lines
}

// run shows everything, cleans up and judges.
func (d *demo) run(ctx context.Context, keep bool) (err error) {
	if d.dir, err = os.MkdirTemp("", "chronik-demo-"); err != nil {
		return fmt.Errorf("cannot make a temporary directory: %w; TMPDIR names another place for it", err)
	}
	// Without a reader of the output (demo | head) the demo ends, and cleans up: asking for SIGPIPE
	// makes a write fail where it would end the process.
	ctx, d.unheard = context.WithCancel(ctx)
	defer d.unheard()
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	limited, cancel := context.WithTimeoutCause(ctx, demoLimit, fmt.Errorf("it took longer than %v", demoLimit))
	defer cancel()
	err = d.steps(limited)
	if err == nil && keep {
		d.invite(ctx)
	}
	clean := err == nil && ctx.Err() == nil
	if stopErr := d.stop(clean); err == nil && clean {
		err = stopErr
	}
	switch {
	case ctx.Err() != nil && !(keep && err == nil):
		_ = os.RemoveAll(d.dir)
		return errors.New("interrupted; the nodes are stopped and their data is removed")
	case err != nil:
		if cause := context.Cause(limited); cause != nil && errors.Is(err, limited.Err()) {
			err = cause
		}
		d.text("")
		d.text("FAIL after %s: %v", d.elapsed(), err)
		d.text("data and logs of the nodes are left in %s", d.dir)
		return errReported
	}
	_ = os.RemoveAll(d.dir)
	if !keep {
		d.verdict()
	}
	return nil
}

// elapsed is the time since the demo began.
func (d *demo) elapsed() string { return fmt.Sprintf("%.1f s", time.Since(d.began).Seconds()) }

// say writes a line of progress; text one without the time.
func (d *demo) say(format string, args ...any) {
	d.text("%6s  %s", d.elapsed(), fmt.Sprintf(format, args...))
}

func (d *demo) text(format string, args ...any) {
	if _, err := fmt.Fprintf(d.out, format+"\n", args...); err != nil {
		d.unheard()
	}
}

// took notes a measured time.
func (d *demo) took(what string, span time.Duration) {
	d.times = append(d.times, fmt.Sprintf("%s %d ms", what, span.Milliseconds()))
}

func (d *demo) verdict() {
	d.text("")
	for _, t := range d.times {
		d.text("  %s", t)
	}
	d.text("PASS in %s", d.elapsed())
}

// steps is the demo from the first process to the last comparison.
func (d *demo) steps(ctx context.Context) error {
	if err := d.start(ctx); err != nil {
		return err
	}
	if err := d.connect(); err != nil {
		return err
	}
	defer d.cl.Close()
	if err := d.prepare(ctx); err != nil {
		return err
	}
	load, err := startLoad(ctx, d.addrs())
	if err != nil {
		return err
	}
	d.load = load
	defer load.close()
	if err := d.watch(ctx); err != nil {
		return err
	}
	dead, err := d.killLeader(ctx)
	if err != nil {
		return err
	}
	if err := d.revive(ctx, dead); err != nil {
		return err
	}
	return d.check(ctx)
}

// start runs the three processes and waits until each is ready.
func (d *demo) start(ctx context.Context) error {
	ports, usual, err := demoPorts()
	if err != nil {
		return err
	}
	d.nodes = demoNodes(d.binary, d.dir, ports, d.program.Environ)
	d.say("three nodes of chronik-server %s in %s", d.program.Version, d.dir)
	if !usual {
		d.say("some of the usual ports are taken: others are used")
	}
	began := time.Now()
	for _, n := range d.nodes {
		if err := n.start(); err != nil {
			return err
		}
		d.say("  node %d: Kafka %s, Raft %s, admin %s, pid %d", n.id, n.kafka, n.raft, n.admin, n.pid())
	}
	for _, n := range d.nodes {
		if err := n.waitReady(ctx); err != nil {
			return err
		}
	}
	d.took("cluster formed, all three ready after", time.Since(began))
	return nil
}

func (d *demo) addrs() []string {
	var addrs []string
	for _, n := range d.nodes {
		addrs = append(addrs, n.kafka)
	}
	return addrs
}

func (d *demo) connect() (err error) {
	d.cl, err = kgo.NewClient(
		kgo.SeedBrokers(d.addrs()...), kgo.ClientID("chronik-demo"), kgo.MetadataMinAge(50*time.Millisecond), kgo.DialTimeout(time.Second),
	)
	return err
}

// prepare makes the topic and says what its replication factor means.
func (d *demo) prepare(ctx context.Context) error {
	leader, term, err := d.quorum(ctx, 0)
	if err != nil {
		return err
	}
	d.say("ready; Raft leader is node %d, term %d", leader, term)
	answer, err := kadm.NewClient(d.cl).CreateTopic(ctx, demoPartitions, 1, nil, demoTopic)
	if err == nil {
		err = answer.Err
	}
	if err != nil {
		return fmt.Errorf("cannot create topic %s: %s", demoTopic, kafkaError(err, answer.ErrMessage))
	}
	d.say("topic %s: %d partitions over the three nodes, replication factor 1", demoTopic, demoPartitions)
	return nil
}

// watch lets writer and readers run until both have got going.
func (d *demo) watch(ctx context.Context) error {
	d.say("a writer (acks=all, idempotent) and a consumer group of two are at work")
	for {
		acked, read := d.load.counts()
		if acked >= 8000 && read >= 4000 {
			break
		}
		if err := d.wait(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("%d records acknowledged, %d read by the group: %w", acked, read, err)
		}
	}
	acked, read := d.load.counts()
	d.say("%d records acknowledged, %d read by the group", acked, read)
	return nil
}

// wait lets some time pass, and fails if the load has failed or a node has ended by itself.
func (d *demo) wait(ctx context.Context, span time.Duration) error {
	t := time.NewTimer(span)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
	}
	for _, n := range d.nodes {
		if err := n.failure(); err != nil {
			return err
		}
	}
	if d.load != nil {
		return d.load.failure()
	}
	return nil
}

// quorum asks the living nodes, one after the other, who leads, until one names a node other than not.
func (d *demo) quorum(ctx context.Context, not int32) (leader, term int32, err error) {
	for {
		for i, n := range d.nodes {
			if !n.running() {
				continue
			}
			ask, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			answer, err := quorumOf(ask, d.cl.SeedBrokers()[i])
			cancel()
			if err == nil && answer.LeaderID > 0 && answer.LeaderID != not {
				return answer.LeaderID, answer.LeaderEpoch, nil
			}
		}
		if err := d.wait(ctx, 5*time.Millisecond); err != nil {
			return 0, 0, fmt.Errorf("no node names a Raft leader: %w", err)
		}
	}
}

// killLeader ends the Raft leader with kill -9 and shows what goes on without it.
func (d *demo) killLeader(ctx context.Context) (*demoNode, error) {
	id, term, err := d.quorum(ctx, 0)
	if err != nil {
		return nil, err
	}
	dead := d.nodes[id-1]
	pid := dead.pid()
	killed := time.Now()
	dead.kill()
	d.say("killed the Raft leader: kill -9 of node %d, pid %d", id, pid)
	next, nextTerm, err := d.quorum(ctx, id)
	if err != nil {
		return nil, err
	}
	if nextTerm <= term {
		return nil, fmt.Errorf("node %d leads in term %d, which is not above the dead leader's %d", next, nextTerm, term)
	}
	elected := time.Since(killed)
	d.took("new Raft leader after", elected)
	d.say("node %d is the new Raft leader, term %d, %d ms after the kill", next, nextTerm, elected.Milliseconds())
	if err := d.createTopic(ctx, fmt.Sprintf("made-without-node-%d", id)); err != nil {
		return nil, err
	}
	created := time.Since(killed)
	d.took("first topic created after", created)
	d.say("a topic was created under it, %d ms after the kill", created.Milliseconds())
	return dead, d.without(ctx, dead)
}

// createTopic asks the living nodes, one after the other, until one has created the topic. It does not
// leave the choice to the client library, which would wait for the dead node for a while.
func (d *demo) createTopic(ctx context.Context, name string) error {
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
	req.Topics, req.TimeoutMillis = append(req.Topics, topic), 1000
	for {
		var refused error
		for i, n := range d.nodes {
			if !n.running() {
				continue
			}
			ask, cancel := context.WithTimeout(ctx, 1500*time.Millisecond)
			resp, err := d.cl.SeedBrokers()[i].Request(ask, req)
			cancel()
			if err == nil {
				answer := resp.(*kmsg.CreateTopicsResponse).Topics[0]
				err = brokerError(answer.ErrorCode, answer.ErrorMessage)
			}
			if err == nil {
				return nil
			}
			refused = err
		}
		if err := d.wait(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("cannot create a topic under the new leader (%s): %w", kafkaError(refused, ""), err)
		}
	}
}

// without waits until all partitions of the living nodes take records again, and says which do not.
func (d *demo) without(ctx context.Context, dead *demoNode) error {
	before := d.load.acked()
	owner, err := d.leaders(ctx, func(owner map[int32]int32) bool {
		for _, leader := range owner {
			if leader == dead.id {
				return false // a broker whose session has not ended yet
			}
		}
		return true
	})
	if err != nil {
		return err
	}
	var lost []int32
	for p, leader := range owner {
		if leader < 0 {
			lost = append(lost, p)
		}
	}
	slices.Sort(lost)
	for !d.load.progressed(before, lost) {
		if err := d.wait(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("the partitions of the living nodes do not take records: %w", err)
		}
	}
	d.say("%d of %d partitions go on taking records", demoPartitions-len(lost), demoPartitions)
	d.say("  with replication factor 1 the others (%s) live on node %d alone and wait for it: nothing in them is lost,", ids(lost), dead.id)
	d.say("  but they cannot be written or read until it is back; partitions cannot have more replicas yet")
	return nil
}

// leaders returns the leader of each partition once they are as wanted.
func (d *demo) leaders(ctx context.Context, wanted func(map[int32]int32) bool) (map[int32]int32, error) {
	adm := kadm.NewClient(d.cl)
	for {
		topics, err := adm.ListTopics(ctx, demoTopic)
		if err == nil && topics.Has(demoTopic) {
			owner := map[int32]int32{}
			for _, p := range topics[demoTopic].Partitions {
				owner[p.Partition] = p.Leader
			}
			if len(owner) == demoPartitions && wanted(owner) {
				return owner, nil
			}
		}
		if err := d.wait(ctx, 20*time.Millisecond); err != nil {
			return nil, fmt.Errorf("the partitions' leaders do not change: %w", err)
		}
	}
}

// revive starts the dead node again and waits until its partitions take records.
func (d *demo) revive(ctx context.Context, dead *demoNode) error {
	before := d.load.acked()
	began := time.Now()
	if err := dead.start(); err != nil {
		return err
	}
	if err := dead.waitReady(ctx); err != nil {
		return err
	}
	ready := time.Since(began)
	d.took(fmt.Sprintf("node %d ready again after", dead.id), ready)
	d.say("node %d is back, ready %d ms after its start", dead.id, ready.Milliseconds())
	for !d.load.progressed(before, nil) {
		if err := d.wait(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("not all partitions take records again: %w", err)
		}
	}
	d.took("all partitions written again after", time.Since(began))
	d.say("all %d partitions take records again", demoPartitions)
	return nil
}

// check stops the writer and reads back what was acknowledged, once by itself and once as the group has.
func (d *demo) check(ctx context.Context) error {
	acked, err := d.load.finish(ctx)
	if err != nil {
		return err
	}
	d.say("writer stopped: %d records acknowledged", acked)
	found, err := readBack(ctx, d.cl, d.addrs(), d.load)
	if err != nil {
		return err
	}
	d.say("all %d are there, each once, in order, byte for byte (%d records read)", acked, found)
	for {
		missing := d.load.unreadByGroup()
		if missing == 0 {
			break
		}
		if err := d.wait(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("the consumer group has not read %s: %w", plural(missing, "acknowledged record"), err)
		}
	}
	if err := d.load.commit(ctx); err != nil {
		return err
	}
	d.say("the consumer group has read all of them too, and committed")
	return nil
}

// invite leaves the cluster to a person until Ctrl-C.
func (d *demo) invite(ctx context.Context) {
	d.verdict()
	self := d.binary
	if strings.ContainsAny(self, " \t") {
		self = `"` + self + `"`
	}
	bootstrap := strings.Join(d.addrs(), ",")
	d.text("")
	d.text("The cluster is running. Bootstrap servers: %s", bootstrap)
	d.text("Try, in another terminal:")
	d.text("")
	d.text("  %s cluster status -b %s", self, bootstrap)
	d.text("  %s group describe %s -b %s", self, demoGroup, bootstrap)
	d.text("  %s consume %s -n 5 -b %s", self, demoTopic, bootstrap)
	d.text("  %s produce greetings hello world -b %s", self, bootstrap)
	d.text("")
	d.text("Ctrl-C stops it and removes its data.")
	<-ctx.Done()
}

// stop ends the nodes, in order if all went well, else at once.
func (d *demo) stop(clean bool) error {
	began := time.Now()
	var failed error
	if clean {
		for _, n := range d.nodes {
			n.interrupt()
		}
	}
	for _, n := range d.nodes {
		if clean {
			failed = errors.Join(failed, n.waitStopped(20*time.Second))
		}
		n.kill()
	}
	if clean && failed == nil {
		d.took("all three stopped in order after", time.Since(began))
	}
	return failed
}
