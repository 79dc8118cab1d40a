package docker_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"lap/sandbox"
	"lap/sandbox/docker"
	"lap/sandbox/pipe"
)

// What follows runs on a real engine, with this image.
const realImage = "buildpack-deps:bookworm-scm"

// A realEngine is a Docker engine and a Docker that uses it.
type realEngine struct {
	*docker.Docker
	engine *client.Client
	owner  string
}

// newReal returns a Docker on the real engine, whose containers are removed with the
// test, or skips the test when none answers. With LAP_TEST_REQUIRE_ALL set that is a
// failure.
func newReal(t *testing.T) *realEngine {
	t.Helper()
	engine, err := client.NewClientWithOpts(client.FromEnv, client.WithAPIVersionNegotiation())
	if err == nil {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = engine.Ping(ctx)
	}
	if err != nil {
		if os.Getenv("LAP_TEST_REQUIRE_ALL") != "" {
			t.Fatalf("no Docker engine answers: %v", err)
		}
		t.Skipf("needs a Docker engine, and none answers: %v", err)
	}
	owner := "test-" + filepath.Base(t.TempDir()) + time.Now().Format("-150405.000000")
	r := &realEngine{Docker: docker.New(docker.Config{Owner: owner, Guest: guestBinary(t), Pull: docker.PullMissing}), engine: engine, owner: owner}
	t.Cleanup(func() { r.clear(t) })
	if err := r.Ensure(t.Context(), realImage, func(string) {}); err != nil {
		t.Fatal(err)
	}
	return r
}

// clear removes what a test made.
func (r *realEngine) clear(t *testing.T) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	left, err := r.List(ctx)
	for _, c := range left {
		err = errors.Join(err, r.Remove(ctx, c.ID))
	}
	volume, unknown := r.Build(ctx)
	if gone := r.engine.VolumeRemove(ctx, volume, false); !errdefs.IsConflict(gone) && !errdefs.IsNotFound(gone) {
		err = errors.Join(err, gone)
	}
	if err := errors.Join(err, unknown, r.Close(), r.engine.Close()); err != nil {
		t.Error(err)
	}
}

// guestBinary is the program of sandboxes.
func guestBinary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lap")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", path, "../..")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the guest: %v\n%s", err, out)
	}
	return path
}

// create makes a sandbox that may use memory bytes.
func (r *realEngine) create(t *testing.T, memory int64) string {
	t.Helper()
	id, err := r.Create(t.Context(), r.spec(memory))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (r *realEngine) spec(memory int64) sandbox.Spec {
	return sandbox.Spec{Session: r.owner, Agent: "a", Generation: 1, Image: realImage, Limits: sandbox.Limits{CPUs: 1, Memory: memory, PIDs: 512}}
}

// start starts a sandbox and returns its pipe.
func (r *realEngine) start(t *testing.T, id string) *pipe.Host {
	t.Helper()
	conn, err := r.Start(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return host(t, conn)
}

// dial opens a further pipe.
func (r *realEngine) dial(t *testing.T, id string) *pipe.Host {
	t.Helper()
	conn, err := r.Dial(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return host(t, conn)
}

// host serves a pipe, which is closed with the test.
func host(t *testing.T, conn io.ReadWriteCloser) *pipe.Host {
	t.Helper()
	h, err := pipe.NewHost(conn)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { h.Serve("s", nil); close(served) }()
	t.Cleanup(func() { _ = h.Close(); <-served })
	return h
}

// answers fails the test when the guest does not answer over h.
func answers(t *testing.T, h *pipe.Host) {
	t.Helper()
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return h.Dial(ctx) },
	}}
	res, err := c.Get("http://sandbox/health")
	if err != nil {
		t.Fatalf("%v; the pipe: %v", err, h.Err())
	}
	if err := res.Body.Close(); err != nil {
		t.Error(err)
	}
}

