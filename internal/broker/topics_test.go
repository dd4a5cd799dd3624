package broker

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/group"
	"github.com/chronik-stream/chronik/internal/metadata"
)

// newTopicOf is a topic of a CreateTopics request; configs are "name=value".
func newTopicOf(name string, partitions int32, replicas int16, configs ...string) kmsg.CreateTopicsRequestTopic {
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, partitions, replicas
	for _, c := range configs {
		e := kmsg.NewCreateTopicsRequestTopicConfig()
		n, v, ok := strings.Cut(c, "=")
		if e.Name = n; ok {
			e.Value = &v
		}
		rt.Configs = append(rt.Configs, e)
	}
	return rt
}

func create(c *rawConn, version int16, topics ...kmsg.CreateTopicsRequestTopic) []kmsg.CreateTopicsResponseTopic {
	c.t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = topics
	return do[*kmsg.CreateTopicsResponse](c, req, version).Topics
}

func TestTrap49_CreateTopics(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		for v := int16(2); v <= 7; v++ {
			name := fmt.Sprint("v", v)
			got := create(c, v, newTopicOf(name, -1, -1, "retention.ms=1000", "segment.bytes"))[0]
			wantEqual(t, "code", got.ErrorCode, 0)
			created := b.ctl.Image().TopicByName(name)
			wantEqual(t, "partitions and settings", []any{len(created.Partitions), created.Configs}, []any{2, map[string]string{"retention.ms": "1000"}})
			if v >= 5 {
				wantEqual(t, "numbers", []any{got.NumPartitions, got.ReplicationFactor, got.ConfigErrorCode}, []any{2, 1, 0})
				values := map[string]string{}
				for _, e := range got.Configs {
					values[e.Name] = fmt.Sprint(orEmpty(e.Value), " ", e.Source)
				}
				wantEqual(t, "settings", []any{values["retention.ms"], values["segment.bytes"], values["min.insync.replicas"]}, []any{"1000 1", "1073741824 5", "1 5"})
			}
			if v >= 7 {
				wantEqual(t, "id", got.TopicID, created.ID)
			}
			again := create(c, v, newTopicOf(name, 1, 1))[0]
			wantEqual(t, "again", again.ErrorCode, codeTopicAlreadyExists)
			if again.ErrorMessage == nil || *again.ErrorMessage == "" {
				t.Error("a refusal without a message")
			}
		}
		long := strings.Repeat("x", 250)
		for _, bad := range []struct {
			topic kmsg.CreateTopicsRequestTopic
			code  int16
		}{
			{newTopicOf(".", 1, 1), codeInvalidTopic},
			{newTopicOf("..", 1, 1), codeInvalidTopic},
			{newTopicOf("", 1, 1), codeInvalidTopic},
			{newTopicOf("a b", 1, 1), codeInvalidTopic},
			{newTopicOf(long, 1, 1), codeInvalidTopic},
			{newTopicOf("\xff", 1, 1), codeInvalidTopic},
			{newTopicOf("p", 0, 1), metadata.CodeInvalidPartitions},
			{newTopicOf("p", -2, 1), metadata.CodeInvalidPartitions},
			{newTopicOf("p", 1, 3), codeInvalidReplicationFactor},
			{newTopicOf("p", 1, 0), codeInvalidReplicationFactor},
			{newTopicOf("p", 1, 1, "retention.ms=soon"), metadata.CodeInvalidConfig},
			{newTopicOf("p", 1, 1, "no.such.config=1"), metadata.CodeInvalidConfig},
			{newTopicOf("p", 1, 1, "cleanup.policy=shred"), metadata.CodeInvalidConfig},
			{newTopicOf("__raft_metadata", 1, 1), codeInvalidTopic},
		} {
			wantEqual(t, fmt.Sprintf("%q %d %d %v", bad.topic.Topic, bad.topic.NumPartitions, bad.topic.ReplicationFactor, len(bad.topic.Configs)),
				create(c, 7, bad.topic)[0].ErrorCode, bad.code)
		}
		// 249 characters are a name; a topic that is named twice is refused once.
		wantEqual(t, "long", create(c, 7, newTopicOf(long[:249], 1, 1))[0].ErrorCode, 0)
		twice := create(c, 7, newTopicOf("twice", 1, 1), newTopicOf("once", 1, 1), newTopicOf("twice", 1, 1))
		wantEqual(t, "twice", []any{len(twice), twice[0].ErrorCode, twice[1].ErrorCode}, []any{2, codeInvalidRequest, 0})
	})
}

func TestCreateTopicsByAssignment(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.ctl.addBroker(2)
		rt := newTopicOf("placed", -1, -1)
		for p, broker := range []int32{2, 1, 2} {
			a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
			a.Partition, a.Replicas = int32(p), []int32{broker}
			rt.ReplicaAssignment = append(rt.ReplicaAssignment, a)
		}
		c := b.dial()
		req := kmsg.NewPtrCreateTopicsRequest()
		req.Topics, req.ValidateOnly = append(req.Topics, rt), true
		dry := do[*kmsg.CreateTopicsResponse](c, req, 7).Topics[0]
		wantEqual(t, "validated", []any{dry.ErrorCode, dry.NumPartitions, b.ctl.Image().TopicByName("placed") == nil}, []any{0, 3, true})
		wantEqual(t, "created", create(c, 7, rt)[0].ErrorCode, 0)
		for p, broker := range []int32{2, 1, 2} {
			wantEqual(t, "replicas", b.ctl.Image().TopicByName("placed").Partitions[p].Replicas, []int32{broker})
		}
	})
}

