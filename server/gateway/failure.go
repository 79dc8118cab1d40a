package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"lap/server/gateway/cassette"
	"lap/server/gateway/scripted"
)

// apiError is an answer that says what is wrong.
type apiError scripted.Error

func (f *apiError) Error() string { return f.Message }

var errUnconfigured = &apiError{
	Status: http.StatusServiceUnavailable, Type: "server_error", Code: "no_model_gateway",
	Message: "lap has no model gateway: start lap serve with LITELLM_API_BASE and LITELLM_API_KEY set, " +
		"or use a model that needs none, such as scripted/echo",
}

const codeBudget = "budget_exceeded"

func forbidden(method, path string) *apiError {
	return &apiError{
		Status: http.StatusForbidden, Type: "permission_error", Code: "path_not_allowed",
		Message: fmt.Sprintf("%s %s is not open to sandboxes: only calls of models are", clip(method), clip(path)),
	}
}

func badGateway(code, format string, args ...any) *apiError {
	return &apiError{Status: http.StatusBadGateway, Type: "server_error", Code: code, Message: fmt.Sprintf(format, args...)}
}

// clip bounds what a message repeats of a request.
func clip(text string) string {
	const limit = 200
	if len(text) > limit {
		return text[:limit] + "…"
	}
	return text
}

// statusClientGone is what nginx made customary for an answer that nobody waits for.
const statusClientGone = 499

// fail is the only place where an error becomes an answer.
func (g *Gateway) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		w.WriteHeader(statusClientGone)
		return
	}
	f := classify(err)
	if g.upstream != nil {
		f.Message = g.upstream.redact(f.Message)
	}
	f.announce(w.Header())
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.Status)
	_ = json.NewEncoder(w).Encode(f.body(r.RequestURI)) // a client that left needs no answer
}

func classify(err error) apiError {
	if f, ok := errors.AsType[*apiError](err); ok {
		return *f
	}
	if e, ok := errors.AsType[*scripted.Error](err); ok {
		return apiError(*e)
	}
	if e, ok := errors.AsType[*cassette.Error](err); ok {
		return apiError{Status: http.StatusBadRequest, Type: "invalid_request_error", Code: e.Code, Message: e.Message}
	}
	if no, ok := errors.AsType[*RefusalError](err); ok {
		return apiError{Status: http.StatusPaymentRequired, Type: "insufficient_quota", Code: codeBudget, Message: no.Message}
	}
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return apiError{
			Status: http.StatusRequestEntityTooLarge, Type: "invalid_request_error", Code: "request_too_large",
			Message: fmt.Sprintf("the request body is larger than %d MiB", large.Limit>>20),
		}
	}
	return apiError{
		Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "unreadable_body",
		Message: "the request body cannot be read: " + err.Error(),
	}
}

// announce sets the headers by which clients decide whether to try again.
func (f *apiError) announce(h http.Header) {
	switch {
	case f.RetryAfter > 0:
		h.Set("Retry-After", strconv.FormatInt(int64((f.RetryAfter+time.Second-1)/time.Second), 10))
		h.Set("Retry-After-Ms", strconv.FormatInt(f.RetryAfter.Milliseconds(), 10))
	case f.Code == errUnconfigured.Code, f.Code == codeBudget, f.Code == cassette.CodeMiss: // trying again does not help
		h.Set("X-Should-Retry", "false")
	}
}

// body is the apiError in the form of the API that uri belongs to.
func (f *apiError) body(uri string) any {
	if strings.HasPrefix(strings.TrimPrefix(uri, "/v1"), "/messages") {
		return (*scripted.Error)(f).Anthropic()
	}
	return (*scripted.Error)(f).OpenAI()
}
