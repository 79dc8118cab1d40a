package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/server/session"
)

// What a new process makes of what an earlier one left.

func TestRestartedEngineGoesOn(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.say(t, s.ID, "one")
	w.restart(t)
	w.say(t, s.ID, "two")
	if got := strings.Join(w.runtime.texts(s.ID), " "); got != "one two" {
		t.Errorf("the harness saw %q", got)
	}
	if after := w.session(t, s.ID); after.Generation != 1 {
		t.Errorf("session = %+v", after)
	}
	w.awaitSaid(t, s.ID, "user: one\nassistant: echo: one\nuser: two\nassistant: echo: two")
}

func TestTurnInFlightGoesOnInTheNextProcess(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	entered, leave, hold := holding()
	w.runtime.answer(hold)
	first, queued := w.send(t.Context(), s.ID, "first"), (<-chan answer)(nil)
	receive(t, entered)
	queued = w.send(t.Context(), s.ID, "queued")
	w.awaitTurns(t, s.ID, "running first\nqueued queued")
	w.stop()
	for _, c := range []<-chan answer{first, queued} {
		if a := receive(t, c); !errors.Is(a.err, session.ErrStopping) {
			t.Errorf("a client got %s, %v", a.reply, a.err)
		}
	}
	if got := w.turns(t, s.ID); got != "running first\nqueued queued" {
		t.Errorf("turns:\n%s", got)
	}
	close(leave) // while nobody listens
	w.start(t)
	w.awaitTurns(t, s.ID, "complete first\ncomplete queued")
	w.awaitSaid(t, s.ID, "user: first\nassistant: begun, done: first\nuser: queued\nassistant: begun, done: queued")
}

func TestThreadOfATurnInTheMiddleOfARestart(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	entered, leave, hold := holding()
	w.runtime.answer(hold)
	w.begin(t, s.ID, "x")
	h := receive(t, entered)
	w.awaitSaid(t, s.ID, "user: x\nassistant: begun, ")
	w.stop()
	h.write("more, ")
	w.start(t)
	w.awaitSaid(t, s.ID, "user: x\nassistant: begun, more, ")
	close(leave)
	w.awaitSaid(t, s.ID, "user: x\nassistant: begun, more, done: x")
}

func TestTurnThatWasNotSentIsSentByTheNextProcess(t *testing.T) {
	for _, step := range []string{"before post /turns", "read turn", "after post /turns"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t, nil)
			s := w.ready(t)
			entered, release := w.runtime.hold(step)
			w.begin(t, s.ID, "x")
			receive(t, entered)
			w.stop()
			release()
			w.start(t)
			w.awaitTurns(t, s.ID, "complete x")
		})
	}
}

func TestImagesThatWentWithTheProcess(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	entered, leave, hold := holding()
	w.runtime.answer(hold)
	w.begin(t, s.ID, "first")
	receive(t, entered)
	image := json.RawMessage(`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}`)
	if _, err := w.Begin(t.Context(), s.ID, session.Turn{Parts: append([]json.RawMessage{image}, text("look")...)}); err != nil {
		t.Fatal(err)
	}
	w.restart(t)
	close(leave)
	w.awaitTurns(t, s.ID, "complete first\nfailed look")
	if turn := w.turn(t, s.ID, 1); !strings.Contains(deref(turn.Error), "send it again") {
		t.Errorf("error = %q", deref(turn.Error))
	}
}

func TestSandboxThatDiedWhileLapDidNotRun(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	entered, _, hold := holding()
	w.runtime.answer(hold)
	w.begin(t, s.ID, "first")
	receive(t, entered)
	w.begin(t, s.ID, "queued")
	w.awaitBegun(t, s.ID)
	w.stop()
	w.runtime.kill(*s.ContainerID, false)
	w.runtime.answer(echo)
	w.start(t)
	w.awaitTurns(t, s.ID, "interrupted first\ncomplete queued")
	w.awaitSaid(t, s.ID, "user: first\nassistant: begun, \nuser: queued\nassistant: echo: queued")
}

func TestTurnIsNotGivenUpWhenTheEngineStartsLater(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	entered, leave, hold := holding()
	w.runtime.answer(hold)
	w.begin(t, s.ID, "x")
	receive(t, entered)
	w.stop()
	w.runtime.set(func() { w.runtime.down = true })
	w.start(t)
	eventually(t, func() error {
		if w.runtime.called("dial") < 2 {
			return errors.New("nobody has tried to reach the sandbox")
		}
		return nil
	})
	w.runtime.set(func() { w.runtime.down = false })
	close(leave)
	w.awaitTurns(t, s.ID, "complete x")
}

func TestBringUpGoesOnInTheNextProcess(t *testing.T) {
	for _, step := range []string{"before ensure", "before create", "after create", "before start", "after start", "boot", "before post /harness/session"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t, nil)
			entered, release := w.runtime.hold(step)
			made := w.create(t, session.NewSession{InitialParts: text("initial")})
			receive(t, entered)
			w.stop()
			release()
			w.start(t)
			s := w.await(t, made.ID, db.StatusReady)
			if s.Generation != 2 {
				t.Errorf("generation %d", s.Generation)
			}
			w.awaitTurns(t, s.ID, "complete initial")
			w.reconcile(t)
			if ids := w.runtime.ids(); fmt.Sprint(ids) != "["+*s.ContainerID+"]" {
				t.Errorf("sandboxes: %v", ids)
			}
		})
	}
}

