//go:build unix

package agent

import (
	"net/http"
	"sync"
	"time"
)

const (
	queueLimit = 2 << 20          // bytes a subscriber may be behind, beside its largest frame
	heartbeat  = 10 * time.Second // between two signs of life on an event stream
	writeLimit = 10 * time.Second // for one write to a subscriber
)

// bus hands events to subscribers. It keeps none.
type bus struct {
	ids  *ids
	mu   sync.Mutex // guards subs and what is in them
	subs map[*subscriber]struct{}
}

// subscriber is one reader of events. Frames wait in one buffer, so that a reader that
// is behind catches up in one write.
type subscriber struct {
	pending []byte
	largest int           // frame in pending, which may be an image: that alone is not being slow
	more    chan struct{} // has a value when pending is not empty
	dropped bool
}

// Event is one frame of the event stream.
type Event struct {
	ID         string `json:"id"`
	Type       string `json:"type"`
	Properties any    `json:"properties"`
}

// publish queues an event for every subscriber. It never waits, and costs nothing
// when nobody listens.
func (b *bus) publish(kind string, properties any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.subs) == 0 {
		return
	}
	frame, err := b.frame(kind, properties)
	if err != nil {
		return // the types of this package always encode
	}
	for s := range b.subs {
		if len(s.pending)-s.largest > queueLimit {
			b.drop(s)
			continue
		}
		s.queue(frame)
	}
}

func (b *bus) frame(kind string, properties any) ([]byte, error) {
	data, err := encode(Event{ID: b.ids.next(eventID), Type: kind, Properties: properties})
	if err != nil {
		return nil, err
	}
	return append(append([]byte("data: "), data...), "\n\n"...), nil
}

func (s *subscriber) queue(frame []byte) {
	s.pending = append(s.pending, frame...)
	s.largest = max(s.largest, len(frame))
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// drop forgets s and wakes its writer. b.mu is held.
func (b *bus) drop(s *subscriber) {
	if !s.dropped {
		s.dropped, s.pending = true, nil
		delete(b.subs, s)
		close(s.more)
	}
}

func (b *bus) subscribe() *subscriber {
	s := &subscriber{more: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.subs == nil {
		b.subs = map[*subscriber]struct{}{}
	}
	b.subs[s] = struct{}{}
	b.greet(s, "server.connected")
	return s
}

// greet queues an event for s alone. b.mu is held.
func (b *bus) greet(s *subscriber, kind string) {
	if frame, err := b.frame(kind, struct{}{}); err == nil && !s.dropped {
		s.queue(frame)
	}
}

func (b *bus) unsubscribe(s *subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(s)
}

// take returns the frames that wait for s, and false when s was dropped.
func (b *bus) take(s *subscriber) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	frames := s.pending
	s.pending, s.largest = nil, 0
	return frames, !s.dropped
}

// events answers GET /event.
func (a *Agent) events(w http.ResponseWriter, r *http.Request) error {
	s := a.bus.subscribe()
	defer a.bus.unsubscribe(s)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache, no-transform")
	w.Header().Set("X-Accel-Buffering", "no")
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-s.more:
		case <-beat.C:
			a.bus.mu.Lock()
			a.bus.greet(s, "server.heartbeat")
			a.bus.mu.Unlock()
		case <-r.Context().Done():
			return nil
		case <-a.closing:
			return nil
		}
		frames, ok := a.bus.take(s)
		if !ok || send(w, frames) != nil {
			return nil // a reader that is gone or too slow needs no answer
		}
	}
}

// send writes and flushes, within writeLimit where the connection can be limited.
func send(w http.ResponseWriter, frames []byte) error {
	c := http.NewResponseController(w)
	_ = c.SetWriteDeadline(time.Now().Add(writeLimit)) // not every writer has deadlines
	if _, err := w.Write(frames); err != nil {
		return err
	}
	return c.Flush()
}
