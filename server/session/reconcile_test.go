package session_test

import (
	"testing"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/server/session"
)

func TestReconcileRemovesWhatBelongsToNoSession(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	w.runtime.set(func() {
		for id, info := range map[string]sandbox.Info{
			"no row":       {Session: "gone", Running: true},
			"other box":    {Session: s.ID, Running: true},
			"old helper":   {Created: time.Now().Add(-time.Hour)},
			"young helper": {Created: time.Now()},
		} {
			info.ID = id
			w.runtime.boxes[id] = &fakeBox{Info: info}
		}
	})
	if err := session.Reconcile(w.Engine, t.Context()); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{*s.ContainerID: true, "young helper": true, "no row": false, "other box": false, "old helper": false} {
		if _, there := w.runtime.boxes[id]; there != want {
			t.Errorf("%s: there is %v, want %v", id, there, want)
		}
	}
	if _, err := w.Message(t.Context(), s.ID, text("still there")); err != nil {
		t.Error(err)
	}
}

func TestReconcileEndsSessionsWithoutSandbox(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	w.runtime.set(func() { clear(w.runtime.boxes) })
	if err := session.Reconcile(w.Engine, t.Context()); err != nil {
		t.Fatal(err)
	}
	after, err := w.store.Session(t.Context(), s.ID)
	if err != nil || after.Status != db.StatusDead || deref(after.FailureReason) != "task disappeared" {
		t.Errorf("session = %+v, %v", after, err)
	}
}

func TestReconcileWithoutEngineChangesNothing(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	w.runtime.set(func() { clear(w.runtime.boxes); w.runtime.fail["list"] = sandbox.ErrUnavailable })
	if err := session.Reconcile(w.Engine, t.Context()); err != nil {
		t.Fatal(err)
	}
	if after, err := w.store.Session(t.Context(), s.ID); err != nil || after.Status != db.StatusReady {
		t.Errorf("session = %+v, %v", after, err)
	}
}

func TestSandboxThatCouldNotBeRemovedIsRemovedLater(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	w.runtime.set(func() { w.runtime.fail["remove"] = sandbox.ErrUnavailable })
	if _, err := w.Stop(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	w.runtime.set(func() { clear(w.runtime.fail) })
	if err := session.Reconcile(w.Engine, t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.runtime.count(); n != 0 {
		t.Errorf("%d sandboxes left", n)
	}
}

func TestRecoverFailsInterruptedBringUps(t *testing.T) {
	w := newWorld(t)
	w.stop()
	s, err := w.store.CreateSession(t.Context(), db.NewSession{AgentID: w.agent.ID})
	if err != nil {
		t.Fatal(err)
	}
	w.start(t)
	if after := w.await(t, s.ID, db.StatusFailed); after.FailureReason == nil {
		t.Errorf("session = %+v", after)
	}
}
