package cluster

import (
	"sync"

	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// class orders what waits for the controller: a lower one goes first, so that a
// flood of clients' commands never delays the fencing of a dead broker.
type class int

const (
	// classUrgent: fencing, and the repair of what a fenced broker led.
	classUrgent class = iota
	// classBroker: registrations and what heartbeats and brokers ask for.
	classBroker
	// classClient: what users ask for.
	classClient
	classes
)

// queueBounds is how many commands of a class may wait. Urgent ones come from
// the controller itself, one a broker at most.
var queueBounds = [classes]int{classUrgent: 1 << 16, classBroker: 4096, classClient: 1000}

func (c class) String() string { return [classes]string{"urgent", "broker", "client"}[c] }

// classOf tells the class of a command.
func classOf(cmd *clusterv1.Command) class {
	switch cmd.Kind.(type) {
	case *clusterv1.Command_FenceBroker, *clusterv1.Command_RepairPartitions,
		*clusterv1.Command_FormCluster, *clusterv1.Command_ActivateController:
		return classUrgent
	case *clusterv1.Command_RegisterBroker, *clusterv1.Command_UnfenceBroker,
		*clusterv1.Command_ShutdownBroker, *clusterv1.Command_AssignDirectories,
		*clusterv1.Command_AllocateProducerIds:
		return classBroker
	default:
		return classClient
	}
}

// requestKey is a RequestId as a map key.
type requestKey struct {
	node        int32
	incarnation [16]byte
	sequence    uint64
}

func keyOf(cmd *clusterv1.Command) (requestKey, bool) {
	id := cmd.GetRequestId()
	if id == nil {
		return requestKey{}, false
	}
	k := requestKey{node: id.Node, sequence: id.Sequence}
	copy(k.incarnation[:], id.Incarnation)
	return k, true
}

// job is a command on its way through the controller. Whoever waits for it waits
// for done and reads the rest afterwards.
type job struct {
	cmd   *clusterv1.Command
	class class

	done chan struct{}
	ans  *clusterv1.Answer // set before done is closed; nil with an error
	err  error
}

// queue holds the commands that wait for the controller. It is open while this
// node leads an activated term; a closed queue refuses.
//
// It is a struct under its own mutex: gRPC handlers and the session watch put,
// the controller takes.
type queue struct {
	wake chan struct{} // one token: something was put

	mu      sync.Mutex
	open    bool
	waiting [classes][]*job
	// live is every job with a RequestId from put to finish, so that a retry that
	// comes while the first is queued or proposed waits for the same outcome.
	live map[requestKey]*job
}

func newQueue() *queue {
	return &queue{wake: make(chan struct{}, 1), live: make(map[requestKey]*job)}
}

// put queues cmd and returns the job to wait for: a new one, or that of an
// earlier try of the same command.
func (q *queue) put(cmd *clusterv1.Command) (*job, error) {
	c := classOf(cmd)
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.open {
		return nil, errNotController
	}
	key, named := keyOf(cmd)
	if named {
		if j, ok := q.live[key]; ok {
			return j, nil
		}
	}
	if len(q.waiting[c]) >= queueBounds[c] {
		return nil, ErrOverloaded
	}
	j := &job{cmd: cmd, class: c, done: make(chan struct{})}
	q.waiting[c] = append(q.waiting[c], j)
	if named {
		q.live[key] = j
	}
	select {
	case q.wake <- struct{}{}:
	default: // a token is there; the controller will see this job too
	}
	return j, nil
}

// pop takes the first job of class c, nil if none waits.
func (q *queue) pop(c class) *job {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting[c]) == 0 {
		return nil
	}
	j := q.waiting[c][0]
	q.waiting[c][0] = nil
	q.waiting[c] = q.waiting[c][1:]
	return j
}

// unpop puts back, in front, what pop gave and the entry had no room for.
func (q *queue) unpop(j *job) {
	q.mu.Lock()
	open := q.open
	if open {
		q.waiting[j.class] = append([]*job{j}, q.waiting[j.class]...)
	}
	q.mu.Unlock()
	if !open {
		q.finish(j, nil, errNotController)
	}
}

// finish gives a job its outcome and wakes who waits for it.
func (q *queue) finish(j *job, ans *clusterv1.Answer, err error) {
	q.mu.Lock()
	if key, ok := keyOf(j.cmd); ok && q.live[key] == j {
		delete(q.live, key)
	}
	q.mu.Unlock()
	j.ans, j.err = ans, err
	close(j.done)
}

// depth tells how many jobs of class c wait.
func (q *queue) depth(c class) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting[c])
}

// empty reports whether nothing waits.
func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, w := range q.waiting {
		if len(w) > 0 {
			return false
		}
	}
	return true
}

// allow opens the queue for the commands of an activated term.
func (q *queue) allow() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open = true
}

// refuse closes the queue and ends everything in it with err.
func (q *queue) refuse(err error) {
	q.mu.Lock()
	q.open = false
	var left []*job
	for c := range q.waiting {
		left = append(left, q.waiting[c]...)
		q.waiting[c] = nil
	}
	q.mu.Unlock()
	for _, j := range left {
		q.finish(j, nil, err)
	}
}
