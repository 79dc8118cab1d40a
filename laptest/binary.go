package laptest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// binary is where the lap is that servers are started with.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("LAP_BINARY"); path != "" {
		return path, nil
	}
	source, known := sourceDir()
	_, err := exec.LookPath("go")
	if !known || err != nil {
		path, err := exec.LookPath("lap")
		if err != nil {
			return "", fmt.Errorf("there is no source to build it from, nor %w: set LAP_BINARY", err)
		}
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w: set LAP_BINARY, or HOME for a place to build it in", err)
	}
	return built(source, filepath.Join(cache, "lap-test"))
})

// sourceDir is the folder of the module that has this package. It is not known to a test
// that was built with -trimpath, or elsewhere.
func sourceDir() (string, bool) {
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Dir(filepath.Dir(file))
	_, err := os.Stat(filepath.Join(dir, "schema.sql"))
	return dir, filepath.IsAbs(dir) && err == nil
}

const (
	buildLimit = 10 * time.Minute // for the build of another test process
	lockPeriod = 50 * time.Millisecond
	keepUnused = 7 * 24 * time.Hour
)

// built returns a lap that is built from the source as it is now. It may be kept in the
// folder cache from an earlier time. Of several test processes one builds it.
func built(source, cache string) (_ string, err error) {
	key, err := fingerprint(source)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, key)
	path := filepath.Join(dir, "lap")
	if used(dir, path) {
		return path, nil
	}
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	lock := flock.New(filepath.Join(cache, "lock"))
	if _, err := lock.TryLockContext(ctx, lockPeriod); err != nil {
		return "", fmt.Errorf("wait for another build of lap: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if used(dir, path) {
		return path, nil
	}
	if err := prune(cache); err != nil {
		return "", err
	}
	return path, build(ctx, source, dir)
}

// used reports whether there is a binary, and notes that it is used still.
func used(dir, path string) bool {
	if _, err := os.Stat(path); err != nil {
		return false
	}
	return os.Chtimes(dir, time.Time{}, time.Now()) == nil
}

// build builds lap into dir, whole or not at all. Where sandboxes are another system's,
// there is a second binary for them.
func build(ctx context.Context, source, dir string) error {
	temp, err := os.MkdirTemp(filepath.Dir(dir), "build-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }() // it is there only if this fails, and then pruned later
	targets := map[string]string{"lap": runtime.GOOS}
	if runtime.GOOS != "linux" {
		targets["lap-linux-"+runtime.GOARCH] = "linux"
	}
	for name, system := range targets {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(temp, name), ".")
		cmd.Dir = source
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+runtime.GOARCH)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s in %s: %w\n%s", name, source, err, out)
		}
	}
	return os.Rename(temp, dir)
}

// prune removes what no test has used for a while. A running process keeps its binary.
func prune(cache string) error {
	entries, err := os.ReadDir(cache)
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && e.IsDir() && time.Since(info.ModTime()) > keepUnused {
			errs = append(errs, os.RemoveAll(filepath.Join(cache, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// skipped are folders of which nothing gets into the binary.
var skipped = []string{"docs", "examples", "dist", "node_modules", "testdata"}

// fingerprint names what a binary is made from: the files of the module that may get into
// it, and the version of Go. It takes some milliseconds, while linking takes a second.
func fingerprint(source string) (string, error) {
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	err := filepath.WalkDir(source, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // an editor's, just gone
			return nil
		} else if err != nil {
			return err
		}
		name := e.Name()
		switch {
		case e.IsDir():
			if path != source && (name[0] == '.' || slices.Contains(skipped, name)) {
				return filepath.SkipDir
			}
			return nil
		case !e.Type().IsRegular() || filepath.Ext(name) == "" || strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".md"):
			return nil
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		fmt.Fprintln(sum, strings.TrimPrefix(path, source), len(text))
		sum.Write(text)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)[:16]), err
}
