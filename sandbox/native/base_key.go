//go:build linux

package native

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// baseVersion changes when what is made of the same machine does.
const baseVersion = "3"

// layers are those of the machine's system directories that are no links.
var layers = []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/nix", "/gnu"}

func systemDirs() ([]string, error) {
	var dirs []string
	for _, dir := range layers {
		info, err := os.Lstat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case info.IsDir() && info.Mode().Perm()&0o005 == 0o005 && !empty(dir):
			dirs = append(dirs, dir)
		}
	}
	return dirs, nil
}

// empty reports whether a directory surely has nothing in it, and so needs no layer.
func empty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) == 0
}

// baseKey names the state of the machine that a base is made from.
func baseKey(system []string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, baseVersion, ids(), system)
	for _, dir := range append([]string{"/usr/local", "/usr/bin", "/usr/lib", "/usr/share", "/var/lib/dpkg/status"}, system...) {
		if info, err := os.Stat(dir); err == nil {
			fmt.Fprintln(h, dir, info.ModTime().UnixNano())
		}
	}
	err := filepath.WalkDir("/etc", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return skipUnreadable(d, err)
		}
		info, err := d.Info()
		if err == nil {
			fmt.Fprintln(h, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	return hex.EncodeToString(h.Sum(nil))[:16], err
}

// skipUnreadable leaves out what this user may not read, or is gone.
func skipUnreadable(d fs.DirEntry, err error) error {
	switch {
	case !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist):
		return err
	case d != nil && d.IsDir():
		return fs.SkipDir
	}
	return nil
}
