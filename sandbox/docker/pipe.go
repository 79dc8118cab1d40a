package docker

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"

	"lap/sandbox"
)

// Start attaches to the guest's standard streams, which are the sandbox's first pipe,
// and runs it.
func (d *Docker) Start(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	pipe, err := d.attach(ctx, func(ctx context.Context) (types.HijackedResponse, error) {
		return d.engine.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdin: true, Stdout: true, Stderr: true})
	})
	if err != nil {
		return nil, fmt.Errorf("attach to the sandbox: %w", d.fate(ctx, id, err))
	}
	err = d.call(ctx, createTimeout, func(ctx context.Context) error {
		return d.engine.ContainerStart(ctx, id, container.StartOptions{})
	})
	if err != nil {
		pipe.Close()
		// Another lap may have removed the guest volume just before the container was
		// made; the engine then made it anew, empty. The next sandbox fills it.
		d.guest.Store(nil)
		return nil, fmt.Errorf("start the sandbox: %w", err)
	}
	return pipe, nil
}

// Dial opens a pipe with an exec of "lap pipe".
func (d *Docker) Dial(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	var exec container.ExecCreateResponse
	err := d.request(ctx, func(ctx context.Context) (err error) {
		exec, err = d.engine.ContainerExecCreate(ctx, id, container.ExecOptions{
			Cmd: []string{guestBinary, "pipe"}, User: guestUser, AttachStdin: true, AttachStdout: true, AttachStderr: true,
		})
		return err
	})
	if errdefs.IsNotFound(err) || errdefs.IsConflict(err) {
		err = d.fate(ctx, id, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open a pipe to the sandbox: %w", err)
	}
	pipe, err := d.attach(ctx, func(ctx context.Context) (types.HijackedResponse, error) {
		return d.engine.ContainerExecAttach(ctx, exec.ID, container.ExecAttachOptions{})
	})
	if err != nil {
		return nil, fmt.Errorf("open a pipe to the sandbox: %w", d.fate(ctx, id, err))
	}
	return pipe, nil
}

// fate says more about err, with which a pipe to the container failed, when the state
// of the container explains it.
func (d *Docker) fate(ctx context.Context, id string, err error) error {
	if ctx.Err() != nil {
		return err
	}
	var c container.InspectResponse
	failed := d.request(ctx, func(ctx context.Context) (err error) {
		c, err = d.engine.ContainerInspect(ctx, id)
		return err
	})
	switch {
	case errdefs.IsNotFound(failed):
		return fmt.Errorf("%w: %w", sandbox.ErrGone, err)
	case failed != nil:
		return failed
	case c.ContainerJSONBase == nil || c.State == nil:
		return err
	}
	switch c.State.Status {
	case container.StateExited, container.StateDead, container.StateRemoving:
		return fmt.Errorf("%w: %w", sandbox.ErrGone, err)
	case container.StatePaused:
		return fmt.Errorf("the sandbox is paused: run \"docker unpause %.12s\"", id)
	default:
		return err
	}
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
