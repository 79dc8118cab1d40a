//go:build linux

package guest

import "time"

const (
	deltaWindow = 25 * time.Millisecond  // how long a delta waits for the next one
	toolWindow  = 200 * time.Millisecond // how long the state of a running tool waits for a newer one
	maxDelta    = 16 << 10               // bytes of deltas in one
)

// A merger makes one frame of several in a row with the same key. The first one after a
// quiet time goes through at once, so that nobody waits for the first word.
type merger struct {
	out   func(frame)
	timer *time.Timer // calls expire, in time

	held *frame // waits for more
	due  time.Time

	key  string // of the last frame that could have been merged
	seen time.Time
}

// take takes the next frame.
func (m *merger) take(f frame) {
	now := time.Now()
	quiet := f.key != m.key || now.Sub(m.seen) > f.window
	if f.key != "" {
		m.key, m.seen = f.key, now
	}
	if m.held != nil && m.held.key == f.key && m.held.absorb(f) {
		return
	}
	m.flush()
	if f.key == "" || quiet {
		m.out(f)
		return
	}
	m.held, m.due = &f, now.Add(f.window)
	m.timer.Reset(f.window)
}

// flush lets go of the frame that waits.
func (m *merger) flush() {
	if m.held == nil {
		return
	}
	f := m.held
	m.held = nil
	f.settle()
	m.out(*f)
}

// expire is flush, unless the frame that waits came after the one the timer was for.
func (m *merger) expire() {
	if !time.Now().Before(m.due) {
		m.flush()
	}
}
