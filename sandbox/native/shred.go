//go:build linux

package native

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A shredder deletes folders that somebody filled who wants them to stay. It follows no
// link and needs no permission of what is inside. What is too deep in other folders is
// moved up to the first.
type shredder struct {
	next int // of names
}

// shredDepth is how deep a shredder goes.
const shredDepth = 64

// shredAll deletes a folder, if it is there.
func shredAll(ctx context.Context, dir string) error { return new(shredder).empty(ctx, dir) }

// empty deletes dir, which only folders and files are in that are to go.
func (s *shredder) empty(ctx context.Context, dir string) error {
	top, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) { // somebody else was faster
		return nil
	} else if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(top)
	for {
		names, err := list(top)
		if errors.Is(err, fs.ErrNotExist) { // as above
			return nil
		} else if err != nil {
			return err
		}
		if len(names) == 0 {
			break
		}
		for _, name := range names {
			if err := s.delete(ctx, top, top, name, 0); err != nil {
				return &os.PathError{Op: "delete", Path: dir + "/" + name, Err: err}
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &os.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}

// delete deletes a file or folder that is so many folders below top.
func (s *shredder) delete(ctx context.Context, top, dir int, name string, depth int) error {
	for {
		if gone, err := unlink(ctx, dir, name); gone || err != nil {
			return err
		}
		if depth == shredDepth {
			return s.move(dir, name, top)
		}
		below, err := enter(dir, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		err = s.clear(ctx, top, below, depth+1)
		unix.Close(below)
		if err != nil {
			return err
		}
	}
}

// clear deletes what is in a folder, or some of it.
func (s *shredder) clear(ctx context.Context, top, dir, depth int) error {
	names, err := list(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.delete(ctx, top, dir, name, depth); err != nil {
			return err
		}
	}
	return nil
}

// move moves a folder to top under a name that nothing there has.
func (s *shredder) move(dir int, name string, top int) error {
	for {
		s.next++
		err := unix.Renameat2(dir, name, top, strconv.Itoa(s.next), unix.RENAME_NOREPLACE)
		switch {
		case errors.Is(err, unix.EEXIST):
			continue
		case errors.Is(err, unix.EACCES): // who moves a folder must be able to write it
			err = unix.Fchmodat(dir, name, 0o700, 0)
		case errors.Is(err, unix.EPERM):
			err = thaw(dir, name)
		case err == nil || errors.Is(err, unix.ENOENT):
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// unlink deletes a file or an empty folder. gone is false for a folder with something in
// it.
func unlink(ctx context.Context, dir int, name string) (gone bool, err error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	for thawed := false; ; thawed = true {
		err = unix.Unlinkat(dir, name, 0)
		if errors.Is(err, unix.EISDIR) {
			err = unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
		}
		if thawed || !errors.Is(err, unix.EPERM) {
			break
		}
		if err := thaw(dir, name); err != nil {
			return false, err
		}
	}
	switch {
	case err == nil || errors.Is(err, unix.ENOENT):
		return true, nil
	case errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST):
		return false, nil
	}
	return false, err
}

// enter opens a folder, if need be after its owner has got all permissions.
func enter(dir int, name string) (int, error) {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR && st.Mode&0o700 != 0o700 {
		err = unix.Fchmodat(dir, name, 0o700, 0)
	}
	if err != nil {
		return -1, err
	}
	return unix.Openat(dir, name, flags, 0)
}

// thaw lets a file that was marked as not to be changed, and the folder it is in, be
// deleted. Only root can mark files so.
func thaw(dir int, name string) error {
	if err := unmark(dir); err != nil {
		return err
	}
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) { // no file: it cannot be marked
		return nil
	} else if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unmark(fd)
}

func unmark(fd int) error {
	const marks = unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND // the same numbers as of FS_IOC_SETFLAGS
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err != nil || flags&marks == 0 {
		return err
	}
	return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags&^marks)
}

// list returns some of the names in a folder, none when it is empty.
func list(dir int) ([]string, error) {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, fs.ErrNotExist) { // somebody else has deleted it
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "trash")
	defer f.Close()
	names, err := f.Readdirnames(4096)
	if errors.Is(err, io.EOF) || errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return names, err
}
