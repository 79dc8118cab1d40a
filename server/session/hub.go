package session

import (
	"slices"
	"sync"

	"lap/db"
)

const (
	recentEvents = 512     // events a hub holds at most
	recentBytes  = 1 << 20 // and bytes of them
)

// A hub tells the readers of one session's log that there is more, and holds the newest
// events, so that a thousand readers do not all ask the store for the same rows. Who
// falls behind what it holds reads the store.
type hub struct {
	mu      sync.Mutex // guards what follows
	changed chan struct{}
	recent  []db.Event // without gaps
	size    int
	newest  int64 // seq of the last event that was published
	closed  bool
}

func newHub() *hub { return &hub{changed: make(chan struct{})} }

// publish passes on events that are stored and follow each other. Those that come late,
// after newer ones, are left to the store.
func (h *hub) publish(events []db.Event) {
	if len(events) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if events[0].Seq <= h.newest {
		h.wake()
		return
	}
	if h.newest+1 != events[0].Seq {
		h.recent, h.size = nil, 0
	}
	h.newest = events[len(events)-1].Seq
	h.recent = append(h.recent, events...)
	for _, e := range events {
		h.size += len(e.Body)
	}
	if len(h.recent) > recentEvents || h.size > recentBytes {
		h.trim()
	}
	h.wake()
}

// trim drops the older half, so that not every event moves all the others. What stays
// goes into new memory: readers hold parts of the old one.
func (h *hub) trim() {
	drop := 0
	for drop < len(h.recent)-1 && (len(h.recent)-drop > recentEvents/2 || h.size > recentBytes/2) {
		h.size -= len(h.recent[drop].Body)
		drop++
	}
	h.recent = slices.Clone(h.recent[drop:])
}

// forget drops what is held, so that all readers look at what the store holds.
func (h *hub) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.recent, h.size = nil, 0
	h.wake()
}

// wake makes all readers look again. h.mu is held.
func (h *hub) wake() {
	if !h.closed {
		close(h.changed)
		h.changed = make(chan struct{})
	}
}

// after returns the held events after a place, and a channel that is closed when there
// may be more. held is false when events after the place are not held any more, or may
// never have been.
func (h *hub) after(seq int64) (events []db.Event, held bool, more <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := len(h.recent)
	if n == 0 || h.recent[0].Seq > seq+1 {
		return nil, false, h.changed
	}
	skip := int(min(seq+1-h.recent[0].Seq, int64(n)))
	return h.recent[skip:n:n], true, h.changed
}

// close wakes all readers for the last time: the session is over, or will have another hub.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.closed = true
		close(h.changed)
	}
}
