// Package sandbox says what a sandbox is: a sealed Linux container that runs one
// session and whose only contact with the world is one byte pipe to lap.
package sandbox

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"
)

// Errors of a Runtime that callers tell apart.
var (
	// ErrUnavailable says that the engine does not answer. The error that wraps it is
	// one sentence for the user on what to do.
	ErrUnavailable = errors.New("no container engine")
	// ErrGone says that the sandbox does not exist or does not run.
	ErrGone = errors.New("sandbox is gone")
)

// A Spec says what to make a sandbox from. It holds no secret: environment, prompt
// and files travel over the pipe.
type Spec struct {
	Session    string
	Agent      string
	Generation int64 // of the session, so that a name is never used twice
	Image      string
	Limits     Limits
}

// Name is the sandbox's name, unique on an engine.
func (s Spec) Name() string {
	return "lap-" + s.Session + "-" + strconv.FormatInt(s.Generation, 10)
}

// Limits bound what one sandbox can take from the host.
type Limits struct {
	CPUs   float64 // cores; 0: no limit
	Memory int64   // bytes, swap included; 0: no limit
	PIDs   int64   // processes and threads; 0: no limit
}

// Info is a sandbox as the engine knows it.
type Info struct {
	ID      string
	Session string
	Agent   string
	Running bool
	Created time.Time
}

// A Runtime makes sandboxes. Its methods may be called at once from several
// goroutines. It touches only sandboxes of its own installation.
type Runtime interface {
	// Ensure makes image available, fetching it when it is missing. progress is called
	// with short texts, from the calling goroutine. The error names the image and the cause.
	Ensure(ctx context.Context, image string, progress func(detail string)) error
	// Create makes the sandbox of spec without starting it and returns the engine's
	// id. On error it leaves nothing behind.
	Create(ctx context.Context, spec Spec) (id string, err error)
	// Start runs the guest and returns the sandbox's first pipe, which the caller
	// closes. On error the sandbox still exists.
	Start(ctx context.Context, id string) (io.ReadWriteCloser, error)
	// Dial opens a new pipe to a running sandbox, which the caller closes. The error
	// wraps ErrGone when there is none.
	Dial(ctx context.Context, id string) (io.ReadWriteCloser, error)
	// Remove ends the sandbox and deletes it and its files. A sandbox that is already
	// gone is a success. It sets its own time limit and does not end with ctx.
	Remove(ctx context.Context, id string) error
	// List returns every sandbox of this installation, running or not.
	List(ctx context.Context) ([]Info, error)
}
