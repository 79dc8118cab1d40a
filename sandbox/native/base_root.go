//go:build linux

package native

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// packageLists is what Debian's package manager knows of this machine. It is copied, since
// programs make links to these files, which only their owner may.
const packageLists = "/var/lib/dpkg"

// makeRoot makes the root of sandboxes.
func makeRoot(root string, m idMap, system []string) error {
	if err := makeFrame(root, m, system); err != nil {
		return err
	}
	for _, dir := range []string{"/etc", packageLists} {
		if err := copyReadable(dir, filepath.Join(root, dir), m); err != nil {
			return err
		}
	}
	return settleEtc(filepath.Join(root, "etc"), m)
}

// makeFrame makes the directories and links of a root.
func makeFrame(root string, m idMap, system []string) error {
	for path, mode := range map[string]fs.FileMode{
		"": 0o755, "dev": 0o755, "proc": 0o755, "sys": 0o755, "run": 0o755, "tmp": 0o1777, "root": 0o700, "home": 0o755, "work": 0o755,
		"mnt": 0o755, "media": 0o755, "srv": 0o755, "etc": 0o755, ".lap": 0o755,
		"var": 0o755, "var/tmp": 0o1777, "var/lib": 0o755, "var/cache": 0o755, "var/log": 0o755, "var/spool": 0o755, "var/mail": 0o755, "var/local": 0o755, "var/backups": 0o755,
		"var/lib/apt": 0o755, "var/lib/apt/lists": 0o755, "var/lib/apt/lists/partial": 0o700, "var/cache/apt": 0o755, "var/cache/apt/archives": 0o755, "var/cache/apt/archives/partial": 0o700,
	} {
		if err := makeDir(filepath.Join(root, path), mode, m); err != nil {
			return err
		}
	}
	for _, dir := range system {
		if err := makeDir(filepath.Join(root, dir), 0o755, m); err != nil {
			return err
		}
	}
	for _, link := range append(layers, "/var/run", "/var/lock") {
		if to, err := os.Readlink(link); err == nil {
			if err := makeLink(to, filepath.Join(root, link), m); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(root, ".lap/lap"), nil, 0o755)
}

func makeLink(to, path string, m idMap) error {
	if err := os.Symlink(to, path); err != nil {
		return err
	}
	return m.own(path)
}

// makeDir makes a directory, and those above it, with their owner.
func makeDir(path string, mode fs.FileMode, m idMap) error {
	if err := os.MkdirAll(path, 0o755); err != nil {
		return err
	}
	if err := os.Chmod(path, unixMode(mode)); err != nil {
		return err
	}
	return m.own(path)
}

// unixMode turns the sticky bit of a number into Go's.
func unixMode(mode fs.FileMode) fs.FileMode {
	if mode&0o1000 != 0 {
		return mode&0o777 | fs.ModeSticky
	}
	return mode
}

// copyReadable copies what everybody may read.
func copyReadable(from, to string, m idMap) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return skipUnreadable(d, err) // also when this machine has no such directory
		}
		info, err := d.Info()
		if err != nil {
			return skipUnreadable(d, err)
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		switch mode := info.Mode(); {
		case mode.IsDir() && mode.Perm()&0o005 != 0o005:
			return fs.SkipDir
		case mode.IsDir():
			return makeDir(target, mode.Perm()|0o700, m) // it is to be filled
		case mode&fs.ModeSymlink != 0:
			link, err := os.Readlink(path)
			if err != nil {
				return skipUnreadable(d, err)
			}
			return makeLink(link, target, m)
		case mode.IsRegular() && mode.Perm()&0o004 != 0:
			return copyFile(path, target, info, m)
		}
		return nil
	})
}

func copyFile(from, to string, info fs.FileInfo, m idMap) error {
	in, err := os.Open(from)
	if err != nil {
		return skipUnreadable(nil, err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	err = errors.Join(err, out.Chmod(info.Mode().Perm()), out.Close(), m.own(to))
	if err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}
