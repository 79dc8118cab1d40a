//go:build linux

package guest

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
)

// packBatch is how many names of a directory are read at once: it may have millions.
const packBatch = 256

// pack writes what is below root as a tar: files, directories and symbolic links. What
// vanishes meanwhile is left out. The tar has no end when there is an error.
func pack(w io.Writer, root *os.Root) error {
	tw := tar.NewWriter(w)
	if err := packDir(tw, root, ""); err != nil {
		return err
	}
	return tw.Close()
}

// packDir packs the members of dir, which is called prefix in the tar.
func packDir(tw *tar.Writer, dir *os.Root, prefix string) error {
	names, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer names.Close()
	if ofKernel(names) {
		return nil // the sandbox's processes and devices are no files of it
	}
	for {
		batch, err := names.ReadDir(packBatch)
		for _, e := range batch {
			err := packMember(tw, dir, prefix, e.Name())
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// packMember packs one member of dir. It is fs.ErrNotExist when it is not there any more.
func packMember(tw *tar.Writer, dir *os.Root, prefix, name string) error {
	info, err := dir.Lstat(name)
	if err != nil {
		return err
	}
	h := &tar.Header{Name: path.Join(prefix, name), Mode: tarMode(info.Mode()), ModTime: info.ModTime()}
	switch info.Mode().Type() {
	case fs.ModeDir:
		sub, err := dir.OpenRoot(name)
		if err != nil {
			return err
		}
		defer sub.Close()
		full := h.Name
		h.Typeflag, h.Name = tar.TypeDir, full+"/"
		if err := tw.WriteHeader(h); err != nil {
			return err
		}
		return packDir(tw, sub, full)
	case fs.ModeSymlink:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = dir.Readlink(name); err != nil {
			return err
		}
		return tw.WriteHeader(h)
	case 0:
		return packFile(tw, dir, name, h)
	default:
		return nil // a socket, a device or a named pipe
	}
}

// packFile packs a regular file with the size it has now, whatever becomes of it.
func packFile(tw *tar.Writer, dir *os.Root, name string, h *tar.Header) error {
	f, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err // it was replaced a moment ago
	}
	h.Typeflag, h.Size, h.Mode, h.ModTime = tar.TypeReg, info.Size(), tarMode(info.Mode()), info.ModTime()
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.CopyN(tw, f, h.Size)
	if errors.Is(err, io.EOF) { // it has shrunk
		_, err = io.CopyN(tw, zeros{}, h.Size-n)
	}
	return err
}

// tarMode is mode as a tar has it.
func tarMode(mode fs.FileMode) int64 {
	bits := int64(mode.Perm())
	for _, b := range []struct {
		mode fs.FileMode
		bit  int64
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if mode&b.mode != 0 {
			bits |= b.bit
		}
	}
	return bits
}

// zeros is endless zero bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
