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
	mu   sync.Mutex // guards subs and what is in them
	subs map[*subscriber]struct{}
}

// subscriber is one reader of events. Frames wait in one buffer, so that a reader that
// is behind catches up in one write.
type subscriber struct {
	pending []byte
	largest int           // frame in pending, which may be an image: that alone is not being slow
	more    chan struct{} // has a value when pending is not empty
}

// publish queues an event for every subscriber. It never waits, and costs nothing
// when nobody listens.
func (b *bus) publish(kind string, p Properties) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.subs) == 0 {
		return
	}
	frame := frame(kind, &p)
	for s := range b.subs {
		if len(s.pending)-s.largest > queueLimit {
			b.drop(s)
			continue
		}
		s.queue(frame)
	}
}

// frame writes an event as the stream has it.
func frame(kind string, properties *Properties) []byte {
	data, err := encode(Event{ID: newID(eventID), Type: kind, Properties: properties})
	if err != nil {
		return nil // the types of this package always encode
	}
	return append(append([]byte("data: "), data...), "\n\n"...)
}

// queue adds frame to what waits for s. The bus is locked.
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
	if _, ok := b.subs[s]; ok {
		delete(b.subs, s)
		close(s.more)
	}
}

func (b *bus) subscribe() *subscriber {
	s := &subscriber{more: make(chan struct{}, 1)}
	s.queue(frame("server.connected", &Properties{}))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs[s] = struct{}{}
	return s
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
	_, ok := b.subs[s]
	return frames, ok
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
		var sign []byte
		select {
		case <-s.more:
		case <-beat.C:
			sign = frame("server.heartbeat", &Properties{})
		case <-r.Context().Done():
			return nil
		case <-a.closing:
			return nil
		}
		frames, ok := a.bus.take(s)
		if !ok || send(w, append(frames, sign...)) != nil {
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
