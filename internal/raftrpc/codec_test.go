package raftrpc

import (
	"encoding/binary"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/proto"

	raftv1 "github.com/chronik-stream/chronik/proto/raft/v1"
)

// The fields that the codec knows. A raft that has gained one would lose it on the wire.
func TestCodecKnowsEveryField(t *testing.T) {
	for _, c := range []struct {
		of   any
		want string
	}{
		{raft.RPCHeader{}, "ProtocolVersion ID Addr"},
		{raft.Log{}, "Index Term Type Data Extensions AppendedAt"},
		{raft.AppendEntriesRequest{}, "RPCHeader Term Leader PrevLogEntry PrevLogTerm Entries LeaderCommitIndex"},
		{raft.AppendEntriesResponse{}, "RPCHeader Term LastLog Success NoRetryBackoff"},
		{raft.RequestVoteRequest{}, "RPCHeader Term Candidate LastLogIndex LastLogTerm LeadershipTransfer"},
		{raft.RequestVoteResponse{}, "RPCHeader Term Peers Granted"},
		{raft.RequestPreVoteRequest{}, "RPCHeader Term LastLogIndex LastLogTerm"},
		{raft.RequestPreVoteResponse{}, "RPCHeader Term Granted"},
		{raft.TimeoutNowRequest{}, "RPCHeader"},
		{raft.TimeoutNowResponse{}, "RPCHeader"},
		{raft.InstallSnapshotRequest{}, "RPCHeader SnapshotVersion Term Leader LastLogIndex LastLogTerm Peers Configuration ConfigurationIndex Size"},
		{raft.InstallSnapshotResponse{}, "RPCHeader Term Success"},
	} {
		typ := reflect.TypeOf(c.of)
		var names []string
		for i := range typ.NumField() {
			names = append(names, typ.Field(i).Name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%v has the fields %s; the codec knows %s", typ, got, c.want)
		}
	}
}

// source draws values from bytes.
type source struct{ p []byte }

func (s *source) u64() uint64 {
	var b [8]byte
	s.p = s.p[copy(b[:], s.p):]
	return binary.LittleEndian.Uint64(b[:])
}

func (s *source) bytes() []byte {
	n := min(int(s.u64()%64), len(s.p))
	b := s.p[:n:n]
	s.p = s.p[n:]
	if n == 0 {
		return nil
	}
	return b
}

// fill sets every field of the struct that v points to.
func (s *source) fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		s.fill(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			if x := s.u64(); x%2 == 1 {
				v.Set(reflect.ValueOf(time.Unix(0, int64(x>>2))))
			}
			return
		}
		for i := range v.NumField() {
			s.fill(v.Field(i))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(s.bytes())
			return
		}
		for range s.u64() % 4 {
			e := reflect.New(v.Type().Elem()).Elem()
			s.fill(e)
			v.Set(reflect.Append(v, e))
		}
	case reflect.Bool:
		v.SetBool(s.u64()%2 == 1)
	case reflect.Int:
		v.SetInt(int64(int32(s.u64())))
	case reflect.Int64:
		v.SetInt(int64(s.u64() >> 1))
	case reflect.Uint8:
		v.SetUint(s.u64() % 3) // log types but the deprecated ones and configurations
	case reflect.Uint64:
		v.SetUint(s.u64())
	default:
		panic(v.Kind())
	}
}

// through is m after a way over the wire.
func through[M proto.Message](t *testing.T, m M) M {
	t.Helper()
	p, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	out := m.ProtoReflect().New().Interface().(M)
	if err := proto.Unmarshal(p, out); err != nil {
		t.Fatal(err)
	}
	if n, ok := any(out).(named); !ok || n.GetTopic() != Topic || n.GetPartition() != Partition {
		t.Errorf("%T does not name its log", m)
	}
	return out
}

// roundTrips has one function for each message; the result is what came and what went.
var roundTrips = []func(t *testing.T, s *source) (want, got any){
	func(t *testing.T, s *source) (any, any) {
		var r raft.AppendEntriesRequest
		s.fill(reflect.ValueOf(&r).Elem())
		for k, l := range r.Entries {
			l.Index = r.PrevLogEntry + 1 + uint64(k)
			if l.Type == raft.LogAddPeerDeprecated {
				l.Type = raft.LogBarrier
			}
		}
		got, err := decodeAppendRequest(through(t, encodeAppendRequest(&r)))
		if err != nil {
			t.Error(err)
		}
		return &r, got
	},
	func(t *testing.T, s *source) (any, any) {
		var r raft.AppendEntriesResponse
		s.fill(reflect.ValueOf(&r).Elem())
		return &r, decodeAppendResponse(through(t, encodeAppendResponse(&r)))
	},
	func(t *testing.T, s *source) (any, any) {
		var r raft.RequestVoteRequest
		s.fill(reflect.ValueOf(&r).Elem())
		return &r, decodeVoteRequest(through(t, encodeVoteRequest(&r)))
	},
	func(t *testing.T, s *source) (any, any) {
		var r raft.RequestVoteResponse
		s.fill(reflect.ValueOf(&r).Elem())
		return &r, decodeVoteResponse(through(t, encodeVoteResponse(&r)))
	},
	func(t *testing.T, s *source) (any, any) {
		var r raft.RequestPreVoteRequest
		s.fill(reflect.ValueOf(&r).Elem())
		return &r, decodePreVoteRequest(through(t, encodePreVoteRequest(&r)))
	},
	func(t *testing.T, s *source) (any, any) {
		var r raft.RequestPreVoteResponse
		s.fill(reflect.ValueOf(&r).Elem())
		return &r, decodePreVoteResponse(through(t, encodePreVoteResponse(&r)))
	},
	func(t *testing.T, s *source) (any, any) {
		var r raft.TimeoutNowRequest
		s.fill(reflect.ValueOf(&r).Elem())
		return &r, decodeTimeoutNowRequest(through(t, encodeTimeoutNowRequest(&r)))
	},
	func(t *testing.T, s *source) (any, any) {
		var r raft.TimeoutNowResponse
		s.fill(reflect.ValueOf(&r).Elem())
		return &r, decodeTimeoutNowResponse(through(t, encodeTimeoutNowResponse(&r)))
	},
	func(t *testing.T, s *source) (any, any) {
		var r raft.InstallSnapshotRequest
		s.fill(reflect.ValueOf(&r).Elem())
		r.SnapshotVersion = 1
		r.Configuration = raft.EncodeConfiguration(raft.Configuration{Servers: []raft.Server{{ID: raft.ServerID(s.bytes())}}})
		got, err := decodeInstallRequest(through(t, encodeInstallRequest(&r)))
		if err != nil {
			t.Error(err)
		}
		return &r, got
	},
	func(t *testing.T, s *source) (any, any) {
		var r raft.InstallSnapshotResponse
		s.fill(reflect.ValueOf(&r).Elem())
		return &r, decodeInstallResponse(through(t, encodeInstallResponse(&r)))
	},
}

