package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	// maxMessage bounds one message both ways. Entries are at most 1 MiB, a call
	// of them 4 MiB and a piece of a snapshot 256 KiB: a message above the bound
	// would fail for ever.
	maxMessage = 16 << 20

	// Flow-control windows: a call of 4 MiB needs few round trips for credit.
	streamWindow     = 1 << 20
	connectionWindow = 4 << 20

	// stopWait is how long Run lets calls end by themselves when it is told to stop.
	stopWait = 500 * time.Millisecond
)

// ServerOptions is what Listen needs.
type ServerOptions struct {
	Address string // host:port to bind, --raft-addr
	Network Network
	Book    *Book
	Peers   *Peers // told of each node that calls: it is alive, so its connection need not wait out a backoff; may be nil
	Logger  *slog.Logger
	Metrics *Metrics
}

// Server serves the gRPC services of a node. Its port is bound by Listen, so
// that a second process is noticed at once; services come and go while it runs:
// a call to one that is not there is answered UNAVAILABLE.
type Server struct {
	o          ServerOptions
	listener   net.Listener
	grpc       *grpc.Server
	complaints complaints

	stopping context.Context // ends when Run is told to stop: streams, which have no end of their own, end with it
	stop     context.CancelFunc

	mu       sync.RWMutex
	services map[string]*service
}

// service is what RegisterService was given.
type service struct {
	impl    any
	unary   map[string]*grpc.MethodDesc
	streams map[string]*grpc.StreamDesc
}

var _ grpc.ServiceRegistrar = (*Server)(nil)

// Listen binds the port. Nothing is served before Run.
func Listen(ctx context.Context, o ServerOptions) (*Server, error) {
	l, err := o.Network.Listen(ctx, "tcp", o.Address)
	if err != nil {
		return nil, listenError(o.Address, err)
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	s := &Server{o: o, listener: l, services: map[string]*service{}}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.grpc = grpc.NewServer(
		grpc.UnknownServiceHandler(s.serve),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		grpc.InitialWindowSize(streamWindow),
		grpc.InitialConnWindowSize(connectionWindow),
		grpc.MaxConcurrentStreams(1024),
		grpc.ConnectionTimeout(5*time.Second),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
	)
	return s, nil
}

// Addr returns the bound address.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// RegisterService implements grpc.ServiceRegistrar, at any time. A service of
// the same name is replaced.
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	sv := &service{impl: impl, unary: map[string]*grpc.MethodDesc{}, streams: map[string]*grpc.StreamDesc{}}
	for i := range desc.Methods {
		sv.unary[desc.Methods[i].MethodName] = &desc.Methods[i]
	}
	for i := range desc.Streams {
		sv.streams[desc.Streams[i].StreamName] = &desc.Streams[i]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.services[desc.ServiceName] = sv
}

// Unregister takes a service away: later calls are answered UNAVAILABLE, running ones go on.
func (s *Server) Unregister(desc *grpc.ServiceDesc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.services, desc.ServiceName)
}

// Run serves until ctx ends; then it ends the streams, lets calls finish for a
// moment, cuts the rest, and returns when all handlers have returned.
func (s *Server) Run(ctx context.Context) error {
	s.o.Logger.Info("Raft gRPC server started on "+s.Addr().String(), "node", s.o.Book.Self().NodeID)
	served := make(chan error, 1)
	go func() { served <- s.grpc.Serve(s.listener) }()
	select {
	case err := <-served:
		s.stop()
		s.grpc.Stop()
		return fmt.Errorf("the Raft port %s is no longer served: %w", s.Addr(), err)
	case <-ctx.Done():
	}
	s.stop()
	cut := time.AfterFunc(stopWait, s.grpc.Stop)
	s.grpc.GracefulStop()
	cut.Stop()
	<-served
	return nil
}

// Close gives the port back if Run was never called. After Run it does nothing.
func (s *Server) Close() error {
	s.stop()
	s.grpc.Stop()
	_ = s.listener.Close()
	return nil
}

// serve handles every call: gRPC wants its services registered before it serves,
// ours come later, so each is one that it does not know.
func (s *Server) serve(_ any, stream grpc.ServerStream) error {
	full, _ := grpc.MethodFromServerStream(stream)
	self := s.o.Book.Self()
	if err := stream.SetHeader(self.metadata(0, [16]byte{})); err != nil {
		return err
	}
	caller, err := s.o.Book.admit(stream.Context(), full)
	if err != nil {
		if refused, ok := asRefused(caller.NodeID, err); ok {
			s.o.Metrics.refused.WithLabelValues(refused.Reason.String()).Inc()
			s.complaints.log(s.o.Logger, refused)
		}
		return err
	}
	if s.o.Peers != nil {
		s.o.Peers.Alive(caller.NodeID)
	}
	name, method, _ := strings.Cut(strings.TrimPrefix(full, "/"), "/")
	s.mu.RLock()
	sv := s.services[name]
	s.mu.RUnlock()
	if sv == nil {
		return status.Errorf(codes.Unavailable, "node %d is starting: %s is not served yet", self.NodeID, name)
	}
	ctx := context.WithValue(stream.Context(), callerKey{}, caller)
	if d := sv.streams[method]; d != nil {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(s.stopping, cancel)()
		return d.Handler(sv.impl, &servedStream{stream, ctx})
	}
	d := sv.unary[method]
	if d == nil {
		return status.Errorf(codes.Unimplemented, "node %d does not know the method %s", self.NodeID, full)
	}
	answer, err := d.Handler(sv.impl, ctx, stream.RecvMsg, nil)
	if err != nil {
		return err
	}
	return stream.SendMsg(answer)
}

// servedStream is a stream under the context of the server's making.
type servedStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *servedStream) Context() context.Context { return s.ctx }
