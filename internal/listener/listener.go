package listener

// Handler makes a Session for each connection.
type Handler interface {
	Connect(c *Client) Session
}

// Session serves the requests of one connection. All its methods are called by the
// connection's reader, one after another.
type Session interface {
	// FrameLimit returns the longest frame, without its size, that a request of this key
	// may have; 0 if no such request is served, which closes the connection unless Serve
	// would answer it.
	FrameLimit(key, version int16) int
	// Serve starts a request. frame, which lacks the size, stays as it is until Settle has
	// returned. The response is appended to c.Out, or promised with c.Defer, before Serve
	// returns, so that requests and responses are in the same order. A function that is
	// returned may block: the reader calls it when it has settled, written what is ready and
	// given its buffer back; no later request starts before it has returned.
	Serve(frame []byte) (alone func(), err error)
	// Settle does what Serve has put off; it is called when no whole request is left in what
	// has been read, and before alone.
	Settle()
	// Close is called once, when the connection has ended or is being drained: no more
	// requests will come, and what waits for events should complete its slots soon.
	Close()
}
