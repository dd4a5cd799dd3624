// Package listener accepts Kafka clients' connections and moves frames: requests to a
// Handler, in order, and responses back, in the same order, whoever completes them first.
//
// # The path of a request
//
// A connection has one goroutine, its reader. It waits until bytes are there, takes a
// buffer from a stack, reads, hands each whole frame to the session, and when no whole frame
// is left lets the session settle, queues what was answered and writes it in one call. A
// buffer is held only while there are bytes in it, so idle connections cost none.
//
// # Slots
//
// A response has a slot in its connection's queue. Responses that are there at once share a
// slot, and those that come later have slots of their own, completed by whoever has the
// answer: first Done for each, then Flush once a connection. There is no writer
// goroutine: the one who finds the head of the queue complete and nobody writing takes the
// role, writes without blocking, and looks again before it gives the role up. Only when the
// socket is full a goroutine is started that waits for the client; so a slow client never
// holds up the committer or a producer. On connections that cannot be written without
// blocking (Conn says so) that goroutine is always started, except from the reader itself.
//
// # Bounds
//
// Requests in flight and bytes of buffers are bounded: the reader stops reading, and TCP
// carries it to the client. Memory for a frame is taken as its bytes arrive, never by what its
// size claims. A frame must be complete, and a response taken, at 64 KiB/s after 30 s, and while
// others wait for memory a frame that holds some must grow at that rate from the start;
// connections without requests are closed.
//
// Read buffers, and large responses that a client does not take, come from one account, which the broker's decoding shares
// (package memory). When half of it is taken, the first 32 KiB of a frame are read and no more until there is a buffer for all of
// it, and whoever waits for one holds only those; a quarter is for small frames alone.
//
// # State and goroutines
//
// A Listener holds the set of its clients under one mutex. A Client's read state belongs to
// its reader, its queue to its mutex, what is being written to the holder of the writing role. Goroutines: Run's
// own (accept), "sweep" (deadlines, once a second), one reader a connection, one writer for
// each connection whose client does not keep up. All end before Run returns. No mutex is held
// while anything is read or written.
package listener
