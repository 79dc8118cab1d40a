package docker

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"lap/sandbox"
)

// state is what the engine's word for a container's state means for a sandbox.
func state(s container.ContainerState) sandbox.State {
	switch s {
	case container.StateCreated:
		return sandbox.StateCreated
	case container.StateRunning, container.StateRestarting:
		return sandbox.StateRunning
	case container.StatePaused:
		return sandbox.StatePaused
	default: // exited, dead, removing
		return sandbox.StateExited
	}
}

// describe is the part of an Info that a container's labels hold.
func describe(labels map[string]string) sandbox.Info {
	generation, _ := strconv.ParseInt(labels[labelGeneration], 10, 64) // 0 for a guest copy, which has none
	return sandbox.Info{Session: labels[labelSession], Agent: labels[labelAgent], Generation: generation}
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
		infos[i] = describe(c.Labels)
		infos[i].ID, infos[i].State, infos[i].Created = c.ID, state(c.State), time.Unix(c.Created, 0).UTC()
		if len(c.Names) > 0 { // a container that is being removed has none
			infos[i].Name = c.Names[0][1:] // less the slash
		}
	}
	return infos, nil
}

// Inspect looks at one container.
func (d *Docker) Inspect(ctx context.Context, id string) (sandbox.Detail, error) {
	c, err := d.look(ctx, id)
	if err != nil {
		return sandbox.Detail{}, fmt.Errorf("inspect sandbox %.12s: %w", id, err)
	}
	return detail(c), nil
}

func detail(c container.InspectResponse) sandbox.Detail {
	out := sandbox.Detail{Info: describe(c.Config.Labels), Image: c.Config.Image, Restarts: c.RestartCount, StartedAt: moment(c.State.StartedAt)}
	out.ID, out.State, out.Created = c.ID, state(c.State.Status), moment(c.Created)
	if c.Name != "" {
		out.Name = c.Name[1:]
	}
	if !out.Running() { // else these are of the run before
		out.FinishedAt, out.ExitCode = moment(c.State.FinishedAt), c.State.ExitCode
		out.OOMKilled = c.State.OOMKilled
	}
	return out
}

// moment reads a time of the engine, which writes year 1 for never.
func moment(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// look inspects a container. The error wraps sandbox.ErrGone when it does not exist.
// What it returns has its Config and State.
func (d *Docker) look(ctx context.Context, id string) (c container.InspectResponse, err error) {
	err = d.request(ctx, func(ctx context.Context) (err error) {
		c, err = d.engine.ContainerInspect(ctx, id)
		return err
	})
	switch {
	case errdefs.IsNotFound(err):
		return c, fmt.Errorf("%w: %w", sandbox.ErrGone, err)
	case err != nil:
		return c, err
	case c.ContainerJSONBase == nil || c.State == nil || c.Config == nil:
		return c, fmt.Errorf("the engine tells nothing of container %.12s", id)
	}
	return c, nil
}

// Pause freezes the container's processes, when none of them is just being started.
func (d *Docker) Pause(ctx context.Context, id string) error {
	done, err := d.quiet.pause(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if err := d.settled(ctx, id); err != nil {
		return fmt.Errorf("pause sandbox %.12s: %w", id, err)
	}
	return d.freeze(ctx, "pause", id, sandbox.StatePaused, d.engine.ContainerPause)
}

// errStarting says that a process is being started in a container, perhaps by a lap that
// has come to its end.
var errStarting = errors.New("a process is just being started in it")

// settled reports whether all execs of a container have been started.
func (d *Docker) settled(ctx context.Context, id string) error {
	c, err := d.look(ctx, id)
	if err != nil {
		return err
	}
	for _, exec := range c.ExecIDs {
		var e container.ExecInspect
		err := d.request(ctx, func(ctx context.Context) (err error) {
			e, err = d.engine.ContainerExecInspect(ctx, exec)
			return err
		})
		if err == nil && e.Running && e.Pid == 0 {
			return errStarting
		} else if err != nil && !errdefs.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// Unpause lets the container's processes go on.
func (d *Docker) Unpause(ctx context.Context, id string) error {
	return d.freeze(ctx, "unpause", id, sandbox.StateRunning, d.engine.ContainerUnpause)
}

// freeze changes a running container's state to want with f, which fails when that is
// its state already.
func (d *Docker) freeze(ctx context.Context, what, id string, want sandbox.State, f func(context.Context, string) error) error {
	err := d.request(ctx, func(ctx context.Context) error { return f(ctx, id) })
	if err == nil || ctx.Err() != nil || errors.Is(err, sandbox.ErrUnavailable) {
		return err
	}
	c, gone := d.look(ctx, id)
	switch {
	case gone != nil:
		err = gone
	case state(c.State.Status) == want:
		return nil
	default:
		err = fate(c.State.Status, err)
	}
	return fmt.Errorf("%s sandbox %.12s: %w", what, id, err)
}

// fate says more about err, with which a call about a running container failed, when
// the container's state explains it.
func fate(status container.ContainerState, err error) error {
	switch state(status) {
	case sandbox.StateCreated, sandbox.StateExited:
		return fmt.Errorf("%w: it is %s: %w", sandbox.ErrGone, status, err)
	case sandbox.StatePaused:
		return fmt.Errorf("%w: %w", sandbox.ErrPaused, err)
	default:
		return err
	}
}
