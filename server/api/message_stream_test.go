package api_test

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"lap/server/api"
	"lap/server/session"
)

// aTurn is a world with a session whose messages the test answers.
func aTurn(t *testing.T, timing api.Timing) (w *world, id, path string) {
	t.Helper()
	w = newWorld(t)
	w.api.Hurry(timing)
	id = w.newSession(t, w.newAgent(t))
	w.engine.set(func() { w.engine.manual = true })
	return w, id, sessions + "/" + id + "/message_stream"
}

// begun returns the turn that was begun last, when there is one.
func (w *world) begun(t *testing.T, id string) *fakePending {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if w.engine.sent() > 0 {
			return w.engine.latest(id)
		}
	}
	t.Fatal("no turn was begun")
	return nil
}

// userMessage is the event with which a turn begins.
const userMessage = `{"type":"message.updated","properties":{"info":{"id":"m0","role":"user"}}}`

func TestMessageStream(t *testing.T) {
	w, id, path := aTurn(t, api.Timing{Begin: time.Millisecond, Answer: 10 * time.Millisecond})
	w.engine.emit(t, id, "message.updated", "session.status")
	l := w.listen(t, "POST", path, `{"text":"hello"}`)
	turn := w.begun(t, id)
	if got := string(w.engine.turn().Parts[0]); got != `{"type":"text","text":"hello"}` {
		t.Errorf("part = %s", got)
	}
	turn.start(2, nil)
	l.want(`2 {"type":"ready"}`)
	w.engine.emit(t, id, "message.updated", "session.idle") // of the turn before
	l.want("3 "+wrapped("message.updated"), "4 "+wrapped("session.idle"))
	w.engine.emit(t, id, userMessage, "session.idle", "message.part.delta") // it is not answered yet
	l.want(`5 {"type":"harness_event","event":`+userMessage+`}`, "6 "+wrapped("session.idle"), "7 "+wrapped("message.part.delta"))
	turn.finish(nil)
	w.engine.emit(t, id, "session.idle", "message.updated")
	l.want("8 "+wrapped("session.idle"), `8 {"type":"done"}`)
	l.end()
}

