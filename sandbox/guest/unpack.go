//go:build linux

package guest

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"time"
)

// maxMembers bounds the members of a tar that is unpacked. Their sizes are bounded by
// the disk alone.
const maxMembers = 1_000_000

// unpack writes the members of a tar below root, in place of what has their names. No
// member lands elsewhere: every step goes through root, which follows no symbolic link
// out of itself, be it from the tar or from before. What was unpacked before an error
// stays.
//
// Files with holes are refused: a sender that has left cannot end one, nor has it to send
// what fills the disk.
func unpack(r io.Reader, root *os.Root) error {
	tr := tar.NewReader(r)
	for n := 0; ; n++ {
		h, err := tr.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return refuse(http.StatusBadRequest, "the body is not a whole tar: %w", err)
		case n == maxMembers:
			return refuse(http.StatusBadRequest, "the tar has more than %d members", maxMembers)
		}
		m := member{Header: h, root: root, body: tr}
		if err := m.unpack(); err != nil {
			return m.explain(err)
		}
	}
}

// A member is what is unpacked.
type member struct {
	*tar.Header
	name string // clean
	root *os.Root
	body io.Reader
}

// explain names the member that err is about.
func (m *member) explain(err error) error {
	status := statusOf(err)
	if escapes(err) {
		status = http.StatusBadRequest
	}
	return refuse(status, "member %q: %w", m.Name, err)
}

// escapes reports whether err says that a path leads out of a root. There is no error
// value for that.
func escapes(err error) bool {
	p, ok := errors.AsType[*fs.PathError](err)
	if ok {
		err = p.Err
	}
	if l, ok := errors.AsType[*os.LinkError](err); ok {
		err = l.Err
	}
	return strings.Contains(err.Error(), "escapes")
}

func (m *member) unpack() error {
	if m.Typeflag == tar.TypeXGlobalHeader {
		return nil // comments, such as of git archive
	}
	var err error
	if m.name, err = inside(m.Name); err != nil {
		return err
	}
	switch m.Typeflag {
	case tar.TypeDir:
		return m.dir()
	case tar.TypeReg:
		return m.file()
	case tar.TypeSymlink:
		return m.symlink()
	case tar.TypeLink:
		return m.link()
	}
	return refuse(http.StatusBadRequest, "want files, directories and links only, not type %q", m.Typeflag)
}

// inside cleans a name in a tar that does not lead out of it.
func inside(name string) (string, error) {
	if name == "" || path.IsAbs(name) || strings.ContainsRune(name, 0) || slices.Contains(strings.Split(name, "/"), "..") {
		return "", refuse(http.StatusBadRequest, "want a relative name without .., got %q", name)
	}
	return path.Clean(name), nil
}

func (m *member) mode() fs.FileMode { return fs.FileMode(m.Mode).Perm() }

func (m *member) dir() error {
	if m.name == "." {
		return nil // the directory itself is the caller's
	}
	if err := m.root.MkdirAll(m.name, 0o755); err != nil {
		return err
	}
	return m.root.Chmod(m.name, m.mode())
}

// clear makes room for a member that is no directory, and its parents.
func (m *member) clear() error {
	if err := m.root.MkdirAll(path.Dir(m.name), 0o755); err != nil {
		return err
	}
	info, err := m.root.Lstat(m.name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return refuse(http.StatusConflict, "there is a directory of that name")
	}
	return m.root.Remove(m.name) // not written over: it may be a link
}

func (m *member) file() error {
	for name := range m.PAXRecords {
		if strings.HasPrefix(name, "GNU.sparse.") {
			return refuse(http.StatusBadRequest, "want a file without holes")
		}
	}
	if err := m.clear(); err != nil {
		return err
	}
	f, err := m.root.OpenFile(m.name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, m.body); err != nil {
		f.Close()
		if _, disk := errors.AsType[*fs.PathError](err); !disk {
			err = refuse(http.StatusBadRequest, "the tar breaks off: %w", err)
		}
		return err
	}
	if err := errors.Join(f.Chmod(m.mode()), f.Close()); err != nil {
		return err
	}
	return m.root.Chtimes(m.name, time.Time{}, m.ModTime)
}

// symlink makes a symbolic link, which may lead anywhere: it is not followed.
func (m *member) symlink() error {
	if m.Linkname == "" || strings.ContainsRune(m.Linkname, 0) {
		return refuse(http.StatusBadRequest, "want a link to something")
	}
	if err := m.clear(); err != nil {
		return err
	}
	return m.root.Symlink(m.Linkname, m.name)
}

// link makes a hard link to what is in root already.
func (m *member) link() error {
	target, err := inside(m.Linkname)
	if err != nil || target == m.name {
		return err
	}
	if err := m.clear(); err != nil {
		return err
	}
	return m.root.Link(target, m.name)
}
