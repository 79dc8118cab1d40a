// Package docker runs sandboxes as containers of a Docker engine, or of anything else
// that speaks its API.
package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
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

const (
	createTimeout = 2 * time.Minute  // for the engine to make one container
	removeTimeout = 30 * time.Second // for the engine to remove one container
)

// Config says how to use the engine.
type Config struct {
	Owner string // id of this installation; nothing with another owner is touched
	// Guest is the lap binary to run inside sandboxes. Empty: the running executable,
	// or the lap-linux-<arch> beside it when that one cannot run on the engine.
	Guest string
	Pull  PullPolicy
	Log   *slog.Logger
}

// Docker is the sandbox.Runtime on a Docker engine.
type Docker struct {
	cfg    Config
	engine *client.Client
	broken error // why there is no client at all

	guest  atomic.Pointer[guest] // nil until the engine was first used
	making sync.Mutex            // held while the guest is made
}

var _ sandbox.Runtime = (*Docker)(nil)

// New finds the engine as the docker command does. It does not connect: an engine
// that is not there, or a context that is broken, shows as sandbox.ErrUnavailable
// when it is needed.
func New(cfg Config) *Docker {
	d := &Docker{cfg: cfg}
	opts, err := endpoint()
	if err == nil {
		d.engine, err = client.NewClientWithOpts(opts...)
	}
	if err != nil {
		d.broken = unavailable("the configured Docker endpoint cannot be used", err)
	}
	return d
}

// Close gives up idle connections to the engine.
func (d *Docker) Close() error {
	if d.engine == nil {
		return nil
	}
	return d.engine.Close()
}

// Ping reports whether the engine answers. The error wraps sandbox.ErrUnavailable.
func (d *Docker) Ping(ctx context.Context) error {
	if d.broken != nil {
		return d.broken
	}
	_, err := d.engine.Ping(ctx)
	return d.explain(err)
}

func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w: start Docker, or point DOCKER_HOST or a docker context at a running engine, then create the session again",
		sandbox.ErrUnavailable, what, err)
}

// explain turns the error of an engine call into one that callers can tell apart.
func (d *Docker) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case client.IsErrConnectionFailed(err):
		return unavailable("nothing answers at "+d.engine.DaemonHost(), err)
	case errdefs.IsNotFound(err), errdefs.IsConflict(err):
		return fmt.Errorf("%w: %w", sandbox.ErrGone, err)
	}
	return err
}

// Create makes the container of spec. On failure it leaves nothing behind.
func (d *Docker) Create(ctx context.Context, spec sandbox.Spec) (string, error) {
	g, err := d.ready(ctx, spec.Image)
	if err != nil {
		return "", err
	}
	conf, host := d.containerConfig(spec, g)
	// A call that is given up may still make its container, so it is not given up.
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), createTimeout)
	defer cancel()
	c, err := d.engine.ContainerCreate(whole, conf, host, nil, nil, spec.Name())
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return "", errors.Join(fmt.Errorf("create a sandbox from image %s: %w", spec.Image, err), d.Remove(ctx, spec.Name()))
	}
	return c.ID, nil
}

// Start attaches to the guest's standard streams, which are the sandbox's first pipe,
// and runs it.
func (d *Docker) Start(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	hijacked, err := d.engine.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	if err != nil {
		return nil, fmt.Errorf("attach to the sandbox: %w", d.explain(err))
	}
	if err := d.engine.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		hijacked.Close()
		return nil, fmt.Errorf("start the sandbox: %w", err)
	}
	return newStream(hijacked), nil
}

// Dial opens a pipe with an exec of "lap pipe".
func (d *Docker) Dial(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	if d.broken != nil {
		return nil, d.broken
	}
	e, err := d.engine.ContainerExecCreate(ctx, id, container.ExecOptions{
		Cmd: []string{guestBinary, "pipe"}, User: guestUser, AttachStdin: true, AttachStdout: true, AttachStderr: true,
	})
	if err != nil {
		return nil, fmt.Errorf("open a pipe to the sandbox: %w", d.explain(err))
	}
	hijacked, err := d.engine.ContainerExecAttach(ctx, e.ID, container.ExecAttachOptions{})
	if err != nil {
		return nil, fmt.Errorf("open a pipe to the sandbox: %w", d.explain(err))
	}
	return newStream(hijacked), nil
}

// Remove kills the container and deletes it with its files.
func (d *Docker) Remove(ctx context.Context, id string) error {
	if d.broken != nil {
		return d.broken
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	err := d.engine.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
	if errdefs.IsConflict(err) { // somebody else is removing it
		err = d.removed(ctx, id)
	}
	if err == nil || errdefs.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("remove sandbox %.12s: %w", id, err)
}

// removed waits until the container is gone.
func (d *Docker) removed(ctx context.Context, id string) error {
	gone, failed := d.engine.ContainerWait(ctx, id, container.WaitConditionRemoved)
	select {
	case <-gone:
		return nil
	case err := <-failed:
		return err
	}
}

// List returns the containers of this installation's sandboxes, and those of an
// interrupted guest copy, which have no session.
func (d *Docker) List(ctx context.Context) ([]sandbox.Info, error) {
	if d.broken != nil {
		return nil, d.broken
	}
	all, err := d.engine.ContainerList(ctx, container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", labelOwner+"="+d.cfg.Owner)),
	})
	if err != nil {
		return nil, errors.Join(errors.New("list sandboxes"), d.explain(err))
	}
	infos := make([]sandbox.Info, len(all))
	for i, c := range all {
		infos[i] = sandbox.Info{
			ID: c.ID, Session: c.Labels[labelSession], Agent: c.Labels[labelAgent],
			Running: c.State == container.StateRunning, Created: time.Unix(c.Created, 0).UTC(),
		}
	}
	return infos, nil
}
