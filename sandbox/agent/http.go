package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// bodyLimit bounds a request, in bytes: ten images of 5 MiB are 67 MiB of base64.
const bodyLimit = 96 << 20

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
	var body bytes.Buffer
	if n := r.ContentLength; n > 0 && n <= bodyLimit {
		body.Grow(int(n) + bytes.MinRead) // growing step by step takes several times the memory
	}
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, bodyLimit))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return &requestError{http.StatusRequestEntityTooLarge, "BadRequest", fmt.Sprintf("body: larger than %d MiB", bodyLimit>>20)}
	}
	if err == nil && len(bytes.TrimSpace(body.Bytes())) > 0 {
		err = json.Unmarshal(body.Bytes(), v)
	}
	if err != nil {
		return badRequest("body: %v", err)
	}
	return nil
}
