package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/server/session"
)

func TestReconcileRemovesWhatBelongsToNoSession(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.runtime.set(func() {
		for id, info := range map[string]sandbox.Info{
			"no row":       {Session: "gone"},
			"other box":    {Session: s.ID},
			"old helper":   {Created: time.Now().Add(-time.Hour)},
			"young helper": {Created: time.Now()},
		} {
			info.ID, info.Name, info.State = id, id, sandbox.StateExited
			w.runtime.boxes[id] = &fakeBox{Detail: sandbox.Detail{Info: info}}
		}
	})
	w.reconcile(t)
	if got, want := fmt.Sprint(w.runtime.ids()), fmt.Sprint([]string{*s.ContainerID, "young helper"}); got != want {
		t.Errorf("sandboxes: %s, want %s", got, want)
	}
	w.say(t, s.ID, "still there")
	w.runtime.vanish("young helper")
}

func TestReconcileFindsSessionsWithoutSandbox(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.runtime.set(func() { // without a sign
		b := w.runtime.boxes[*s.ContainerID]
		delete(w.runtime.boxes, *s.ContainerID)
		w.runtime.tb.Cleanup(func() { w.runtime.set(b.guest.die) })
	})
	w.reconcile(t)
	if after := w.session(t, s.ID); after.Status != db.StatusDead || deref(after.FailureReason) != "task disappeared" || !after.Revivable {
		t.Errorf("session = %+v", after)
	}
	w.say(t, s.ID, "x")
}

func TestReconcileWithoutEngineChangesNothing(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.runtime.set(func() { w.runtime.down = true })
	w.reconcile(t)
	w.runtime.set(func() { w.runtime.down = false })
	if after := w.session(t, s.ID); after.Status != db.StatusReady {
		t.Errorf("session = %+v", after)
	}
}

func TestReconcileLeavesWhatIsInTheMakingAlone(t *testing.T) {
	for _, step := range []string{"before ensure", "before create", "after create", "before start", "after start", "boot"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t, nil)
			entered, release := w.runtime.hold(step)
			made := w.create(t, session.NewSession{})
			receive(t, entered)
			for range 3 {
				w.reconcile(t)
			}
			release()
			w.await(t, made.ID, db.StatusReady)
			w.reconcile(t)
			w.say(t, made.ID, "x")
		})
	}
}

func TestReconcileMeetsASandboxThatIsMadeMeanwhile(t *testing.T) {
	w := newWorld(t, nil)
	before := w.ready(t)
	entered, release := w.runtime.hold("after list") // it has looked, and has not compared yet
	done := make(chan error, 1)
	go func() { done <- session.Reconcile(w.Engine, context.WithoutCancel(t.Context())) }()
	receive(t, entered)
	s := w.ready(t)
	if _, err := w.Restart(t.Context(), before.ID, nil, nil); err != nil {
		t.Fatal(err)
	}
	release()
	if err := receive(t, done); err != nil {
		t.Fatal(err)
	}
	w.say(t, s.ID, "x")
	w.say(t, before.ID, "x")
	if ids := w.runtime.ids(); len(ids) != 2 {
		t.Errorf("sandboxes: %v", ids)
	}
}

