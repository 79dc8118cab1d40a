//go:build linux

package native

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lap/sandbox"
)

// half begins the names of folders that are not sandboxes yet.
const half = "new-"

// Create makes the folder of a sandbox. One of the same name is what a lap that came to
// its end has left, for a name is given once.
func (n *Native) Create(ctx context.Context, spec sandbox.Spec) (string, error) {
	b, unlock, err := n.hold(ctx, spec.Name())
	if err != nil {
		return "", wrap("create", spec.Name(), err)
	}
	defer unlock()
	if !b.valid() {
		return "", wrap("create", spec.Name(), errors.New("this cannot be a sandbox's name"))
	}
	if err := n.create(ctx, b, spec); err != nil {
		return "", wrap("create", b.id, err)
	}
	return b.id, nil
}

// create makes the folder under another name, so that a sandbox is there whole or not at
// all.
func (n *Native) create(ctx context.Context, b *box, spec sandbox.Spec) (err error) {
	base, err := n.ready(ctx, func(string) {})
	if err != nil {
		return err
	}
	if err := n.makeDir(); err != nil {
		return err
	}
	if err := errors.Join(n.remove(ctx, b), n.discard(half+b.id)); err != nil {
		return err
	}
	made := &box{id: b.id, dir: filepath.Join(n.cfg.Dir, half+b.id)}
	err = made.makeFolders(base)
	if err == nil {
		err = made.write(record{Spec: spec, Created: time.Now().UTC()})
	}
	if err == nil {
		err = os.Rename(made.dir, b.dir)
	}
	if err != nil {
		return errors.Join(err, n.discard(half+b.id))
	}
	return nil
}

// layer is the folder of what a sandbox changes of one system directory.
func (b *box) layer(dir string) string {
	return b.path(filepath.Join("layers", strings.ReplaceAll(strings.Trim(dir, "/"), "/", "-")))
}

func (b *box) makeFolders(base *base) error {
	for _, dir := range []string{b.dir, b.path("layers")} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	return b.addLayers(base)
}

// addLayers makes the layers that are missing: this machine may have got another system
// directory.
func (b *box) addLayers(base *base) error {
	for _, dir := range append([]string{"root"}, base.system...) {
		if err := b.makeLayer(dir); err != nil {
			return err
		}
	}
	return nil
}

// renewWork makes the kernel's own part of all layers anew, which keeps it from mounting
// them twice.
func (b *box) renewWork(ctx context.Context) error {
	entries, err := os.ReadDir(b.path("layers"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := shredAll(ctx, filepath.Join(b.path("layers"), e.Name(), "work")); err != nil {
			return err
		}
	}
	return nil
}

func (b *box) makeLayer(dir string) error {
	layer := b.layer(dir)
	if err := os.Mkdir(layer, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for _, part := range []string{"upper", "work"} {
		path := filepath.Join(layer, part)
		if err := os.Mkdir(path, 0o755); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := errors.Join(os.Chmod(path, 0o755), ids().own(path)); err != nil { // whatever the umask is
			return err
		}
	}
	return nil
}
