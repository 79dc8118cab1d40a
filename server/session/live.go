package session

import (
	"context"
	"encoding/json"
	"sync"

	"lap/db"
)

// A live is what this process holds of a session: the way to its sandbox, the parts of
// turns that are not in the store, who waits for what. All else is in the store.
type live struct {
	id, agent string
	hub       *hub
	gate      *gate
	output    *output

	mu      sync.Mutex                  // guards what follows
	box     *box                        // the sandbox in use; nil: none yet
	bringUp *bringUp                    // the one that runs; nil: none
	env     map[string]string           // per-session variables; nil: not known to this process
	whole   map[int64][]json.RawMessage // by turn that is not sent yet: its parts, images included
	head    *heading                    // the turn that the worker carries; nil: none
	working bool                        // a worker runs
	again   bool                        // and is to look for turns once more
	changed chan struct{}               // closed when turns have changed
}

// A heading is a turn that a worker carries.
type heading struct {
	seq     int64
	cancel  context.CancelCauseFunc
	aborted bool // by its user
}

func newLive(s db.Session) *live {
	return &live{
		id: s.ID, agent: s.AgentID, hub: newHub(), gate: newGate(), output: &output{},
		whole: map[int64][]json.RawMessage{}, changed: make(chan struct{}),
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

// forget drops the live of a session that is over, with its way to the sandbox.
func (e *Engine) forget(l *live) {
	e.mu.Lock()
	if e.live[l.id] == l {
		delete(e.live, l.id)
	}
	e.mu.Unlock()
	l.setBox(nil)
	l.turnsChanged()
	l.hub.close()
}

// setBox makes b the sandbox in use, and gives up the one before.
func (l *live) setBox(b *box) {
	l.mu.Lock()
	before := l.box
	l.box = b
	l.mu.Unlock()
	if before != nil && before != b {
		before.close()
	}
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
