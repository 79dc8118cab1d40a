//go:build linux

package native

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// A skeleton is the directories of this machine, as the sandboxes' root owns them, with
// next to nothing in them.
type skeleton struct {
	ids   idMap
	umask fs.FileMode
	group *errgroup.Group
	made  atomic.Int64
}

// tellEvery is how often somebody is told how far it is.
const tellEvery = 250 * time.Millisecond

// skeletons makes those of several directories below to.
func skeletons(ctx context.Context, to string, dirs []string, m idMap, progress func(string)) error {
	if err := os.MkdirAll(to, 0o777); err != nil {
		return err
	}
	info, err := os.Stat(to)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * max(runtime.NumCPU(), 2)) // they wait for the disk, too
	s := &skeleton{ids: m, umask: 0o777 &^ info.Mode().Perm(), group: group}
	done := make(chan error, 1)
	go func() {
		var all errgroup.Group
		for _, dir := range dirs {
			all.Go(func() error { return s.begin(ctx, filepath.Join(to, dir), dir) })
		}
		done <- errors.Join(all.Wait(), group.Wait())
	}()
	tick := time.NewTicker(tellEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			progress(fmt.Sprintf("preparing this machine's directories: %d so far", s.made.Load()))
		}
	}
}

// begin makes the directory that a skeleton begins with, and all below it.
func (s *skeleton) begin(ctx context.Context, to, from string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return s.copy(ctx, to, from)
}

// copy makes one directory and all below it.
func (s *skeleton) copy(ctx context.Context, to, from string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	dir, err := os.Open(from)
	if err != nil {
		return skipUnreadable(nil, err)
	}
	defer dir.Close()
	info, err := dir.Stat()
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o005 != 0o005 {
		return whiteOut(to)
	}
	if err := s.make(to, info.Mode().Perm()); err != nil {
		return err
	}
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return skipUnreadable(nil, err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			if err := s.file(to+"/"+e.Name(), e); err != nil {
				return err
			}
			continue
		}
		below := func() error { return s.copy(ctx, to+"/"+e.Name(), from+"/"+e.Name()) }
		if s.group.TryGo(below) {
			continue
		}
		if err := below(); err != nil {
			return err
		}
	}
	return nil
}

// make makes a directory. Another may have made it already, where one directory of the
// system lies in another.
func (s *skeleton) make(path string, mode fs.FileMode) error {
	mode |= 0o700 // it is to be filled
	err := unix.Mkdir(path, uint32(mode))
	there := errors.Is(err, fs.ErrExist)
	if err != nil && !there {
		return &os.PathError{Op: "mkdir", Path: path, Err: err}
	}
	if there || mode&s.umask != 0 {
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
	}
	s.made.Add(1)
	return s.ids.own(path)
}
