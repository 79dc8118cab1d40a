package mirror

import (
	"context"
	"io"
	"sync"
)

// A round is one fetch and what came of it, shared by all who asked for the same branch
// with the same token before it began: whoever asks later may know of a newer push.
type round struct {
	repo   Repo
	cancel context.CancelFunc
	done   chan struct{} // closed when tree and err are set
	tree   *tree
	err    error

	callers map[*caller]bool // who wait, or read; guarded by the mirror's mu
}

// A caller is one Prepare.
type caller struct{ progress func(detail string) }

// prepare joins a round, or starts one, and waits for it.
func (m *mirror) prepare(ctx context.Context, repo Repo, progress func(string)) (*Checkout, error) {
	c := &caller{progress: progress}
	r := m.join(ctx, repo, c)
	release := sync.OnceFunc(func() { m.leave(r, c) })
	select {
	case <-r.done:
	case <-ctx.Done():
		release()
		return nil, ctx.Err()
	}
	if r.err != nil {
		release()
		return nil, r.err
	}
	return &Checkout{
		Reader: io.NewSectionReader(r.tree.file, 0, r.tree.size),
		Commit: r.tree.commit, Size: r.tree.size, release: release,
	}, nil
}

func (m *mirror) join(ctx context.Context, repo Repo, c *caller) *round {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.waiting[repo]
	if r == nil {
		rctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // those who join outlive who came first
		r = &round{repo: repo, cancel: cancel, done: make(chan struct{}), callers: make(map[*caller]bool)}
		m.waiting[repo] = r
		go m.run(rctx, r)
	}
	r.callers[c] = true
	return r
}

// leave takes a caller out of its round. The last one ends it, and waits for that.
func (m *mirror) leave(r *round, c *caller) {
	m.mu.Lock()
	delete(r.callers, c)
	last := len(r.callers) == 0
	if last {
		m.close(r)
	}
	m.mu.Unlock()
	if !last {
		return
	}
	r.cancel()
	<-r.done
	if r.tree != nil {
		_ = r.tree.file.Close() // was only read
	}
}

// close keeps others from joining the round. m.mu is held.
func (m *mirror) close(r *round) {
	if m.waiting[r.repo] == r {
		delete(m.waiting, r.repo)
	}
}

// run does the work of a round when it is its turn.
func (m *mirror) run(ctx context.Context, r *round) {
	defer close(r.done)
	if r.err = m.take(ctx); r.err != nil {
		return
	}
	defer m.give()
	m.mu.Lock()
	m.close(r)
	m.mu.Unlock()
	r.tree, r.err = m.fetchTree(ctx, r.repo, func(detail string) { m.tell(r, detail) })
}

// tell passes progress to who still wait; under the lock, so that none hears of it after
// having left.
func (m *mirror) tell(r *round, detail string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range r.callers {
		c.progress(detail)
	}
}

// take waits for the mirror, which one at a time may use; give hands it on.
func (m *mirror) take(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (m *mirror) give() { <-m.turn }
