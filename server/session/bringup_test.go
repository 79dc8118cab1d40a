package session_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/server/session"
)

func TestBringUp(t *testing.T) {
	w := newWorld(t, nil)
	title := "a title"
	made := w.create(t, session.NewSession{Title: &title, Env: map[string]string{"KEY": "value"}, EnvPlain: []string{"KEY"}})
	if made.Status != db.StatusCreating || made.Generation != 1 {
		t.Errorf("created as %s, generation %d", made.Status, made.Generation)
	}
	s := w.await(t, made.ID, db.StatusReady)
	if deref(s.Phase) != "ready" || s.HarnessSessionID == nil || deref(s.ContainerID) != "box-lap-"+s.ID+"-1" || s.LastSeenAt == nil || s.Timings == nil {
		t.Errorf("ready session = %+v", s)
	}
	boot := w.runtime.box().boot
	if boot.Session != s.ID || boot.Agent != w.agent.ID || boot.Env["KEY"] != "value" || boot.Env["LITELLM_DEFAULT_MODEL"] != "vendor/model" {
		t.Errorf("boot = %+v", boot)
	}
}

func TestFailureAtEachStepLeavesNothing(t *testing.T) {
	for _, step := range []string{"before ensure", "before create", "after create", "before start", "after start", "boot", "before post /harness/session"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t, nil)
			w.runtime.on(step, func(context.Context, string) error { return errors.New("none today") })
			s := w.await(t, w.create(t, session.NewSession{InitialParts: text("x")}).ID, db.StatusFailed)
			if !strings.Contains(deref(s.FailureReason), "none today") || s.StoppedAt == nil || s.ContainerID != nil {
				t.Errorf("failed session = %+v", s)
			}
			w.awaitTurns(t, s.ID, "failed x")
			if ids := w.runtime.ids(); len(ids) != 0 {
				t.Errorf("sandboxes: %v", ids)
			}
			if rows := w.query(t, `SELECT name FROM sandboxes`); len(rows) != 0 {
				t.Errorf("rows: %v", rows)
			}
			w.runtime.on(step, nil)
			if _, err := w.Restart(t.Context(), s.ID, nil, nil); err != nil {
				t.Fatal(err)
			}
			w.say(t, s.ID, "y")
		})
	}
}

func TestStopAtEachStepWins(t *testing.T) {
	for _, step := range []string{"before ensure", "before create", "after create", "before start", "after start", "boot", "before post /harness/session"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t, nil)
			entered, release := w.runtime.hold(step)
			defer release()
			s := w.create(t, session.NewSession{})
			receive(t, entered)
			ended, err := w.Stop(t.Context(), s.ID)
			if err != nil || ended.Status != db.StatusDead || ended.FailureReason != nil {
				t.Errorf("stopped session = %+v, %v", ended, err)
			}
			if ids := w.runtime.ids(); len(ids) != 0 {
				t.Errorf("sandboxes: %v", ids)
			}
			again, err := w.Stop(t.Context(), s.ID)
			if err != nil || !again.StoppedAt.Equal(*ended.StoppedAt) {
				t.Errorf("stopped again: %+v, %v", again, err)
			}
			if n := session.Lives(w.Engine); n != 0 {
				t.Errorf("%d sessions are held", n)
			}
		})
	}
}

func TestStopMeetsARestart(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	for range 20 {
		var both sync.WaitGroup
		both.Go(func() {
			if _, err := w.Stop(t.Context(), s.ID); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			_, err := w.Restart(t.Context(), s.ID, nil, nil)
			if err != nil && !errors.Is(err, session.ErrCreating) && !errors.Is(err, session.ErrRestart) {
				t.Error(err)
			}
		})
		both.Wait()
		after := w.session(t, s.ID)
		switch after.Status {
		case db.StatusReady:
			w.say(t, s.ID, "x")
		case db.StatusDead:
			if ids := w.runtime.ids(); len(ids) != 0 {
				t.Fatalf("sandboxes: %v", ids)
			}
		default:
			t.Fatalf("session = %+v, %s", after, deref(after.FailureReason))
		}
	}
}

