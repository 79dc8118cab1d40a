package server_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"lap/server"
)

// TestSweepLeavesRunningServers lets many make and hold directories while others sweep.
func TestSweepLeavesRunningServers(t *testing.T) {
	parent := t.TempDir()
	var making, sweeping sync.WaitGroup
	done := make(chan struct{})
	for range 4 {
		sweeping.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					if err := server.SweepDirs(parent); err != nil {
						t.Error("sweep:", err)
						return
					}
				}
			}
		})
	}
	for range 16 {
		making.Go(func() {
			for i := range 50 {
				if err := live(t.Context(), parent, i%2 == 0); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	making.Wait()
	close(done)
	sweeping.Wait()
	if err := server.SweepDirs(parent); err != nil {
		t.Error(err)
	}
	if left := names(t, parent); len(left) > 0 { // no directory is old enough to be removed without its lock
		t.Errorf("left: %q", left)
	}
}

// live makes a directory and uses it for a while, as the server that holds it.
func live(ctx context.Context, parent string, write bool) error {
	dir, lock, err := server.MakeEphemeralDir(ctx, parent)
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "lap.db")
	if write {
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			return fmt.Errorf("taken from a running server: %w", err)
		}
	}
	for range 20 {
		if _, err := os.Stat(filepath.Join(dir, "lock")); err != nil {
			return fmt.Errorf("taken from a running server: %w", err)
		}
	}
	return lock.Close() // as its death does
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

// TestSweepTakesNothingElse looks at what is no directory of a dead server's.
func TestSweepTakesNothingElse(t *testing.T) {
	parent, elsewhere := t.TempDir(), t.TempDir()
	prefix := fmt.Sprintf("lap-ephemeral-%d-", os.Geteuid())
	old := time.Now().Add(-time.Hour)
	for _, dir := range []string{"other", prefix[:len(prefix)-1] + "0-x", prefix + "making", prefix + "filled", prefix + "empty"} {
		if err := os.Mkdir(filepath.Join(parent, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{parent + "/other/lock", parent + "/" + prefix + "filled/file", parent + "/" + prefix + "file", elsewhere + "/lock"} {
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(elsewhere, filepath.Join(parent, prefix+"link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(parent, prefix+"empty"), old, old); err != nil {
		t.Fatal(err)
	}
	before := names(t, parent)
	if err := server.SweepDirs(parent); err != nil {
		t.Error(err)
	}
	if after := names(t, parent); len(after) != len(before)-1 {
		t.Errorf("of %q are left %q, want all but the empty old one", before, after)
	}
	if _, err := os.Stat(filepath.Join(elsewhere, "lock")); err != nil {
		t.Error(err)
	}
}
