package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"lap/db"
	"lap/sandbox"
	"lap/server/session"
)

// The ways in which a sandbox is lost.
var losses = []struct {
	name   string
	lose   func(r *fakeRuntime, id string)
	reason string
	keeps  bool // its files
}{
	{"it exits", func(r *fakeRuntime, id string) { r.kill(id, false) }, "task disappeared", true},
	{"it runs out of memory", func(r *fakeRuntime, id string) { r.kill(id, true) }, "oom killed", true},
	{"it is removed", func(r *fakeRuntime, id string) { r.vanish(id) }, "task disappeared", false},
	{"its guest is restarted", func(r *fakeRuntime, id string) { r.reboot(id) }, "task disappeared", true},
}

func TestLostSandbox(t *testing.T) {
	for _, tt := range losses {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			s := w.ready(t)
			w.say(t, s.ID, "one")
			w.runtime.do(*s.ContainerID, func(b *fakeBox) { b.note = "a file" })
			tt.lose(w.runtime, *s.ContainerID)
			lost := w.until(t, s.ID, func(s db.Session) bool { return s.Status == db.StatusDead })
			if deref(lost.FailureReason) != tt.reason || !lost.Revivable || lost.StoppedAt == nil {
				t.Errorf("lost session = %+v", lost)
			}
			w.say(t, s.ID, "two")
			back := w.session(t, s.ID)
			if back.Status != db.StatusReady || back.Generation != 2 || back.FailureReason != nil || back.StoppedAt != nil || back.Revivable {
				t.Errorf("session that is back = %+v", back)
			}
			if kept := w.runtime.box().note == "a file"; kept != tt.keeps || (*back.ContainerID == *s.ContainerID) != tt.keeps {
				t.Errorf("its files are there: %t, want %t", kept, tt.keeps)
			}
			w.say(t, s.ID, "three")
			w.checkHistory(t, s.ID)
			w.awaitSaid(t, s.ID, "user: one\nassistant: echo: one\nuser: two\nassistant: echo: two\nuser: three\nassistant: echo: three")
		})
	}
}

// checkHistory checks that the second of three turns of a session told what was said
// before, and the third did not.
func (w *world) checkHistory(t *testing.T, id string) {
	t.Helper()
	seen := w.runtime.sightings(id)
	if len(seen) != 3 {
		t.Fatalf("the harness saw %d turns", len(seen))
	}
	if told := strings.Join(seen[1].texts, "\n"); strings.Count(told, "<previous_session_history>") != 1 ||
		!strings.Contains(told, `"text": "one"`) || !strings.Contains(told, `"text": "echo: one"`) {
		t.Errorf("the sandbox that is back was told %s", told)
	}
	if len(seen[2].texts) != 1 {
		t.Errorf("it was told again: %q", seen[2].texts)
	}
}

func TestLostSandboxIsNoticedByTheMessage(t *testing.T) {
	for _, tt := range losses {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			s := w.ready(t)
			w.stop() // nobody follows
			tt.lose(w.runtime, *s.ContainerID)
			w.start(t)
			w.say(t, s.ID, "x")
		})
	}
}

func TestTurnIsInterruptedByTheLossOfItsSandbox(t *testing.T) {
	for _, tt := range losses {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			s := w.ready(t)
			w.say(t, s.ID, "one")
			entered, _, hold := holding()
			w.runtime.answer(hold)
			reply := w.send(t.Context(), s.ID, "two")
			receive(t, entered)
			w.awaitBegun(t, s.ID)
			queued := w.send(t.Context(), s.ID, "three")
			w.awaitTurns(t, s.ID, "complete one\nrunning two\nqueued three")
			w.runtime.answer(echo)
			tt.lose(w.runtime, *s.ContainerID)
			if a := receive(t, reply); !errors.Is(a.err, session.ErrHarness) || !strings.Contains(a.err.Error(), "sandbox was lost") {
				t.Errorf("the client got %s, %v", a.reply, a.err)
			}
			if a := receive(t, queued); a.err != nil || !strings.Contains(string(a.reply), "echo: three") {
				t.Errorf("the next client got %s, %v", a.reply, a.err)
			}
			w.awaitTurns(t, s.ID, "complete one\ninterrupted two\ncomplete three")
			w.awaitSaid(t, s.ID, "user: one\nassistant: echo: one\nuser: two\nassistant: begun, \nuser: three\nassistant: echo: three")
			seen := w.runtime.sightings(s.ID)
			told := strings.Join(seen[len(seen)-1].texts, "\n")
			if !strings.Contains(told, `"text": "two"`) || strings.Contains(told, "begun, ") {
				t.Errorf("the sandbox that is back was told %s", told)
			}
		})
	}
}

