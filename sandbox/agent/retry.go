//go:build unix

package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/ssestream"
)

const (
	maxTries      = 4                // of one model call
	firstWait     = time.Second / 2  // before the second try, then twice as long each time
	maxWait       = 8 * time.Second  // of our own choice
	maxAskedWait  = 60 * time.Second // that a gateway may ask for; beyond it the turn ends
	maxShrinks    = 3                // of one step's context
	errorBodySize = 2 << 10          // bytes of an error that is not JSON
)

// modelError is why a model call failed.
type modelError struct {
	status    int // 0: no HTTP answer, or one that broke off
	code      string
	message   string
	retryable bool
	asked     *time.Duration // what the gateway says to wait
}

func (e *modelError) Error() string { return e.message }

// overflow reports whether the question was longer than the model takes.
func (e *modelError) overflow() bool {
	if e.code == "context_length_exceeded" {
		return true
	}
	if e.status != http.StatusBadRequest && e.status != http.StatusRequestEntityTooLarge {
		return false
	}
	text := strings.ToLower(e.message)
	for _, sign := range []string{"context length", "context window", "context_length", "too many tokens", "prompt is too long", "input is too long"} {
		if strings.Contains(text, sign) {
			return true
		}
	}
	return false
}

// wire is the error as clients see it.
func (e *modelError) wire() *Error {
	name := "APIError"
	if e.overflow() {
		name = "ContextOverflowError"
	}
	return &Error{Name: name, Data: ErrorData{Message: e.message, StatusCode: e.status, IsRetryable: &e.retryable}}
}

// wait returns how long to wait before the next try; false means that there is none.
func (e *modelError) wait(try int) (time.Duration, bool) {
	if !e.retryable || try >= maxTries {
		return 0, false
	}
	if e.asked != nil {
		return *e.asked, *e.asked <= maxAskedWait
	}
	wait := min(firstWait<<(try-1), maxWait)
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
	for try := 1; ; try++ {
		out, err := s.agent.model.stream(t.ctx, t.question(system), t.current)
		failed, ok := errors.AsType[*modelError](err)
		if !ok || t.ctx.Err() != nil {
			return out, err
		}
		if failed.overflow() && shrinks < maxShrinks {
			shrinks++
			t.current.discard()
			s.history.learn(failed.message, system)
			if t.compact(s.history.window >> (shrinks + 1)) {
				continue
			}
		}
		wait, again := failed.wait(try)
		if !again {
			return out, failed.wire()
		}
		// A text that was cut cannot be continued on every model, and a cut call not at
		// all: the attempt is taken back as a whole.
		t.current.discard()
		if err := t.pause(try, failed.message, wait); err != nil {
			return completion{}, err
		}
	}
}

func (t *turn) question(system string) request {
	s := t.session
	return request{session: s.id, model: t.prompt.Model.name(), system: system, messages: s.history.entries, tools: toolbox()}
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
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.ctx.Done():
		return t.ctx.Err()
	}
	t.session.setStatus(Status{Type: "busy"})
	return nil
}

// classify says what a failed call means. res is the answer, nil if there was none.
func classify(err error, res *http.Response) *modelError {
	if broken, ok := errors.AsType[*ssestream.StreamError](err); ok {
		return streamError(broken)
	}
	if res == nil || res.StatusCode < http.StatusBadRequest {
		return &modelError{message: cutShort(err), retryable: true} // refused, reset, cut or garbled
	}
	e := &modelError{status: res.StatusCode, retryable: passes(res.StatusCode), asked: retryAfter(res.Header)}
	if api, ok := errors.AsType[*openai.Error](err); ok {
		e.code, e.message = api.Code, api.Message
	}
	if e.message == "" {
		body, _ := io.ReadAll(io.LimitReader(res.Body, errorBodySize)) // in memory by now
		e.message = strings.TrimSpace(http.StatusText(res.StatusCode) + ": " + strings.ToValidUTF8(string(body), "\uFFFD"))
	}
	return e
}

func cutShort(err error) string {
	if errors.Is(err, context.Canceled) {
		return "the model sent nothing for " + silence.String()
	}
	return "model call failed: " + err.Error()
}

// streamError reads an error that came inside of a stream that had begun well.
func streamError(err *ssestream.StreamError) *modelError {
	var body struct {
		Error struct {
			Message string          `json:"message"`
			Code    json.RawMessage `json:"code"`
		} `json:"error"`
	}
	e := &modelError{message: err.Message, retryable: true}
	if json.Unmarshal(err.Event.Data, &body) != nil {
		return e
	}
	e.message, e.code = cmp.Or(body.Error.Message, e.message), strings.Trim(string(body.Error.Code), `"`)
	if status, err := strconv.Atoi(e.code); err == nil {
		e.status, e.retryable = status, passes(status)
	}
	return e
}

// passes reports whether a status may be another one a moment later.
func passes(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusConflict, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return status >= http.StatusInternalServerError
}

// retryAfter reads the wait that a gateway asks for; nil if it asks for none.
func retryAfter(h http.Header) *time.Duration {
	if ms, err := strconv.ParseUint(h.Get("Retry-After-Ms"), 10, 31); err == nil {
		return new(time.Duration(ms) * time.Millisecond)
	}
	text := h.Get("Retry-After")
	if s, err := strconv.ParseUint(text, 10, 31); err == nil {
		return new(time.Duration(s) * time.Second)
	}
	if at, err := http.ParseTime(text); err == nil {
		return new(max(0, time.Until(at)))
	}
	return nil
}
