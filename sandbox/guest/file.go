//go:build linux

package guest

import (
	"io"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"lap/sandbox"
)

// kernelDirs are where files are not just data.
var kernelDirs = []string{"/proc", "/sys", "/dev"}

// Types of the file systems below /proc and /sys.
const (
	procMagic = 0x9fa0
	sysMagic  = 0x62656572
)

const (
	maxPath = 4096 // bytes of a path, as the kernel takes them
	tarType = "application/x-tar"
)

// readFile answers GET /files: a file as it is, or a directory as a tar. What goes wrong
// after the first byte ends the connection, so that the reader can tell.
func (g *Guest) readFile(w http.ResponseWriter, r *http.Request) error {
	path, err := g.locate(r)
	if err != nil {
		return err
	}
	f, info, err := openRegular(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if info.IsDir() {
		return g.readDir(w, r, path)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	if r.Method == http.MethodHead {
		return nil
	}
	if _, err := io.CopyN(w, f, info.Size()); err != nil { // it may have grown
		g.abort(r, "file not sent", path, err)
	}
	return nil
}

func (g *Guest) readDir(w http.ResponseWriter, r *http.Request, path string) error {
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	w.Header().Set("Content-Type", tarType)
	if r.Method == http.MethodHead {
		return nil
	}
	if err := pack(w, root); err != nil {
		g.abort(r, "directory not sent", path, err)
	}
	return nil
}

// abort ends the connection of an answer that has begun. A client that left is nothing
// to tell of.
func (g *Guest) abort(r *http.Request, msg, path string, err error) {
	if r.Context().Err() == nil {
		g.log.ErrorContext(r.Context(), msg, "path", path, "err", err)
	}
	panic(http.ErrAbortHandler)
}

// openRegular opens a file or directory for reading. It does not wait for the other end
// of a pipe, nor for a device.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	info, err := os.Stat(path) // first, as to open a device can do something
	if err == nil {
		err = mustBeRegular(path, info)
	}
	if err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	if info, err = f.Stat(); err == nil { // it may be another one by now
		err = mustBeRegular(path, info)
	}
	if err == nil && ofKernel(f) {
		err = refuse(http.StatusConflict, "%s is not a regular file but made by the kernel", path)
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

func mustBeRegular(path string, info fs.FileInfo) error {
	if info.Mode().IsRegular() || info.IsDir() {
		return nil
	}
	return refuse(http.StatusConflict, "%s is neither a regular file nor a directory", path)
}

// ofKernel reports whether f is below /proc or /sys, wherever that is mounted.
func ofKernel(f *os.File) bool {
	var s syscall.Statfs_t
	return syscall.Fstatfs(int(f.Fd()), &s) == nil && (s.Type == procMagic || s.Type == sysMagic)
}

// putFile answers PUT /files: the body becomes the file, or is unpacked into the
// directory.
func (g *Guest) putFile(w http.ResponseWriter, r *http.Request) error {
	path, err := g.locate(r)
	if err != nil {
		return err
	}
	path, err = settle(path)
	if err != nil {
		return err
	}
	for _, dir := range kernelDirs {
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return refuse(http.StatusBadRequest, "path: nothing can be put into %s", dir)
		}
	}
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == tarType {
		err = putDir(r.Body, path)
	} else {
		err = putRegular(r, path)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func putRegular(r *http.Request, path string) error {
	var mode uint64
	if q := r.URL.Query().Get("mode"); q != "" {
		var err error
		if mode, err = strconv.ParseUint(q, 8, 32); err != nil || mode > 0o777 {
			return refuse(http.StatusBadRequest, "mode: want up to 777 in octal, got %q", q)
		}
	}
	return writeFile(path, r.Body, fs.FileMode(mode))
}

func putDir(body io.Reader, path string) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer root.Close()
	return unpack(body, root)
}

// locate is the path that a request is about, absolute: "~" is home, the rest starts in
// the working tree.
func (g *Guest) locate(r *http.Request) (string, error) {
	path := r.URL.Query().Get("path")
	if path == "" || len(path) > maxPath || strings.ContainsRune(path, 0) {
		return "", refuse(http.StatusBadRequest, "path: want the path of a file")
	}
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || rest[0] == '/') {
		return filepath.Join(g.environment().home(), rest), nil
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path), nil
	}
	return filepath.Join(g.places.work, path), nil
}

// environment is the session's, or what it would be without one.
func (g *Guest) environment() environment {
	if b := g.booted.Load(); b != nil {
		return b.env
	}
	return newEnvironment(sandbox.Boot{})
}
