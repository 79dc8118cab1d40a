package docker

import (
	"context"
	"sync"
)

// A quiet keeps the starts of processes in a container and its pauses apart. A process
// that is frozen while it starts never gets started, and the engine waits for it with the
// container locked: from then on not even a removal comes to its end.
type quiet struct {
	mu       sync.Mutex          // guards what follows
	starting map[string]int      // by container: processes that are starting
	pausing  map[string]struct{} // containers that are being paused
	changed  chan struct{}       // closed when one of these gets less
}

func newQuiet() *quiet {
	return &quiet{starting: map[string]int{}, pausing: map[string]struct{}{}, changed: make(chan struct{})}
}

// start waits until a container is not being paused. The caller calls done, more than
// once if it likes, when its process has started.
func (q *quiet) start(ctx context.Context, id string) (done func(), err error) {
	err = q.await(ctx, func() bool {
		_, pausing := q.pausing[id]
		if !pausing {
			q.starting[id]++
		}
		return !pausing
	})
	if err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() {
		q.change(func() {
			if q.starting[id]--; q.starting[id] == 0 {
				delete(q.starting, id)
			}
		})
	}), nil
}

// pause waits until no process is starting in a container. The caller calls done.
func (q *quiet) pause(ctx context.Context, id string) (done func(), err error) {
	err = q.await(ctx, func() bool {
		_, pausing := q.pausing[id]
		free := !pausing && q.starting[id] == 0
		if free {
			q.pausing[id] = struct{}{}
		}
		return free
	})
	if err != nil {
		return nil, err
	}
	return func() { q.change(func() { delete(q.pausing, id) }) }, nil
}

// await calls take until it succeeds, at once and after every change.
func (q *quiet) await(ctx context.Context, take func() bool) error {
	for {
		q.mu.Lock()
		taken, changed := take(), q.changed
		q.mu.Unlock()
		if taken {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (q *quiet) change(fn func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	fn()
	close(q.changed)
	q.changed = make(chan struct{})
}
