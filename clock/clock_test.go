package clock_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lap/clock"
)

// both runs a test on the real clock and on one that can be moved but is not.
func both(t *testing.T, test func(t *testing.T, c *clock.Clock)) {
	t.Helper()
	for name, c := range map[string]func() *clock.Clock{"real": func() *clock.Clock { return nil }, "movable": clock.New} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, c()) })
		})
	}
}

func TestUnmovedClockIsTheRealOne(t *testing.T) {
	both(t, func(t *testing.T, c *clock.Clock) {
		t.Helper()
		began := time.Now()
		tick, timer, late := c.NewTicker(time.Second), c.NewTimer(3*time.Second), c.NewTimer(time.Hour)
		defer tick.Stop()
		called := make(chan time.Time, 1)
		f := c.AfterFunc(time.Minute, func() { called <- c.Now() })
		f.Reset(4 * time.Second)
		ctx, cancel := c.WithDeadline(t.Context(), c.Now().Add(5*time.Second))
		defer cancel()
		for i, ch := range []<-chan time.Time{tick.C, tick.C, timer.C, called} {
			if at := <-ch; at.Sub(began) != time.Duration(i+1)*time.Second {
				t.Errorf("wake-up %d came after %s", i, at.Sub(began))
			}
		}
		<-ctx.Done()
		if d := c.Since(began); d != 5*time.Second || c.Until(began) != -d || c.Offset() != 0 {
			t.Errorf("the context ended after %s", d)
		}
		if !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			t.Errorf("it ended with %v", context.Cause(ctx))
		}
		if !late.Stop() || late.Stop() || timer.Stop() || f.Stop() {
			t.Error("Stop is wrong about who waited")
		}
	})
}

func TestAdvanceWakesWhoseTimeHasCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, began := clock.New(), time.Now()
		tick, soon, later := c.NewTicker(time.Minute), c.NewTimer(time.Hour), c.NewTimer(3*time.Hour)
		defer tick.Stop()
		stopped := c.AfterFunc(time.Minute, func() { t.Error("a stopped timer fired") })
		stopped.Stop()
		ctx, cancel := c.WithDeadline(t.Context(), c.Now().Add(2*time.Hour))
		defer cancel()
		c.Advance(2 * time.Hour)
		for _, ch := range []<-chan time.Time{tick.C, soon.C} {
			if at := <-ch; at.Sub(began) != 2*time.Hour {
				t.Errorf("woken at %s", at.Sub(began))
			}
		}
		<-ctx.Done()
		if time.Now() != began || c.Since(began) != 2*time.Hour {
			t.Errorf("after %s the clock shows %s", time.Since(began), c.Since(began))
		}
		select {
		case <-tick.C:
			t.Error("a jump was two ticks")
		default:
		}
		<-tick.C // the next one is in step with real time
		<-later.C
		if time.Since(began) != time.Hour {
			t.Errorf("the last came after %s of real time", time.Since(began))
		}
		if at := c.At(began); at.Sub(began) != 2*time.Hour {
			t.Errorf("when it began the clock showed %s", at)
		}
	})
}

func TestRewindLeavesWhatWasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := clock.New()
		c.Advance(24 * time.Hour)
		began := time.Now()
		timer, tick := c.NewTimer(time.Hour), c.NewTicker(2*time.Hour)
		defer tick.Stop()
		c.Rewind()
		if c.Offset() != 0 || c.Since(began) != 0 {
			t.Errorf("the clock is %s ahead", c.Offset())
		}
		<-timer.C
		<-tick.C
		if time.Since(began) != 2*time.Hour {
			t.Errorf("they came after %s", time.Since(began))
		}
	})
}

func TestMovingWhileOthersWait(t *testing.T) {
	c := clock.New()
	var users sync.WaitGroup
	for range 8 {
		users.Go(func() {
			for i := range 200 {
				d := time.Duration(i%3) * time.Hour
				timer, fired := c.NewTimer(d), make(chan struct{})
				f := c.AfterFunc(time.Millisecond, func() { close(fired) })
				c.Advance(time.Hour)
				<-fired
				if f.Stop() {
					t.Error("it fired and waits still")
				}
				if !timer.Stop() {
					<-timer.C
				}
			}
		})
	}
	users.Wait()
}
