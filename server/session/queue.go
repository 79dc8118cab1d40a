package session

import (
	"slices"
	"sync"
)

// A queue lets one holder in at a time, in the order in which they joined.
type queue struct {
	mu      sync.Mutex // guards what follows
	busy    bool
	waiting []chan struct{}
}

// A place in a queue. Its channel is closed when it is the holder's turn.
type place struct {
	q    *queue
	turn chan struct{}
}

// join takes a place. Every place must be left once, whether its turn came or not.
func (q *queue) join() place {
	q.mu.Lock()
	defer q.mu.Unlock()
	p := place{q: q, turn: make(chan struct{})}
	if q.busy {
		q.waiting = append(q.waiting, p.turn)
	} else {
		q.busy = true
		close(p.turn)
	}
	return p
}

// leave gives the place up.
func (p place) leave() {
	p.q.mu.Lock()
	defer p.q.mu.Unlock()
	if i := slices.Index(p.q.waiting, p.turn); i >= 0 { // its turn had not come
		p.q.waiting = slices.Delete(p.q.waiting, i, i+1)
		return
	}
	if len(p.q.waiting) == 0 {
		p.q.busy = false
		return
	}
	close(p.q.waiting[0])
	p.q.waiting = p.q.waiting[1:]
}
