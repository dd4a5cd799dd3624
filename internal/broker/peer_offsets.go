package broker

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/metadata"
	"github.com/chronik-stream/chronik/internal/wire"
)

const (
	// peerWait is how long the answers of all other brokers may take together.
	peerWait = 500 * time.Millisecond
	// peerParts is how many partitions one request to another broker names, peerAnswer the longest answer that is read.
	peerParts  = 10_000
	peerAnswer = 4 << 20
	// peerVersion is the version of ListOffsets that other brokers are asked with: every release serves it.
	peerVersion = 6
)

// peers asks other brokers where the partitions end that they lead. It keeps no connections: it is asked once a scrape.
type peers struct {
	self int32
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// ends returns the high watermarks of the given partitions that brokers lead which answer in time.
func (p *peers) ends(ctx context.Context, img *metadata.Image, wanted map[topicPartition]struct{}) map[topicPartition]int64 {
	byLeader := map[int32][]topicPartition{}
	for tp := range wanted {
		t := img.TopicByName(tp.topic)
		if t == nil || tp.index < 0 || int(tp.index) >= len(t.Partitions) {
			continue
		}
		if leader := t.Partitions[tp.index].Leader; leader >= 0 && leader != p.self {
			byLeader[leader] = append(byLeader[leader], tp)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, peerWait)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	all := map[topicPartition]int64{}
	for id, parts := range byLeader {
		b := img.Broker(id)
		if b == nil || b.Fenced {
			continue
		}
		wg.Go(func() {
			// An error only leaves out what this broker would have told: the next scrape asks again.
			_ = p.ask(ctx, net.JoinHostPort(b.Host(), fmt.Sprint(b.Port())), parts, func(tp topicPartition, end int64) {
				mu.Lock()
				all[tp] = end
				mu.Unlock()
			})
		})
	}
	wg.Wait()
	return all
}

// ask asks one broker, and calls told with each of its answers that is an offset.
func (p *peers) ask(ctx context.Context, address string, parts []topicPartition, told func(topicPartition, int64)) error {
	conn, err := p.dial(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	format := kmsg.NewRequestFormatter(kmsg.FormatterClientID(fmt.Sprint("chronik-broker-", p.self)))
	for n := int32(0); len(parts) > 0; n++ {
		some := parts[:min(peerParts, len(parts))]
		parts = parts[len(some):]
		if _, err := conn.Write(format.AppendRequest(nil, endsRequest(some), n)); err != nil {
			return err
		}
		resp, err := readEnds(conn, n)
		if err != nil {
			return err
		}
		for i := range resp.Topics {
			t := &resp.Topics[i]
			for _, r := range t.Partitions {
				if r.ErrorCode == codeNone && r.Offset >= 0 {
					told(topicPartition{t.Topic, r.Partition}, r.Offset)
				}
			}
		}
	}
	return nil
}

// endsRequest asks for the high watermarks of partitions.
func endsRequest(parts []topicPartition) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = peerVersion, -1
	place := map[string]int{}
	for _, tp := range parts {
		i, ok := place[tp.topic]
		if !ok {
			i = len(req.Topics)
			place[tp.topic] = i
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = tp.topic
			req.Topics = append(req.Topics, t)
		}
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp = tp.index, latestTimestamp
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
	}
	return req
}

// readEnds reads the answer to the request with the given correlation id.
func readEnds(conn io.Reader, correlationID int32) (*kmsg.ListOffsetsResponse, error) {
	var size [wire.SizeBytes]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > peerAnswer {
		return nil, fmt.Errorf("an answer of %d bytes, more than %d", n, peerAnswer)
	}
	frame := make([]byte, n)
	if _, err := io.ReadFull(conn, frame); err != nil {
		return nil, err
	}
	r := wire.Reader{B: frame}
	id := r.Int32()
	r.Tags(nil)
	if r.Err() != nil || id != correlationID {
		return nil, fmt.Errorf("an answer to request %d, not to %d: %w", id, correlationID, r.Err())
	}
	resp := kmsg.NewPtrListOffsetsResponse()
	resp.SetVersion(peerVersion)
	return resp, resp.ReadFrom(r.B)
}
