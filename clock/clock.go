// Package clock is the time that lap goes by: when sessions are idle, when turns are late,
// what stamps say. It is the real time, unless a test has moved it. What waits for another
// machine or process goes by the real time always, and has no use for this package.
package clock

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A Clock is the real time and an offset. Who waits on it is woken when its time has come by
// the clock, also when that is because it was moved. A nil Clock is the real time, and
// cannot be moved. Methods may be called at once.
type Clock struct {
	mu      sync.Mutex // guards what follows, and the timers in it
	offset  time.Duration
	waiting map[*Timer]struct{}
}

// New returns a clock that shows the real time until it is moved.
func New() *Clock { return &Clock{waiting: map[*Timer]struct{}{}} }

// Now is the time by the clock.
func (c *Clock) Now() time.Time { return c.At(time.Now()) }

// At is what the clock shows at t, a real time, if its present offset is that of then.
func (c *Clock) At(t time.Time) time.Time { return t.Add(c.Offset()) }

// Since is the time that has passed since t, a time by the clock.
func (c *Clock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// Until is the time that has to pass until t.
func (c *Clock) Until(t time.Time) time.Duration { return t.Sub(c.Now()) }

// Offset is how far the clock is ahead of the real time.
func (c *Clock) Offset() time.Duration {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset
}

// Advance moves the clock forward by d, which is not negative, in one jump. All whose time
// has come are woken, the earliest first.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
	now := c.now()
	var due []*Timer
	for t := range c.waiting {
		if t.due.After(now) {
			t.real.Reset(t.due.Sub(now))
		} else {
			due = append(due, t)
		}
	}
	slices.SortFunc(due, func(a, b *Timer) int { return a.due.Compare(b.due) })
	for _, t := range due {
		t.real.Stop()
		t.fire(now)
	}
}

// Rewind takes the clock back to the real time. Who waits goes on waiting for as long as was
// left.
func (c *Clock) Rewind() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for t := range c.waiting {
		t.due = t.due.Add(-c.offset)
	}
	c.offset = 0
}

// now is Now for who holds mu.
func (c *Clock) now() time.Time { return time.Now().Add(c.offset) }

// WithDeadline returns a context that ends at t by the clock. Its cause is
// context.DeadlineExceeded then; its Err is so only on a clock that cannot be moved. The
// caller calls cancel.
func (c *Clock) WithDeadline(ctx context.Context, t time.Time) (_ context.Context, cancel func()) {
	if c == nil {
		return context.WithDeadline(ctx, t)
	}
	ctx, end := context.WithCancelCause(ctx)
	timer := c.AfterFunc(c.Until(t), func() { end(context.DeadlineExceeded) })
	return ctx, func() {
		timer.Stop()
		end(nil)
	}
}
