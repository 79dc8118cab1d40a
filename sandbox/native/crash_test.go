//go:build linux

package native_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"lap/sandbox"
	"lap/sandbox/native"
)

// help is what the test binary does as another process.
func help(what string) {
	n := native.New(native.Config{
		Dir: os.Getenv(dirVar), Cache: cache(), Guest: filepath.Join(tools, "guest"), Tied: what == "tied",
	})
	ctx := context.Background()
	switch what {
	case "run", "tied":
		for i := range 3 {
			id, err := n.Create(ctx, spec(fmt.Sprintf("s%d", i), sandbox.Limits{}))
			if err != nil {
				log.Fatal(err)
			}
			if _, err := n.Start(ctx, id); err != nil {
				log.Fatal(err)
			}
		}
		if err := n.Pause(ctx, "native-s2-1"); err != nil {
			log.Fatal(err)
		}
	case "churn":
		for i := range 4 {
			go func() {
				for {
					if err := wholeLife(ctx, n, fmt.Sprintf("s%d", i)); err != nil {
						log.Fatal(err)
					}
				}
			}()
		}
	case "base":
		if err := n.Ensure(ctx, "", func(string) {}); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("done")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends it
	os.Exit(0)
}

// helper starts another process and waits until it is done with what it is to do.
func helper(t *testing.T, what, dir string, vars ...string) *exec.Cmd {
	t.Helper()
	guest(t)
	cmd := exec.Command(os.Args[0]) // the test ends it by a signal
	cmd.Env = append(append(os.Environ(), helperVar+"="+what, dirVar+"="+dir, toolsVar+"="+tools), vars...)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Process.Kill() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("%s: %q %v", what, line, err)
	}
	return cmd
}

// tidy removes all sandboxes in a folder with the test, whoever made them.
func tidy(t *testing.T, dir string) {
	t.Helper()
	t.Cleanup(func() {
		n := native.New(native.Config{Dir: dir, Cache: cache(), Guest: guest(t)})
		list, err := n.List(context.Background())
		if err != nil {
			t.Error(err)
		}
		for _, i := range list {
			if err := n.Remove(context.Background(), i.ID); err != nil {
				t.Error(err)
			}
		}
		if err := errors.Join(n.Sweep(context.Background()), n.Close()); err != nil {
			t.Error(err)
		}
	})
}

func kill(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
}

