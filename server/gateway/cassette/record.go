package cassette

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// unfinished ends the names of files that are being written. One that is there while
// nobody writes is what a crash left.
const unfinished = ".unfinished"

// A folder that another process records into is tried again every lockRetry.
const (
	lockRetry   = 20 * time.Millisecond
	lockTimeout = 30 * time.Second
)

// CanRecord returns an *Error when a call could not be recorded, so that it is not made
// for nothing.
func (f *Folder) CanRecord(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if err := f.hasRoom(); err != nil {
		return err
	}
	info, err := os.Stat(f.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return f.damaged(name, err)
	case info.Size() >= MaxFile:
		return failed(CodeFull, "%s has %d MiB, and a cassette has no room for more than %d: record into another one", f.shown(name), info.Size()>>20, MaxFile>>20)
	}
	if f.isSound(name, stampOf(info)) {
		return nil
	}
	_, err = f.load(name)
	return err
}

// hasRoom returns an error when the folder is full.
func (f *Folder) hasRoom() error {
	names, total := f.Names(), int64(0)
	for _, name := range names {
		if info, err := os.Stat(f.path(name)); err == nil { // else it has just gone
			total += info.Size()
		}
	}
	if len(names) >= MaxFiles || total >= MaxTotal {
		return failed(CodeFull, "there are %d cassettes of %d MiB, of at most %d and %d MiB: remove some of them to record more", len(names), total>>20, MaxFiles, MaxTotal>>20)
	}
	return nil
}

// stamp tells one state of a file from another.
type stamp struct {
	size    int64
	changed time.Time
}

func stampOf(info fs.FileInfo) stamp { return stamp{info.Size(), info.ModTime().UTC()} }

// isSound reports whether a cassette is as it was left here. Otherwise it is read before
// anything is added, which takes long for a large one.
func (f *Folder) isSound(name string, s stamp) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sound[name] == s
}

// noteSound is called with mu held.
func (f *Folder) noteSound(name string, s stamp) {
	if len(f.sound) >= MaxFiles {
		clear(f.sound)
	}
	f.sound[name] = s
}

// Record adds a call to a cassette, which is begun when there is none. The file is whole
// at any time, also after a crash: another one takes its place.
func (f *Folder) Record(ctx context.Context, name string, c Call) (err error) {
	c.Answer.Body = Scrub(c.Answer.Body)
	document, err := Encode(c)
	if err != nil {
		return err
	}
	f.recording.Lock()
	defer f.recording.Unlock()
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lockTimeout)
	defer cancel()
	// Locking the folder itself leaves no file behind that somebody might commit.
	lock := flock.New(f.dir, flock.SetFlag(os.O_RDONLY))
	if _, err := lock.TryLockContext(ctx, lockRetry); err != nil {
		return fmt.Errorf("lock %s: %w", f.dir, err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := f.tidy(); err != nil {
		return err
	}
	return f.replace(name, document)
}

// tidy removes what a crash left. The folder is locked.
func (f *Folder) tidy() error {
	left, err := filepath.Glob(filepath.Join(f.dir, ".*"+extension+unfinished))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// replace puts a file in the place of a cassette that has one document more.
func (f *Folder) replace(name, document string) (err error) {
	path := filepath.Join(f.dir, "."+name+extension+unfinished)
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	size, wasSound, err := f.copyTo(out, name)
	if err == nil && size+int64(len(document)) > MaxFile {
		err = fmt.Errorf("%s would have more than %d MiB", f.shown(name), MaxFile>>20)
	}
	if err == nil {
		_, err = io.WriteString(out, document)
	}
	if err == nil {
		err = out.Sync()
	}
	info, noInfo := out.Stat()
	if err = errors.Join(err, noInfo, out.Close()); err != nil {
		return err
	}
	if err = os.Rename(path, f.path(name)); err == nil && wasSound {
		f.mu.Lock()
		f.noteSound(name, stampOf(info))
		f.mu.Unlock()
	}
	return err
}

// copyTo copies what a cassette has, or what each begins with, and tells whether that is
// known to be whole.
func (f *Folder) copyTo(out io.Writer, name string) (n int64, sound bool, err error) {
	in, err := os.Open(f.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		n, err = io.Copy(out, strings.NewReader(head))
		return n, true, err
	}
	if err != nil {
		return 0, false, err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return 0, false, err
	}
	n, err = io.Copy(out, in)
	return n, f.isSound(name, stampOf(info)), err
}
