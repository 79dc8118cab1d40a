//go:build linux

package native

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// retryLock is how often somebody who waits for a lock looks.
const retryLock = 5 * time.Millisecond

// A lockFile is a file that is locked until it is closed, in all processes that have it.
type lockFile struct{ *os.File }

func lockShared(ctx context.Context, path string) (*lockFile, error) {
	f, err := lockWith(ctx, path, unix.LOCK_SH)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return f, os.Chtimes(path, now, now) // it is in use
}

func lockAlone(ctx context.Context, path string) (*lockFile, error) {
	return lockWith(ctx, path, unix.LOCK_EX)
}

func lockWith(ctx context.Context, path string, how int) (*lockFile, error) {
	for {
		f, err := try(path, how)
		if f != nil || err != nil {
			return f, err
		}
		select {
		case <-time.After(retryLock):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// tryAlone returns nil when somebody else has the lock.
func tryAlone(path string) (*lockFile, error) { return try(path, unix.LOCK_EX) }

func try(path string, how int) (*lockFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
	if err == nil {
		var same bool
		if same, err = isAt(f, path); err == nil && same {
			return &lockFile{f}, nil
		}
	}
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = nil
	}
	return nil, errors.Join(err, f.Close())
}

// isAt reports whether a file is still the one of that path: who had its lock may have
// removed it.
func isAt(f *os.File, path string) (bool, error) {
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return os.SameFile(mine, there), nil
}

// again locks the file of a shared lock once more, for another process to keep.
func (l *lockFile) again() (*os.File, error) {
	f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", l.Fd()), os.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
