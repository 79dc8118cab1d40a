// Package docker runs sandboxes as containers of a Docker engine, or of anything else
// that speaks its API.
package docker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
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

// Config says how to use the engine.
type Config struct {
	Owner string // id of this installation; nothing with another owner is touched
	// Guest is the lap binary to run inside sandboxes. Empty: the running executable,
	// or the lap-linux-<arch> beside it when that one cannot run on the engine.
	Guest string
	Pull  PullPolicy
	Log   *slog.Logger // hears of a container that a given-up call left and that cannot be removed
}

// Docker is the sandbox.Runtime on a Docker engine.
type Docker struct {
	cfg    Config
	engine *client.Client
	broken error // why there is no client at all

	small      time.Duration         // callTimeout
	greeting   chan struct{}         // full while the API version is agreed on
	negotiated atomic.Bool           // the API version is agreed on
	making     chan struct{}         // full while the guest is made
	guest      atomic.Pointer[guest] // nil until the engine was first used
	late       sync.WaitGroup        // calls that their caller gave up, until what they made is removed
}

var _ sandbox.Runtime = (*Docker)(nil)

// New finds the engine as the docker command does. It does not connect: an engine
// that is not there, or a context that is broken, shows as sandbox.ErrUnavailable
// when it is needed.
func New(cfg Config) *Docker {
	d := &Docker{cfg: cfg, small: callTimeout, greeting: make(chan struct{}, 1), making: make(chan struct{}, 1)}
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

// Ping reports whether the engine answers. The error wraps sandbox.ErrUnavailable.
func (d *Docker) Ping(ctx context.Context) error {
	if d.broken != nil {
		return d.broken
	}
	return d.call(ctx, d.small, func(ctx context.Context) error {
		_, err := d.engine.Ping(ctx)
		return err
	})
}

// List returns the containers of this installation's sandboxes, and those of an
// interrupted guest copy, which have no session.
func (d *Docker) List(ctx context.Context) ([]sandbox.Info, error) {
	var all []container.Summary
	err := d.request(ctx, func(ctx context.Context) (err error) {
		all, err = d.engine.ContainerList(ctx, container.ListOptions{
			All: true, Filters: filters.NewArgs(filters.Arg("label", labelOwner+"="+d.cfg.Owner)),
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	infos := make([]sandbox.Info, len(all))
	for i, c := range all {
		infos[i] = sandbox.Info{
			ID: c.ID, Session: c.Labels[labelSession], Agent: c.Labels[labelAgent],
			Running: alive(c.State), Created: time.Unix(c.Created, 0).UTC(),
		}
	}
	return infos, nil
}

// alive reports whether a container in this state has processes. A paused one has.
func alive(state container.ContainerState) bool {
	switch state {
	case container.StateRunning, container.StatePaused, container.StateRestarting:
		return true
	default:
		return false
	}
}
