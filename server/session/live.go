package session

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"

	"lap/db"
)

// A live is what this process holds of a session: the way to its sandbox, the parts of
// turns that are not in the store, who waits for what. All else is in the store.
type live struct {
	id, agent string
	hub       *hub
	output    *output

	// step is held while the session is given a turn, claimed for a bring-up, or forgotten:
	// what is given to a live is not lost with it. It is taken before mu.
	step sync.Mutex

	mu      sync.Mutex                  // guards what follows; Engine.mu may be taken under it
	gone    bool                        // it was forgotten: the session has no live, or another
	box     *box                        // the sandbox in use; nil: none yet
	bringUp *bringUp                    // the one that runs; nil: none
	env     map[string]string           // per-session variables; nil: not known to this process
	whole   map[int64][]json.RawMessage // by turn that is not sent yet: its parts, images included
	head    *heading                    // the turn that the worker carries; nil: none
	inTurn  bool                        // and its result has not come yet
	aborts  map[int64]bool              // by turn that is open: its user has aborted it
	working bool                        // a worker runs
	again   bool                        // and is to look for turns once more
	changed chan struct{}               // closed when turns have changed
}

// A heading is a turn that a worker carries.
type heading struct {
	seq    int64
	cancel context.CancelCauseFunc
	taken  chan struct{} // closed when the guest has it, or it will not get it any more
	once   sync.Once
}

func (h *heading) settled() { h.once.Do(func() { close(h.taken) }) }

func newLive(s db.Session) *live {
	return &live{
		id: s.ID, agent: s.AgentID, hub: newHub(), output: &output{},
		whole: map[int64][]json.RawMessage{}, aborts: map[int64]bool{}, changed: make(chan struct{}),
	}
}

// adopt returns the live of a session, making it when this process has none yet.
func (e *Engine) adopt(s db.Session) *live {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.live[s.ID]; l != nil {
		return l
	}
	l := newLive(s)
	e.live[s.ID] = l
	return l
}

// find returns the live of a session, or nil.
func (e *Engine) find(id string) *live {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.live[id]
}

// hold returns the live of a session, with its step held for the caller.
func (e *Engine) hold(s db.Session) *live {
	for {
		l := e.adopt(s)
		l.step.Lock()
		if !l.forgotten() {
			return l
		}
		l.step.Unlock() // it has left the map before
	}
}

func (l *live) forgotten() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

// forget drops a live, with its way to the sandbox, if its session is over. One that is
// over has no open turns.
func (e *Engine) forget(ctx context.Context, l *live) error {
	l.step.Lock()
	defer l.step.Unlock()
	s, err := e.cfg.Store.SessionState(ctx, l.id)
	switch {
	case errors.Is(err, db.ErrNotFound):
	case err != nil:
		return err
	case !e.over(s):
		return nil
	}
	l.mu.Lock()
	b := l.box
	l.box, l.gone = nil, true
	l.mu.Unlock()
	e.mu.Lock()
	if e.live[l.id] == l {
		delete(e.live, l.id)
	}
	e.mu.Unlock()
	if b != nil {
		b.close()
	}
	l.turnsChanged()
	l.hub.close()
	return nil
}

// letGo is forget for callers that have something else to say. What it fails at, the next
// sweep does.
func (e *Engine) letGo(ctx context.Context, l *live) {
	if err := e.forget(ctx, l); err != nil && ctx.Err() == nil {
		e.cfg.Log.WarnContext(ctx, "session not forgotten, the next reconcile tries again", "session", l.id, "err", err)
	}
}

// sweep forgets the lives of sessions that ended while somebody was about to use them.
func (e *Engine) sweep(ctx context.Context, running []db.Session) error {
	runs := map[string]bool{}
	for _, s := range running {
		runs[s.ID] = true
	}
	var errs []error
	for _, l := range e.lives() {
		if !runs[l.id] {
			errs = append(errs, e.forget(ctx, l))
		}
	}
	return errors.Join(errs...)
}

func (e *Engine) lives() []*live {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Values(e.live))
}

// turnsChanged wakes who waits for a turn. Turns in the store have changed.
func (l *live) turnsChanged() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
}

// turns returns a channel that is closed at the next change of a turn.
func (l *live) turns() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// over reports whether a session stays as it is until somebody restarts it.
func (e *Engine) over(s db.Session) bool {
	return s.Status == db.StatusFailed || s.Status == db.StatusDead && !s.Revivable
}
