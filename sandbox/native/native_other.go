//go:build !linux

// Package native runs sandboxes without a container engine, on Linux.
package native

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"

	"lap/sandbox"
)

// Config says where sandboxes are kept.
type Config struct {
	Dir   string
	Cache string
	Guest string
	Tied  bool
	Log   *slog.Logger
}

// Native is a sandbox.Runtime that can run none here.
type Native struct{}

var _ sandbox.Runtime = (*Native)(nil)

var errSystem = fmt.Errorf("%w: native sandboxes need Linux, and this is %s: start Docker", sandbox.ErrUnavailable, runtime.GOOS)

// New returns the runtime.
func New(Config) *Native { return &Native{} }

// Close does nothing.
func (*Native) Close() error { return nil }

// Ping fails.
func (*Native) Ping(context.Context) (string, error) { return "", errSystem }

// Ensure fails.
func (*Native) Ensure(context.Context, string, func(string)) error { return errSystem }

// Image fails.
func (*Native) Image(context.Context, string) (sandbox.Image, error) {
	return sandbox.Image{}, errSystem
}

// Build fails.
func (*Native) Build(context.Context) (string, error) { return "", errSystem }

// Create fails.
func (*Native) Create(context.Context, sandbox.Spec) (string, error) { return "", errSystem }

// Start fails.
func (*Native) Start(context.Context, string) (io.ReadWriteCloser, error) { return nil, errSystem }

// Dial fails.
func (*Native) Dial(context.Context, string) (io.ReadWriteCloser, error) { return nil, errSystem }

// Pause fails.
func (*Native) Pause(context.Context, string) error { return errSystem }

// Unpause fails.
func (*Native) Unpause(context.Context, string) error { return errSystem }

// Inspect fails.
func (*Native) Inspect(context.Context, string) (sandbox.Detail, error) {
	return sandbox.Detail{}, errSystem
}

// Remove fails.
func (*Native) Remove(context.Context, string) error { return errSystem }

// List is empty.
func (*Native) List(context.Context) ([]sandbox.Info, error) { return nil, nil }

// Sweep does nothing.
func (*Native) Sweep(context.Context) error { return nil }

// Kill fails.
func (*Native) Kill(context.Context, string) error { return errSystem }