func TestSandboxThatCouldNotBeRemovedIsRemovedLater(t *testing.T) {
	w := newWorld(t, nil)
	s, other := w.ready(t), w.ready(t)
	w.runtime.fail("remove", sandbox.ErrUnavailable)
	if _, err := w.Stop(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Restart(t.Context(), other.ID, nil, nil); err != nil {
		t.Fatal(err)
	}
	if ids := w.runtime.ids(); len(ids) != 3 {
		t.Errorf("sandboxes: %v", ids)
	}
	w.restart(t) // the next process knows of it
	w.runtime.fail("remove", nil)
	w.reconcile(t)
	if got, want := fmt.Sprint(w.runtime.ids()), "["+*w.session(t, other.ID).ContainerID+"]"; got != want {
		t.Errorf("sandboxes: %s, want %s", got, want)
	}
	if rows := w.query(t, `SELECT name FROM sandboxes`); len(rows) != 1 {
		t.Errorf("rows: %v", rows)
	}
}

func TestSandboxThatIsMadeAfterItsSessionWasStopped(t *testing.T) {
	w := newWorld(t, nil)
	made := w.create(t, session.NewSession{})
	w.await(t, made.ID, db.StatusReady)
	// The engine makes it although it was told to stop, and late.
	entered, release := make(chan string, 1), make(chan struct{})
	w.runtime.on("before create", func(_ context.Context, id string) error {
		entered <- id
		<-release
		return nil
	})
	late := w.create(t, session.NewSession{})
	receive(t, entered)
	stopped := make(chan error, 1)
	go func() { _, err := w.Stop(t.Context(), late.ID); stopped <- err }()
	w.until(t, late.ID, func(s db.Session) bool { return s.Status == db.StatusDead })
	close(release)
	if err := receive(t, stopped); err != nil {
		t.Fatal(err)
	}
	if ids := w.runtime.ids(); len(ids) != 1 {
		t.Errorf("sandboxes: %v", ids)
	}
}

func TestBringUpThatMakesNoProgress(t *testing.T) {
	for _, step := range []string{"before ensure", "before create", "before start", "boot"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t, func(c *session.Config) { c.StartTimeout = 100 * time.Millisecond })
			entered, release := w.runtime.hold(step)
			defer release()
			made := w.create(t, session.NewSession{InitialParts: text("x")})
			receive(t, entered)
			s := w.await(t, made.ID, db.StatusFailed)
			if deref(s.FailureReason) != "creating timeout" {
				t.Errorf("failure_reason = %q", deref(s.FailureReason))
			}
			w.awaitTurns(t, s.ID, "failed x")
			eventually(t, func() error {
				if ids := w.runtime.ids(); len(ids) != 0 {
					return fmt.Errorf("sandboxes: %v", ids)
				}
				return nil
			})
		})
	}
}

func TestBringUpThatNobodyGoesOnWith(t *testing.T) {
	w := newWorld(t, nil)
	made, err := w.store.CreateSession(t.Context(), db.NewSession{AgentID: w.agent.ID, Deadline: time.Now().Add(-time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	w.reconcile(t)
	if s := w.session(t, made.Session.ID); s.Status != db.StatusFailed || deref(s.FailureReason) != "creating timeout" {
		t.Errorf("session = %+v", s)
	}
}

func TestBringUpThatIgnoresThatItIsOver(t *testing.T) {
	w := newWorld(t, nil)
	entered, release := make(chan string, 1), make(chan struct{})
	w.runtime.on("before create", func(_ context.Context, id string) error {
		entered <- id
		<-release
		return nil
	})
	made := w.create(t, session.NewSession{})
	receive(t, entered)
	w.until(t, made.ID, func(s db.Session) bool { return s.PhaseDetail != nil }) // no write is to come
	w.query(t, `UPDATE sessions SET deadline_at = 1`)
	done := make(chan error, 1)
	go func() { done <- session.Reconcile(w.Engine, context.WithoutCancel(t.Context())) }()
	w.await(t, made.ID, db.StatusFailed)
	close(release)
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
	eventually(t, func() error {
		if ids := w.runtime.ids(); len(ids) != 0 {
			return fmt.Errorf("sandboxes: %v", ids)
		}
		return nil
	})
}

func TestLivesOfSessionsThatAreOverAreForgotten(t *testing.T) {
	w := newWorld(t, nil)
	for range 5 {
		s := w.ready(t)
		w.say(t, s.ID, "x")
		if _, err := w.Stop(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Message(t.Context(), s.ID, text("x"))
		_ = w.Abort(t.Context(), s.ID)
		_, _, _ = w.Sandbox(t.Context(), s.ID)
	}
	failed := w.create(t, session.NewSession{})
	w.runtime.fail("start", errors.New("no"))
	bad := w.create(t, session.NewSession{})
	w.await(t, bad.ID, db.StatusFailed)
	w.runtime.fail("start", nil)
	_ = failed
	w.reconcile(t)
	ready := w.query(t, `SELECT id FROM sessions WHERE status IN ('creating', 'ready')`)
	if n := session.Lives(w.Engine); n > len(ready) {
		t.Errorf("%d sessions are held, %d run: %s", n, len(ready), strings.Join(ready, " "))
	}
}