func TestDeleteTopics(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		for v := int16(1); v <= 6; v++ {
			name := fmt.Sprint("v", v)
			id := b.topic(name, 1)
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.TopicNames = []string{name, "unknown"}
			for _, n := range req.TopicNames {
				rt := kmsg.NewDeleteTopicsRequestTopic()
				rt.Topic = &n
				req.Topics = append(req.Topics, rt)
			}
			resp := do[*kmsg.DeleteTopicsResponse](c, req, v)
			wantEqual(t, "names and codes", []any{*resp.Topics[0].Topic, resp.Topics[0].ErrorCode, *resp.Topics[1].Topic, resp.Topics[1].ErrorCode},
				[]any{name, 0, "unknown", codeUnknownTopicOrPartition})
			if v >= 6 {
				wantEqual(t, "id", resp.Topics[0].TopicID, id)
			}
			wantEqual(t, "gone", b.ctl.Image().TopicByName(name) == nil, true)
		}
		id := b.topic("by-id", 1)
		req := kmsg.NewPtrDeleteTopicsRequest()
		for _, id := range []metadata.ID{id, {9}} {
			rt := kmsg.NewDeleteTopicsRequestTopic()
			rt.TopicID = id
			req.Topics = append(req.Topics, rt)
		}
		resp := do[*kmsg.DeleteTopicsResponse](c, req, 6)
		wantEqual(t, "by id", []any{*resp.Topics[0].Topic, resp.Topics[0].ErrorCode, resp.Topics[1].Topic, resp.Topics[1].ErrorCode},
			[]any{"by-id", 0, (*string)(nil), codeUnknownTopicID})
	})
}

func TestDeleteTopicsDisabled(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		c := b.dial()
		b.topic("x", 1)
		for v := int16(1); v <= 6; v++ {
			req := kmsg.NewPtrDeleteTopicsRequest()
			req.TopicNames = []string{"x"}
			rt := kmsg.NewDeleteTopicsRequestTopic()
			rt.Topic = kmsg.StringPtr("x")
			req.Topics = append(req.Topics, rt)
			want := codeTopicDeletionDisabled
			if v < 3 {
				want = codeInvalidRequest
			}
			wantEqual(t, fmt.Sprint("version ", v), do[*kmsg.DeleteTopicsResponse](c, req, v).Topics[0].ErrorCode, want)
		}
	}, func(b *box) { b.set.DeleteTopics = false })
}

func TestCreatePartitions(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1)
		b.groupTopic()
		c := b.dial()
		for v := int16(0); v <= 3; v++ {
			req := kmsg.NewPtrCreatePartitionsRequest()
			for _, n := range []string{"x", "unknown", group.Topic} {
				rt := kmsg.NewCreatePartitionsRequestTopic()
				rt.Topic, rt.Count = n, int32(v)+2
				req.Topics = append(req.Topics, rt)
			}
			got := map[string]int16{}
			for _, rt := range do[*kmsg.CreatePartitionsResponse](c, req, v).Topics {
				got[rt.Topic] = rt.ErrorCode
			}
			wantEqual(t, "codes", got, map[string]int16{"x": 0, "unknown": codeUnknownTopicOrPartition, group.Topic: codeInvalidRequest})
			wantEqual(t, "partitions", len(b.ctl.Image().TopicByName("x").Partitions), int(v)+2)
		}
	})
}

// TestAdminWithoutAController: nothing is known of what was asked, and that is what is answered, in the request's own time.
func TestAdminWithoutAController(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		b.topic("x", 1)
		b.ctl.setLost(context.DeadlineExceeded)
		c := b.dial()
		began := time.Now()
		cr := kmsg.NewPtrCreateTopicsRequest()
		cr.Topics, cr.TimeoutMillis = append(cr.Topics, newTopicOf("y", 1, 1)), 1000
		wantEqual(t, "create", do[*kmsg.CreateTopicsResponse](c, cr, 7).Topics[0].ErrorCode, codeRequestTimedOut)
		dr := kmsg.NewPtrDeleteTopicsRequest()
		dr.TopicNames, dr.TimeoutMillis = []string{"x"}, 1000
		wantEqual(t, "delete", do[*kmsg.DeleteTopicsResponse](c, dr, 5).Topics[0].ErrorCode, codeRequestTimedOut)
		pr := kmsg.NewPtrCreatePartitionsRequest()
		rt := kmsg.NewCreatePartitionsRequestTopic()
		rt.Topic, rt.Count = "x", 2
		pr.Topics, pr.TimeoutMillis = append(pr.Topics, rt), 1000
		wantEqual(t, "partitions", do[*kmsg.CreatePartitionsResponse](c, pr, 3).Topics[0].ErrorCode, codeRequestTimedOut)
		if d := time.Since(began); d != 3*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

// TestAdminClient goes through kadm what an operator does.
func TestAdminClient(t *testing.T) {
	inBox(t, func(t *testing.T, b *box) {
		cl := b.client()
		defer cl.Close()
		adm := kadm.NewClient(cl)
		ctx := t.Context()
		made, err := adm.CreateTopic(ctx, 3, 1, map[string]*string{"retention.ms": kadm.StringPtr("5000")}, "x")
		b.must(err)
		wantEqual(t, "created", []any{made.NumPartitions, made.ReplicationFactor}, []any{3, 1})
		if _, err := adm.CreatePartitions(ctx, 2, "x"); err != nil {
			t.Error(err)
		}
		details, err := adm.ListTopics(ctx)
		b.must(err)
		wantEqual(t, "partitions", len(details["x"].Partitions), 5)
		if _, err := adm.DeleteTopic(ctx, "x"); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second) // the client answers from what it has for a while
		if details, err = adm.ListTopics(ctx); err != nil || details.Has("x") {
			t.Errorf("%v %v", details, err)
		}
	})
}
