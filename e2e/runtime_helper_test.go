package e2e

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/container"
	dockerclient "github.com/docker/docker/client"

	"lap/e2e/process"
	"lap/sandbox"
	"lap/sandbox/native"
)

// A runtime is what runs the sandboxes of a test.
type runtime struct {
	name   string               // as LAP_SANDBOX has it
	engine *dockerclient.Client // nil: there is none
}

// onEach runs a test once with each runtime of sandboxes, as subtests at the same time.
// What cannot run here is skipped.
func onEach(t *testing.T, test func(t *testing.T, on runtime)) {
	t.Helper()
	t.Run(sandbox.Docker, func(t *testing.T) {
		t.Parallel()
		test(t, onDocker(t))
	})
	t.Run(sandbox.Native, func(t *testing.T) {
		t.Parallel()
		test(t, onNative(t))
	})
}

func onDocker(t *testing.T) runtime {
	t.Helper()
	return runtime{sandbox.Docker, engine(t)}
}

// onNative skips the test where this machine cannot run native sandboxes. On Linux, with
// LAP_TEST_REQUIRE_ALL set, that is a failure.
func onNative(t *testing.T) runtime {
	t.Helper()
	n := native.New(native.Config{Dir: t.TempDir(), Guest: binary})
	_, err := n.Ping(t.Context())
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	switch {
	case err != nil && goruntime.GOOS == "linux" && os.Getenv("LAP_TEST_REQUIRE_ALL") != "":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
	return runtime{name: sandbox.Native}
}

// onAny returns the runtime that can run here, the native one where both can.
func onAny(t *testing.T) runtime {
	t.Helper()
	if goruntime.GOOS != "linux" {
		return onDocker(t)
	}
	return onNative(t)
}

// serve is serve for a server whose sandboxes are of this runtime. With the test ends all
// that is left of native ones, which is a failure.
func (on runtime) serve(t *testing.T, o options) *serving {
	t.Helper()
	if o.dir == "" {
		o.dir = t.TempDir()
	}
	if on.engine == nil {
		t.Cleanup(func() { noneLeft(t, o.dir) })
	}
	o.env = append([]string{"LAP_SANDBOX=" + on.name}, o.env...)
	s := serve(t, o)
	s.on = on
	return s
}

// noneLeft fails when native sandboxes of a data directory are left, as folders or as
// processes, and ends them.
func noneLeft(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(dir, "native"))
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	for _, e := range left {
		if strings.HasPrefix(e.Name(), sandbox.NativePrefix) {
			t.Errorf("sandbox %s is left", e.Name())
		}
	}
	for _, pid := range processesWith(t, filepath.Join(dir, "native")) {
		t.Errorf("process %d of a sandbox is left", pid)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
}

// processesWith returns the first processes of native sandboxes below dir.
func processesWith(t *testing.T, dir string) []int {
	t.Helper()
	all, err := process.Below(dir)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(maps.Keys(all))
}

// sandboxes returns those of a session or an agent, running or not.
func (s *serving) sandboxes(t *testing.T, of string) []sandbox.Info {
	t.Helper()
	var all []sandbox.Info
	if s.on.engine == nil {
		list, err := s.runtime(t).List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range list {
			if b.Session == of || b.Agent == of {
				all = append(all, b)
			}
		}
		return all
	}
	for _, label := range []string{"dev.lap.session", "dev.lap.agent"} {
		for _, c := range containers(t, s.on.engine, label, of) {
			all = append(all, sandbox.Info{ID: c.ID, Session: c.Labels["dev.lap.session"], Agent: c.Labels["dev.lap.agent"], State: sandbox.State(c.State)})
		}
	}
	return all
}

// runtime looks at a server's native sandboxes from outside of it.
func (s *serving) runtime(t *testing.T) *native.Native {
	t.Helper()
	n := native.New(native.Config{Dir: filepath.Join(s.dir, "native"), Guest: binary})
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// killSandbox ends all processes of a sandbox, as somebody on this machine could.
func (s *serving) killSandbox(t *testing.T, id string) {
	t.Helper()
	if s.on.engine != nil {
		if err := s.on.engine.ContainerKill(t.Context(), id, "KILL"); err != nil {
			t.Fatal(err)
		}
		return
	}
	all := processesWith(t, filepath.Join(s.dir, "native", id))
	if len(all) == 0 {
		t.Fatalf("sandbox %s has no process", id)
	}
	for _, pid := range all {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the sandbox has ended", func() bool { return len(processesWith(t, filepath.Join(s.dir, "native", id))) == 0 })
}

// removeSandbox removes a sandbox behind its server's back.
func (s *serving) removeSandbox(t *testing.T, id string) {
	t.Helper()
	var err error
	if s.on.engine != nil {
		err = s.on.engine.ContainerRemove(t.Context(), id, container.RemoveOptions{Force: true})
	} else {
		err = s.runtime(t).Remove(t.Context(), id)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// paused reports whether a sandbox is.
func (s *serving) paused(t *testing.T, id string) bool {
	t.Helper()
	if s.on.engine != nil {
		c, err := s.on.engine.ContainerInspect(context.WithoutCancel(t.Context()), id)
		return err == nil && c.State.Paused
	}
	d, err := s.runtime(t).Inspect(t.Context(), id)
	return err == nil && d.State == sandbox.StatePaused
}

// needs skips the test when the sandbox of a session has not all programs. Native ones
// have those of this machine.
func (s *serving) needs(t *testing.T, sessionID string, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if got := s.sh(t, sessionID, "command -v "+name+" || echo none"); got == "none" {
			t.Skipf("needs %s, which sandboxes on %s have not here", name, s.on.name)
		}
	}
}
