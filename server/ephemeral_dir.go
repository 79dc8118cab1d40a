package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// ephemeralPrefix begins the names of the data directories of this user's ephemeral
// servers. What follows is unique in the world, so that the whole name is the owner of the
// sandboxes too.
func ephemeralPrefix() string { return "lap-ephemeral-" + strconv.Itoa(os.Geteuid()) + "-" }

// makeTries is how often a directory is made anew that a sweep took for a dead server's.
const makeTries = 10

// makeEphemeralDir makes a data directory under parent and locks it. A sweep of another
// server may come between the two; then nothing is in the directory yet, and another one
// is made.
func makeEphemeralDir(ctx context.Context, parent string) (dir string, lock *flock.Flock, err error) {
	for range makeTries {
		dir = filepath.Join(parent, ephemeralPrefix()+strings.ToLower(rand.Text()))
		if err = os.Mkdir(dir, 0o700); err != nil {
			return "", nil, err
		}
		if lock, err = openDataDir(ctx, dir); err != nil {
			continue
		}
		if holds(lock, dir) {
			return dir, lock, nil
		}
		if err = lock.Close(); err == nil {
			err = fmt.Errorf("%s was removed while it was made", dir)
		}
	}
	return "", nil, err
}

// holds reports whether a lock is on the file that is now in dir.
func holds(lock *flock.Flock, dir string) bool {
	mine, err := lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(filepath.Join(dir, lockFile))
	return err == nil && os.SameFile(mine, there)
}

// ephemeralDirs returns the data directories under parent of this user's ephemeral servers,
// those of running ones too. Anyone may make directories in a temporary folder, so those of
// other users and links are left out, whatever their names.
func ephemeralDirs(parent string) ([]string, error) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), ephemeralPrefix()) {
			continue
		}
		info, err := e.Info()
		if err != nil { // it is gone
			continue
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) == os.Geteuid() {
			dirs = append(dirs, filepath.Join(parent, e.Name()))
		}
	}
	return dirs, nil
}

// unlockedAge is how old a directory without a lock must be to be nobody's: the lock is the
// first that is put into it, and the last that is taken out.
const unlockedAge = time.Minute

// lockStale locks the data directory of a server that has ended, and returns nil for that of
// a running one, or one that is being made or swept.
func lockStale(dir string) (*flock.Flock, error) {
	path := filepath.Join(dir, lockFile)
	lock := flock.New(path, flock.SetFlag(os.O_RDWR)) // never made: a running server has one
	locked, err := lock.TryLock()
	if errors.Is(err, fs.ErrNotExist) {
		info, err := os.Stat(dir)
		if err == nil && time.Since(info.ModTime()) > unlockedAge {
			err = os.Remove(dir) // fails when it is not empty
		}
		return nil, ignoreMissing(err)
	}
	if err != nil {
		return nil, err
	}
	if locked && holds(lock, dir) {
		return lock, nil
	}
	return nil, lock.Close()
}

// removeEphemeralDir removes a data directory that this process has locked. The lock goes
// last: if this is interrupted, the directory is found again.
func removeEphemeralDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if e.Name() != lockFile {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return errors.Join(os.Remove(filepath.Join(dir, lockFile)), os.Remove(dir))
}

// ignoreMissing drops an error that says that a file is not there.
func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
