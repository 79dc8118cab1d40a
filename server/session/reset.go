package session

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"lap/db"
)

// errReset is why a turn ended that a reset came upon.
var errReset = errors.New("everything was reset")

// Reset deletes all agents, sessions and skills. When it returns nothing of them can be
// seen, turns and streams that were under way are over, and what may still go on in their
// sandboxes can change nothing. These are removed after that, by calls that carry the values
// of ctx; the pool keeps its own.
func (e *Engine) Reset(ctx context.Context) error {
	e.births.Lock() // what is stored before is in live after, and all that is in live is old
	condemned, err := e.cfg.Store.Reset(ctx)
	old := e.lives()
	e.births.Unlock()
	if err != nil {
		return err
	}
	values := context.WithoutCancel(ctx)
	for _, l := range old {
		l.interrupt()
		e.letGo(values, l)
	}
	e.launch(func(context.Context) { // else the next start does
		for _, l := range old {
			e.cutEgress(values, l.id)
		}
		e.removeAll(values, condemned)
	})
	return nil
}

// interrupt ends what is done for a session that was deleted.
func (l *live) interrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bringUp != nil {
		l.bringUp.cancel(db.ErrStale)
	}
	if l.head != nil {
		l.head.cancel(errReset)
	}
}

// removals is how many sandboxes are removed at once that nobody waits for.
const removals = 8

func (e *Engine) removeAll(ctx context.Context, boxes []db.Sandbox) {
	var g errgroup.Group
	g.SetLimit(removals)
	for _, b := range boxes {
		g.Go(func() error {
			if err := e.remove(ctx, b); err != nil {
				e.cfg.Log.WarnContext(ctx, "sandbox not removed, the next reconcile tries again", "session", b.SessionID, "err", err)
			}
			return nil
		})
	}
	_ = g.Wait() // always nil
}
