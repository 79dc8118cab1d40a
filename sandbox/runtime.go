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
	ErrUnavailable = errors.New("sandboxes cannot run")
	// ErrGone says that the sandbox does not exist or does not run.
	ErrGone = errors.New("sandbox is gone")
	// ErrPaused says that the sandbox is paused.
	ErrPaused = errors.New("sandbox is paused")
	// ErrNoImage says that an image is not on the engine.
	ErrNoImage = errors.New("no such image")
	// ErrPull says that an image could not be fetched from its registry.
	ErrPull = errors.New("cannot be pulled")
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
	Disk   int64   // bytes of files that it adds or changes; 0: no limit; native sandboxes only
}

// A State is what a sandbox is doing.
type State string

// The states of a sandbox.
const (
	StateCreated State = "created" // never started
	StateRunning State = "running"
	StatePaused  State = "paused"
	StateExited  State = "exited" // it can be started again, with its files
)

// Info is a sandbox as the engine knows it.
type Info struct {
	ID         string
	Name       string
	Session    string
	Agent      string
	Generation int64
	State      State
	Created    time.Time
}

// Running reports whether the sandbox has processes. A paused one has.
func (i Info) Running() bool { return i.State == StateRunning || i.State == StatePaused }

// A Detail is an Info with what only a closer look tells.
type Detail struct {
	Info
	Image      string
	ExitCode   int  // -1: nobody saw it; StateExited only
	OOMKilled  bool // it, or something in it, ran out of memory; StateExited only
	Restarts   int
	StartedAt  time.Time // zero: never
	FinishedAt time.Time // zero: it runs, or never ran
}

// An Image is an image that is on the engine.
type Image struct {
	ID   string // changes with its content
	Size int64  // bytes
}

// A Runtime makes sandboxes. Its methods may be called at once from several
// goroutines. It touches only sandboxes of its own installation.
type Runtime interface {
	// Ping asks the engine for its version. The error wraps ErrUnavailable.
	Ping(ctx context.Context) (version string, err error)
	// Ensure makes image available, fetching it when it is missing. progress is called
	// with short texts, from the calling goroutine. The error names the image and the cause.
	Ensure(ctx context.Context, image string, progress func(detail string)) error
	// Image looks an image up without fetching it. The error wraps ErrNoImage when it is
	// not there.
	Image(ctx context.Context, image string) (Image, error)
	// Build names what else goes into every sandbox: it changes with lap's own binary.
	Build(ctx context.Context) (string, error)
	// Create makes the sandbox of spec without starting it and returns the engine's
	// id. On error it leaves nothing behind.
	Create(ctx context.Context, spec Spec) (id string, err error)
	// Start runs the guest of a sandbox that does not run, whether or not it has run
	// before, and returns its first pipe, which the caller closes. On error the sandbox
	// still exists.
	Start(ctx context.Context, id string) (io.ReadWriteCloser, error)
	// Dial opens a new pipe to a running sandbox, which the caller closes. The error
	// wraps ErrGone when there is none, and ErrPaused when it is paused.
	Dial(ctx context.Context, id string) (io.ReadWriteCloser, error)
	// Pause freezes all processes of a running sandbox, Unpause lets them go on. Neither
	// fails when that is so already. The error wraps ErrGone when it does not run.
	Pause(ctx context.Context, id string) error
	Unpause(ctx context.Context, id string) error
	// Inspect looks at one sandbox. The error wraps ErrGone when it does not exist.
	Inspect(ctx context.Context, id string) (Detail, error)
	// Remove ends the sandbox and deletes it and its files. id may be its name. A sandbox
	// that is already gone is a success. It sets its own time limit and does not end with ctx.
	Remove(ctx context.Context, id string) error
	// List returns every sandbox of this installation, running or not.
	List(ctx context.Context) ([]Info, error)
}