func FuzzRoundTrip(f *testing.F) {
	long := make([]byte, 600)
	for i := range long {
		long[i] = byte(i*i + 1)
	}
	f.Add([]byte{})
	f.Add(long)
	f.Fuzz(func(t *testing.T, p []byte) {
		for _, trip := range roundTrips {
			if want, got := trip(t, &source{p}); !reflect.DeepEqual(want, got) {
				t.Errorf("%T\nsent %+v\ngot  %+v", want, want, got)
			}
		}
	})
}

// Hostile messages are errors, or something that raft can take.
func FuzzDecode(f *testing.F) {
	add := func(m proto.Message) {
		p, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(p)
	}
	add(encodeAppendRequest(&raft.AppendEntriesRequest{Term: 1, Entries: []*raft.Log{{Index: 1, Data: []byte("x")}}}))
	add(&raftv1.AppendEntriesRequest{Entries: []*raftv1.Entry{{Index: 1, Type: uint32(raft.LogConfiguration), Data: []byte("no configuration")}}})
	add(encodeInstallRequest(&raft.InstallSnapshotRequest{SnapshotVersion: 1, Configuration: raft.EncodeConfiguration(raft.Configuration{})}))
	f.Fuzz(func(t *testing.T, p []byte) {
		var a raftv1.AppendEntriesRequest
		if proto.Unmarshal(p, &a) == nil {
			if r, err := decodeAppendRequest(&a); err == nil {
				for _, l := range r.Entries {
					if l.Type == raft.LogConfiguration {
						raft.DecodeConfiguration(l.Data)
					}
				}
			}
		}
		var s raftv1.InstallSnapshotRequest
		if proto.Unmarshal(p, &s) == nil {
			if r, err := decodeInstallRequest(&s); err == nil {
				raft.DecodeConfiguration(r.Configuration)
			}
		}
	})
}

func TestDecodeRefusesWhatRaftWouldPanicOn(t *testing.T) {
	entry := func(e *raftv1.Entry) *raftv1.AppendEntriesRequest {
		return &raftv1.AppendEntriesRequest{PrevIndex: 4, Entries: []*raftv1.Entry{e}}
	}
	for name, m := range map[string]*raftv1.AppendEntriesRequest{
		"unknown type":           entry(&raftv1.Entry{Index: 5, Type: 77}),
		"type above a byte":      entry(&raftv1.Entry{Index: 5, Type: 256}),
		"deprecated type":        entry(&raftv1.Entry{Index: 5, Type: uint32(raft.LogAddPeerDeprecated)}),
		"bad configuration":      entry(&raftv1.Entry{Index: 5, Type: uint32(raft.LogConfiguration), Data: []byte{0xff}}),
		"gap":                    entry(&raftv1.Entry{Index: 6}),
		"entry before its place": entry(&raftv1.Entry{Index: 4}),
	} {
		if _, err := decodeAppendRequest(m); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	good := raft.EncodeConfiguration(raft.Configuration{})
	for name, m := range map[string]*raftv1.InstallSnapshotRequest{
		"version":       {SnapshotVersion: 2, Configuration: good},
		"size":          {SnapshotVersion: 1, Configuration: good, Size: -1},
		"configuration": {SnapshotVersion: 1, Configuration: []byte{0xff}},
	} {
		if _, err := decodeInstallRequest(m); err == nil {
			t.Errorf("snapshot with a bad %s: accepted", name)
		}
	}
}

func TestAddress(t *testing.T) {
	dir := [16]byte{0xde, 0xad, 15: 0xef}
	a := Address(7, dir)
	if a != "node:7/dead0000-0000-0000-0000-0000000000ef" {
		t.Errorf("got %s", a)
	}
	if n, d, err := ParseAddress(a); n != 7 || d != dir || err != nil {
		t.Errorf("parsed %d, %x, %v", n, d, err)
	}
	for _, bad := range []raft.ServerAddress{"", "node:7", "7/dead0000-0000-0000-0000-0000000000ef", "node:0/dead0000-0000-0000-0000-0000000000ef", "node:7/x", "localhost:5001"} {
		if _, _, err := ParseAddress(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	if n, err := ParseServerID(ServerID(1<<31 - 1)); n != 1<<31-1 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}