// reconcile compares rows and sandboxes once.
func (w *world) reconcile(tb testing.TB) {
	tb.Helper()
	if err := session.Reconcile(w.Engine, context.WithoutCancel(tb.Context())); err != nil {
		tb.Error(err)
	}
}

func TestBringUpOfAProcessThatWasKilled(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps int // that it came to take
	}{{"before it planned a sandbox", 0}, {"before the sandbox was made", 1}, {"before the sandbox was noted", 2}, {"before it was started", 3}} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.stop()
			ctx := t.Context()
			made, err := w.store.CreateSession(ctx, db.NewSession{AgentID: w.agent.ID, Deadline: time.Now().Add(time.Minute)})
			if err != nil {
				t.Fatal(err)
			}
			spec := sandbox.Spec{Session: made.Session.ID, Agent: w.agent.ID, Generation: 1, Image: "image"}
			var id string
			for _, step := range []func() error{
				func() error {
					return w.store.PlanSandbox(ctx, db.Sandbox{Name: spec.Name(), SessionID: spec.Session, AgentID: spec.Agent, Generation: 1})
				},
				func() (err error) { id, err = w.runtime.Create(ctx, spec); return err },
				func() error { return w.store.SandboxMade(ctx, spec.Name(), id) },
			}[:tt.steps] {
				if err := step(); err != nil {
					t.Fatal(err)
				}
			}
			w.start(t)
			s := w.await(t, made.Session.ID, db.StatusReady)
			w.say(t, s.ID, "x")
			w.reconcile(t)
			if ids := w.runtime.ids(); fmt.Sprint(ids) != "["+*s.ContainerID+"]" {
				t.Errorf("sandboxes: %v", ids)
			}
			if rows := w.query(t, `SELECT name FROM sandboxes`); len(rows) != 1 {
				t.Errorf("rows: %v", rows)
			}
		})
	}
}

func TestBringUpWithVariablesThatWentWithTheProcess(t *testing.T) {
	w := newWorld(t, nil)
	entered, release := w.runtime.hold("before start")
	made := w.create(t, session.NewSession{InitialParts: text("initial"), Env: map[string]string{"TOKEN": "secret"}})
	receive(t, entered)
	w.stop()
	release()
	w.start(t)
	s := w.await(t, made.ID, db.StatusFailed)
	if !strings.Contains(deref(s.FailureReason), "env_vars are not stored") {
		t.Errorf("failure_reason = %q", deref(s.FailureReason))
	}
	w.awaitTurns(t, s.ID, "failed initial")
	w.reconcile(t)
	if ids := w.runtime.ids(); len(ids) != 0 {
		t.Errorf("sandboxes: %v", ids)
	}
}

func TestInitialPromptThatFailsAfterARestart(t *testing.T) {
	w := newWorld(t, nil)
	entered, _, hold := holding()
	w.runtime.answer(hold)
	made := w.create(t, session.NewSession{InitialParts: text("initial")})
	h := receive(t, entered)
	w.restart(t)
	w.runtime.set(func() { h.guest.put(`"turn":{"id":"0","status":500,"body":"no"}`) })
	s := w.until(t, made.ID, func(s db.Session) bool { return s.FailureReason != nil })
	if s.Status != db.StatusReady || !strings.HasPrefix(*s.FailureReason, "initial_prompt failed: ") {
		t.Errorf("session = %+v", s)
	}
}

func TestManySessionsAreTakenUp(t *testing.T) {
	w := newWorld(t, nil)
	const n = 100
	var ids []string
	for range n {
		ids = append(ids, w.create(t, session.NewSession{}).ID)
	}
	for _, id := range ids {
		w.await(t, id, db.StatusReady)
	}
	w.restart(t)
	var replies []<-chan answer
	for _, id := range ids {
		replies = append(replies, w.send(t.Context(), id, "still there?"))
	}
	for _, c := range replies {
		if a := receive(t, c); a.err != nil {
			t.Error(a.err)
		}
	}
	if got := w.query(t, `SELECT count(*) FROM sessions WHERE status = 'ready' AND generation = 1`); got[0] != fmt.Sprint(n) {
		t.Errorf("%s sessions are as they were, want %d", got[0], n)
	}
}

// TestWhoIsAskedGoesFirst has a new process reach for its sandboxes in vain, but for the
// one that somebody waits for.
func TestWhoIsAskedGoesFirst(t *testing.T) {
	w := newWorld(t, nil)
	for range 20 {
		w.ready(t)
	}
	asked := w.ready(t) // the last to be reached, in whatever order but the newest first
	w.stop()
	open := make(chan struct{})
	w.runtime.on("before dial", func(ctx context.Context, id string) error {
		if id == *asked.ContainerID {
			return nil
		}
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	w.start(t)
	defer close(open)
	w.say(t, asked.ID, "still there?")
}