func TestStopEndsRunningAndWaitingTurns(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	entered, leave, hold := holding()
	defer close(leave)
	w.runtime.answer(hold)
	first := w.send(t.Context(), s.ID, "first")
	receive(t, entered)
	second := w.send(t.Context(), s.ID, "second")
	w.awaitTurns(t, s.ID, "running first\nqueued second")
	_, release := w.runtime.hold("before remove")
	defer release()
	stopped := make(chan error, 1)
	go func() { _, err := w.Stop(t.Context(), s.ID); stopped <- err }()
	for _, c := range []<-chan answer{first, second} { // at once, although the sandbox is still there
		if a := receive(t, c); !errors.Is(a.err, session.ErrHarness) || !strings.Contains(a.err.Error(), "was stopped") {
			t.Errorf("a turn of a stopped session: %v", a.err)
		}
	}
	if ids := w.runtime.ids(); len(ids) != 1 {
		t.Errorf("sandboxes: %v", ids)
	}
	release()
	if err := receive(t, stopped); err != nil {
		t.Error(err)
	}
	if ids := w.runtime.ids(); len(ids) != 0 {
		t.Errorf("sandboxes: %v", ids)
	}
}

func TestStopOfALostSession(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.runtime.kill(*s.ContainerID, true)
	w.until(t, s.ID, func(s db.Session) bool { return s.Status == db.StatusDead })
	ended, err := w.Stop(t.Context(), s.ID)
	if err != nil || ended.Revivable || deref(ended.FailureReason) != "oom killed" {
		t.Errorf("stopped session = %+v, %v", ended, err)
	}
	if ids := w.runtime.ids(); len(ids) != 0 {
		t.Errorf("sandboxes: %v", ids)
	}
	if _, err := w.Message(t.Context(), s.ID, text("x")); !errors.Is(err, session.ErrNotReady) {
		t.Errorf("a message to it: %v", err)
	}
	if _, err := w.Stop(t.Context(), "no-such"); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("unknown session: %v", err)
	}
}

func TestStopWhileASandboxIsBroughtBack(t *testing.T) {
	for _, step := range []string{"before inspect", "before start", "boot", "before post /harness/session"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t, nil)
			s := w.ready(t)
			w.runtime.kill(*s.ContainerID, false)
			w.until(t, s.ID, func(s db.Session) bool { return s.Status == db.StatusDead })
			entered, release := w.runtime.hold(step)
			defer release()
			reply := w.send(t.Context(), s.ID, "x")
			receive(t, entered)
			if _, err := w.Stop(t.Context(), s.ID); err != nil {
				t.Fatal(err)
			}
			if a := receive(t, reply); !errors.Is(a.err, session.ErrHarness) {
				t.Errorf("the client got %s, %v", a.reply, a.err)
			}
			if ids := w.runtime.ids(); len(ids) != 0 {
				t.Errorf("sandboxes: %v", ids)
			}
		})
	}
}

func TestDeletedAgentLeavesNothing(t *testing.T) {
	w := newWorld(t, nil)
	stop := make(chan struct{})
	var creating sync.WaitGroup
	for range 4 { // sessions are created all the while
		creating.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
					if _, _, err := w.Create(t.Context(), w.agent, session.NewSession{}); err != nil && !errors.Is(err, db.ErrNotFound) {
						t.Error(err)
					}
				}
			}
		})
	}
	s := w.ready(t)
	entered, _, hold := holding()
	w.runtime.answer(hold)
	reply := w.send(t.Context(), s.ID, "x")
	receive(t, entered)
	lost := w.ready(t)
	w.runtime.kill(*lost.ContainerID, false)
	w.until(t, lost.ID, func(s db.Session) bool { return s.Status == db.StatusDead })
	if err := w.DeleteAgent(t.Context(), w.agent.ID); err != nil {
		t.Fatal(err)
	}
	if ids := w.runtime.ids(); len(ids) != 0 {
		t.Errorf("sandboxes when the agent is deleted: %v", ids)
	}
	if a := receive(t, reply); !errors.Is(a.err, session.ErrHarness) {
		t.Errorf("the client got %s, %v", a.reply, a.err)
	}
	close(stop)
	creating.Wait()
	w.reconcile(t)
	if ids := w.runtime.ids(); len(ids) != 0 {
		t.Errorf("sandboxes: %v", ids)
	}
	if n := session.Lives(w.Engine); n != 0 {
		t.Errorf("%d sessions are held", n)
	}
	if err := w.DeleteAgent(t.Context(), w.agent.ID); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("deleted again: %v", err)
	}
}

