package session_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/server/session"
)

// freezing is a world in which sessions are frozen as soon as they are idle when the test
// calls rest.
func freezing(t *testing.T) *world {
	t.Helper()
	return newWorld(t, func(c *session.Config) { c.FreezeAfter = time.Millisecond; c.Reconcile = time.Hour })
}

func (w *world) state(id string) (s sandbox.State) {
	w.runtime.do(id, func(b *fakeBox) { s = b.State })
	return s
}

// freeze waits until a session's sandbox is paused.
func (w *world) freeze(t *testing.T, s db.Session) {
	t.Helper()
	eventually(t, func() error {
		if err := session.Rest(w.Engine, t.Context()); err != nil {
			t.Error(err)
		}
		if state := w.state(*s.ContainerID); state != sandbox.StatePaused {
			return fmt.Errorf("the sandbox is %s", state)
		}
		return nil
	})
}

func TestIdleSandboxIsFrozenAndWokenByAMessage(t *testing.T) {
	w := freezing(t)
	s := w.ready(t)
	w.say(t, s.ID, "one")
	for i := range 3 {
		w.freeze(t, s)
		w.say(t, s.ID, fmt.Sprint(i))
	}
	if after := w.session(t, s.ID); after.Generation != 1 {
		t.Errorf("session = %+v", after)
	}
}

