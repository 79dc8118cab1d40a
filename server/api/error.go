package api

import (
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"

	"lap/db"
	"lap/server/session"
)

// statusClientGone stands in the log for requests whose sender did not wait.
const statusClientGone = 499

// detailLength is how many bytes of a harness's own words are passed on.
const detailLength = 500

// A requestError is what the client did wrong, or has to know.
type requestError struct {
	status int
	msg    string
}

func (e *requestError) Error() string { return e.msg }

func invalid(format string, args ...any) error {
	return &requestError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// missing gives db.ErrNotFound the words for what was looked for. Other errors pass.
func missing(err error, format string, args ...any) error {
	if errors.Is(err, db.ErrNotFound) {
		return &requestError{http.StatusNotFound, fmt.Sprintf(format, args...)}
	}
	return err
}

// fail is the only place where an error becomes a response.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, msg := http.StatusInternalServerError, "internal error"
	var bad *requestError
	switch {
	case errors.As(err, &bad):
		status, msg = bad.status, bad.msg
	case r.Context().Err() != nil:
		status, msg = statusClientGone, "client gone"
	case errors.Is(err, db.ErrNotFound):
		status, msg = http.StatusNotFound, "not found"
	case errors.Is(err, db.ErrKeyReused):
		status, msg = http.StatusConflict, idempotencyKey+" was used for another request"
	case errors.Is(err, db.ErrQueueFull):
		status, msg = http.StatusConflict, fmt.Sprintf("%d messages of this session are waiting: send this one again when some are answered", db.MaxOpenTurns)
	case errors.Is(err, session.ErrHarness), errors.Is(err, session.ErrRestart):
		status, msg = http.StatusBadGateway, oneLine(err.Error())
	case errors.Is(err, session.ErrStopping):
		status, msg = http.StatusServiceUnavailable, session.ErrStopping.Error()
	case db.Unavailable(err):
		status, msg = http.StatusServiceUnavailable, "session store temporarily unavailable"
		a.cfg.Log.ErrorContext(r.Context(), "the database fails: is its disk full?", "method", r.Method, "path", r.URL.Path, "err", err)
	default:
		a.cfg.Log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	_ = reply(w, status, errorReply{msg}) // a string always encodes
}

// panicked answers for a handler that panicked.
func (a *API) panicked(w http.ResponseWriter, r *http.Request, cause any) {
	if cause == http.ErrAbortHandler { //nolint:errorlint // a panic's value, by identity as net/http does
		panic(cause)
	}
	a.cfg.Log.ErrorContext(r.Context(), "handler panicked", "method", r.Method, "path", r.URL.Path,
		"cause", fmt.Sprint(cause), "stack", string(debug.Stack()))
	_ = reply(w, http.StatusInternalServerError, errorReply{"internal error"}) // fails only when a reply has begun
}

type errorReply struct {
	Error string `json:"error"`
}
