package agent

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

const (
	agentName   = "lap"
	maxSteps    = 200 // model calls in one turn
	repeatNudge = 5   // equal calls with equal results before the model is told
	repeatLimit = 8   // and before the turn ends
	notRun      = "Not run: the turn was ended."
)

// errAborted ends a turn that the user stopped.
var errAborted = &Error{Name: "MessageAbortedError", Data: ErrorData{Message: "The user aborted the turn."}}

// turn is a user message and all that follows from it.
type turn struct {
	session *session
	prompt  prompt
	said    content
	ctx     context.Context // ends with abort, delete and Close
	cancel  context.CancelFunc
	done    chan struct{} // closed when answer is there
	answer  Message       // the user message itself if no reply was wanted

	user     Info
	current  *answer // the message the model writes
	lastCall string  // with its result
	repeats  int     // how often lastCall came in a row
}

// run takes the turn to its end. It never panics.
func (t *turn) run() {
	defer close(t.done)
	defer t.cancel()
	s := t.session
	t.listen()
	defer func() { s.history.leaveOut(imageLimit, len(s.history.entries)) }()
	if t.prompt.NoReply {
		t.answer = s.last()
		return
	}
	s.setStatus(Status{Type: "busy"})
	started, log := time.Now(), s.agent.cfg.Log
	log.InfoContext(t.ctx, "turn started", "session", s.id)
	outcome := "ok"
	if failure := t.guard(); failure != nil {
		outcome = failure.Name // its message may quote anything
		t.fail(failure)
	}
	log.InfoContext(t.ctx, "turn ended", "session", s.id, "took", time.Since(started).Round(time.Millisecond), "outcome", outcome)
	t.answer = s.last()
	s.setStatus(Status{Type: "idle"})
	s.tell("session.idle", Properties{})
}

// listen takes what the user said into the thread and into the model's memory.
func (t *turn) listen() {
	s := t.session
	t.user = Info{ID: t.prompt.MessageID, SessionID: s.id, Role: "user", Agent: agentName, Model: t.prompt.Model}
	if t.user.ID == "" {
		t.user.ID = newID(messageID)
	}
	t.user.Time.Created = now()
	for i := range t.prompt.Parts {
		p := &t.prompt.Parts[i]
		p.ID, p.SessionID, p.MessageID = newID(partID), s.id, t.user.ID
	}
	s.history.add(utterance{Role: "user", Content: t.said})
	s.history.leaveOut(imageLimit, s.history.newest())
	s.history.request = t.said.words()
	t.said = nil // so that the history alone holds images
	s.add(Message{Info: t.user, Parts: t.prompt.Parts})
	s.touch(Tokens{})
}

// guard runs the loop and turns whatever ends it early into an Error.
func (t *turn) guard() (failure *Error) {
	defer func() {
		if p := recover(); p != nil {
			t.session.agent.cfg.Log.Error("turn panicked", "session", t.session.id, "panic", p, "stack", string(debug.Stack()))
			failure = &Error{Name: "UnknownError", Data: ErrorData{Message: fmt.Sprintf("internal error: %v", p)}}
		}
	}()
	err := t.loop()
	switch {
	case err == nil:
		return nil
	case t.ctx.Err() != nil:
		return errAborted
	case errors.As(err, &failure):
		return failure
	default:
		return &Error{Name: "UnknownError", Data: ErrorData{Message: err.Error()}}
	}
}

// fail ends the turn with an answer that says why.
func (t *turn) fail(failure *Error) {
	if t.current == nil {
		t.current = t.begin()
	}
	t.current.abandon()
	t.current.finish("", Tokens{}, failure)
	t.session.tell("session.error", Properties{Error: failure})
}

// loop asks the model and runs the tools it calls, until it calls none.
func (t *turn) loop() error {
	system := t.session.system(t.prompt.System)
	for range maxSteps {
		t.current = t.begin()
		out, err := t.ask(system)
		if err != nil {
			out.calls = nil
			t.session.history.add(out.utterance())
			return err
		}
		if err := t.act(out); err != nil {
			return err
		}
		t.current.finish(out.finish, out.used, nil)
		if len(out.calls) == 0 {
			return nil
		}
	}
	return fmt.Errorf("the turn was ended after %d steps without an answer", maxSteps)
}

// act runs the calls of out in order and remembers out with their results. All calls
// get a result, those that were not run too, as models refuse a call without one.
func (t *turn) act(out completion) error {
	step := []utterance{out.utterance()}
	var failure error
	if len(out.calls) > 0 {
		failure = t.ctx.Err()
	}
	for _, c := range out.calls {
		result := notRun
		if failure == nil {
			result, failure = t.call(c)
		}
		step = append(step, utterance{Role: "tool", ToolCallID: c.id, Content: text(result)})
	}
	t.session.history.add(step...)
	t.session.history.used = out.used.Total
	if failure == nil && len(out.calls) == 0 {
		failure = out.failure()
	}
	return failure
}
