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

	"github.com/openai/openai-go/v3"
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

// classify says what a failed call means. res is the answer, nil if there was none.
func classify(err error, res *http.Response) *modelError {
	if broken, ok := errors.AsType[*ssestream.StreamError](err); ok {
		return streamError(broken)
	}
	if endless, ok := errors.AsType[*modelError](err); ok {
		return endless
	}
	if errors.Is(err, context.Canceled) { // by us, or nobody reads this
		return failed(0, "", "the model sent nothing for "+silence.String())
	}
	if res == nil || res.StatusCode < http.StatusBadRequest {
		return failed(0, "", "model call failed: "+err.Error()) // refused, reset, cut or garbled
	}
	var code, message string
	if api, ok := errors.AsType[*openai.Error](err); ok {
		code, message = api.Code, api.Message
	}
	if message == "" {
		body, _ := io.ReadAll(io.LimitReader(res.Body, errorTextSize)) // in memory by now
		message = strings.TrimSpace(http.StatusText(res.StatusCode) + ": " + strings.ToValidUTF8(string(body), "\uFFFD"))
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
	var body struct {
		Error struct {
			Message string          `json:"message"`
			Code    json.RawMessage `json:"code"`
		} `json:"error"`
	}
	_ = json.Unmarshal(err.Event.Data, &body) // an error of another shape is told as it is
	code := strings.Trim(string(body.Error.Code), `"`)
	status, _ := strconv.Atoi(code) // 0 for a code in words
	return failed(status, code, cmp.Or(body.Error.Message, err.Message))
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
