//go:build linux

package guest

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
)

// writeFile makes what body holds the file path, whole or not at all, and its parents
// when they are missing. Mode 0 is that of the file that was there, else 0644.
func writeFile(path string, body io.Reader, mode fs.FileMode) (err error) {
	path, err = settle(path)
	if err != nil {
		return err
	}
	before, err := fileMode(path)
	if err != nil {
		return err
	}
	if mode == 0 {
		mode = before
	}
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".lap-")
	if err != nil {
		return err
	}
	defer func() {
		_ = f.Close() // again, after success
		if err != nil {
			_ = os.Remove(f.Name()) // best effort
		}
	}()
	if _, err := io.Copy(f, body); err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	return replace(path, f.Name())
}

// fileMode is the mode of the file path, 0644 when there is none.
func fileMode(path string) (fs.FileMode, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0o644, nil
	case err != nil:
		return 0, err
	case info.Mode().IsRegular():
		return info.Mode().Perm(), nil
	case info.Mode().Type() == fs.ModeSymlink: // to nothing, or settle would have followed it
		return 0o644, nil
	}
	return 0, refuse(http.StatusConflict, "%s is not a regular file", path)
}

// replace moves the file with into the place of path. An engine mounts some files, such
// as /etc/hosts, which can only be written over.
func replace(path, with string) error {
	err := os.Rename(with, path)
	if !errors.Is(err, syscall.EBUSY) {
		return err
	}
	from, err := os.Open(with)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close(), os.Remove(with))
}

// settle follows the symbolic links of path, as far as it exists.
func settle(path string) (string, error) {
	target, err := filepath.EvalSymlinks(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return target, err
	}
	dir, err := settle(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), err
}

// readFile is os.ReadFile for a regular file. What else the sandbox has put there might never
// come to its end.
func readFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "read", Path: path, Err: errors.New("it is not a regular file")}
	}
	return io.ReadAll(f)
}
