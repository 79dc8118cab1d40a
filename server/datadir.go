package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
)

// openDataDir makes the data directory private and locks it for this process. The
// caller unlocks it when everything in it is closed.
func openDataDir(dir string) (*flock.Flock, error) {
	if err := privateDir(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, lockFile)
	lock := flock.New(path, flock.SetPermissions(0o600), flock.SetFlag(os.O_CREATE|os.O_RDWR))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !locked {
		return nil, errors.Join(inUse(dir, path), lock.Close())
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func inUse(dir, path string) error {
	holder := "another lap serve"
	if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
		holder += " (pid " + strings.TrimSpace(string(b)) + ")"
	}
	return fmt.Errorf("%s is already using %s: stop it, or give this one another --data-dir", holder, dir)
}

// privateDir makes dir with mode 0700, or gives that mode to a directory that is
// there, unless it is plainly not one's own.
func privateDir(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
			return err
		}
		return os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return err
	}
	home, _ := os.UserHomeDir() // "" is no directory to protect
	switch {
	case !info.IsDir():
		return fmt.Errorf("--data-dir %s is not a directory", dir)
	case info.Mode().Perm()&0o002 != 0, dir == home, dir == "/":
		return fmt.Errorf("--data-dir %s is shared with others: give lap a directory of its own, such as %s", dir, filepath.Join(dir, "lap"))
	case info.Mode().Perm() == 0o700:
		return nil
	}
	return os.Chmod(dir, 0o700)
}
