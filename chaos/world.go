package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// A world is what all cells share: a binary, the engine, and an installation beside
// theirs that must not be touched.
type world struct {
	dir       string
	binary    string
	sandbox   string // what runs sandboxes
	engine    engine
	neighbour *neighbour

	mu   sync.Mutex // guards what follows
	laps map[*lap]struct{}
	gone []*lap // what a killed server had asked for may still come
}

// newWorld builds lap with fault points from the tree that it runs in.
func newWorld(ctx context.Context, sandbox string) (_ *world, err error) {
	w := &world{sandbox: sandbox, laps: map[*lap]struct{}{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close(context.WithoutCancel(ctx)))
		}
	}()
	if w.dir, err = os.MkdirTemp("", "lap-chaos-*"); err != nil {
		return nil, err
	}
	w.binary = filepath.Join(w.dir, "lap")
	build := exec.CommandContext(ctx, "go", "build", "-tags", "chaos", "-trimpath", "-o", w.binary, "lap")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build lap: %w\n%s", err, text)
	}
	if w.engine, err = newEngine(ctx, sandbox, w.binary); err != nil {
		return nil, err
	}
	w.neighbour, err = newNeighbour(ctx, w)
	return w, err
}

// install makes a new installation, which is not started yet.
func (w *world) install(env ...string) (*lap, error) {
	dir, err := os.MkdirTemp(w.dir, "lap-*")
	if err != nil {
		return nil, err
	}
	l := &lap{world: w, dir: dir, env: env}
	w.mu.Lock()
	w.laps[l] = struct{}{}
	w.mu.Unlock()
	return l, os.Mkdir(l.orders(), 0o700)
}

// uninstall stops an installation and removes all it has made.
func (w *world) uninstall(ctx context.Context, l *lap) error {
	l.kill()
	w.mu.Lock()
	delete(w.laps, l)
	w.gone = append(w.gone, l)
	w.mu.Unlock()
	return errors.Join(w.removeBoxes(ctx, l), os.RemoveAll(l.dir))
}

// close removes everything that the run has made.
func (w *world) close(ctx context.Context) error {
	var errs []error
	for l := range maps.Clone(w.laps) {
		errs = append(errs, w.uninstall(ctx, l))
	}
	for _, l := range w.gone {
		errs = append(errs, w.removeBoxes(ctx, l))
	}
	if w.engine != nil {
		errs = append(errs, w.engine.close(ctx, w.binary))
	}
	return errors.Join(append(errs, os.RemoveAll(w.dir))...)
}
