package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// bodyLimit bounds a request, in bytes.
const bodyLimit = 64 << 20

// A handler answers one route. It returns an error only when it has written nothing.
type handler func(w http.ResponseWriter, r *http.Request) error

// A requestError is what the client did wrong.
type requestError struct {
	status  int
	name    string
	message string
}

func (e *requestError) Error() string { return e.message }

func notFound(format string, args ...any) error {
	return &requestError{http.StatusNotFound, "NotFoundError", fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) error {
	return &requestError{http.StatusBadRequest, "BadRequest", fmt.Sprintf(format, args...)}
}

// ServeHTTP is the only place where an error becomes a response.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := h(w, r)
	if err == nil {
		return
	}
	var bad *requestError
	if !errors.As(err, &bad) {
		bad = &requestError{http.StatusInternalServerError, "UnknownError", err.Error()}
	}
	_ = reply(w, bad.status, &Error{Name: bad.name, Data: ErrorData{Message: bad.message}})
}

func reply(w http.ResponseWriter, status int, v any) error {
	body, err := encode(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client may be gone
	return nil
}

// decode reads a JSON object into v. An empty body leaves v as it is.
func decode(w http.ResponseWriter, r *http.Request, v any) error {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyLimit)).Decode(v)
	if err != nil && !errors.Is(err, io.EOF) {
		return badRequest("body: %v", err)
	}
	return nil
}