func TestMessageStreamFaults(t *testing.T) {
	refused := fmt.Errorf("%w: 400", session.ErrHarness)
	tests := []struct {
		name    string
		startup error
		reply   error
		lose    bool // the sandbox
		want    string
	}{
		{"refused before it began", refused, nil, false, `0 {"type":"error","message":"prompt_async failed"}`},
		{"refused", nil, refused, false, `1 {"type":"error","message":"prompt_async failed"}`},
		{"sandbox lost", nil, refused, true, `1 {"type":"error","message":"event stream interrupted"}`},
		{"stopping", nil, session.ErrStopping, false, `1 {"type":"error","message":"event stream interrupted"}`},
		{"other", nil, errors.New("x"), false, `1 {"type":"error","message":"event stream interrupted"}`},
		{"no idle event", nil, nil, false, `1 {"type":"done"}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w, id, path := aTurn(t, api.Timing{Begin: time.Millisecond, Grace: 10 * time.Millisecond})
			l := w.listen(t, "POST", path, `{"text":"hello"}`)
			turn := w.begun(t, id)
			turn.start(0, tt.startup)
			if tt.startup == nil {
				w.engine.emit(t, id, "message.updated")
				l.want(`0 {"type":"ready"}`, "1 "+wrapped("message.updated"))
				if tt.lose {
					if err := w.store.MarkDead(t.Context(), id, 1, "task disappeared", true); err != nil {
						t.Fatal(err)
					}
				}
				turn.finish(tt.reply)
			}
			l.want(tt.want)
			l.end()
		})
	}
}

func TestMessageStreamRefused(t *testing.T) {
	w := newWorld(t)
	agent := w.newAgent(t)
	id := w.newSession(t, agent)
	path := sessions + "/" + id + "/message_stream"
	w.do(t, "POST", path, `{}`).wantError(t, 400, "is required")
	w.engine.answer(nil, fmt.Errorf("%w: no", session.ErrHarness))
	w.do(t, "POST", path, `{"text":"x"}`).wantError(t, http.StatusBadGateway, "harness request failed: no")
	w.engine.answer(nil, session.ErrStopping)
	w.do(t, "POST", path, `{"text":"x"}`).wantError(t, 503, "shutting down")
	creating := w.do(t, "POST", agents+"/"+agent+"/session", nil).want(t, 201).get("id").String()
	w.do(t, "POST", sessions+"/"+creating+"/message_stream", `{"text":"x"}`).wantError(t, 404, "session "+creating+" not found or not ready")
	terminal := w.newSession(t, w.newAgent(t, `"harness_id": "codex"`))
	w.do(t, "POST", sessions+"/"+terminal+"/message_stream", `{"text":"x"}`).wantError(t, 400, "tty_url")
}

func TestMessageStreamTimesOut(t *testing.T) {
	w, id, path := aTurn(t, api.Timing{Turn: 100 * time.Millisecond, Begin: time.Millisecond})
	l := w.listen(t, "POST", path, `{"text":"x"}`) // a turn that waits for others
	l.want(`0 {"type":"error","message":"stream timeout"}`)
	l.end()
	w.begun(t, id).start(0, nil)
	l = w.listen(t, "POST", path, `{"text":"x"}`)
	w.engine.latest(id).start(0, nil)
	l.want(`0 {"type":"ready"}`, `0 {"type":"error","message":"stream timeout"}`)
	l.end()
}

func TestMessageStreamAgain(t *testing.T) {
	w, id, path := aTurn(t, api.Timing{})
	w.engine.emit(t, id, "old")
	w.engine.set(func() { w.engine.manual = false })
	const key = "Idempotency-Key"
	l := w.listen(t, "POST", path, `{"text":"x"}`, key, "k")
	w.engine.emit(t, id, userMessage, "session.idle", userMessage, "session.idle")
	for range 2 {
		l.want(`1 {"type":"ready"}`, `2 {"type":"harness_event","event":`+userMessage+`}`, "3 "+wrapped("session.idle"), `3 {"type":"done"}`)
		l.end()
		l = w.listen(t, "POST", path, `{"text":"x"}`, key, "k")
	}
	l.leave()
	l = w.listen(t, "POST", path, `{"text":"x"}`, key, "k", "Last-Event-ID", "2")
	l.want(`2 {"type":"ready"}`, "3 "+wrapped("session.idle"), `3 {"type":"done"}`)
	l.end()
	if n := w.engine.sent(); n != 1 {
		t.Errorf("%d turns were sent, want one", n)
	}
}

func TestMessageStreamGoesOnAlone(t *testing.T) {
	w, id, path := aTurn(t, api.Timing{Begin: time.Millisecond, Ping: time.Millisecond})
	l := w.listen(t, "POST", path, `{"text":"x"}`)
	if line, err := l.body.ReadString('\n'); err != nil || line != ": ping\n" {
		t.Errorf("line = %q, %v, want a ping while the turn waits", line, err)
	}
	l.leave()
	turn := w.begun(t, id)
	turn.start(0, nil)
	turn.finish(nil)
	if r, err := turn.Reply(t.Context()); err != nil || len(r) == 0 {
		t.Errorf("reply = %s, %v", r, err)
	}
}

func TestMessageStreamWithoutALogIsAStreamAllTheSame(t *testing.T) {
	w, id, path := aTurn(t, api.Timing{Begin: time.Minute})
	var begun sync.WaitGroup
	begun.Go(func() {
		turn := w.begun(t, id)
		w.engine.set(func() { w.engine.fail = errors.New("no log") })
		turn.start(0, nil)
	})
	l := w.listen(t, "POST", path, `{"text":"hello"}`)
	begun.Wait()
	l.want(`0 {"type":"error","message":"harness event stream failed"}`)
	l.end()
	if got := l.res.Header.Get("Content-Type"); got != "text/event-stream; charset=utf-8" {
		t.Errorf("Content-Type = %q", got)
	}
}
