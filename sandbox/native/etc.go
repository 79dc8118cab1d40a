//go:build linux

package native

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// settleEtc makes of this machine's settings those of a sandbox: without the names of its
// people and of its network, and with what the guest writes to as plain files.
func settleEtc(etc string, m idMap) error {
	for _, name := range []string{"passwd-", "group-", "subuid", "subuid-", "subgid", "subgid-", "fstab", "crypttab", "exports", "cron.d", "crontab", "netplan", "NetworkManager"} {
		if err := os.RemoveAll(filepath.Join(etc, name)); err != nil {
			return err
		}
	}
	for _, name := range []string{"passwd", "group"} {
		if err := keepSystemAccounts(filepath.Join(etc, name), m); err != nil {
			return err
		}
	}
	files := map[string]string{
		"hostname":    "lap\n",
		"hosts":       "127.0.0.1\tlocalhost lap\n::1\tlocalhost ip6-localhost ip6-loopback\n",
		"resolv.conf": "nameserver 127.0.0.1\n",
		"machine-id":  strings.ToLower(rand.Text() + rand.Text())[:32],
	}
	if m.count == 1 && isFolder(filepath.Join(etc, "apt")) && isFolder(filepath.Join(etc, "apt/apt.conf.d")) {
		files["apt/apt.conf.d/99lap"] = "APT::Sandbox::User \"root\";\n" // there is no other
	}
	for name, text := range files {
		if err := replaceFile(filepath.Join(etc, name), text, 0o644, m); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile makes a file in the place of what is there, which may be a link to this
// machine's own.
func replaceFile(path, text string, mode fs.FileMode, m idMap) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Chmod(mode), f.Close(), m.own(path))
}

// isFolder reports whether a path is a folder and no link to one.
func isFolder(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// keepSystemAccounts takes people's out of a passwd or group file.
func keepSystemAccounts(path string, m idMap) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	var kept strings.Builder
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) < 4 {
			continue
		}
		id, err := strconv.Atoi(fields[2])
		if err != nil || id >= 1000 && id != 65534 {
			continue
		}
		if filepath.Base(path) == "group" {
			fields[3] = "" // its members
			line = strings.Join(fields, ":") + "\n"
		}
		kept.WriteString(line)
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return replaceFile(path, kept.String(), info.Mode().Perm(), m)
}

// file hides a file of a system directory that not everybody may read, by a whiteout in the
// layer above, where the sandboxes' root is lap's own user: else it could be read if it is
// this user's, or a group's.
func (s *skeleton) file(to string, d fs.DirEntry) error {
	if s.ids.count > 1 { // a lot of files to look at for nothing
		return nil
	}
	info, err := d.Info()
	if err != nil {
		return skipUnreadable(nil, err)
	}
	if info.Mode()&fs.ModeSymlink == 0 && info.Mode().Perm()&0o004 == 0 {
		return whiteOut(to)
	}
	return nil
}

func whiteOut(path string) error {
	if err := unix.Mknod(path, unix.S_IFCHR, 0); err != nil && !errors.Is(err, fs.ErrExist) { // one directory of the system may lie in another
		return &os.PathError{Op: "make a whiteout", Path: path, Err: err}
	}
	return nil
}
