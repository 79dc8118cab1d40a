//go:build linux

package native

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lap/sandbox"
)

// freezeTimeout is how long a kernel may take to freeze processes, of which some may be
// busy with a slow disk.
const freezeTimeout = 10 * time.Second

// Pause stops all processes of a sandbox.
func (n *Native) Pause(ctx context.Context, id string) error {
	err := n.change(ctx, id, sandbox.StatePaused, func(ctx context.Context, r *run) error {
		if r.Groups.Unified != "" {
			return r.Groups.freeze(ctx, true)
		}
		err := stopAll(ctx, r.process)
		if err != nil {
			err = errors.Join(err, goOnAll(r.process))
		}
		return err
	})
	if err != nil {
		return wrap("pause", id, err)
	}
	return nil
}

// Unpause lets them go on.
func (n *Native) Unpause(ctx context.Context, id string) error {
	err := n.change(ctx, id, sandbox.StateRunning, func(ctx context.Context, r *run) error {
		if r.Groups.Unified == "" {
			return goOnAll(r.process)
		}
		return r.Groups.freeze(ctx, false)
	})
	if err != nil {
		return wrap("unpause", id, err)
	}
	return nil
}

// change calls do unless the sandbox's state is want already.
func (n *Native) change(ctx context.Context, id string, want sandbox.State, do func(context.Context, *run) error) error {
	ctx, cancel := context.WithTimeout(ctx, freezeTimeout)
	defer cancel()
	b, unlock, err := n.hold(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := b.read()
	if err != nil {
		return err
	}
	switch d := b.detail(r); {
	case !d.Running():
		return fmt.Errorf("%w: it is %s", sandbox.ErrGone, d.State)
	case d.State == want:
		return nil
	}
	return do(ctx, r.Run)
}