func TestInitialPromptComesFirst(t *testing.T) {
	w := newWorld(t, nil)
	for range 5 {
		made := w.create(t, session.NewSession{InitialParts: text("initial")})
		for {
			_, err := w.Message(t.Context(), made.ID, text("second"))
			if err == nil {
				break
			}
			if !errors.Is(err, session.ErrNotReady) {
				t.Fatal(err)
			}
		}
		if got := strings.Join(w.runtime.texts(made.ID), " "); got != "initial second" {
			t.Fatalf("the harness saw %q", got)
		}
	}
}

func TestInitialPrompt(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers script
		reason  string
	}{
		{"it works", echo, ""},
		{"the model fails", answering(200, `{"info":{"error":{"name":"APIError","data":{"message":"no model today"}}},"parts":[]}`), "initial_prompt failed: APIError: no model today"},
		{"the harness refuses", answering(500, `{"name":"UnknownError"}`), `initial_prompt failed: harness request failed: the harness answered 500: {"name":"UnknownError"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.runtime.answer(tt.answers)
			made := w.create(t, session.NewSession{InitialParts: text("begin")})
			s := w.until(t, made.ID, func(s db.Session) bool {
				return s.Status == db.StatusReady && (s.Response != nil || s.FailureReason != nil) && deref(s.FailureReason) == tt.reason
			})
			w.runtime.answer(echo)
			w.say(t, s.ID, "again")
			if after := w.session(t, s.ID); after.FailureReason != nil {
				t.Errorf("after a turn that works the session is %+v", after)
			}
		})
	}
}

func TestFirstMessageIsNoInitialPrompt(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	w.runtime.answer(answering(500, `no`))
	receive(t, w.send(t.Context(), s.ID, "x"))
	w.runtime.answer(answering(500, `no again`))
	receive(t, w.send(t.Context(), s.ID, "y"))
	if after := w.session(t, s.ID); after.FailureReason != nil {
		t.Errorf("failure_reason = %q", *after.FailureReason)
	}
}

func TestHarnessThatIsNotThere(t *testing.T) {
	w := newWorld(t, nil)
	agent, err := w.store.CreateAgent(t.Context(), db.Agent{Model: "m", HarnessID: "opencode", Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := w.Create(t.Context(), agent, session.NewSession{})
	if err != nil {
		t.Fatal(err)
	}
	if failed := w.await(t, s.ID, db.StatusFailed); !strings.Contains(deref(failed.FailureReason), `"opencode"`) {
		t.Errorf("failure_reason = %q", deref(failed.FailureReason))
	}
}

func TestPhaseReports(t *testing.T) {
	w := newWorld(t, nil)
	entered, release := w.runtime.hold("before post /harness/session")
	made := w.create(t, session.NewSession{})
	receive(t, entered)
	token := w.runtime.box().boot.Env["HARNESS_PROGRESS_TOKEN"]
	for _, tt := range []struct {
		name, session, token string
		ok                   bool
		err                  error
	}{
		{"its own token", made.ID, token, true, nil},
		{"the same again", made.ID, token, true, nil},
		{"another token", made.ID, token + "x", false, session.ErrToken},
		{"no token", made.ID, "", false, session.ErrToken},
		{"unknown session", "no-such", token, false, session.ErrToken},
	} {
		if ok, err := w.Phase(t.Context(), tt.session, tt.token, "cloning_repo", "detail"); ok != tt.ok || !errors.Is(err, tt.err) {
			t.Errorf("%s: %t, %v", tt.name, ok, err)
		}
	}
	release()
	s := w.await(t, made.ID, db.StatusReady)
	if ok, err := w.Phase(t.Context(), s.ID, token, "cloning_repo", ""); ok || err != nil {
		t.Errorf("when it is ready: %t, %v", ok, err)
	}
	if after := w.session(t, s.ID); deref(after.Phase) != "ready" {
		t.Errorf("phase = %q", deref(after.Phase))
	}
}

func TestDiagnose(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ready(t)
	d := w.Diagnose(t.Context(), s)
	if d.EngineVersion != "fake" || d.Container == nil || d.Container.State != sandbox.StateRunning || d.Image == nil || !d.Connected ||
		d.Harness == nil || d.Harness.Status != 200 {
		t.Errorf("diagnosis = %+v", d)
	}
	if d.Notes["capture"] != "" {
		t.Errorf("notes = %v", d.Notes)
	}
	w.runtime.do(*s.ContainerID, func(b *fakeBox) { b.capture = "no nftables here" })
	if d := w.Diagnose(t.Context(), s); !strings.Contains(d.Notes["capture"], "no nftables here") {
		t.Errorf("notes = %v", d.Notes)
	}
	w.runtime.set(func() { w.runtime.down = true })
	if d := w.Diagnose(t.Context(), s); d.EngineError == "" || d.ContainerErr == "" || d.ImageErr == "" {
		t.Errorf("without an engine: %+v", d)
	}
	w.runtime.set(func() { w.runtime.down = false })
	w.runtime.kill(*s.ContainerID, false)
	lost := w.until(t, s.ID, func(s db.Session) bool { return s.Status == db.StatusDead })
	if d := w.Diagnose(t.Context(), lost); d.Notes["revivable"] == "" || d.Container.State != sandbox.StateExited {
		t.Errorf("of a lost one: %+v", d)
	}
	if after := w.session(t, s.ID); after.Status != db.StatusDead {
		t.Error("it was brought back")
	}
}

func TestDetailsOfABoot(t *testing.T) {
	w := newWorld(t, nil)
	next := make(chan sandbox.BootEvent)
	w.runtime.set(func() {
		w.runtime.booting = func(tell func(sandbox.BootEvent)) {
			for ev := range next {
				tell(ev)
			}
		}
	})
	s := w.create(t, session.NewSession{})
	steps := []struct{ phase, detail, seen, shown string }{
		{"installing_deps", "", "installing_deps", ""},
		{"installing_deps", "one", "installing_deps", "one"},
		{"installing_deps", " a\n\x1b[31mb\x00\u202e ", "installing_deps", "a [31mb"},
		{"injecting_files", "back", "installing_deps", "a [31mb"},
		{"ready", "no phase of a guest's", "installing_deps", "a [31mb"},
		{"", "", "installing_deps", "a [31mb"},
		{"installing_deps", strings.Repeat("é", 501), "installing_deps", strings.Repeat("é", 499) + "…"},
		{"harness_listening", "d", "harness_listening", "d"},
	}
	for _, st := range steps {
		next <- sandbox.BootEvent{Phase: st.phase, Detail: st.detail}
		w.until(t, s.ID, func(s db.Session) bool { return deref(s.Phase) == st.seen && deref(s.PhaseDetail) == st.shown })
	}
	close(next)
	if s = w.await(t, s.ID, db.StatusReady); s.PhaseDetail != nil {
		t.Errorf("detail = %q", *s.PhaseDetail)
	}
}

func TestGuestThatTellsDetailsAllTheTime(t *testing.T) {
	w := newWorld(t, nil)
	told := make(chan struct{}, 1)
	w.runtime.set(func() {
		w.runtime.booting = func(tell func(sandbox.BootEvent)) {
			for i := range 5000 {
				tell(sandbox.BootEvent{Phase: "installing_deps", Detail: strconv.Itoa(i)})
			}
			told <- struct{}{}
		}
	})
	w.query(t, `CREATE TABLE writes (n INTEGER)`)
	w.query(t, `CREATE TRIGGER details AFTER UPDATE OF phase_detail ON sessions WHEN NEW.phase_detail IS NOT NULL BEGIN INSERT INTO writes VALUES (1); END`)
	began := time.Now()
	s := w.create(t, session.NewSession{})
	receive(t, told)
	w.await(t, s.ID, db.StatusReady)
	if n, most := atoi(t, w.query(t, `SELECT count(*) FROM writes`)[0]), int(time.Since(began)/(100*time.Millisecond))+3; n > most {
		t.Errorf("%d details were written, want at most %d", n, most)
	}
}
