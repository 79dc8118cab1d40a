package session_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/server/session"
)

// hours is a world in which nothing happens before an hour has passed.
func hours(t *testing.T, change func(*session.Config)) *world {
	t.Helper()
	return newWorld(t, func(c *session.Config) {
		c.StartTimeout, c.TurnTimeout, c.Reconcile = time.Hour, time.Hour, time.Hour
		if change != nil {
			change(c)
		}
	})
}

func TestIdleSessionsFollowTheClock(t *testing.T) {
	w := hours(t, func(c *session.Config) { c.IdleTimeout, c.FreezeAfter = 24*time.Hour, 2*time.Hour })
	s := w.ready(t)
	w.clock.Advance(time.Hour)
	w.CatchUp(t.Context())
	if state := w.state(*s.ContainerID); state != sandbox.StateRunning {
		t.Errorf("after an hour the sandbox is %s", state)
	}
	w.clock.Advance(2 * time.Hour)
	w.CatchUp(t.Context())
	if state := w.state(*s.ContainerID); state != sandbox.StatePaused {
		t.Errorf("after three hours the sandbox is %s", state)
	}
	w.say(t, s.ID, "good morning")
	w.clock.Advance(23 * time.Hour)
	w.CatchUp(t.Context())
	if now := w.session(t, s.ID); now.Status != db.StatusReady {
		t.Errorf("it was used since, and is %s", now.Status)
	}
	w.clock.Advance(2 * time.Hour)
	w.CatchUp(t.Context())
	now := w.session(t, s.ID)
	if now.Status != db.StatusDead || deref(now.FailureReason) != "idle timeout" || len(w.runtime.ids()) > 0 {
		t.Errorf("session = %s, %s; sandboxes = %v", now.Status, deref(now.FailureReason), w.runtime.ids())
	}
	if d := now.StoppedAt.Sub(s.CreatedAt); d < 28*time.Hour || d > 29*time.Hour {
		t.Errorf("by its stamps it lived for %s", d)
	}
}

func TestLoopsFollowTheClock(t *testing.T) {
	w := hours(t, func(c *session.Config) { c.IdleTimeout = 24 * time.Hour })
	s := w.ready(t)
	w.clock.Advance(25 * time.Hour)
	w.until(t, s.ID, func(s db.Session) bool { return s.Status == db.StatusDead && !s.Revivable })
}

func TestTurnsFollowTheClock(t *testing.T) {
	w := hours(t, nil)
	s := w.ready(t)
	entered, _, script := holding()
	w.runtime.answer(script)
	first := w.send(t.Context(), s.ID, "one")
	receive(t, entered)
	second := w.begin(t, s.ID, "two") // waits behind it
	w.clock.Advance(2 * time.Hour)
	if a := receive(t, first); a.err == nil || !strings.Contains(a.err.Error(), "no reply within 1h0m0s") {
		t.Errorf("the first was answered with %s, %v", a.reply, a.err)
	}
	if _, err := second.Reply(t.Context()); err == nil || !strings.Contains(err.Error(), "no reply within 1h0m0s") {
		t.Errorf("the second was answered with %v", err)
	}
	w.runtime.answer(echo)
	w.say(t, s.ID, "three")
	spent, err := w.store.SessionSpent(t.Context(), s.ID)
	if err != nil || spent.Wall < 2*time.Hour {
		t.Errorf("turns took %s, %v", spent.Wall, err)
	}
}

func TestBringUpsFollowTheClock(t *testing.T) {
	w := hours(t, nil)
	entered, release := w.runtime.hold("before create")
	defer release()
	s := w.create(t, session.NewSession{})
	receive(t, entered)
	w.clock.Advance(2 * time.Hour)
	w.runtime.on("before create", nil)
	if now := w.await(t, s.ID, db.StatusFailed); deref(now.FailureReason) != "creating timeout" {
		t.Errorf("it failed: %s", deref(now.FailureReason))
	}
}

func TestWarmSandboxesFollowTheClock(t *testing.T) {
	w := hours(t, func(c *session.Config) {
		c.Pool = session.PoolConfig{Size: 1, MaxProvisioning: 1, TTL: 2 * time.Hour, Recent: 24 * time.Hour}
	})
	w.ready(t)
	first := w.awaitWarm(t, w.agent.ID)
	w.clock.Advance(3 * time.Hour)
	eventually(t, func() error {
		if now := w.awaitWarm(t, w.agent.ID); now[0] == first[0] {
			return errors.New("it is the same")
		}
		return nil
	})
	w.clock.Advance(24 * time.Hour) // nobody has used the agent lately
	w.awaitWarm(t)
}

func TestLostSessionsFollowTheClock(t *testing.T) {
	w := hours(t, func(c *session.Config) { c.IdleTimeout = 24 * time.Hour })
	s := w.ready(t)
	w.runtime.kill(*s.ContainerID, false)
	w.until(t, s.ID, func(s db.Session) bool { return s.Revivable })
	w.clock.Advance(25 * time.Hour)
	w.until(t, s.ID, func(s db.Session) bool { return !s.Revivable })
	w.clock.Advance(time.Hour)
	if err := w.DeleteAgent(t.Context(), w.agent.ID); err != nil {
		t.Error(err)
	}
	eventually(t, func() error {
		if ids := w.runtime.ids(); len(ids) > 0 {
			return fmt.Errorf("sandboxes %v are left", ids)
		}
		return nil
	})
}
