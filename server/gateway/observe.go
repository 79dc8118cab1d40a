package gateway

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"lap/sandbox/pipe"
)

// An Observer sees calls of models as sandboxes make them, for tests. Calls come at once.
type Observer interface {
	// Asked is called before a call is made, whoever is to answer it. An error is the
	// answer: a *scripted.Error as it is. done is called with the status of the answer,
	// 0 for none, when it is over, also after an error; nil: it is not.
	Asked(ctx context.Context, a Asked) (done func(status int), err error)
}

// Asked is a call of a model.
type Asked struct {
	Sandbox string
	Method  string
	Path    string // without query
	Model   string // those that it names, parted by commas; empty: none
	Body    []byte // nil: not read, as it is a form; valid only during Asked
}

// observe tells the observer of a call that runs a model. w is a *seen when there is one.
func (g *Gateway) observe(w http.ResponseWriter, r *http.Request, t target, b *body, a asked) error {
	watched, ok := w.(*seen)
	if !ok || t.form == free {
		return nil
	}
	names := slices.Concat(a.models, t.models)
	slices.Sort(names)
	call := Asked{
		Sandbox: pipe.Owner(r.Context()), Method: r.Method, Path: t.String(), Model: strings.Join(slices.Compact(names), ","),
	}
	if b != nil {
		call.Body = b.data
	}
	var err error
	watched.done, err = g.watch.Asked(r.Context(), call)
	return err
}

// A seen is an answer whose status is noted.
type seen struct {
	http.ResponseWriter
	status int              // 0: none yet
	done   func(status int) // nil: nobody asks
}

// Unwrap is for http.ResponseController.
func (s *seen) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (s *seen) WriteHeader(status int) {
	if s.status < http.StatusOK { // those before it are not the answer's
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (s *seen) Write(b []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	return s.ResponseWriter.Write(b)
}

func (s *seen) end() {
	if s.done != nil {
		s.done(s.status)
	}
}
