package fault

import (
	"context"
	"errors"
	"io"

	"lap/sandbox"
)

// A Runtime has a point before and after each call of the one inside, such as
// runtime.Create:before. When the first fails the call is not made; when the second does
// it was made, but is reported as failed.
type Runtime struct {
	inside sandbox.Runtime
	orders Orders
}

// NewRuntime returns r with points.
func NewRuntime(r sandbox.Runtime, o Orders) *Runtime { return &Runtime{inside: r, orders: o} }

func (r *Runtime) around(ctx context.Context, call string, fn func() error) error {
	if err := r.orders.At(ctx, "runtime."+call+":before"); err != nil {
		return err
	}
	err := fn()
	return errors.Join(err, r.orders.At(ctx, "runtime."+call+":after"))
}

// pipe is around for calls that open a pipe. One that is reported as failed is closed.
func (r *Runtime) pipe(ctx context.Context, call string, fn func() (io.ReadWriteCloser, error)) (io.ReadWriteCloser, error) {
	var raw io.ReadWriteCloser
	err := r.around(ctx, call, func() (err error) {
		raw, err = fn()
		return err
	})
	if err != nil && raw != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return raw, err
}

// Ping asks the engine for its version.
func (r *Runtime) Ping(ctx context.Context) (version string, err error) {
	err = r.around(ctx, "Ping", func() (err error) {
		version, err = r.inside.Ping(ctx)
		return err
	})
	return version, err
}

// Ensure makes an image available.
func (r *Runtime) Ensure(ctx context.Context, image string, progress func(string)) error {
	return r.around(ctx, "Ensure", func() error { return r.inside.Ensure(ctx, image, progress) })
}

// Image looks an image up.
func (r *Runtime) Image(ctx context.Context, image string) (found sandbox.Image, err error) {
	err = r.around(ctx, "Image", func() (err error) {
		found, err = r.inside.Image(ctx, image)
		return err
	})
	return found, err
}

// Build names what else goes into every sandbox.
func (r *Runtime) Build(ctx context.Context) (name string, err error) {
	err = r.around(ctx, "Build", func() (err error) {
		name, err = r.inside.Build(ctx)
		return err
	})
	return name, err
}

// Create makes a sandbox. One whose creation is reported as failed is there all the
// same, as after a call that ran into its time limit.
func (r *Runtime) Create(ctx context.Context, spec sandbox.Spec) (id string, err error) {
	err = r.around(ctx, "Create", func() (err error) {
		id, err = r.inside.Create(ctx, spec)
		return err
	})
	if err != nil {
		return "", err
	}
	return id, nil
}

// Start runs the guest of a sandbox and returns its first pipe.
func (r *Runtime) Start(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	return r.pipe(ctx, "Start", func() (io.ReadWriteCloser, error) { return r.inside.Start(ctx, id) })
}

// Dial opens a new pipe to a running sandbox.
func (r *Runtime) Dial(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	return r.pipe(ctx, "Dial", func() (io.ReadWriteCloser, error) { return r.inside.Dial(ctx, id) })
}

// Pause freezes a sandbox.
func (r *Runtime) Pause(ctx context.Context, id string) error {
	return r.around(ctx, "Pause", func() error { return r.inside.Pause(ctx, id) })
}

// Unpause lets a sandbox go on.
func (r *Runtime) Unpause(ctx context.Context, id string) error {
	return r.around(ctx, "Unpause", func() error { return r.inside.Unpause(ctx, id) })
}

// Inspect looks at one sandbox.
func (r *Runtime) Inspect(ctx context.Context, id string) (d sandbox.Detail, err error) {
	err = r.around(ctx, "Inspect", func() (err error) {
		d, err = r.inside.Inspect(ctx, id)
		return err
	})
	return d, err
}

// Remove ends a sandbox and deletes it.
func (r *Runtime) Remove(ctx context.Context, id string) error {
	return r.around(ctx, "Remove", func() error { return r.inside.Remove(ctx, id) })
}

// List returns every sandbox of this installation.
func (r *Runtime) List(ctx context.Context) (list []sandbox.Info, err error) {
	err = r.around(ctx, "List", func() (err error) {
		list, err = r.inside.List(ctx)
		return err
	})
	return list, err
}
