package vnet_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	raftv1 "github.com/chronik-stream/chronik/proto/raft/v1"

	"github.com/chronik-stream/chronik/internal/vnet"
)

type voter struct{ raftv1.UnimplementedRaftServer }

func (voter) RequestVote(_ context.Context, r *raftv1.RequestVoteRequest) (*raftv1.RequestVoteResponse, error) {
	return &raftv1.RequestVoteResponse{Term: r.GetTerm(), Granted: true}, nil
}

// gRPC runs over the network in a bubble: calls, a cut that lets them time out,
// a heal, a death and a return.
func TestGRPC(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := vnet.New(vnet.Latency(time.Millisecond))
		serve := func() *grpc.Server {
			l, err := n.Host("b").Listen(t.Context(), "tcp", ":5001")
			if err != nil {
				t.Fatal(err)
			}
			s := grpc.NewServer()
			raftv1.RegisterRaftServer(s, voter{})
			go s.Serve(l)
			return s
		}
		s := serve()
		cc, err := grpc.NewClient("passthrough:///b:5001", grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithContextDialer(func(ctx context.Context, a string) (net.Conn, error) {
				return n.Host("a").DialContext(ctx, "tcp", a)
			}))
		if err != nil {
			t.Fatal(err)
		}
		ask := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, err := raftv1.NewRaftClient(cc).RequestVote(ctx, &raftv1.RequestVoteRequest{Term: 7}, grpc.WaitForReady(true))
			return err
		}
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		n.Between("a", "b", vnet.Cut)
		if err := ask(); err == nil {
			t.Error("a call over a cut link was answered")
		}
		n.Heal()
		if err := ask(); err != nil {
			t.Errorf("after the heal: %v", err)
		}
		n.Host("b").Down()
		s.Stop()
		n.Host("b").Up()
		s = serve()
		err = ask()
		if status.Code(err) == codes.Unavailable { // it went out on the connection of before the restart
			err = ask()
		}
		if err != nil {
			t.Errorf("after a restart: %v", err)
		}
		cc.Close()
		s.Stop()
		n.Close()
	})
}

// A franz-go client runs over the network in a bubble.
func TestKafkaClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := vnet.New(vnet.Latency(time.Millisecond))
		l, err := n.Host("broker").Listen(t.Context(), "tcp", ":9092")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go answer(c)
			}
		}()
		cl, err := kgo.NewClient(kgo.SeedBrokers("broker:9092"), kgo.Dialer(n.Host("client").DialContext))
		if err != nil {
			t.Fatal(err)
		}
		if err := cl.Ping(t.Context()); err != nil {
			t.Errorf("ping: %v", err)
		}
		cl.Close()
		n.Close()
	})
}

// answer is as much of a broker as a ping needs: ApiVersions and Metadata.
func answer(c net.Conn) {
	defer c.Close()
	for {
		var size [4]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint32(size[:]))
		if _, err := io.ReadFull(c, frame); err != nil {
			return
		}
		var resp kmsg.Response
		switch key := int16(binary.BigEndian.Uint16(frame)); key {
		case 18:
			r := kmsg.NewPtrApiVersionsResponse()
			for _, k := range []int16{3, 18} {
				v := kmsg.NewApiVersionsResponseApiKey()
				v.ApiKey, v.MaxVersion = k, 1
				r.ApiKeys = append(r.ApiKeys, v)
			}
			if binary.BigEndian.Uint16(frame[2:]) > 1 {
				r.ErrorCode = 35 // UNSUPPORTED_VERSION, in the form of version 0
			} else {
				r.Version = int16(binary.BigEndian.Uint16(frame[2:]))
			}
			resp = r
		default:
			r := kmsg.NewPtrMetadataResponse()
			r.Version = int16(binary.BigEndian.Uint16(frame[2:]))
			b := kmsg.NewMetadataResponseBroker()
			b.NodeID, b.Host, b.Port = 1, "broker", 9092
			r.Brokers = append(r.Brokers, b)
			resp = r
		}
		body := resp.AppendTo(append(make([]byte, 4, 64), frame[4:8]...))
		binary.BigEndian.PutUint32(body, uint32(len(body)-4))
		if _, err := c.Write(body); err != nil {
			return
		}
	}
}
