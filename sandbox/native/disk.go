//go:build linux

package native

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// floorSize and floorShare are how much of the file system sandboxes leave free.
	floorSize  = 1 << 30 // bytes, or
	floorShare = 50      // one part in so many, if that is less
	// measureEvery is how old a measurement may be of a sandbox that may have grown.
	measureEvery = time.Minute
	// excess is how much a sandbox that has too much may add before it is stopped again: it
	// has to be able to delete something.
	excess = 16 << 20
	// deepest is how deep in folders files are counted. Whoever goes deeper hides something.
	deepest = 256
)

// A usage is how much disk a sandbox has.
type usage struct {
	size    int64
	allowed int64 // more than this is too much; 0: not decided
	free    int64 // bytes of the file system when it was measured
	at      time.Time
}

// guardDisk stops sandboxes that fill the disk. They are measured only when the file system
// has so much less free that one of them may have too much.
func (n *Native) guardDisk(list []*followed) error {
	var st unix.Statfs_t
	if err := unix.Statfs(n.cfg.Dir, &st); err != nil {
		return &os.PathError{Op: "statfs", Path: n.cfg.Dir, Err: err}
	}
	free := int64(st.Bavail) * st.Bsize
	full := free < min(floorSize, int64(st.Blocks)*st.Bsize/floorShare)
	var errs []error
	for _, f := range list {
		limit := f.record.Spec.Limits.Disk
		if limit == 0 && !full || !f.usage.due(limit, free, full) {
			continue
		}
		size, err := f.box.size(n.ctx)
		if errors.Is(err, fs.ErrNotExist) { // it is being removed
			continue
		} else if err != nil {
			errs = append(errs, err)
			continue
		}
		f.usage.size, f.usage.free, f.usage.at = size, free, time.Now()
		errs = append(errs, n.guardSize(f, limit))
	}
	if full {
		errs = append(errs, n.guardFloor(list, free))
	}
	return errors.Join(errs...)
}

// due reports whether the sandbox may have too much by now.
func (u usage) due(limit, free int64, full bool) bool {
	if u.at.IsZero() || full && u.free > free {
		return true
	}
	grown := u.free - free
	return grown > 0 && (grown >= max(limit, u.allowed)-u.size || time.Since(u.at) > measureEvery)
}

// guardSize ends the processes of a sandbox that has too much and still gets more.
func (n *Native) guardSize(f *followed, limit int64) error {
	u := &f.usage
	if limit == 0 || u.size <= max(limit, u.allowed) {
		u.allowed = min(u.allowed, u.size+excess)
		return nil
	}
	if u.size < hidden { // else it may only delete
		u.allowed = u.size + excess
	}
	n.tell(f, "a sandbox has written more than LAP_SANDBOX_DISK: its processes were ended", "bytes", u.size, "limit", limit)
	return f.endProcesses()
}

// guardFloor ends the processes of the biggest sandbox when the file system is nearly full,
// and again when there is still less.
func (n *Native) guardFloor(list []*followed, free int64) error {
	n.mu.Lock()
	again := time.Since(n.pressed.at) > measureEvery || free < n.pressed.free-excess
	if again {
		n.pressed = pressure{at: time.Now(), free: free}
	}
	n.mu.Unlock()
	if !again {
		return nil
	}
	var biggest *followed
	for _, f := range list {
		if f.usage.size > excess && (biggest == nil || f.usage.size > biggest.usage.size) {
			biggest = f
		}
	}
	if biggest == nil {
		return nil
	}
	n.tell(biggest, "the disk with lap's data is nearly full: the processes of the sandbox with most files were ended; make room", "dir", n.cfg.Dir, "free", free, "bytes", biggest.usage.size)
	return biggest.endProcesses()
}

// A pressure is when sandboxes were stopped for want of disk.
type pressure struct {
	at   time.Time
	free int64
}

// errHidden says that there are folders that cannot be counted.
var errHidden = errors.New("folders are too deep, or closed, to be counted")

// hidden is the size of a sandbox that hides what it has.
const hidden = 1 << 62

// size is how many bytes of the disk the sandbox has, or hidden.
func (b *box) size(ctx context.Context) (int64, error) {
	uppers, err := filepath.Glob(b.path("layers/*/upper"))
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, dir := range uppers {
		fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		var size int64
		if err == nil {
			size, err = sizeBelow(ctx, fd, 0)
		}
		switch {
		case errors.Is(err, errHidden), errors.Is(err, fs.ErrPermission):
			return hidden, nil
		case err != nil:
			return 0, &os.PathError{Op: "measure", Path: dir, Err: err}
		}
		sum += size
	}
	return sum, nil
}

const (
	namesAtOnce = 1024 // of a folder, which may have millions
	leastFile   = 4096 // what a file counts at least: an inode is no less rare
)

// sizeBelow counts what is in a folder, which it closes. The sandbox goes on meanwhile, so
// no link is followed, and what vanishes does not count.
func sizeBelow(ctx context.Context, fd, depth int) (int64, error) {
	dir := os.NewFile(uintptr(fd), "layer")
	defer dir.Close()
	if depth > deepest {
		return 0, errHidden
	}
	var sum int64
	for {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		names, err := dir.Readdirnames(namesAtOnce)
		for _, name := range names {
			size, err := sizeOf(ctx, fd, name, depth)
			if err != nil {
				return 0, err
			}
			sum += size
		}
		if errors.Is(err, io.EOF) {
			return sum, nil
		} else if err != nil {
			return 0, err
		}
	}
}

// sizeOf counts one file of a folder, with what is in it.
func sizeOf(ctx context.Context, fd int, name string, depth int) (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, nil //nolint:nilerr // it is gone
	}
	size := max(st.Blocks*512, leastFile)
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return size, nil
	}
	below, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrPermission): // its owner inside gets in all the same
		return 0, errHidden
	case err != nil:
		return size, nil //nolint:nilerr // it is gone
	}
	more, err := sizeBelow(ctx, below, depth+1)
	return size + more, err
}
