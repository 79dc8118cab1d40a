package agent

import (
	"errors"
	"math/rand/v2"
	"time"
)

const (
	maxTries     = 4                // of one model call
	firstWait    = time.Second / 2  // before the second try, then twice as long each time
	maxAskedWait = 60 * time.Second // that a gateway may ask for; beyond it the turn ends
	maxShrinks   = 3                // of one step's context
)

// wait returns how long to wait before the next try; false means that there is none.
func (e *modelError) wait(try int) (time.Duration, bool) {
	if !*e.wire.Data.IsRetryable || try >= maxTries {
		return 0, false
	}
	if e.asked != nil {
		return *e.asked, *e.asked <= maxAskedWait
	}
	wait := firstWait << (try - 1)
	return wait - rand.N(wait/4), true // apart from other sessions that failed at once
}

// ask gets an answer to the conversation so far. It retries what may pass, and shrinks
// a context that the model refuses as too long. On error the completion holds what
// the last try got.
func (t *turn) ask(system string) (completion, error) {
	s := t.session
	if s.history.full(system) {
		t.compact(s.history.window / 4)
	}
	shrinks := 0
	for try := 1; ; {
		out, err := s.agent.model.stream(t.ctx, s.id, t.question(system), t.current)
		failed, ok := errors.AsType[*modelError](err)
		if !ok || t.ctx.Err() != nil {
			return out, err
		}
		if failed.overflow() && s.history.spare(failed.tooLarge()) {
			t.current.discard()
			continue
		}
		if failed.overflow() && shrinks < maxShrinks {
			shrinks++
			t.current.discard()
			s.history.learn(failed.Error(), system)
			if t.compact(s.history.window >> (shrinks + 1)) {
				continue
			}
		}
		wait, again := failed.wait(try)
		if !again {
			return out, &failed.wire
		}
		// A text that was cut cannot be continued on every model, and a cut call not at
		// all: the attempt is taken back as a whole.
		t.current.discard()
		if err := t.pause(try, failed.Error(), wait); err != nil {
			return completion{}, err
		}
		try++
	}
}

func (t *turn) question(system string) question {
	messages := append([]utterance{{Role: "system", Content: text(system)}}, t.session.history.entries...)
	return question{Model: t.prompt.Model.name(), Messages: messages, Tools: t.session.agent.functions}
}

// name is the model's name for the gateway.
func (r ModelRef) name() string {
	if r.ProviderID == "" || r.ProviderID == "litellm" {
		return r.ModelID
	}
	return r.ProviderID + "/" + r.ModelID
}

// pause waits before another try and tells so.
func (t *turn) pause(try int, why string, wait time.Duration) error {
	t.session.setStatus(Status{Type: "retry", Attempt: try, Message: why, Next: now() + wait.Milliseconds()})
	select {
	case <-time.After(wait):
	case <-t.ctx.Done():
		return t.ctx.Err()
	}
	t.session.setStatus(Status{Type: "busy"})
	return nil
}
