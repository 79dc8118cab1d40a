package session

import (
	"context"
	"sync"

	"lap/db"
)

// A live is what this process holds of a session that is not over: the way to its
// sandbox, its queue of turns, its running bring-up.
type live struct {
	id, agent  string
	generation int64
	conn       *connection
	turns      queue

	snapshots sync.Mutex // guards stored, and lets one at a time store the thread
	stored    string     // id of the newest message that is stored

	cancel  context.CancelFunc // ends the bring-up
	bringUp chan struct{}      // closed when the bring-up has ended; nil: this process made none
}

func newLive(s db.Session) *live {
	return &live{id: s.ID, agent: s.AgentID, generation: s.Generation, conn: newConnection(), cancel: func() {}}
}

// adopt returns the live of a session, making it when this process has none yet.
func (e *Engine) adopt(s db.Session) *live {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l := e.live[s.ID]; l != nil && l.generation == s.Generation {
		return l
	}
	l := newLive(s)
	e.live[s.ID] = l
	return l
}

// register makes l the live of its session.
func (e *Engine) register(l *live) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.live[l.id] = l
}

// find returns the live of a session, or nil.
func (e *Engine) find(id string) *live {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.live[id]
}

// forget drops the live of a session that is over and closes its pipe.
func (e *Engine) forget(l *live) {
	e.mu.Lock()
	if e.live[l.id] == l {
		delete(e.live, l.id)
	}
	e.mu.Unlock()
	l.conn.close()
}
