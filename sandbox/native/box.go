//go:build linux

package native

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lap/sandbox"
)

// prefix begins the id of every native sandbox, so that it can be told from that of a
// container.
const prefix = sandbox.NativePrefix

// A record is what is kept of a sandbox.
type record struct {
	Spec    sandbox.Spec `json:"spec"`
	Created time.Time    `json:"created"`
	Run     *run         `json:"run,omitempty"` // the last one
}

// A run is one life of a sandbox's processes.
type run struct {
	process
	Groups   cgroup    `json:"groups"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished,omitzero"` // zero: it goes on, or nobody saw its end
	Exit     int       `json:"exit,omitempty"`
	OOM      bool      `json:"oom,omitempty"`
}

// unknownExit is the exit code of a run whose end nobody saw.
const unknownExit = -1

// A box is a sandbox's folder.
type box struct {
	id  string
	dir string
}

// box is the folder of a sandbox, named by its id or its name.
func (n *Native) box(id string) *box {
	if name, ok := strings.CutPrefix(id, "lap-"); ok {
		id = prefix + name
	}
	return &box{id: id, dir: filepath.Join(n.cfg.Dir, id)}
}

// hold keeps a sandbox from being changed by others.
func (n *Native) hold(ctx context.Context, id string) (b *box, unlock func(), err error) {
	b = n.box(id)
	unlock, err = n.locks.lock(ctx, b.id)
	return b, unlock, err
}

func (b *box) path(name string) string { return filepath.Join(b.dir, name) }

// valid reports whether there can be a sandbox of this id.
func (b *box) valid() bool {
	return strings.HasPrefix(b.id, prefix) && !strings.ContainsAny(b.id, "/\x00")
}

// read returns the sandbox's record. The error wraps sandbox.ErrGone when there is none, or
// only what a machine left that went down while it was written.
func (b *box) read() (record, error) {
	var r record
	if !b.valid() {
		return r, sandbox.ErrGone
	}
	text, err := os.ReadFile(b.path("sandbox.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return r, sandbox.ErrGone
	} else if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return record{}, fmt.Errorf("%w: its record is broken: %w", sandbox.ErrGone, err)
	}
	return r, nil
}

// write keeps the record, whole or not at all.
func (b *box) write(r record) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	tmp := b.path("sandbox.json.new")
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, b.path("sandbox.json"))
}

// detail is the sandbox as others see it.
func (b *box) detail(r record) sandbox.Detail {
	d := sandbox.Detail{Image: r.Spec.Image, Info: sandbox.Info{
		ID: b.id, Name: r.Spec.Name(), Session: r.Spec.Session, Agent: r.Spec.Agent, Generation: r.Spec.Generation,
		Created: r.Created, State: sandbox.StateCreated,
	}}
	if r.Run == nil {
		return d
	}
	d.StartedAt = r.Run.Started
	switch alive, stopped := r.Run.state(); {
	case alive && (stopped || r.Run.Groups.frozen()):
		d.State = sandbox.StatePaused
	case alive:
		d.State = sandbox.StateRunning
	default:
		d.State, d.FinishedAt, d.ExitCode = sandbox.StateExited, r.Run.Finished, r.Run.Exit
		d.OOMKilled = r.Run.OOM || r.Run.Groups.ranOut()
		if d.FinishedAt.IsZero() {
			d.ExitCode = unknownExit
		}
	}
	return d
}

// Inspect looks at one sandbox. The exit code of one whose end nobody saw is -1.
func (n *Native) Inspect(_ context.Context, id string) (sandbox.Detail, error) {
	b := n.box(id)
	r, err := b.read()
	if err != nil {
		return sandbox.Detail{}, wrap("inspect", id, err)
	}
	d := b.detail(r)
	if d.Running() {
		n.follow(b, r, nil)
	}
	return d, nil
}

// List returns all sandboxes of this installation.
func (n *Native) List(context.Context) ([]sandbox.Info, error) {
	var all []sandbox.Info
	err := n.each(func(b *box, r record) {
		info := b.detail(r).Info
		if info.Running() {
			n.follow(b, r, nil)
		}
		all = append(all, info)
	})
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	return all, nil
}

// each calls fn with every sandbox.
func (n *Native) each(fn func(*box, record)) error {
	entries, err := os.ReadDir(n.cfg.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		b := n.box(e.Name())
		r, err := b.read()
		switch {
		case errors.Is(err, sandbox.ErrGone): // or it is another folder
		case err != nil:
			return err
		default:
			fn(b, r)
		}
	}
	return nil
}

func wrap(what, id string, err error) error { return fmt.Errorf("%s sandbox %s: %w", what, id, err) }
