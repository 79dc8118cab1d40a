//go:build linux

package native

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lap/sandbox"
)

// removeTimeout is how long the end of a sandbox's processes, and of what else is done
// with it, is waited for.
const removeTimeout = 30 * time.Second

// trash is the folder of what is being deleted.
const trash = "trash"

// Remove ends the sandbox's processes and deletes its folder.
func (n *Native) Remove(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	b, unlock, err := n.hold(ctx, id)
	if err == nil {
		defer unlock()
		err = n.remove(ctx, b)
	}
	if err != nil {
		return wrap("remove", id, err)
	}
	return nil
}

func (n *Native) remove(ctx context.Context, b *box) error {
	if !b.valid() || !exists(b.dir) {
		return nil
	}
	r, err := b.read()
	if err != nil && !errors.Is(err, sandbox.ErrGone) {
		return err
	}
	if r.Run != nil {
		if err := r.Run.kill(ctx); err != nil {
			return err
		}
		if err := r.Run.Groups.remove(); err != nil {
			return err
		}
	}
	return n.discard(b.id)
}

// discard deletes a folder. It is moved away at once, and its files are deleted while others
// go on.
func (n *Native) discard(name string) error {
	path := filepath.Join(n.cfg.Dir, name)
	if !exists(path) {
		return nil
	}
	dir := filepath.Join(n.cfg.Dir, trash)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	dir = filepath.Join(dir, rand.Text())
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	if err := os.Rename(path, filepath.Join(dir, "0")); err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	n.deletes.Go(func() {
		if err := shredAll(n.ctx, dir); err != nil && n.ctx.Err() == nil {
			n.cfg.Log.WarnContext(n.ctx, "files of a removed sandbox not deleted, the next start tries again", "err", err)
		}
	})
	return nil
}

// Sweep deletes what laps left that came to their end: folders that are no sandboxes any
// more or not yet, control groups, and bases of other states of this machine that nobody
// has used for a day. It is for the only process of its installation.
func (n *Native) Sweep(ctx context.Context) error {
	entries, err := os.ReadDir(n.cfg.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, n.sweepFolder(ctx, e.Name()))
	}
	errs = append(errs, n.groups().sweep(func(id string) bool { return exists(n.box(id).dir) }), n.sweepBases(ctx))
	return errors.Join(errs...)
}

func (n *Native) sweepFolder(ctx context.Context, name string) error {
	if name == trash {
		return n.emptyTrash(ctx)
	}
	id := strings.TrimPrefix(name, half)
	if !n.box(id).valid() {
		return nil
	}
	b, unlock, err := n.hold(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	if name == half+b.id {
		return n.discard(name)
	}
	if _, err := b.read(); errors.Is(err, sandbox.ErrGone) {
		return n.remove(ctx, b)
	}
	return nil
}

// emptyTrash deletes what was moved away, beside who is doing so already.
func (n *Native) emptyTrash(ctx context.Context) error {
	dir := filepath.Join(n.cfg.Dir, trash)
	entries, err := os.ReadDir(dir)
	errs := []error{err}
	for _, e := range entries {
		errs = append(errs, shredAll(ctx, filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}
