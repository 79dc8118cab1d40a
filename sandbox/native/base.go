//go:build linux

package native

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A base is what all sandboxes of a user lie on: a root with a copy of what everybody may
// read of /etc, and the empty directories of the system ones, owned by the sandboxes' root
// so that packages can be installed. It is made once and changed never; a machine that has
// changed gets another. Who uses it, in whatever process, has its lock file locked.
type base struct {
	key    string
	dir    string
	lock   *lockFile // shared, for as long as it is in use
	system []string  // directories of this machine that are layers
}

// openBase finds the base for this machine as it is, or makes it.
func openBase(ctx context.Context, cache string, progress func(string)) (*base, error) {
	dir, err := basesDir(cache)
	if err != nil {
		return nil, err
	}
	system, err := systemDirs()
	if err != nil {
		return nil, err
	}
	key, err := baseKey(system)
	if err != nil {
		return nil, err
	}
	b := &base{key: key, dir: filepath.Join(dir, key), system: system}
	for {
		// A lock cannot become a shared one without a moment in which there is none. So
		// the base is looked for again once it is shared.
		if b.lock, err = lockShared(ctx, b.dir+lockSuffix); err != nil {
			return nil, err
		}
		if exists(b.dir) {
			return b, nil
		}
		b.lock.Close()
		if err := b.makeAlone(ctx, progress); err != nil {
			return nil, err
		}
	}
}

// basesDir is the folder of all bases. Sandboxes believe what is in it, so nobody else may
// have a hand in it.
func basesDir(cache string) (string, error) {
	dir := filepath.Join(cache, "native")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	if !info.IsDir() || int(owner) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s is a folder that others can change or see: remove it, or make it yours alone with \"chmod 700\"", dir)
	}
	return dir, nil
}

// makeAlone makes the base, if nobody else does meanwhile.
func (b *base) makeAlone(ctx context.Context, progress func(string)) error {
	lock, err := lockAlone(ctx, b.dir+lockSuffix)
	if err != nil {
		return err
	}
	defer lock.Close()
	if exists(b.dir) {
		return nil
	}
	return b.make(ctx, progress)
}

// make makes the base, which is whole when its folder has its final name.
func (b *base) make(ctx context.Context, progress func(string)) error {
	progress("preparing this machine's directories")
	tmp := b.dir + halfSuffix
	if err := shredAll(ctx, tmp); err != nil {
		return err
	}
	m := ids()
	if err := makeRoot(filepath.Join(tmp, "root"), m, b.system); err != nil {
		return err
	}
	if err := skeletons(ctx, filepath.Join(tmp, "skel"), b.system, m, progress); err != nil {
		return err
	}
	return os.Rename(tmp, b.dir)
}

// Files beside a base.
const (
	lockSuffix = ".lock"
	halfSuffix = ".new"
)

// baseAge is for how long nobody must have begun to use a base for it to be swept.
const baseAge = 24 * time.Hour

// sweepBases removes the bases of other states of this machine that nobody uses.
func (n *Native) sweepBases(ctx context.Context) error {
	dir := filepath.Join(n.cache(), "native")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	errs := []error{err}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), lockSuffix)
		info, err := e.Info()
		if !ok || err != nil || time.Since(info.ModTime()) < baseAge {
			continue
		}
		errs = append(errs, removeBase(ctx, filepath.Join(dir, name)))
	}
	return errors.Join(errs...)
}

// removeBase removes a base, unless somebody uses it, and last its lock file.
func removeBase(ctx context.Context, dir string) error {
	lock, err := tryAlone(dir + lockSuffix)
	if err != nil || lock == nil {
		return err
	}
	defer lock.Close()
	for _, suffix := range []string{"", halfSuffix} { // half a base is no base
		err := os.Rename(dir+suffix, dir+".old")
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		if err := errors.Join(err, shredAll(ctx, dir+".old")); err != nil {
			return err
		}
	}
	return os.Remove(dir + lockSuffix)
}