func TestStreamIsGoneOnWithAfterALoss(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.runtime.vanish(*s.ContainerID)
	client, release, err := w.Sandbox(t.Context(), s.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	res, err := client.Get("http://sandbox/health")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
}

func TestSandboxThatCannotBeReplaced(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.runtime.fail("create", errors.New("no room"))
	w.runtime.vanish(*s.ContainerID)
	first, queued := w.send(t.Context(), s.ID, "x"), w.send(t.Context(), s.ID, "y")
	for _, c := range []<-chan answer{first, queued} {
		if a := receive(t, c); !errors.Is(a.err, session.ErrHarness) && !errors.Is(a.err, session.ErrNotReady) {
			t.Errorf("the client got %s, %v", a.reply, a.err)
		}
	}
	dead := w.session(t, s.ID)
	if dead.Status != db.StatusDead || dead.Revivable || deref(dead.FailureReason) != "sandbox unreachable: no room" {
		t.Errorf("session = %+v", dead)
	}
	if a := receive(t, w.send(t.Context(), s.ID, "z")); !errors.Is(a.err, session.ErrNotReady) {
		t.Errorf("a message to it: %v", a.err)
	}
	w.runtime.fail("create", nil)
	if _, err := w.Restart(t.Context(), s.ID, nil, nil); err != nil {
		t.Fatal(err)
	}
	w.say(t, s.ID, "again")
}

func TestEngineThatIsAwayWhenASandboxIsLost(t *testing.T) {
	for _, tt := range losses {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			s := w.ready(t)
			w.runtime.do(*s.ContainerID, func(b *fakeBox) { b.note = "a file" })
			tt.lose(w.runtime, *s.ContainerID)
			w.until(t, s.ID, func(s db.Session) bool { return s.Status == db.StatusDead })
			w.runtime.set(func() { w.runtime.down = true })
			for range 3 {
				if a := receive(t, w.send(t.Context(), s.ID, "x")); !errors.Is(a.err, session.ErrHarness) || !errorsHas(a.err, sandbox.ErrUnavailable) {
					t.Errorf("the client got %s, %v", a.reply, a.err)
				}
			}
			w.runtime.set(func() { w.runtime.down = false })
			dead := w.until(t, s.ID, func(s db.Session) bool { return s.Status == db.StatusDead })
			if !dead.Revivable {
				t.Fatalf("session = %+v", dead)
			}
			w.reconcile(t)
			w.say(t, s.ID, "y")
			if kept := w.runtime.box().note == "a file"; kept != tt.keeps {
				t.Errorf("its files are there: %t, want %t", kept, tt.keeps)
			}
		})
	}
}

// errorsHas reports whether the text of an error, which was stored meanwhile, tells of another.
func errorsHas(err, other error) bool { return strings.Contains(err.Error(), other.Error()) }

func TestFilesOutliveAStopWhileTheSandboxIsBroughtBack(t *testing.T) {
	for _, step := range []string{"before inspect", "before start", "after start", "boot", "before post /harness/session"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t, nil)
			s := w.ready(t)
			w.runtime.do(*s.ContainerID, func(b *fakeBox) { b.note = "a file" })
			w.runtime.kill(*s.ContainerID, false)
			w.until(t, s.ID, func(s db.Session) bool { return s.Status == db.StatusDead })
			entered, release := w.runtime.hold(step)
			w.begin(t, s.ID, "x")
			receive(t, entered)
			w.stop()
			release()
			w.start(t)
			w.awaitTurns(t, s.ID, "complete x")
			if w.runtime.box().note != "a file" {
				t.Error("its files are gone")
			}
		})
	}
}

