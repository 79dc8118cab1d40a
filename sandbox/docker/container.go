package docker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"lap/sandbox"
)

// Create makes the container of spec. On failure it leaves nothing behind, but when
// ctx ends it does not wait for that; Close does.
func (d *Docker) Create(ctx context.Context, spec sandbox.Spec) (string, error) {
	g, err := d.ready(ctx, spec.Image)
	if err != nil {
		return "", err
	}
	conf, host := d.containerConfig(spec, g)
	id, err := d.create(ctx, conf, host, spec.Name())
	if err != nil {
		return "", fmt.Errorf("create a sandbox from image %s: %w", spec.Image, err)
	}
	return id, nil
}

type created struct {
	id  string
	err error
}

// create makes a container and returns its id. A call that is given up may still make
// its container, so it goes on after ctx ends, and then removes what it made.
func (d *Docker) create(ctx context.Context, conf *container.Config, host *container.HostConfig, name string) (string, error) {
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	made := make(chan created)
	d.late.Go(func() {
		id, err := d.createWhole(context.WithoutCancel(ctx), conf, host, name)
		select {
		case made <- created{id, err}:
			return
		case <-ctx.Done():
		}
		if err == nil {
			err = d.Remove(ctx, id)
		}
		if err != nil {
			d.leftBehind(ctx, name, err)
		}
	})
	select {
	case c := <-made:
		return c.id, c.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// createWhole makes a container, or removes what a failed call may have made. A
// container of ours that has the name already was left by a lap that came to its end
// before it could remember it, for a name is given once.
func (d *Docker) createWhole(ctx context.Context, conf *container.Config, host *container.HostConfig, name string) (string, error) {
	id, err := d.createOnce(ctx, conf, host, name)
	if errdefs.IsConflict(err) {
		if stuck := d.vacate(ctx, name); stuck != nil {
			return "", fmt.Errorf("%w: %w", err, stuck)
		}
		id, err = d.createOnce(ctx, conf, host, name)
	}
	if err == nil || errdefs.IsConflict(err) { // a conflict is about the name of another's container
		return id, err
	}
	removed := d.Remove(ctx, name)
	if errors.Is(err, sandbox.ErrUnavailable) && errors.Is(removed, sandbox.ErrUnavailable) {
		return "", err // says it all
	}
	return "", errors.Join(err, removed)
}

func (d *Docker) createOnce(ctx context.Context, conf *container.Config, host *container.HostConfig, name string) (string, error) {
	var id string
	err := d.call(ctx, createTimeout, func(ctx context.Context) error {
		c, err := d.engine.ContainerCreate(ctx, conf, host, nil, nil, name)
		id = c.ID
		return err
	})
	return id, err
}

// vacate removes the container of the given name if this installation made it.
func (d *Docker) vacate(ctx context.Context, name string) error {
	c, err := d.look(ctx, name)
	switch {
	case errors.Is(err, sandbox.ErrGone):
		return nil
	case err != nil:
		return err
	case c.Config == nil || c.Config.Labels[labelOwner] != d.cfg.Owner:
		return fmt.Errorf("that container is not this lap's: if nothing needs it, run \"docker rm -f %s\"", name)
	}
	return d.Remove(ctx, c.ID) // by id: the name may be another's by now
}

func (d *Docker) leftBehind(ctx context.Context, name string, err error) {
	if d.cfg.Log != nil {
		d.cfg.Log.WarnContext(ctx, "container of a given-up call not made or not removed", slog.String("name", name), slog.Any("err", err))
	}
}

// Kill ends the processes of a sandbox at once, as when its machine runs out of memory. Its
// files stay. That it does not run is no error.
func (d *Docker) Kill(ctx context.Context, id string) error {
	err := d.request(ctx, func(ctx context.Context) error { return d.engine.ContainerKill(ctx, id, "SIGKILL") })
	if err == nil || errdefs.IsNotFound(err) || errdefs.IsConflict(err) { // the latter: it does not run
		return nil
	}
	return fmt.Errorf("kill sandbox %.12s: %w", id, err)
}

// Remove kills the container and deletes it with its files.
func (d *Docker) Remove(ctx context.Context, id string) error {
	err := d.request(context.WithoutCancel(ctx), func(ctx context.Context) error {
		err := d.engine.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: true})
		if errdefs.IsConflict(err) { // somebody else is removing it
			err = d.removed(ctx, id)
		}
		return err
	})
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
