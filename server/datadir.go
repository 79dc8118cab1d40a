package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// A lock is waited for: what a lap that was killed was just about to start, such as a native
// sandbox, has it for a moment longer.
const (
	lockWait  = time.Second
	lockRetry = 20 * time.Millisecond
)

// openDataDir makes the data directory private and locks it for this process. The
// caller unlocks it when everything in it is closed.
func openDataDir(ctx context.Context, dir string) (*flock.Flock, error) {
	if err := privateDir(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, lockFile)
	lock := flock.New(path, flock.SetPermissions(0o600), flock.SetFlag(os.O_CREATE|os.O_RDWR))
	waiting, stop := context.WithTimeout(ctx, lockWait)
	defer stop()
	locked, err := lock.TryLockContext(waiting, lockRetry)
	if err != nil && (ctx.Err() != nil || waiting.Err() == nil) {
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

// privateDir makes dir with mode 0700, or gives that mode to a directory that is empty
// or lap's already. Any other directory is somebody else's business.
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
	if !info.IsDir() {
		return fmt.Errorf("--data-dir %s is not a directory", dir)
	}
	if info.Mode().Perm() == 0o700 {
		return nil
	}
	ours, err := oursAlone(dir)
	if err != nil {
		return err
	}
	if !ours {
		return fmt.Errorf("--data-dir %s holds files that are not lap's: give lap a directory of its own, such as %s", dir, filepath.Join(dir, "lap"))
	}
	return os.Chmod(dir, 0o700)
}

// oursAlone reports whether a directory is empty, or has nothing but what lap or its
// user may have put there.
func oursAlone(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	known := []string{databaseFile, masterKeyFile, sealKeyFile, caCertFile, caKeyFile, lockFile, scriptsDir, cassettesDir, mirrorsDir, nativeDir, "config.json"}
	for _, e := range entries {
		if !slices.ContainsFunc(known, func(name string) bool { return strings.HasPrefix(e.Name(), name) }) {
			return false, nil
		}
	}
	return true, nil
}
