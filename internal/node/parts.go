package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// parts runs the parts of a node, each on a goroutine of its own, and stops them
// in the reverse order of their start.
type parts struct {
	mu     sync.Mutex
	list   []*part
	failed chan struct{} // closed when a part has ended before it was told to
	err    error         // why; valid after failed
}

type part struct {
	name   string
	cancel context.CancelFunc
	done   chan struct{}
	err    error // how Run ended; valid after done
}

func newParts() *parts { return &parts{failed: make(chan struct{})} }

// start runs a part. Its context ends when stop reaches it, not with the
// context of the whole node: a clean stop needs the lower parts until the upper ones have ended.
func (p *parts) start(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	part := &part{name: name, cancel: cancel, done: make(chan struct{})}
	p.mu.Lock()
	p.list = append(p.list, part)
	p.mu.Unlock()
	go func() {
		defer close(part.done)
		part.err = run(ctx)
		if ctx.Err() == nil {
			p.fail(part.name, part.err)
		}
	}()
}

func (p *parts) fail(name string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.failed:
		return
	default:
	}
	if err == nil {
		err = fmt.Errorf("%s ended by itself", name)
	}
	p.err = err
	close(p.failed)
}

// stopAbove ends the parts that were started after the one of this name, the
// last one first, and waits for each; with an empty name it ends all.
func (p *parts) stopAbove(name string) error {
	var errs []error
	for {
		p.mu.Lock()
		if len(p.list) == 0 || p.list[len(p.list)-1].name == name {
			p.mu.Unlock()
			return errors.Join(errs...)
		}
		last := p.list[len(p.list)-1]
		p.list = p.list[:len(p.list)-1]
		p.mu.Unlock()
		last.cancel()
		<-last.done
		// The failure that stops the node is told once, by who waits for failed.
		if last.err != nil && last.err != p.firstFailure() && !errors.Is(last.err, context.Canceled) {
			errs = append(errs, fmt.Errorf("%s: %w", last.name, last.err))
		}
	}
}

func (p *parts) firstFailure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}
