package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"lap/e2e/process"
	"lap/sandbox"
	"lap/sandbox/native"
)

// A nativeEngine is this machine's kernel.
type nativeEngine struct{}

func newNativeEngine(ctx context.Context, binary string) (_ engine, err error) {
	n := native.New(native.Config{Dir: filepath.Dir(binary), Guest: binary})
	defer func() { err = errors.Join(err, n.Close()) }()
	_, err = n.Ping(ctx)
	return nativeEngine{}, err
}

func (l *lap) nativeDir() string { return filepath.Join(l.data(), "native") }

// look calls fn with the sandboxes of an installation, beside its server.
func (nativeEngine) look(l *lap, fn func(*native.Native) error) (err error) {
	n := native.New(native.Config{Dir: l.nativeDir(), Guest: l.world.binary})
	defer func() { err = errors.Join(err, n.Close()) }()
	return fn(n)
}

// boxes also returns those of which there is nothing but processes.
func (e nativeEngine) boxes(ctx context.Context, l *lap) (all []box, err error) {
	running, err := process.Below(l.nativeDir())
	if err != nil {
		return nil, err
	}
	err = e.look(l, func(n *native.Native) error {
		list, err := n.List(ctx)
		for _, b := range list {
			all = append(all, box{id: b.ID, session: b.Session, state: string(b.State)})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for pid, file := range running {
		known := slices.ContainsFunc(all, func(b box) bool { return strings.HasPrefix(file, filepath.Join(l.nativeDir(), b.id)+"/") })
		if !known && syscall.Kill(pid, 0) == nil { // it was not just about to end
			all = append(all, box{id: fmt.Sprintf("pid-%d", pid), state: "running"})
		}
	}
	return all, nil
}

func (e nativeEngine) birth(ctx context.Context, l *lap, id string) (at string, err error) {
	err = e.look(l, func(n *native.Native) error {
		d, err := n.Inspect(ctx, id)
		at = fmt.Sprint(d.Created, d.StartedAt, d.State)
		return err
	})
	return at, err
}

func (nativeEngine) kill(_ context.Context, l *lap, id string) error {
	all, err := process.Below(filepath.Join(l.nativeDir(), id))
	errs := []error{err}
	for pid := range all {
		errs = append(errs, syscall.Kill(pid, syscall.SIGKILL))
	}
	if len(all) == 0 {
		errs = append(errs, fmt.Errorf("sandbox %s: %w", id, sandbox.ErrGone))
	}
	return errors.Join(errs...)
}

func (e nativeEngine) remove(ctx context.Context, l *lap, id string) error {
	if text, ok := strings.CutPrefix(id, "pid-"); ok {
		var pid int
		if _, err := fmt.Sscan(text, &pid); err != nil {
			return err
		}
		return syscall.Kill(pid, syscall.SIGKILL)
	}
	return e.look(l, func(n *native.Native) error { return n.Remove(ctx, id) })
}

// close does nothing: sandboxes share only what is kept for the next ones.
func (nativeEngine) close(context.Context, string) error { return nil }