// sh runs a script in a sandbox and returns its output, also when the sandbox ends
// before the script does.
func (r *realEngine) sh(t *testing.T, id, script string) string {
	t.Helper()
	made, err := r.engine.ContainerExecCreate(t.Context(), id, container.ExecOptions{Cmd: []string{"sh", "-c", script}, AttachStdout: true, AttachStderr: true})
	if err != nil {
		t.Fatal(err)
	}
	h, err := r.engine.ContainerExecAttach(t.Context(), made.ID, container.ExecAttachOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	var out bytes.Buffer
	if _, err := stdcopy.StdCopy(&out, &out, h.Reader); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// exits waits until a sandbox does not run.
func (r *realEngine) exits(t *testing.T, id string) sandbox.Detail {
	t.Helper()
	ended, failed := r.engine.ContainerWait(t.Context(), id, container.WaitConditionNotRunning)
	select {
	case <-ended:
	case err := <-failed:
		t.Fatal(err)
	case <-time.After(time.Minute):
		t.Fatal("the sandbox still runs")
	}
	got, err := r.Inspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func (r *realEngine) kill(t *testing.T, id string) sandbox.Detail {
	t.Helper()
	if err := r.engine.ContainerKill(t.Context(), id, "KILL"); err != nil {
		t.Fatal(err)
	}
	return r.exits(t, id)
}

func TestRealSandboxThatExitedStartsAgain(t *testing.T) {
	r := newReal(t)
	id := r.create(t, 1<<30)
	first := r.start(t, id)
	answers(t, first)
	r.sh(t, id, "echo kept > /root/note")
	if _, err := r.Start(t.Context(), id); err == nil || errors.Is(err, sandbox.ErrGone) {
		t.Errorf("start of what runs: %v", err)
	}
	for range 3 {
		ended := r.kill(t, id)
		if ended.State != sandbox.StateExited || ended.ExitCode != 137 || ended.OOMKilled || ended.FinishedAt.Before(ended.StartedAt) {
			t.Errorf("ended as %+v", ended)
		}
		if _, err := r.Dial(t.Context(), id); !errors.Is(err, sandbox.ErrGone) {
			t.Errorf("dial: %v", err)
		}
		<-first.Done()
		first = r.start(t, id)
		answers(t, first)
		if got := r.sh(t, id, "cat /root/note"); got != "kept\n" {
			t.Errorf("the file has %q", got)
		}
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	answers(t, r.dial(t, id)) // the sandbox outlives the first pipe of this run, too
}

func TestRealPauseKeepsThePipe(t *testing.T) {
	r := newReal(t)
	id := r.create(t, 1<<30)
	if err := r.Pause(t.Context(), id); !errors.Is(err, sandbox.ErrGone) {
		t.Errorf("pause of what never ran: %v", err)
	}
	first := r.start(t, id)
	for range 2 {
		if err := r.Pause(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	list, err := r.List(t.Context())
	if err != nil || len(list) != 1 || list[0].State != sandbox.StatePaused || !list[0].Running() || list[0].Name != r.spec(0).Name() {
		t.Errorf("list %+v, error %v", list, err)
	}
	if _, err := r.Dial(t.Context(), id); !errors.Is(err, sandbox.ErrPaused) {
		t.Errorf("dial: %v", err)
	}
	if _, err := r.Start(t.Context(), id); !errors.Is(err, sandbox.ErrPaused) {
		t.Errorf("start: %v", err)
	}
	for range 2 {
		if err := r.Unpause(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	answers(t, first)
	answers(t, r.dial(t, id))
	if err := r.Pause(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if err := r.Remove(t.Context(), id); err != nil {
		t.Errorf("removal of what is paused: %v", err)
	}
	for what, err := range map[string]error{"pause": r.Pause(t.Context(), id), "unpause": r.Unpause(t.Context(), id), "remove": r.Remove(t.Context(), id)} {
		if (what == "remove") != (err == nil) || err != nil && !errors.Is(err, sandbox.ErrGone) {
			t.Errorf("%s of nothing: %v", what, err)
		}
	}
}

func TestRealSandboxOutOfMemory(t *testing.T) {
	r := newReal(t)
	id := r.create(t, 64<<20)
	answers(t, r.start(t, id))
	// The kernel ends the largest process, and here in any case the first.
	r.sh(t, id, "echo 1000 > /proc/1/oom_score_adj && tail /dev/zero")
	if got := r.exits(t, id); got.State != sandbox.StateExited || !got.OOMKilled || got.ExitCode != 137 || got.Image != realImage {
		t.Errorf("ended as %+v", got)
	}
	answers(t, r.start(t, id))
	if got, err := r.Inspect(t.Context(), id); err != nil || got.OOMKilled || got.State != sandbox.StateRunning || !got.FinishedAt.IsZero() {
		t.Errorf("started again: %+v, error %v", got, err)
	}
}

func TestRealNameThatIsTaken(t *testing.T) {
	r := newReal(t)
	left := r.create(t, 1<<30)
	if id := r.create(t, 1<<30); id == left {
		t.Error("nothing was made")
	}
	if _, err := r.Inspect(t.Context(), left); !errors.Is(err, sandbox.ErrGone) {
		t.Errorf("what a crash left: %v", err)
	}
	other := docker.New(docker.Config{Owner: r.owner + "-other", Guest: guestBinary(t)})
	defer other.Close()
	if _, err := other.Create(t.Context(), r.spec(1<<30)); err == nil || !strings.Contains(err.Error(), "docker rm -f") {
		t.Errorf("create with another's name: %v", err)
	}
	if list, err := r.List(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("list %v, error %v", list, err)
	}
}

func TestRealEngineTellsAboutItself(t *testing.T) {
	r := newReal(t)
	if version, err := r.Ping(t.Context()); err != nil || version == "" {
		t.Errorf("version %q, error %v", version, err)
	}
	if got, err := r.Image(t.Context(), realImage); err != nil || got.ID == "" || got.Size == 0 {
		t.Errorf("image %v, error %v", got, err)
	}
	if _, err := r.Image(t.Context(), "lap-test-no-such-image"); !errors.Is(err, sandbox.ErrNoImage) {
		t.Errorf("no such image: %v", err)
	}
}

func TestRealManyPipesAtOnce(t *testing.T) {
	r := newReal(t)
	id := r.create(t, 1<<30)
	r.start(t, id)
	pipes := make([]io.ReadWriteCloser, 20)
	var all sync.WaitGroup
	for i := range pipes {
		all.Go(func() {
			var err error
			if pipes[i], err = r.Dial(t.Context(), id); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for _, conn := range pipes {
		if conn != nil {
			answers(t, host(t, conn))
		}
	}
}