func TestSandboxesOutliveLap(t *testing.T) {
	newNative(t, native.Config{}) // or it cannot be here
	dir := t.TempDir()
	kill(t, helper(t, "run", dir))
	n := newNative(t, native.Config{Dir: dir})
	if err := n.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	list, err := n.List(t.Context())
	if err != nil || len(list) != 3 {
		t.Fatalf("found: %+v %v", list, err)
	}
	for _, i := range list {
		if want := i.Session == "s2"; want != (i.State == sandbox.StatePaused) || !i.Running() {
			t.Errorf("%s is %s", i.Session, i.State)
		}
	}
	dial(t, n, list[0].ID).want("echo here", "here")
	if err := n.Unpause(t.Context(), list[2].ID); err != nil {
		t.Fatal(err)
	}
	dial(t, n, list[2].ID).want("echo here", "here")
	if err := n.Remove(t.Context(), list[0].ID); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(native.First(n, list[1].ID), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var d sandbox.Detail
	until(t, "the end of a stranger is known", func() bool {
		d, err = n.Inspect(t.Context(), list[1].ID)
		return err != nil || !d.FinishedAt.IsZero()
	})
	if err != nil || d.ExitCode != 137 && d.ExitCode != -1 { // old kernels do not tell
		t.Errorf("exited: %+v %v", d, err)
	}
	start(t, n, list[1].ID).want("echo again", "again")
}

func TestEndThatNobodySaw(t *testing.T) {
	dir := t.TempDir()
	tidy(t, dir)
	newNative(t, native.Config{})
	first := native.New(native.Config{Dir: dir, Cache: cache(), Guest: guest(t)})
	id, _ := begin(t, first, spec("s", sandbox.Limits{}))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(native.First(first, id), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	n := native.New(native.Config{Dir: dir, Cache: cache(), Guest: guest(t)})
	defer n.Close()
	until(t, "it has ended", func() bool { return state(t, n, id) == sandbox.StateExited })
	if d, err := n.Inspect(t.Context(), id); err != nil || d.ExitCode != -1 || !d.FinishedAt.IsZero() || d.StartedAt.IsZero() {
		t.Errorf("exited: %+v %v", d, err)
	}
}

// TestCrash ends lap while it makes, starts and removes sandboxes.
func TestCrash(t *testing.T) {
	newNative(t, native.Config{})
	dir := t.TempDir()
	for range 5 {
		cmd := helper(t, "churn", dir)
		until(t, "it has begun", func() bool {
			entries, err := os.ReadDir(dir)
			return err == nil && len(entries) > 1
		})
		kill(t, cmd)
		n := native.New(native.Config{Dir: dir, Cache: cache(), Guest: guest(t)})
		if err := n.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		list, err := n.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			if err := n.Remove(t.Context(), i.ID); err != nil {
				t.Fatal(err)
			}
		}
		until(t, "no process is left", func() bool { return len(running("guest")) == 0 })
		if err := n.Close(); err != nil {
			t.Error(err)
		}
		left, err := filepath.Glob(dir + "/*/*")
		if err != nil || len(left) > 0 {
			t.Errorf("files are left: %v %v", left, err)
		}
	}
}

func TestTied(t *testing.T) {
	newNative(t, native.Config{})
	for _, how := range []string{"killed", "closed"} {
		t.Run(how, func(t *testing.T) {
			dir := t.TempDir()
			tidy(t, dir)
			if how == "killed" {
				cmd := helper(t, "tied", dir)
				if p := running("guest"); len(p) != 3 {
					t.Errorf("%d run", len(p))
				}
				kill(t, cmd)
			} else {
				n := native.New(native.Config{Dir: dir, Cache: cache(), Guest: guest(t), Tied: true})
				id, _ := begin(t, n, spec("s", sandbox.Limits{}))
				if err := n.Pause(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				if err := n.Close(); err != nil {
					t.Fatal(err)
				}
			}
			until(t, "they have ended", func() bool { return len(running("guest")) == 0 })
		})
	}
}

func TestBaseIsShared(t *testing.T) {
	newNative(t, native.Config{})
	shared := t.TempDir()
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			n := native.New(native.Config{Dir: shared, Cache: shared, Guest: guest(t)})
			defer n.Close()
			var told []string
			if err := n.Ensure(t.Context(), "", func(s string) { told = append(told, s) }); err != nil {
				t.Error(err)
			}
			if len(told) > 0 && !strings.Contains(told[0], "preparing") {
				t.Errorf("told %v", told)
			}
		})
	}
	all.Wait()
	sandboxes := t.TempDir()
	tidy(t, sandboxes)
	n := native.New(native.Config{Dir: sandboxes, Cache: shared, Guest: guest(t)})
	image, err := n.Image(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(shared + "/native/*"); err != nil || len(left) != 2 {
		t.Errorf("made: %v %v", left, err)
	}
	id, _ := begin(t, n, spec("s", sandbox.Limits{}))
	if err := n.Close(); err != nil { // the sandbox alone uses the base now
		t.Fatal(err)
	}
	dir := filepath.Join(shared, "native", image.ID)
	native.Age(t, dir)
	other := newNative(t, native.Config{Cache: shared})
	if err := other.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error("a base was swept that a sandbox uses")
	}
	if err := syscall.Kill(native.First(n, id), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "a base that nobody uses is swept", func() bool {
		if err := other.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, err := os.Stat(dir)
		return errors.Is(err, os.ErrNotExist)
	})
}

func TestCacheOfOthers(t *testing.T) {
	newNative(t, native.Config{})
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "native"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "native"), 0o777); err != nil {
		t.Fatal(err)
	}
	n := native.New(native.Config{Dir: t.TempDir(), Cache: dir, Guest: guest(t)})
	defer n.Close()
	if err := n.Ensure(t.Context(), "", func(string) {}); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("a cache that others can change: %v", err)
	}
}
