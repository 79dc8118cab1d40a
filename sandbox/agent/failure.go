package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/ssestream"
)

const errorBodySize = 2 << 10 // bytes of an error that is not JSON

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
	return &modelError{wire: Error{Name: name, Data: ErrorData{Message: message, StatusCode: status, IsRetryable: &retryable}}}
}

// passes reports whether a status may be another one a moment later.
func passes(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusConflict ||
		status == http.StatusTooManyRequests || status >= http.StatusInternalServerError
}

// tooLong reports whether an error means that the model's window is too small.
func tooLong(status int, code, message string) bool {
	if code == "context_length_exceeded" {
		return true
	}
	signs := regexp.MustCompile(`(?i)context.(length|window)|too many tokens|(prompt|input) is too long`)
	return (status == http.StatusBadRequest || status == http.StatusRequestEntityTooLarge) && signs.MatchString(message)
}

// classify says what a failed call means. res is the answer, nil if there was none.
func classify(err error, res *http.Response) *modelError {
	if broken, ok := errors.AsType[*ssestream.StreamError](err); ok {
		return streamError(broken)
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
		body, _ := io.ReadAll(io.LimitReader(res.Body, errorBodySize)) // in memory by now
		message = strings.TrimSpace(http.StatusText(res.StatusCode) + ": " + strings.ToValidUTF8(string(body), "\uFFFD"))
	}
	e := failed(res.StatusCode, code, message)
	e.asked = retryAfter(res.Header)
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
