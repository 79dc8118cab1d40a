//go:build linux

package guest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"syscall"

	"lap/sandbox"
)

func (g *Guest) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /boot", handler(g.takeBoot)) // which waits where it has to
	for pattern, h := range map[string]handler{
		"GET /health":   g.health,
		"GET /boot":     g.lastBoot,
		"POST /turns":   g.takeTurn,
		"GET /journal":  g.readJournal,
		"POST /journal": g.forgetJournal,
		"GET /logs":     g.readLogs,
		"GET /files":    g.readFile,
		"PUT /files":    g.putFile,
		"GET /diff":     g.readDiff,
		"/harness/":     g.passOn,
	} {
		mux.Handle(pattern, g.onceEntered(h))
	}
	return mux
}

// onceEntered lets a handler wait until the container is a sandbox.
func (g *Guest) onceEntered(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := g.entered(r.Context()); err != nil {
			return err
		}
		return h(w, r)
	}
}

// A handler answers one route. It returns an error only when it has written nothing.
type handler func(w http.ResponseWriter, r *http.Request) error

// ServeHTTP is the only place where an error becomes a response.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := h(w, r); err != nil {
		http.Error(w, err.Error(), statusOf(err))
	}
}

// A refusal is an error with its status.
type refusal struct {
	status int
	error
}

func refuse(status int, format string, args ...any) error {
	return &refusal{status, fmt.Errorf(format, args...)}
}

// errNotBooted is what a guest answers that has no session yet.
var errNotBooted = refuse(http.StatusServiceUnavailable, "not booted")

// statusOf is the status that says what err says, as far as one can.
func statusOf(err error) int {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.status
	}
	for _, c := range []struct {
		cause  error
		status int
	}{
		{fs.ErrNotExist, http.StatusNotFound},
		{syscall.ENOSPC, http.StatusInsufficientStorage},
		{syscall.EDQUOT, http.StatusInsufficientStorage},
		{syscall.EFBIG, http.StatusRequestEntityTooLarge},
		{syscall.EISDIR, http.StatusConflict},
		{syscall.ENOTDIR, http.StatusConflict},
		{fs.ErrExist, http.StatusConflict},
		{syscall.ENAMETOOLONG, http.StatusBadRequest},
		{syscall.EINVAL, http.StatusBadRequest},
		{syscall.ELOOP, http.StatusBadRequest},
		{fs.ErrPermission, http.StatusForbidden},
	} {
		if errors.Is(err, c.cause) {
			return c.status
		}
	}
	return http.StatusInternalServerError
}

// decode reads a JSON body of at most limit bytes into v.
func decode(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	var body bytes.Buffer
	if n := r.ContentLength; n > 0 && n <= limit {
		body.Grow(int(n) + bytes.MinRead) // growing step by step takes several times the memory
	}
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return refuse(http.StatusRequestEntityTooLarge, "the body is larger than %d MiB", limit>>20)
	}
	if err == nil {
		err = json.Unmarshal(body.Bytes(), v)
	}
	if err != nil {
		return refuse(http.StatusBadRequest, "the body is not what it should be: %w", err)
	}
	return nil
}

// reply answers with v as JSON.
func reply(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the host may be gone
	return nil
}

// health answers GET /health.
func (g *Guest) health(w http.ResponseWriter, _ *http.Request) error {
	h := sandbox.Health{Guest: g.journal.id, Capture: g.uncaught}
	if b := g.booted.Load(); b != nil {
		h.Session = b.boot.Session
	}
	return reply(w, h)
}

// passOn hands a request to the harness.
func (g *Guest) passOn(w http.ResponseWriter, r *http.Request) error {
	b := g.booted.Load()
	if b == nil {
		return errNotBooted
	}
	http.StripPrefix("/harness", b.harness).ServeHTTP(w, r)
	return nil
}