func TestSandboxThatIsLostAgainAndAgain(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	deaths := 0
	w.runtime.on("before post /turns", func(_ context.Context, id string) error {
		if deaths++; deaths > 3 {
			return nil
		}
		w.runtime.kill(id, false)
		return errCut
	})
	w.say(t, s.ID, "x")
	if n := w.session(t, s.ID).Generation; n != 4 {
		t.Errorf("it is in generation %d", n)
	}
}

func TestSandboxThatDiesAsSoonAsItIsBack(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.runtime.kill(*s.ContainerID, false)
	w.runtime.on("before dial", func(_ context.Context, id string) error { w.runtime.kill(id, false); return nil })
	w.runtime.on("before get /journal", func(_ context.Context, id string) error { w.runtime.kill(id, false); return errCut })
	a := receive(t, w.send(t.Context(), s.ID, "x"))
	if !errors.Is(a.err, session.ErrHarness) {
		t.Errorf("the client got %s, %v", a.reply, a.err)
	}
	if n := w.session(t, s.ID).Generation; n > 4 {
		t.Errorf("it was brought back %d times", n)
	}
}

func TestRestart(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.say(t, s.ID, "one")
	w.runtime.do(*s.ContainerID, func(b *fakeBox) { b.note = "a file" })
	after, err := w.Restart(t.Context(), s.ID, nil, nil)
	if err != nil || after.Status != db.StatusReady || after.Generation != 2 || after.ID != s.ID {
		t.Fatalf("restarted session = %+v, %v", after, err)
	}
	if w.runtime.box().note != "" {
		t.Error("the files are still there")
	}
	w.say(t, s.ID, "two")
	w.say(t, s.ID, "three")
	w.checkHistory(t, s.ID)
}

func TestRestartFromEachState(t *testing.T) {
	w := newWorld(t, nil)
	if _, err := w.Restart(t.Context(), "no-such", nil, nil); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("unknown session: %v", err)
	}
	s := w.ready(t)
	if _, err := w.Stop(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Restart(t.Context(), s.ID, nil, nil); err != nil {
		t.Errorf("stopped session: %v", err)
	}
	w.say(t, s.ID, "x")
	w.runtime.fail("start", errors.New("not today"))
	_, err := w.Restart(t.Context(), s.ID, nil, nil)
	if !errors.Is(err, session.ErrRestart) || !strings.Contains(err.Error(), "not today") {
		t.Errorf("a restart that fails: %v", err)
	}
	w.runtime.fail("start", nil)
	if failed := w.session(t, s.ID); failed.Status != db.StatusFailed || deref(failed.FailureReason) != "not today" {
		t.Errorf("session = %+v", failed)
	}
	entered, release := w.runtime.hold("before create")
	done := make(chan error, 1)
	go func() { _, err := w.Restart(t.Context(), s.ID, nil, nil); done <- err }()
	receive(t, entered)
	if _, err := w.Restart(t.Context(), s.ID, nil, nil); !errors.Is(err, session.ErrCreating) {
		t.Errorf("creating session: %v", err)
	}
	release()
	if err := receive(t, done); err != nil {
		t.Errorf("failed session: %v", err)
	}
	w.say(t, s.ID, "y")
}

func TestRestartWhileATurnRuns(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	entered, _, hold := holding()
	w.runtime.answer(hold)
	first := w.send(t.Context(), s.ID, "first")
	receive(t, entered)
	w.awaitBegun(t, s.ID)
	second := w.send(t.Context(), s.ID, "second")
	w.awaitTurns(t, s.ID, "running first\nqueued second")
	w.runtime.answer(echo)
	if _, err := w.Restart(t.Context(), s.ID, nil, nil); err != nil {
		t.Fatal(err)
	}
	if a := receive(t, first); !errors.Is(a.err, session.ErrHarness) || !strings.Contains(a.err.Error(), "was replaced") {
		t.Errorf("the client got %s, %v", a.reply, a.err)
	}
	if a := receive(t, second); a.err != nil {
		t.Errorf("the next client got %s, %v", a.reply, a.err)
	}
	w.awaitTurns(t, s.ID, "interrupted first\ncomplete second")
	w.awaitSaid(t, s.ID, "user: first\nassistant: begun, \nuser: second\nassistant: echo: second")
}

