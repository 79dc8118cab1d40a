package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"lap/db"
	"lap/server/session"
)

func TestTurn(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	reply, err := w.Message(t.Context(), s.ID, text("hello"))
	if err != nil || !strings.Contains(string(reply), `"text":"hello"`) {
		t.Fatalf("reply %s, error %v", reply, err)
	}
	after, err := w.store.Session(t.Context(), s.ID)
	if err != nil || string(after.Response) != string(reply) || deref(after.TitlePreview) != "hello" {
		t.Errorf("session after the turn = %+v, %v", after, err)
	}
}

func TestTurnsRunInOrderOneAtATime(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	entered, leave := make(chan string), make(chan struct{})
	w.runtime.answer(func(text string) (int, string) {
		entered <- text
		<-leave
		return 200, `{"parts":[]}`
	})
	const n = 5
	done := make(chan error, n)
	for i := range n {
		go func() {
			_, err := w.Message(t.Context(), s.ID, text(fmt.Sprint(i)))
			done <- err
		}()
		if i == 0 {
			<-entered // the first runs, the others queue behind it
		} else {
			awaitQueue(t, w, s.ID, i)
		}
	}
	for i := range n {
		if i > 0 {
			if got := <-entered; got != fmt.Sprint(i) {
				t.Errorf("turn %d is message %s", i, got)
			}
		}
		leave <- struct{}{}
	}
	for range n {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// awaitQueue waits until n turns of a session wait.
func awaitQueue(t *testing.T, w *world, id string, n int) {
	t.Helper()
	for session.Waiting(w.Engine, id) < n {
		if t.Context().Err() != nil {
			t.Fatal(t.Context().Err())
		}
	}
}

func TestClientThatLeavesDoesNotEndItsTurn(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	w.runtime.answer(func(string) (int, string) {
		entered <- struct{}{}
		<-leave
		return 200, `{"parts":[{"type":"text","text":"late"}]}`
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := w.Message(ctx, s.ID, text("slow")); done <- err }()
	<-entered
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the client got %v", err)
	}
	w.runtime.answer(func(string) (int, string) { return 200, `{"parts":[]}` })
	next := make(chan error)
	go func() { _, err := w.Message(t.Context(), s.ID, text("next")); next <- err }()
	close(leave)
	if err := <-next; err != nil {
		t.Fatal(err)
	}
	if turns := w.turns(t, s.ID); !strings.Contains(turns, "late") {
		t.Errorf("the reply is lost: %s", turns)
	}
}

func TestHarnessThatRefuses(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	w.runtime.answer(func(string) (int, string) { return 500, `{"name":"UnknownError"}` })
	if _, err := w.Message(t.Context(), s.ID, text("x")); !errors.Is(err, session.ErrHarness) || !strings.Contains(err.Error(), "500") {
		t.Errorf("error = %v", err)
	}
	if after, err := w.store.Session(t.Context(), s.ID); err != nil || after.Status != db.StatusReady {
		t.Errorf("session = %+v, %v", after, err)
	}
}

func TestReplyIsAlwaysWithParts(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	for answer, want := range map[string]string{
		`{"info":{"id":"m"}}`:        `{"info":{"id":"m"},"parts":[]}`,
		`{"parts":null,"x":1}`:       `{"parts":[],"x":1}`,
		`{"parts":[{"type":"odd"}]}`: `{"parts":[{"type":"odd"}]}`,
	} {
		w.runtime.answer(func(string) (int, string) { return 200, answer })
		if got, err := w.Message(t.Context(), s.ID, text("x")); err != nil || string(got) != want {
			t.Errorf("%s became %s, error %v", answer, got, err)
		}
	}
	for _, answer := range []string{``, `[]`, `nonsense`, `null`} {
		w.runtime.answer(func(string) (int, string) { return 200, answer })
		if got, err := w.Message(t.Context(), s.ID, text("x")); !errors.Is(err, session.ErrHarness) {
			t.Errorf("%q became %s, error %v", answer, got, err)
		}
	}
}

func TestMessageToSessionThatIsNotReady(t *testing.T) {
	w := newWorld(t)
	if _, err := w.Message(t.Context(), "no-such", text("x")); !errors.Is(err, db.ErrNotFound) {
		t.Errorf("unknown session: %v", err)
	}
	s := w.ready(t)
	if _, err := w.Stop(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Message(t.Context(), s.ID, text("x")); !errors.Is(err, session.ErrNotReady) {
		t.Errorf("stopped session: %v", err)
	}
}

func TestStopEndsRunningAndWaitingTurns(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	defer close(leave)
	w.runtime.answer(func(string) (int, string) { entered <- struct{}{}; <-leave; return 200, `{"parts":[]}` })
	done := make(chan error, 2)
	send := func() { _, err := w.Message(t.Context(), s.ID, text("x")); done <- err }
	go send()
	<-entered
	go send()
	awaitQueue(t, w, s.ID, 1)
	if _, err := w.Stop(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-done; !errors.Is(err, session.ErrHarness) && !errors.Is(err, session.ErrNotReady) {
			t.Errorf("a turn of a stopped session: %v", err)
		}
	}
}

func TestImageBytesAreNotStored(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	image := json.RawMessage(`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAAAAAA"}}`)
	if _, err := w.Message(t.Context(), s.ID, append([]json.RawMessage{image}, text("look")...)); err != nil {
		t.Fatal(err)
	}
	turns := w.turns(t, s.ID)
	if strings.Contains(turns, "AAAA") || !strings.Contains(turns, `"bytes":6`) || !strings.Contains(turns, "image/png") {
		t.Errorf("stored turns: %s", turns)
	}
}

func TestWholeThreadIsStored(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	want := 0
	for i, steps := range []int{2, 30, 8, 2, 9, 7} { // few, and more than one look finds
		w.runtime.set(func() { w.runtime.steps = steps })
		if _, err := w.Message(t.Context(), s.ID, text(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		want += steps
		for i, raw := range w.stored(t, s.ID, want) {
			if !strings.Contains(string(raw), fmt.Sprintf(`"msg_%d"`, i)) {
				t.Errorf("message %d is %s", i, raw)
			}
		}
		if i == 2 {
			w.stop() // a new process does not know what is stored
			w.start(t)
		}
	}
}

// stored waits until n messages of a session's thread are stored, and returns them.
func (w *world) stored(t *testing.T, id string, n int) []json.RawMessage {
	t.Helper()
	var messages []json.RawMessage
	w.until(t, id, func(db.Session) bool {
		var err error
		if messages, err = w.store.Messages(t.Context(), id); err != nil || len(messages) > n {
			t.Fatalf("%d messages are stored, want %d; error %v", len(messages), n, err)
		}
		return len(messages) == n
	})
	return messages
}

func TestTurnInFlightIsNotStoredYet(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	if _, err := w.Message(t.Context(), s.ID, text("one")); err != nil {
		t.Fatal(err)
	}
	w.stored(t, s.ID, 1)
	w.runtime.set(func() { b := w.runtime.boxes[*s.ContainerID]; b.thread = append(b.thread, "half") })
	w.runtime.answer(func(string) (int, string) { // the reply is followed by a message in the making
		w.runtime.set(func() { b := w.runtime.boxes[*s.ContainerID]; b.thread = append(b.thread, "later") })
		return 200, `{"info":{"id":"REPLY"},"parts":[]}`
	})
	if _, err := w.Message(t.Context(), s.ID, text("two")); err != nil {
		t.Fatal(err)
	}
	w.stored(t, s.ID, 3)
}

func TestStoppedSessionKeepsItsThread(t *testing.T) {
	w := newWorld(t)
	for range 20 {
		s := w.ready(t)
		if _, err := w.Message(t.Context(), s.ID, text("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Stop(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		if messages, err := w.Messages(t.Context(), s.ID); err != nil || len(messages) != 1 {
			t.Fatalf("%d messages, error %v", len(messages), err)
		}
	}
}

func TestRestartedEngineGoesOn(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	if _, err := w.Message(t.Context(), s.ID, text("one")); err != nil {
		t.Fatal(err)
	}
	w.stop()
	w.start(t)
	if _, err := w.Message(t.Context(), s.ID, text("two")); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(w.runtime.box().turns, " "); got != "one two" {
		t.Errorf("the harness saw %q", got)
	}
}

func TestTurnThatTakesTooLongIsAborted(t *testing.T) {
	w := newWorld(t)
	w.stop()
	w.limit = 300 * time.Millisecond
	w.start(t)
	s := w.ready(t)
	aborted := make(chan struct{})
	w.runtime.set(func() { w.runtime.abort = func() { close(aborted) } })
	w.runtime.answer(func(string) (int, string) { <-aborted; return 200, `{"parts":[]}` })
	if _, err := w.Message(t.Context(), s.ID, text("slow")); !errors.Is(err, session.ErrHarness) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error = %v", err)
	}
	if turns := w.turns(t, s.ID); !strings.Contains(turns, "user failed") {
		t.Errorf("turns:\n%s", turns)
	}
	w.runtime.answer(func(string) (int, string) { return 200, `{"parts":[]}` })
	if _, err := w.Message(t.Context(), s.ID, text("next")); err != nil {
		t.Errorf("the next turn: %v", err)
	}
}

func TestManyNeedThePipeAtOnce(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	w.stop()
	w.runtime.set(func() { w.runtime.boxes[*s.ContainerID].pipes = nil })
	w.start(t)
	var readers sync.WaitGroup
	for range 20 {
		readers.Go(func() {
			if _, err := w.Messages(t.Context(), s.ID); err != nil {
				t.Error(err)
			}
		})
	}
	readers.Wait()
	if n := len(w.runtime.box().pipes); n != 1 {
		t.Errorf("%d pipes were opened, want 1", n)
	}
}

func TestPipeThatEndsAtOnce(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	w.runtime.set(func() {
		for _, p := range w.runtime.boxes[*s.ContainerID].pipes {
			_ = p.Close()
		}
		w.runtime.broken = true
	})
	for range 50 {
		if _, err := w.Message(t.Context(), s.ID, text("x")); !errors.Is(err, session.ErrHarness) {
			t.Fatalf("error = %v", err)
		}
	}
	w.runtime.set(func() { w.runtime.broken = false })
	if _, err := w.Message(t.Context(), s.ID, text("x")); err != nil {
		t.Errorf("when pipes last again: %v", err)
	}
}

func TestPreambleComesWithTheFirstTurnThatWorks(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	w.runtime.answer(func(string) (int, string) { return 400, `{}` })
	if _, err := w.Message(t.Context(), s.ID, text("bad")); err == nil {
		t.Fatal("no error")
	}
	w.runtime.answer(func(string) (int, string) { return 200, `{"parts":[]}` })
	for range 2 {
		if _, err := w.Message(t.Context(), s.ID, text("good")); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprint(w.runtime.box().parts); got != "[2 2 1]" {
		t.Errorf("parts of each turn: %s", got)
	}
}

func TestModelStaysThatOfTheSession(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	_, err := w.store.UpdateAgent(t.Context(), w.agent.ID, func(a *db.Agent) error { a.Model = "other"; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Message(t.Context(), s.ID, text("x")); err != nil {
		t.Fatal(err)
	}
	if got := w.runtime.box().model; got != "vendor/model" {
		t.Errorf("the turn went to %q", got)
	}
}

func TestSandboxThatIsGone(t *testing.T) {
	w := newWorld(t)
	s := w.ready(t)
	w.runtime.set(func() {
		for _, b := range w.runtime.boxes {
			b.Running = false
			for _, p := range b.pipes {
				_ = p.Close()
			}
		}
	})
	if _, err := w.Message(t.Context(), s.ID, text("x")); !errors.Is(err, session.ErrHarness) {
		t.Errorf("error = %v", err)
	}
	after, err := w.store.Session(t.Context(), s.ID)
	if err != nil || after.Status != db.StatusDead || deref(after.FailureReason) != "sandbox unreachable" {
		t.Errorf("session = %+v, %v", after, err)
	}
	if n := w.runtime.count(); n != 0 {
		t.Errorf("%d sandboxes left", n)
	}
}
