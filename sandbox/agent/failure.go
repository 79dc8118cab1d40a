package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openai/openai-go/v3/packages/ssestream"
)

const (
	errorTextSize = 2 << 10  // bytes of an error that is not JSON
	errorSize     = 64 << 10 // bytes that are read of an error
	messageSize   = 16 << 10 // bytes of an error that are told
)

// modelError is why a model call failed.
type modelError struct {
	wire  Error
	asked *time.Duration // what the gateway says to wait
}

func (e *modelError) Error() string { return e.wire.Data.Message }

// overflow reports whether the question was longer than the model takes.
func (e *modelError) overflow() bool { return e.wire.Name == "ContextOverflowError" }

// failed makes a modelError. status is 0 when there was no HTTP answer, or one that
// broke off.
func failed(status int, code, message string) *modelError {
	name := "APIError"
	if tooLong(status, code, message) {
		name = "ContextOverflowError"
	}
	retryable := status == 0 || passes(status)
	return &modelError{wire: Error{Name: name, Data: ErrorData{Message: clip(message, messageSize), StatusCode: status, IsRetryable: &retryable}}}
}

// tooLarge reports whether the question had more bytes than somebody on its way takes.
func (e *modelError) tooLarge() bool {
	return e.wire.Data.StatusCode == http.StatusRequestEntityTooLarge
}

// passes reports whether a status may be another one a moment later.
func passes(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusConflict ||
		status == http.StatusTooManyRequests || status >= http.StatusInternalServerError
}

// tooLong reports whether an error means that the question has to become smaller: the
// model's window is too small, or somebody on the way takes no body of that size.
func tooLong(status int, code, message string) bool {
	if code == "context_length_exceeded" || status == http.StatusRequestEntityTooLarge {
		return true
	}
	if status != http.StatusBadRequest {
		return false
	}
	message = strings.NewReplacer("_", " ", "-", " ").Replace(strings.ToLower(message))
	return slices.ContainsFunc([]string{
		"context length", "context window", "too many tokens", "prompt is too long", "input is too long",
	}, func(sign string) bool { return strings.Contains(message, sign) })
}

// classify says what it means that a call got no answer, or one that broke off.
func classify(err error) *modelError {
	if broken, ok := errors.AsType[*ssestream.StreamError](err); ok {
		return streamError(broken)
	}
	if endless, ok := errors.AsType[*modelError](err); ok {
		return endless
	}
	if errors.Is(err, context.Canceled) { // by us, or nobody reads this
		return failed(0, "", "the model sent nothing for "+silence.String())
	}
	return failed(0, "", "model call failed: "+err.Error()) // refused, reset, cut or garbled
}

// refused reads an answer with a status of 400 or more.
func refused(res *http.Response) *modelError {
	body, _ := io.ReadAll(io.LimitReader(res.Body, errorSize)) // what came of it tells enough
	code, message := errorBody(body)
	if message == "" {
		text := strings.ToValidUTF8(string(body[:min(len(body), errorTextSize)]), "\uFFFD")
		message = strings.TrimSpace(http.StatusText(res.StatusCode) + ": " + text)
	}
	e := failed(res.StatusCode, code, message)
	e.asked = retryAfter(res.Header)
	if retry, err := strconv.ParseBool(res.Header.Get("X-Should-Retry")); err == nil {
		e.wire.Data.IsRetryable = &retry
	}
	return e
}

// streamError reads an error that came inside of a stream that had begun well.
func streamError(err *ssestream.StreamError) *modelError {
	code, message := errorBody(err.Event.Data)
	status, _ := strconv.Atoi(code) // 0 for a code in words
	return failed(status, code, cmp.Or(message, err.Message))
}

// errorBody reads {"error": {"code", "message"}}; an error of another shape gives nothing.
func errorBody(text []byte) (code, message string) {
	var body struct {
		Error struct {
			Message string          `json:"message"`
			Code    json.RawMessage `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &body) != nil {
		return "", ""
	}
	return strings.Trim(string(body.Error.Code), `"`), body.Error.Message
}

// retryAfter reads the wait that a gateway asks for; nil if it asks for none.
func retryAfter(h http.Header) *time.Duration {
	if ms, err := strconv.ParseUint(h.Get("Retry-After-Ms"), 10, 31); err == nil {
		return new(time.Duration(ms) * time.Millisecond)
	}
	if s, err := strconv.ParseUint(h.Get("Retry-After"), 10, 31); err == nil {
		return new(time.Duration(s) * time.Second)
	}
	return nil
}
