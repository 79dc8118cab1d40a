package session_test

import (
	"errors"
	"strings"
	"testing"

	"lap/db"
	"lap/server/session"
)

func TestAbortOfNothing(t *testing.T) {
	w := newWorld(t, nil)
	if err := w.Abort(t.Context(), "no-such"); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("unknown session: %v", err)
	}
	s := w.ready(t)
	if err := w.Abort(t.Context(), s.ID); err != nil {
		t.Errorf("idle session: %v", err)
	}
	if _, err := w.Stop(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(t.Context(), s.ID); !errors.Is(err, session.ErrNotReady) {
		t.Errorf("stopped session: %v", err)
	}
}

func TestAbortOfATurnThatRuns(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	entered, _, hold := holding()
	w.runtime.answer(hold)
	first := w.send(t.Context(), s.ID, "first")
	receive(t, entered)
	second := w.begin(t, s.ID, "second")
	if err := w.Abort(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if a := receive(t, first); a.err != nil || !strings.Contains(string(a.reply), "begun, aborted") {
		t.Errorf("the client got %s, %v", a.reply, a.err)
	}
	turn := w.turn(t, s.ID, 0)
	if turn.Status != db.TurnFailed || deref(turn.Error) != "the turn was aborted" || turn.Reply == nil {
		t.Errorf("turn = %+v", turn)
	}
	receive(t, entered) // the next one runs
	if err := w.Abort(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Reply(t.Context()); err != nil {
		t.Error(err)
	}
	w.awaitTurns(t, s.ID, "failed first\nfailed second")
	w.awaitSaid(t, s.ID, "user: first\nassistant: begun, aborted\nuser: second\nassistant: begun, aborted")
}

func TestAbortOfATurnThatWaitsForItsSandbox(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	entered, release := w.runtime.hold("before create")
	w.runtime.vanish(*s.ContainerID)
	reply := w.send(t.Context(), s.ID, "x")
	receive(t, entered)
	if err := w.Abort(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if a := receive(t, reply); !errors.Is(a.err, session.ErrHarness) || !strings.Contains(a.err.Error(), "the turn was aborted") {
		t.Errorf("the client got %s, %v", a.reply, a.err)
	}
	release()
	w.say(t, s.ID, "next")
	if got := strings.Join(w.runtime.texts(s.ID), " "); got != "next" {
		t.Errorf("the harness saw %q", got)
	}
}

func TestAbortWhileTheTurnIsOnItsWay(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	_, _, hold := holding()
	w.runtime.answer(hold)
	entered, release := w.runtime.hold("read turn")
	reply := w.send(t.Context(), s.ID, "x")
	receive(t, entered)
	done := make(chan error, 1)
	go func() { done <- w.Abort(t.Context(), s.ID) }()
	release()
	if err := receive(t, done); err != nil {
		t.Fatal(err)
	}
	if a := receive(t, reply); a.err != nil || !strings.Contains(string(a.reply), "aborted") {
		t.Errorf("the client got %s, %v", a.reply, a.err)
	}
	w.awaitTurns(t, s.ID, "failed x")
}

func TestAbortThatTheHarnessRefuses(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	entered, leave, hold := holding()
	w.runtime.answer(hold)
	w.begin(t, s.ID, "x")
	receive(t, entered)
	w.runtime.fail("post /harness/session/{id}/abort", errors.New("no"))
	if err := w.Abort(t.Context(), s.ID); !errors.Is(err, session.ErrHarness) {
		t.Errorf("error = %v", err)
	}
	close(leave)
	w.awaitTurns(t, s.ID, "failed x") // its user had given it up
}
