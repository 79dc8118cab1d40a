package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"lap/sandbox"
)

// execTimeout is how long an exec of which nothing is heard counts as starting.
const execTimeout = 2 * time.Second

// Start attaches to the guest's standard streams, which are the sandbox's first pipe of
// this run, and runs it.
func (d *Docker) Start(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	pipe, err := d.start(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("start sandbox %.12s: %w", id, err)
	}
	return pipe, nil
}

func (d *Docker) start(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	c, err := d.look(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := startable(c.State.Status); err != nil {
		return nil, err
	}
	pipe, err := d.attach(ctx, func(ctx context.Context) (types.HijackedResponse, error) {
		return d.engine.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	})
	if err != nil {
		return nil, err
	}
	err = d.call(ctx, createTimeout, func(ctx context.Context) error {
		return d.engine.ContainerStart(ctx, id, container.StartOptions{})
	})
	if err != nil {
		pipe.Close()
		// Another lap may have removed the guest volume just before the container was
		// made; the engine then made it anew, empty. The next sandbox fills it.
		d.guest.Store(nil)
		return nil, err
	}
	return pipe, nil
}

// startable says why a container in this state cannot be started.
func startable(status container.ContainerState) error {
	switch status {
	case container.StateDead, container.StateRemoving:
		return fmt.Errorf("%w: it is %s", sandbox.ErrGone, status)
	case container.StatePaused:
		return sandbox.ErrPaused
	case container.StateRunning, container.StateRestarting:
		return errors.New("it runs already")
	default:
		return nil
	}
}

// Dial opens a pipe with an exec of "lap pipe".
func (d *Docker) Dial(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	pipe, err := d.exec(ctx, id)
	if err == nil {
		return pipe, nil
	}
	if ctx.Err() == nil && !errors.Is(err, sandbox.ErrUnavailable) {
		if c, gone := d.look(ctx, id); gone != nil {
			err = gone
		} else {
			err = fate(c.State.Status, err)
		}
	}
	return nil, fmt.Errorf("open a pipe to sandbox %.12s: %w", id, err)
}

// exec runs "lap pipe". The engine answers before it has started it.
func (d *Docker) exec(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	started, err := d.quiet.start(ctx, id)
	if err != nil {
		return nil, err
	}
	leave, err := d.queue(ctx)
	if err != nil {
		started()
		return nil, err
	}
	begun := func() { leave(); started() }
	pipe, err := d.execNow(ctx, id)
	if err != nil {
		begun()
		return nil, err
	}
	pipe.begun = begun
	time.AfterFunc(execTimeout, begun)
	return pipe, nil
}

func (d *Docker) execNow(ctx context.Context, id string) (*stream, error) {
	var exec container.ExecCreateResponse
	err := d.request(ctx, func(ctx context.Context) (err error) {
		exec, err = d.engine.ContainerExecCreate(ctx, id, container.ExecOptions{
			Cmd: []string{guestBinary, "pipe"}, User: guestUser, AttachStdin: true, AttachStdout: true, AttachStderr: true,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return d.attach(ctx, func(ctx context.Context) (types.HijackedResponse, error) {
		return d.engine.ContainerExecAttach(ctx, exec.ID, container.ExecAttachOptions{})
	})
}

// queue waits until an exec may start, no longer than for an engine that hangs. begun
// lets the next one start, once.
func (d *Docker) queue(ctx context.Context) (begun func(), err error) {
	err = d.call(ctx, d.small, func(ctx context.Context) error {
		select {
		case d.execs <- struct{}{}:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return sync.OnceFunc(func() { <-d.execs }), err
}

type attached struct {
	types.HijackedResponse
	err error
}

// attach makes a pipe with f. The client does not heed the context while it waits for
// the engine's answer, so f runs beside, and its connection is closed when it is too
// late. Over TLS only the answer, or the end of the connection, ends f.
func (d *Docker) attach(ctx context.Context, f func(context.Context) (types.HijackedResponse, error)) (*stream, error) {
	if err := d.negotiate(ctx); err != nil {
		return nil, err
	}
	life, end := context.WithCancel(context.WithValue(context.WithoutCancel(ctx), pipeKey{}, true))
	made := make(chan attached)
	go func() {
		h, err := f(life)
		select {
		case made <- attached{h, err}:
		case <-life.Done():
			if err == nil {
				h.Close()
			}
		}
	}()
	var pipe *stream
	err := d.call(ctx, d.small, func(ctx context.Context) error {
		select {
		case a := <-made:
			pipe = newStream(a.HijackedResponse, end)
			return a.err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	if err != nil {
		end()
		return nil, err
	}
	return pipe, nil
}

// pipeKey marks the context of a pipe: its connection is closed when the context ends.
type pipeKey struct{}

// closablePipes makes connections that are for a pipe end with their context. Others
// serve one call after another and outlive the context of the first.
func closablePipes(c *client.Client) error {
	transport, ok := c.HTTPClient().Transport.(*http.Transport)
	if !ok || transport.DialContext == nil {
		return nil
	}
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil && ctx.Value(pipeKey{}) != nil {
			context.AfterFunc(ctx, func() { conn.Close() })
		}
		return conn, err
	}
	return nil
}
