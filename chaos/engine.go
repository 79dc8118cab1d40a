package main

import (
	"context"
	"errors"
	"fmt"

	"lap/sandbox"
)

// An engine is what runs the sandboxes of installations, as it looks beside lap.
type engine interface {
	// boxes returns all sandboxes of an installation, running or not.
	boxes(ctx context.Context, l *lap) ([]box, error)
	// birth says when a sandbox was made and started, and how it is.
	birth(ctx context.Context, l *lap, id string) (string, error)
	// kill ends the processes of a sandbox.
	kill(ctx context.Context, l *lap, id string) error
	// remove removes one. That it is gone, or going, is a success.
	remove(ctx context.Context, l *lap, id string) error
	// close lets go of the engine, and removes what all installations have shared.
	close(ctx context.Context, binary string) error
}

// A box is a sandbox of an installation.
type box struct {
	id, session, state string
}

// errNoEngine says that there can be no sandboxes of the kind that is asked for.
var errNoEngine = errors.New("no such sandboxes here")

// newEngine returns the engine that runs sandboxes of a binary, by its name in LAP_SANDBOX.
func newEngine(ctx context.Context, name, binary string) (e engine, err error) {
	switch name {
	case sandbox.Docker:
		e, err = newDockerEngine(ctx)
	case sandbox.Native:
		e, err = newNativeEngine(ctx, binary)
	default:
		err = fmt.Errorf("-sandbox %q is not %s or %s", name, sandbox.Docker, sandbox.Native)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoEngine, err)
	}
	return e, nil
}

// removeBoxes removes all sandboxes of an installation.
func (w *world) removeBoxes(ctx context.Context, l *lap) error {
	if l.owner == "" { // it was never started
		return nil
	}
	list, err := w.engine.boxes(ctx, l)
	errs := []error{err}
	for _, b := range list {
		errs = append(errs, w.engine.remove(ctx, l, b.id))
	}
	return errors.Join(errs...)
}