func TestManyRestartsAtOnce(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	var restarts sync.WaitGroup
	var mu sync.Mutex
	worked := 0
	for range 20 {
		restarts.Go(func() {
			_, err := w.Restart(t.Context(), s.ID, nil, nil)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				worked++
			case !errors.Is(err, session.ErrCreating):
				t.Error(err)
			}
		})
	}
	restarts.Wait()
	after := w.session(t, s.ID)
	if worked == 0 || after.Generation != int64(worked+1) {
		t.Errorf("%d restarts led to generation %d", worked, after.Generation)
	}
	w.reconcile(t)
	if ids := w.runtime.ids(); fmt.Sprint(ids) != "["+*after.ContainerID+"]" {
		t.Errorf("sandboxes: %v", ids)
	}
}

func TestVariablesOfASession(t *testing.T) {
	in := session.NewSession{Env: map[string]string{"A": "1", "B": "2"}, EnvPlain: []string{"A", "B", "C"}}
	env := func(w *world) string {
		var got []string
		w.runtime.set(func() {
			for _, b := range w.runtime.boxes {
				got = append(got, b.boot.Env["A"], b.boot.Env["B"], b.boot.Env["C"])
			}
		})
		return strings.Join(got, " ")
	}
	for _, tt := range []struct {
		name    string
		happens func(t *testing.T, w *world, s db.Session)
		want    string
		warns   string // of these
	}{
		{"a restart", func(t *testing.T, w *world, s db.Session) {
			t.Helper()
			if _, err := w.Restart(t.Context(), s.ID, nil, nil); err != nil {
				t.Fatal(err)
			}
		}, "1 2 ", ""},
		{"a restart with others", func(t *testing.T, w *world, s db.Session) {
			t.Helper()
			if _, err := w.Restart(t.Context(), s.ID, map[string]string{"B": "3", "C": "4"}, nil); err != nil {
				t.Fatal(err)
			}
		}, " 3 4", "A"},
		{"a new process and a restart", func(t *testing.T, w *world, s db.Session) {
			t.Helper()
			w.restart(t)
			if _, err := w.Restart(t.Context(), s.ID, nil, nil); err != nil {
				t.Fatal(err)
			}
		}, "1 2 ", ""},
		{"a loss", func(t *testing.T, w *world, s db.Session) {
			t.Helper()
			w.runtime.vanish(*s.ContainerID)
			w.say(t, s.ID, "x")
		}, "1 2 ", ""},
		{"a new process and a stopped sandbox", func(t *testing.T, w *world, s db.Session) {
			t.Helper()
			w.stop()
			w.runtime.kill(*s.ContainerID, false)
			w.start(t)
			w.say(t, s.ID, "x")
		}, "1 2 ", ""},
		{"a new process and a sandbox that is gone", func(t *testing.T, w *world, s db.Session) {
			t.Helper()
			w.stop()
			w.runtime.vanish(*s.ContainerID)
			w.start(t)
			w.say(t, s.ID, "x")
		}, "  ", "A, B"},
		{"a restart with them after they were lost", func(t *testing.T, w *world, s db.Session) {
			t.Helper()
			w.stop()
			w.runtime.vanish(*s.ContainerID)
			w.start(t)
			w.say(t, s.ID, "x")
			if _, err := w.Restart(t.Context(), s.ID, in.Env, nil); err != nil {
				t.Fatal(err)
			}
		}, "1 2 ", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			s := w.await(t, w.create(t, in).ID, db.StatusReady)
			tt.happens(t, w, s)
			if got := env(w); got != tt.want {
				t.Errorf("the sandbox has %q, want %q", got, tt.want)
			}
			warnings := strings.Join(w.session(t, s.ID).Warnings, "; ")
			if (warnings != "") != (tt.warns != "") || !strings.Contains(warnings, tt.warns) {
				t.Errorf("warnings: %q, want of %q", warnings, tt.warns)
			}
			if stored := strings.Join(w.query(t, `SELECT * FROM sessions`), " "); strings.Contains(stored, "secret") {
				t.Error("values are stored")
			}
		})
	}
}
