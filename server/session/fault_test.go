package session_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/server/fault"
	"lap/server/session"
)

// faulty is a world in which faults can be armed.
func faulty(t *testing.T) (*world, *fault.Armed) {
	t.Helper()
	armed := &fault.Armed{}
	w := newWorld(t, func(c *session.Config) { c.Runtime = fault.NewRuntime(c.Runtime, armed) })
	return w, armed
}

// TestEveryEngineStepCanFail arms each step, and looks at who comes to feel it.
func TestEveryEngineStepCanFail(t *testing.T) {
	for _, step := range fault.Steps() {
		if !strings.HasPrefix(step, "sandbox.") {
			continue
		}
		t.Run(step, func(t *testing.T) {
			armed := &fault.Armed{}
			w := newWorld(t, func(c *session.Config) {
				c.Runtime, c.FreezeAfter = fault.NewRuntime(c.Runtime, armed), time.Minute
			})
			s := w.ready(t)
			w.reconcile(t)
			if err := armed.Arm([]fault.Fault{{Step: step, Times: 1, Error: "the cable is cut"}}); err != nil {
				t.Fatal(err)
			}
			feel(t, w, step, s, "the cable is cut")
			if f := armed.List()[0]; f.Hits != 1 || !f.Over() {
				t.Errorf("fault = %+v", f)
			}
			w.reconcile(t) // which puts right what is left
		})
	}
}

// feel does what meets a fault of a step, on a session that is ready.
func feel(t *testing.T, w *world, step string, s db.Session, reason string) {
	t.Helper()
	says := func(err error) bool { return err != nil && strings.Contains(err.Error(), reason) }
	switch step {
	case "sandbox.ensure", "sandbox.create", "sandbox.start":
		if now := w.await(t, w.create(t, session.NewSession{}).ID, db.StatusFailed); !strings.Contains(deref(now.FailureReason), reason) {
			t.Errorf("it failed: %s", deref(now.FailureReason))
		}
	case "sandbox.dial":
		w.runtime.cut(*s.ContainerID)
		a := receive(t, w.send(t.Context(), s.ID, "hello")) // unless who follows the session dials first
		if a.err != nil && !says(a.err) {
			t.Error(a.err)
		}
		w.say(t, s.ID, "hello again")
	case "sandbox.ping", "sandbox.inspect":
		if d := w.Diagnose(t.Context(), s); !strings.Contains(d.EngineError+d.ContainerErr, reason) {
			t.Errorf("diagnosis = %+v", d)
		}
	case "sandbox.pause":
		w.clock.Advance(time.Hour)
		if err := session.Rest(w.Engine, t.Context()); err != nil && !says(err) { // unless the loop comes first
			t.Error(err)
		}
		w.say(t, s.ID, "hello")
	case "sandbox.unpause":
		w.clock.Advance(time.Hour)
		w.freeze(t, s)
		if _, _, err := w.Sandbox(t.Context(), s.ID); !says(err) {
			t.Errorf("the frozen sandbox: %v", err)
		}
		w.say(t, s.ID, "hello")
	case "sandbox.remove":
		if _, err := w.Stop(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		if ids := w.runtime.ids(); len(ids) != 1 {
			t.Errorf("sandboxes = %v", ids)
		}
	case "sandbox.list":
		if err := session.Reconcile(w.Engine, t.Context()); !says(err) {
			t.Errorf("reconcile: %v", err)
		}
	default:
		t.Fatal("nobody knows who feels it")
	}
}

func TestFaultThatLooksLikeAnEngineThatIsAway(t *testing.T) {
	w, armed := faulty(t)
	if err := armed.Arm([]fault.Fault{{Step: "sandbox.create"}, {Step: "sandbox.start", Delay: time.Millisecond}}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s := w.await(t, w.create(t, session.NewSession{}).ID, db.StatusFailed)
		if !strings.Contains(deref(s.FailureReason), sandbox.ErrUnavailable.Error()) {
			t.Errorf("it failed: %s", deref(s.FailureReason))
		}
	}
	if list := armed.List(); list[0].Hits != 3 || list[0].Over() || list[1].Hits != 0 {
		t.Errorf("faults = %+v", list)
	}
	armed.Clear()
	if err := armed.Arm([]fault.Fault{{Step: "sandbox.start", Delay: time.Millisecond}}); err != nil {
		t.Fatal(err)
	}
	w.ready(t)
	if list := armed.List(); len(list) != 1 || list[0].Hits != 1 {
		t.Errorf("a step that is only slow: %+v", list)
	}
}

func TestFaultsAreBounded(t *testing.T) {
	armed := &fault.Armed{}
	err := armed.Arm(slices.Repeat([]fault.Fault{{Step: fault.Model}}, 1000))
	if err != nil || !errors.Is(armed.Arm(make([]fault.Fault, 1)), fault.ErrTooMany) {
		t.Errorf("1000 faults: %v; one more was armed", err)
	}
}

// TestSparedCallsAreNotStruck has the removal that a reset leaves for later meet a fault that
// was armed after it.
func TestSparedCallsAreNotStruck(t *testing.T) {
	w, armed := faulty(t)
	w.ready(t)
	entered, release := w.runtime.hold("before remove")
	if err := w.Reset(fault.Spare(t.Context())); err != nil {
		t.Fatal(err)
	}
	receive(t, entered)
	if err := armed.Arm([]fault.Fault{{Step: "sandbox.remove"}}); err != nil {
		t.Fatal(err)
	}
	release()
	eventually(t, func() error {
		if rows := w.query(t, `SELECT name FROM sandboxes`); len(rows) > 0 {
			return errors.New("it is not removed")
		}
		return nil
	})
	if hits := armed.List()[0].Hits; hits != 0 {
		t.Errorf("%d hits", hits)
	}
}
