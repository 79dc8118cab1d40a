package e2e

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	dockerclient "github.com/docker/docker/client"

	"lap/client"
)

// TestImage builds the container image and runs it as a service.
func TestImage(t *testing.T) {
	docker := engine(t)
	_, err := exec.LookPath("docker")
	needs(t, err)
	makeImage(t, "e2e")

	t.Run("service", func(t *testing.T) {
		s := service(t, docker, append(engineOptions(t, docker), "-e", "LAP_FIXTURE=true", "-e", "WARM_POOL_SIZE=0", "lap:e2e")...)
		agent := s.newAgent(t)
		session := s.session(t, agent.ID, client.NewSession{})
		if got := s.sh(t, session.ID, "echo $((6 * 7))"); got != "42" {
			t.Errorf("the sandbox says %q", got)
		}
		s.reset(t)
	})
	t.Run("native", func(t *testing.T) {
		s := service(t, docker, append(nativeOptions(), "-e", "LAP_SANDBOX=native", "lap:e2e", "serve", "--ephemeral", "--fixture", "--listen", "0.0.0.0:3000")...)
		if got := s.sh(t, s.session(t, s.newAgent(t).ID, client.NewSession{}).ID, "hostname"); got != "lap" {
			t.Errorf("the sandbox says %q", got)
		}
		s.reset(t)
	})
	t.Run("ephemeral", func(t *testing.T) {
		s := service(t, docker, "lap:e2e", "serve", "--ephemeral", "--fixture", "--listen", "0.0.0.0:3000")
		s.newAgent(t)
		s.reset(t)
	})
}

// newAgent is agent for a server that is no process here.
func (s *serving) newAgent(t *testing.T) client.Agent {
	t.Helper()
	a, err := s.CreateAgent(t.Context(), client.NewAgent{Model: "scripted/echo", HarnessID: "lap"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// reset removes all agents of a fixture, and their sandboxes.
func (s *serving) reset(t *testing.T) {
	t.Helper()
	if got := do(t, s.request(t, http.MethodPost, "/api/v1/fixture/reset", "{}")); got.status != http.StatusOK {
		t.Errorf("the reset is %d %s", got.status, got.body)
	}
}

// makeImage makes the image of a version, which goes with the test.
func makeImage(t *testing.T, version string) {
	t.Helper()
	program := filepath.Join("..", "lap-linux-"+goruntime.GOARCH)
	_, err := os.Stat(program)
	isNew := errors.Is(err, fs.ErrNotExist)
	t.Cleanup(func() {
		if isNew {
			if err := os.Remove(program); err != nil {
				t.Error(err)
			}
		}
		capture(t, "docker", "image", "rm", "lap:"+version)
	})
	capture(t, "make", "-C", "..", "image", "VERSION="+version)
}

// engineOptions give a container the engine that the tests use.
func engineOptions(t *testing.T, docker *dockerclient.Client) []string {
	t.Helper()
	socket, ok := strings.CutPrefix(docker.DaemonHost(), "unix://")
	if !ok {
		t.Skipf("needs an engine that has a socket, and this one is at %s", docker.DaemonHost())
	}
	info, err := os.Stat(socket)
	if err != nil {
		t.Fatal(err)
	}
	group := strconv.Itoa(int(info.Sys().(*syscall.Stat_t).Gid))
	return []string{"-v", socket + ":/var/run/docker.sock", "--group-add", group}
}

// nativeOptions let lap make sandboxes inside of a container, on a file system that can hold
// them. It is no root there, and needs no privilege.
func nativeOptions() []string {
	var options []string
	for _, lifted := range []string{"seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined"} {
		options = append(options, "--security-opt", lifted)
	}
	return append(options, "-e", "TMPDIR=/data")
}

// service runs a container, waits until it is healthy, and stops it with the test. options
// end with the image and what it is to run.
func service(t *testing.T, docker *dockerclient.Client, options ...string) *serving {
	t.Helper()
	t.Setenv("MASTER_KEY", masterKey)
	id := capture(t, "docker", append([]string{"run", "-d", "-p", "127.0.0.1::3000", "--health-interval", "500ms", "-e", "MASTER_KEY"}, options...)...)
	look := func(t *testing.T) container.InspectResponse {
		t.Helper()
		c, err := docker.ContainerInspect(context.WithoutCancel(t.Context()), id)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Cleanup(func() {
		capture(t, "docker", "stop", id)
		if c := look(t); c.State.ExitCode != 0 || t.Failed() {
			t.Errorf("it ended with %d\n%s", c.State.ExitCode, capture(t, "sh", "-c", `docker logs "$0" 2>&1`, id))
		}
		capture(t, "docker", "rm", "-v", id)
	})
	eventually(t, "the container is healthy", func() bool {
		c := look(t)
		if !c.State.Running {
			t.Fatal("the container has ended")
		}
		return c.State.Health != nil && c.State.Health.Status == container.Healthy
	})
	url := "http://" + capture(t, "docker", "port", id, "3000/tcp")
	return &serving{Client: client.New(url, masterKey), url: url}
}

// capture runs a program that has to succeed, also when the test has ended, and returns
// what it said.
func capture(t *testing.T, program string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	var talk strings.Builder
	cmd.Stderr = &talk
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", program, strings.Join(args, " "), err, out, talk.String())
	}
	return strings.TrimSpace(string(out))
}
