package docker

import (
	"context"
	"fmt"
	"time"

	"github.com/docker/docker/client"

	"lap/sandbox"
)

// request makes one small engine call, after the API version is agreed on.
func (d *Docker) request(ctx context.Context, f func(context.Context) error) error {
	if err := d.negotiate(ctx); err != nil {
		return err
	}
	return d.call(ctx, d.small, f)
}

// negotiate agrees with the engine on an API version, once. The client would do it by
// itself, but its other calls would then wait for an engine that hangs in spite of
// their context.
func (d *Docker) negotiate(ctx context.Context) error {
	if d.broken != nil || d.negotiated.Load() {
		return d.broken
	}
	return d.call(ctx, d.small, func(ctx context.Context) error {
		select {
		case d.greeting <- struct{}{}:
			defer func() { <-d.greeting }()
		case <-ctx.Done():
			return ctx.Err()
		}
		if d.negotiated.Load() {
			return nil
		}
		ping, err := d.engine.Ping(ctx)
		if err != nil {
			return err
		}
		d.engine.NegotiateAPIVersionPing(ping)
		d.negotiated.Store(true)
		return nil
	})
}

// call makes one engine call. The error is the cause of ctx when that ended, and wraps
// sandbox.ErrUnavailable when the engine did not answer within limit or not at all.
func (d *Docker) call(ctx context.Context, limit time.Duration, f func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := f(limited)
	if err != nil && ctx.Err() == nil && limited.Err() != nil {
		return fmt.Errorf("%w: the engine at %s has not answered within %s: restart it, then create the session again",
			sandbox.ErrUnavailable, d.engine.DaemonHost(), limit)
	}
	return d.explain(ctx, err)
}

// explain makes one clear sentence of the error of an engine that is not there. The
// client takes a context that ended with a cause for such an engine.
func (d *Docker) explain(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case client.IsErrConnectionFailed(err):
		return unavailable("nothing answers at "+d.engine.DaemonHost(), err)
	}
	return err
}

func unavailable(what string, err error) error {
	return fmt.Errorf("%w: %s: %w: start Docker, or point DOCKER_HOST or a docker context at a running engine, then create the session again",
		sandbox.ErrUnavailable, what, err)
}