func TestSandboxInUseIsNotFrozen(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.FreezeAfter = time.Nanosecond })
	s := w.ready(t)
	_, release, err := w.Sandbox(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	rest := func() {
		t.Helper()
		for range 20 {
			if err := session.Rest(w.Engine, t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	rest()
	if state := w.state(*s.ContainerID); state == sandbox.StatePaused {
		t.Error("it is paused while somebody uses it")
	}
	release()
	entered, leave, hold := holding()
	w.runtime.answer(hold)
	reply := w.send(t.Context(), s.ID, "x")
	receive(t, entered)
	rest()
	if state := w.state(*s.ContainerID); state == sandbox.StatePaused {
		t.Error("it is paused while a turn is open")
	}
	close(leave)
	if a := receive(t, reply); a.err != nil {
		t.Error(a.err)
	}
	w.freeze(t, s)
}

func TestFrozenSandboxIsTakenUpByTheNextProcess(t *testing.T) {
	w := freezing(t)
	s := w.ready(t)
	w.say(t, s.ID, "one")
	w.freeze(t, s)
	w.config.FreezeAfter = 0
	w.restart(t)
	w.reconcile(t)
	if state := w.state(*s.ContainerID); state != sandbox.StatePaused {
		t.Errorf("the sandbox is %s", state)
	}
	w.say(t, s.ID, "two")
	if state := w.state(*s.ContainerID); state != sandbox.StateRunning {
		t.Errorf("the sandbox is %s", state)
	}
}

func TestStopBetweenNotingAndPausing(t *testing.T) {
	w := freezing(t)
	s := w.ready(t)
	w.runtime.fail("pause", sandbox.ErrUnavailable)
	eventually(t, func() error {
		_ = session.Rest(w.Engine, t.Context())
		if rows := w.query(t, `SELECT count(*) FROM sandboxes WHERE frozen = 1`); rows[0] != "1" {
			return errors.New("it is not noted")
		}
		return nil
	})
	w.runtime.fail("pause", nil)
	w.config.FreezeAfter = 0
	w.say(t, s.ID, "one") // whatever it is, it is woken
	w.restart(t)
	w.say(t, s.ID, "two")
}

// TestSandboxThatIsPausedByOthersWithItsPipeOpen is paused while lap has a pipe to it, on
// which nothing is heard any more.
func TestSandboxThatIsPausedByOthersWithItsPipeOpen(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.say(t, s.ID, "one")
	w.runtime.do(*s.ContainerID, (*fakeBox).pause)
	w.say(t, s.ID, "two")
	if state := w.state(*s.ContainerID); state != sandbox.StateRunning {
		t.Errorf("the sandbox is %s", state)
	}
}

func TestSandboxThatIsPausedByOthers(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.stop()
	w.runtime.do(*s.ContainerID, (*fakeBox).pause)
	w.start(t)
	w.say(t, s.ID, "x")
}

func TestFrozenSandboxThatIsLost(t *testing.T) {
	for _, tt := range losses {
		t.Run(tt.name, func(t *testing.T) {
			w := freezing(t)
			s := w.ready(t)
			w.say(t, s.ID, "one")
			w.freeze(t, s)
			tt.lose(w.runtime, *s.ContainerID)
			w.say(t, s.ID, "two")
		})
	}
}

func TestFrozenSandboxThatIsLostIsFoundByReconcile(t *testing.T) {
	w := freezing(t)
	s := w.ready(t)
	w.freeze(t, s)
	w.runtime.vanish(*s.ContainerID)
	w.reconcile(t)
	if after := w.session(t, s.ID); after.Status != db.StatusDead || !after.Revivable {
		t.Errorf("session = %+v", after)
	}
	w.say(t, s.ID, "x")
}

func TestFrozenSessionIsStoppedAndRestarted(t *testing.T) {
	w := freezing(t)
	s := w.ready(t)
	w.freeze(t, s)
	after, err := w.Restart(t.Context(), s.ID, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.freeze(t, after)
	if _, err := w.Stop(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if ids := w.runtime.ids(); len(ids) != 0 {
		t.Errorf("sandboxes: %v", ids)
	}
}

func TestFreezingMeetsARestart(t *testing.T) {
	w := freezing(t)
	entered, release := w.runtime.hold("before pause") // the engine pauses of itself, too
	s := w.ready(t)
	frozen := make(chan error, 1)
	go func() {
		for len(entered) == 0 && t.Context().Err() == nil {
			if err := session.Rest(w.Engine, context.WithoutCancel(t.Context())); err != nil {
				frozen <- err
				return
			}
		}
		frozen <- nil
	}()
	eventually(t, func() error {
		if len(entered) == 0 {
			return errors.New("nothing is paused")
		}
		return nil
	})
	after, err := w.Restart(t.Context(), s.ID, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.runtime.on("before pause", nil)
	release()
	if err := receive(t, frozen); err != nil {
		t.Error(err)
	}
	w.say(t, s.ID, "x") // it is followed
	if *after.ContainerID == *s.ContainerID {
		t.Error("the sandbox is the old one")
	}
}

func TestIdleSessionEnds(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.IdleTimeout = time.Hour })
	s, busy := w.ready(t), w.ready(t)
	entered, leave, hold := holding()
	w.runtime.answer(hold)
	reply := w.send(t.Context(), busy.ID, "x")
	receive(t, entered)
	w.query(t, `UPDATE sessions SET last_seen_at = last_seen_at - 7200000`)
	if err := session.Rest(w.Engine, t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := w.session(t, s.ID); after.Status != db.StatusDead || deref(after.FailureReason) != "idle timeout" || after.Revivable {
		t.Errorf("idle session = %+v", after)
	}
	if after := w.session(t, busy.ID); after.Status != db.StatusReady {
		t.Errorf("busy session = %+v", after)
	}
	if ids := w.runtime.ids(); fmt.Sprint(ids) != "["+*busy.ContainerID+"]" {
		t.Errorf("sandboxes: %v", ids)
	}
	close(leave)
	if a := receive(t, reply); a.err != nil {
		t.Error(a.err)
	}
	if _, err := w.Message(t.Context(), s.ID, text("x")); !errors.Is(err, session.ErrNotReady) {
		t.Errorf("a message to the idle one: %v", err)
	}
}

func TestLostSessionIsGivenUpInTheEnd(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.IdleTimeout = time.Hour })
	s := w.ready(t)
	w.runtime.kill(*s.ContainerID, false)
	w.until(t, s.ID, func(s db.Session) bool { return s.Status == db.StatusDead })
	w.reconcile(t)
	if ids := w.runtime.ids(); len(ids) != 1 {
		t.Errorf("sandboxes: %v", ids)
	}
	w.query(t, `UPDATE sessions SET stopped_at = stopped_at - 7200000`)
	w.reconcile(t)
	if after := w.session(t, s.ID); after.Revivable {
		t.Errorf("session = %+v", after)
	}
	if ids := w.runtime.ids(); len(ids) != 0 {
		t.Errorf("sandboxes: %v", ids)
	}
	if n := session.Lives(w.Engine); n != 0 {
		t.Errorf("%d sessions are held", n)
	}
}
