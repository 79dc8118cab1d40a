package session_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"lap/db"
	"lap/server/session"
)

func TestBringUp(t *testing.T) {
	w := newWorld(t)
	title := "a title"
	made := w.create(t, session.NewSession{Title: &title, Env: map[string]string{"KEY": "value"}, EnvPlain: []string{"KEY"}})
	if made.Status != db.StatusCreating || made.Generation != 1 {
		t.Errorf("created as %s, generation %d", made.Status, made.Generation)
	}
	s := w.await(t, made.ID, db.StatusReady)
	if deref(s.Phase) != "ready" || deref(s.HarnessSessionID) != "ses_1" || deref(s.ContainerID) != "box-lap-"+s.ID+"-1" || s.LastSeenAt == nil {
		t.Errorf("ready session = %+v", s)
	}
	boot := w.runtime.box().boot
	if boot.Session != s.ID || boot.Agent != w.agent.ID || boot.Env["KEY"] != "value" || boot.Env["LITELLM_DEFAULT_MODEL"] != "vendor/model" {
		t.Errorf("boot = %+v", boot)
	}
}

func TestFailureAtEachStepLeavesNothing(t *testing.T) {
	for _, step := range []string{"ensure", "create", "start", "boot"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t)
			w.runtime.set(func() { w.runtime.fail[step] = errors.New("no " + step + " today") })
			s := w.await(t, w.create(t, session.NewSession{}).ID, db.StatusFailed)
			if !strings.Contains(deref(s.FailureReason), "no "+step+" today") || s.StoppedAt == nil {
				t.Errorf("failed session = %+v", s)
			}
			w.stop()
			if n := w.runtime.count(); n != 0 {
				t.Errorf("%d sandboxes left", n)
			}
		})
	}
}

func TestStopAtEachStepWins(t *testing.T) {
	for _, step := range []string{"ensure", "create", "start"} {
		t.Run(step, func(t *testing.T) {
			w := newWorld(t)
			gate := make(chan struct{})
			w.runtime.set(func() { w.runtime.before[step] = gate })
			s := w.create(t, session.NewSession{})
			ended, err := w.Stop(t.Context(), s.ID)
			close(gate)
			if err != nil || ended.Status != db.StatusDead || ended.FailureReason != nil {
				t.Errorf("stopped session = %+v, %v", ended, err)
			}
			if n := w.runtime.count(); n != 0 {
				t.Errorf("%d sandboxes left", n)
			}
			if again, err := w.Stop(t.Context(), s.ID); err != nil || *again.StoppedAt != *ended.StoppedAt {
				t.Errorf("stopped again: %+v, %v", again, err)
			}
		})
	}
}

func TestDeletedAgentLeavesNothing(t *testing.T) {
	w := newWorld(t)
	stop := make(chan struct{})
	var creating sync.WaitGroup
	for range 4 { // sessions are created all the while
		creating.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if _, err := w.Create(t.Context(), w.agent, session.NewSession{}); err != nil && !errors.Is(err, db.ErrNotFound) {
						t.Error(err)
					}
				}
			}
		})
	}
	w.ready(t)
	if err := w.DeleteAgent(t.Context(), w.agent.ID); err != nil {
		t.Fatal(err)
	}
	if n := w.runtime.count(); n != 0 {
		t.Errorf("%d sandboxes when the agent is deleted", n)
	}
	close(stop)
	creating.Wait()
	if n := w.runtime.count(); n != 0 {
		t.Errorf("%d sandboxes left", n)
	}
	if err := w.DeleteAgent(t.Context(), w.agent.ID); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("deleted again: %v", err)
	}
}

func TestInitialPromptComesFirst(t *testing.T) {
	w := newWorld(t)
	for range 20 {
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
		if got := strings.Join(w.runtime.box().turns, " "); got != "initial second" {
			t.Fatalf("the harness saw %q", got)
		}
		if _, err := w.Stop(t.Context(), made.ID); err != nil {
			t.Fatal(err)
		}
	}
}

func TestInitialPromptWithModelError(t *testing.T) {
	w := newWorld(t)
	w.runtime.answer(func(string) (int, string) {
		return 200, `{"info":{"error":{"name":"APIError","data":{"message":"no model today"}}},"parts":[]}`
	})
	made := w.create(t, session.NewSession{InitialParts: text("begin")})
	s := w.until(t, made.ID, func(s db.Session) bool { return s.FailureReason != nil })
	if s.Status != db.StatusReady || *s.FailureReason != "initial_prompt failed: APIError: no model today" {
		t.Errorf("session = %+v", s)
	}
}

func TestInitialPrompt(t *testing.T) {
	w := newWorld(t)
	made := w.create(t, session.NewSession{InitialParts: text("begin")})
	s := w.until(t, made.ID, func(s db.Session) bool { return s.Response != nil })
	if s.Status != db.StatusReady || !strings.Contains(string(s.Response), `"begin"`) || s.FailureReason != nil {
		t.Errorf("session = %+v", s)
	}
}

func TestInitialPromptThatFails(t *testing.T) {
	w := newWorld(t)
	w.runtime.answer(func(string) (int, string) { return 500, `{"name":"UnknownError"}` })
	made := w.create(t, session.NewSession{InitialParts: text("begin")})
	s := w.until(t, made.ID, func(s db.Session) bool { return s.FailureReason != nil })
	if s.Status != db.StatusReady || !strings.HasPrefix(*s.FailureReason, "initial_prompt failed: ") {
		t.Errorf("session = %+v", s)
	}
	w.runtime.answer(func(string) (int, string) { return 200, `{"parts":[]}` })
	if _, err := w.Message(t.Context(), s.ID, text("again")); err != nil {
		t.Fatal(err)
	}
	if s, err := w.store.Session(t.Context(), s.ID); err != nil || s.FailureReason != nil {
		t.Errorf("after a turn that works the session is %+v, %v", s, err)
	}
}

func TestHarnessThatIsNotThere(t *testing.T) {
	w := newWorld(t)
	agent, err := w.store.CreateAgent(t.Context(), db.Agent{Model: "m", HarnessID: "opencode", Branch: "main"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := w.Create(t.Context(), agent, session.NewSession{})
	if err != nil {
		t.Fatal(err)
	}
	if failed := w.await(t, s.ID, db.StatusFailed); !strings.Contains(deref(failed.FailureReason), `"opencode"`) {
		t.Errorf("failure_reason = %q", deref(failed.FailureReason))
	}
}
