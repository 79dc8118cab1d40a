package clock

import "time"

// A Timer is a time.Timer that goes by a Clock.
type Timer struct {
	C <-chan time.Time // nil for AfterFunc

	clock *Clock      // nil: real is all there is
	real  *time.Timer // fires at due, if the clock is not moved before
	due   time.Time   // by the clock
	wake  func(now time.Time)
	every time.Duration // 0: once
}

// NewTimer returns a timer that sends the time on C after d.
func (c *Clock) NewTimer(d time.Duration) *Timer {
	if c == nil {
		t := time.NewTimer(d)
		return &Timer{C: t.C, real: t}
	}
	ch, send := channel()
	return c.start(&Timer{C: ch, wake: send}, d)
}

// AfterFunc returns a timer that calls f in a goroutine of its own after d.
func (c *Clock) AfterFunc(d time.Duration, f func()) *Timer {
	if c == nil {
		return &Timer{real: time.AfterFunc(d, f)}
	}
	return c.start(&Timer{wake: func(time.Time) { go f() }}, d)
}

// channel returns a channel of which a reader that is late misses values, and what sends to it.
func channel() (<-chan time.Time, func(time.Time)) {
	ch := make(chan time.Time, 1)
	return ch, func(now time.Time) {
		select {
		case ch <- now:
		default:
		}
	}
}

func (c *Clock) start(t *Timer, d time.Duration) *Timer {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.clock = c
	t.wait(d)
	return t
}

// wait makes the timer one that waits. The clock's mu is held.
func (t *Timer) wait(d time.Duration) {
	t.due = t.clock.now().Add(d)
	t.clock.waiting[t] = struct{}{}
	if t.real == nil {
		t.real = time.AfterFunc(d, t.expire)
	} else {
		t.real.Reset(d)
	}
}

// expire is called when real fires. The clock may have been moved just before.
func (t *Timer) expire() {
	c := t.clock
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	switch _, waits := c.waiting[t]; {
	case !waits:
	case t.due.After(now):
		t.real.Reset(t.due.Sub(now))
	default:
		t.fire(now)
	}
}

// fire wakes who waits. The clock's mu is held.
func (t *Timer) fire(now time.Time) {
	delete(t.clock.waiting, t)
	if t.every > 0 {
		t.wait(t.every)
	}
	t.wake(now)
}

// Stop makes the timer wait no more, and reports whether it did. What is on C already stays.
func (t *Timer) Stop() bool {
	if t.clock == nil {
		return t.real.Stop()
	}
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	_, waited := t.clock.waiting[t]
	delete(t.clock.waiting, t)
	t.real.Stop()
	return waited
}

// Reset makes the timer wait for d from now on.
func (t *Timer) Reset(d time.Duration) {
	if t.clock == nil {
		t.real.Reset(d)
		return
	}
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	t.wait(d)
}

// A Ticker is a time.Ticker that goes by a Clock. A jump of the clock is one tick, however
// far it was.
type Ticker struct {
	C    <-chan time.Time
	stop func()
}

// NewTicker returns a ticker that sends the time on C every d, which is above zero.
func (c *Clock) NewTicker(d time.Duration) *Ticker {
	if c == nil {
		t := time.NewTicker(d)
		return &Ticker{C: t.C, stop: t.Stop}
	}
	ch, send := channel()
	t := c.start(&Timer{C: ch, wake: send, every: d}, d)
	return &Ticker{C: ch, stop: func() { t.Stop() }}
}

// Stop ends the ticks.
func (t *Ticker) Stop() { t.stop() }
