// Package docker runs sandboxes as containers of a Docker engine, or of anything else
// that speaks its API.
package docker

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/client"

	"lap/sandbox"
)

// Labels of everything lap makes on an engine. They are how a later start finds it.
const (
	labelOwner      = "dev.lap.owner"      // the installation
	labelSession    = "dev.lap.session"    // sandboxes only
	labelAgent      = "dev.lap.agent"      // sandboxes only
	labelGeneration = "dev.lap.generation" // sandboxes only
	labelGuest      = "dev.lap.guest"      // guest volumes only: hash of the binary inside
)

// Time limits of engine calls. A pull has none: its progress is seen.
const (
	callTimeout   = 30 * time.Second // for all but the following
	createTimeout = 2 * time.Minute  // to make or to start one container
	copyTimeout   = 10 * time.Minute // to copy lap, perhaps over a slow line
)

// execsAtOnce bounds the execs that are starting at once. Each takes 35 ms of a core, so
// more at once get nothing done sooner: of a hundred, all are ready as late as the last.
const execsAtOnce = 8

// Config says how to use the engine.
type Config struct {
	Owner string // id of this installation; nothing with another owner is touched
	// Guest is the lap binary to run inside sandboxes. Empty: the running executable,
	// or the lap-linux-<arch> beside it when that one cannot run on the engine.
	Guest string
	Pull  PullPolicy
	// OCIRuntime is what the engine runs containers with; empty: its default.
	OCIRuntime string
	Log        *slog.Logger // hears of a container that a given-up call left and that cannot be removed
}

// Docker is the sandbox.Runtime on a Docker engine.
type Docker struct {
	cfg    Config
	engine *client.Client
	broken error  // why there is no client at all
	helper string // begins the names of this process's containers that help to copy lap

	quiet      *quiet
	small      time.Duration          // callTimeout
	greeting   chan struct{}          // full while the API version is agreed on
	negotiated atomic.Bool            // the API version is agreed on
	making     chan struct{}          // full while the guest is made
	execs      chan struct{}          // one for each exec that is starting
	guest      atomic.Pointer[guest]  // nil until the engine was first used
	build      atomic.Pointer[string] // what Build said before there was a guest
	late       sync.WaitGroup         // calls that their caller gave up, until what they made is removed
}

var _ sandbox.Runtime = (*Docker)(nil)

// New finds the engine as the docker command does. It does not connect: an engine
// that is not there, or a context that is broken, shows as sandbox.ErrUnavailable
// when it is needed.
func New(cfg Config) *Docker {
	d := &Docker{
		cfg: cfg, quiet: newQuiet(), small: callTimeout, helper: "lap-guest-" + rand.Text() + "-",
		greeting: make(chan struct{}, 1), making: make(chan struct{}, 1), execs: make(chan struct{}, execsAtOnce),
	}
	opts, err := endpoint()
	if err == nil {
		d.engine, err = client.NewClientWithOpts(append(opts, closablePipes)...)
	}
	if err != nil {
		d.broken = unavailable("the configured Docker endpoint cannot be used", err)
	}
	return d
}

// Close waits until what given-up calls made is removed, for some two and a half
// minutes when the engine hangs, and gives up idle connections. No other method may be
// called after it.
func (d *Docker) Close() error {
	if d.engine == nil {
		return nil
	}
	d.late.Wait()
	return d.engine.Close()
}

// Ping asks the engine for its version.
func (d *Docker) Ping(ctx context.Context) (string, error) {
	var version types.Version
	err := d.request(ctx, func(ctx context.Context) (err error) {
		version, err = d.engine.ServerVersion(ctx)
		return err
	})
	if err != nil && ctx.Err() == nil && !errors.Is(err, sandbox.ErrUnavailable) {
		err = unavailable("the engine at "+d.engine.DaemonHost()+" does not tell its version", err)
	}
	return version.Version, err
}
