package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"lap/client"
)

func TestEphemeralServes(t *testing.T) {
	tmp := t.TempDir()
	f := ephemeral(t, tmp)
	if f.PID != f.cmd.Process.Pid || !strings.HasPrefix(f.URL, "http://127.0.0.1:") || len(f.Key) < 40 {
		t.Errorf("it printed %+v", f)
	}
	info, err := os.Stat(f.DataDir)
	if err != nil || info.Mode() != os.ModeDir|0o700 || filepath.Dir(f.DataDir) != tmp {
		t.Errorf("data directory %s: %v, error %v", f.DataDir, info, err)
	}
	if want := fmt.Sprintf(`^lap-ephemeral-%d-[a-z0-9]{26}$`, os.Geteuid()); !regexp.MustCompile(want).MatchString(filepath.Base(f.DataDir)) {
		t.Errorf("data directory %s, want %s", f.DataDir, want)
	}
	if _, err := f.CreateAgent(t.Context(), client.NewAgent{Name: "one", Model: "scripted/echo"}); err != nil {
		t.Error(err)
	}
	if got := status(t, f.URL+"/api/v1/managed_agents/agents", "Bearer "+f.Key+"x"); got != 401 {
		t.Errorf("another key gets %d", got)
	}
	for _, name := range []string{"master.key", "secret.key", "ca.key"} {
		if _, err := os.Stat(filepath.Join(f.DataDir, name)); err == nil {
			t.Errorf("%s is in a file", name)
		}
	}
	if _, err := f.stdin.Write([]byte("what is written to it means nothing\n")); err != nil {
		t.Error(err)
	}
	f.close(t)
	if f.talk.Len() > 0 {
		t.Errorf("it said:\n%s", f.talk)
	}
	if conn, err := net.Dial("tcp", strings.TrimPrefix(f.URL, "http://")); err == nil {
		t.Error("somebody listens still", conn.Close())
	}
}

func TestEphemeralHeedsSettings(t *testing.T) {
	cmd := command(t, t.TempDir(), "--listen", "127.0.0.2:0")
	cmd.Env = append(cmd.Env, "MASTER_KEY="+masterKey, "PORT=1", "LAP_DATA_DIR=/nowhere")
	f := hold(t, cmd)
	if f.Key != masterKey || !strings.HasPrefix(f.URL, "http://127.0.0.2:") {
		t.Errorf("url %s, key %s", f.URL, f.Key)
	}
	f.close(t)
}

func TestEphemeralRefusesDataDir(t *testing.T) {
	out, err := command(t, t.TempDir(), "--data-dir", t.TempDir()).CombinedOutput()
	if err == nil || err.Error() != "exit status 2" || !strings.Contains(string(out), "leave out --data-dir") {
		t.Errorf("error %v, said %s", err, out)
	}
}

func TestEphemeralEndsBySignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(sig.String(), func(t *testing.T) {
			f := ephemeral(t, t.TempDir())
			if err := f.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			f.ended(t)
		})
	}
}

// TestEphemeralEndsWithItsParent kills the shell that has started the server. A standard
// input that says nothing is no reason to end before.
func TestEphemeralEndsWithItsParent(t *testing.T) {
	lap := command(t, t.TempDir())
	shell := command(t, t.TempDir())
	shell.Path, shell.Args, shell.Env = "/bin/sh", []string{"sh", "-c", `"$0" serve --ephemeral </dev/null & wait`, lap.Path}, lap.Env
	f := launch(t, shell)
	if _, err := f.CreateAgent(t.Context(), client.NewAgent{Model: "scripted/echo"}); err != nil || f.PID == shell.Process.Pid {
		t.Fatalf("error %v, pid %d", err, f.PID)
	}
	if err := shell.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.stdout.ReadByte(); err == nil { // it ends when the server has closed it
		t.Error("the server printed more")
	}
	f.gone(t)
}

// TestEphemeralSaysThingsToNobody has a log that is read no more, as after the death of who
// started it.
func TestEphemeralSaysThingsToNobody(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(t, t.TempDir(), "--log-level", "debug")
	cmd.Stderr = w
	f := hold(t, cmd)
	if err := errors.Join(r.Close(), w.Close()); err != nil {
		t.Fatal(err)
	}
	for range 3 { // it logs requests
		if got := status(t, f.URL+"/api/v1/managed_agents/agents", "Bearer "+f.Key); got != 200 {
			t.Errorf("status %d", got)
		}
	}
	f.close(t)
}

// TestEphemeralWithoutInput starts servers whose standard input ends at once.
func TestEphemeralWithoutInput(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	regular, err := os.Create(filepath.Join(t.TempDir(), "empty"))
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	for name, stdin := range map[string]*os.File{"closed pipe": r, "no device": file, "empty file": regular} {
		t.Run(name, func(t *testing.T) {
			cmd := command(t, t.TempDir())
			cmd.Stdin = stdin
			f := launch(t, cmd)
			if _, err := f.CreateAgent(t.Context(), client.NewAgent{Model: "scripted/echo"}); err != nil {
				t.Error(err)
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
			f.ended(t)
		})
	}
}

// TestFiftyEphemeralServers runs fifty at once beside what killed ones have left.
func TestFiftyEphemeralServers(t *testing.T) {
	const many = 50
	tmp := t.TempDir()
	for _, f := range several(t, tmp, many/5) {
		f.kill(t)
	}
	servers := several(t, tmp, many)
	seen := map[string]bool{}
	for _, f := range servers {
		for _, own := range []string{f.URL, f.Key, f.DataDir} {
			if seen[own] {
				t.Errorf("%s is shared", own)
			}
			seen[own] = true
		}
		if got := status(t, f.URL+"/api/v1/managed_agents/agents", "Bearer "+f.Key); got != 200 {
			t.Errorf("%s answers %d", f.URL, got)
		}
	}
	for i, f := range servers {
		if i%2 == 0 {
			f.kill(t)
		} else {
			f.close(t)
		}
	}
	last := ephemeral(t, tmp)
	eventually(t, "what the killed ones left is gone", func() bool {
		dirs, err := filepath.Glob(filepath.Join(tmp, "lap-ephemeral-*"))
		return err == nil && len(dirs) == 1 && dirs[0] == last.DataDir
	})
	last.close(t)
}

// several starts n servers at once.
func several(t *testing.T, tmp string, n int) []*fleeting {
	t.Helper()
	servers := make([]*fleeting, n)
	var starting sync.WaitGroup
	for i := range servers {
		cmd := command(t, tmp)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		starting.Go(func() {
			f, err := tryLaunch(t, cmd)
			if err != nil {
				t.Error(err)
				return
			}
			f.stdin, servers[i] = stdin, f
		})
	}
	if starting.Wait(); t.Failed() {
		t.FailNow()
	}
	return servers
}

// TestEphemeralWithoutEngine has no sandboxes, so that all can be removed.
func TestEphemeralWithoutEngine(t *testing.T) {
	tmp := t.TempDir()
	killed := withoutEngine(t, tmp)
	killed.kill(t)
	next := withoutEngine(t, tmp)
	killed.awaitSweep(t)
	next.close(t)
}

// TestEphemeralEndsWhileTheEngineHangs has an engine that takes requests and answers none.
func TestEphemeralEndsWhileTheEngineHangs(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "docker.sock")
	hanging, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer hanging.Close()
	cmd := command(t, t.TempDir())
	cmd.Env = append(cmd.Env, "LAP_SANDBOX=docker", "DOCKER_HOST=unix://"+socket)
	f := hold(t, cmd)
	if got := status(t, f.URL+"/api/v1/managed_agents/agents", "Bearer "+f.Key); got != 200 { // so it has begun to ask the engine
		t.Errorf("status %d", got)
	}
	f.close(t)
}

// TestEphemeralLeavesNoSandbox ends servers in several ways, each with a sandbox that is in
// use and one that is just being made.
func TestEphemeralLeavesNoSandbox(t *testing.T) { onEach(t, testEphemeralLeavesNoSandbox) }

func testEphemeralLeavesNoSandbox(t *testing.T, on runtime) {
	tmp := t.TempDir()
	sandboxes := func(t *testing.T, f *fleeting) int {
		t.Helper()
		if on.engine == nil {
			return len(processesWith(t, filepath.Join(f.DataDir, "native")))
		}
		return len(containers(t, on.engine, "dev.lap.owner", filepath.Base(f.DataDir)))
	}
	open := func(t *testing.T) *fleeting {
		t.Helper()
		cmd := command(t, tmp)
		cmd.Env = append(cmd.Env, "LAP_SANDBOX="+on.name)
		f := hold(t, cmd)
		agent, err := f.CreateAgent(t.Context(), client.NewAgent{HarnessID: "lap", Model: "scripted/echo"})
		if err != nil {
			t.Fatal(err)
		}
		sess, err := f.CreateSession(t.Context(), agent.ID, client.NewSession{})
		if err == nil {
			_, err = f.AwaitReady(t.Context(), sess.ID, func(client.Session) {})
		}
		if err == nil {
			_, err = f.CreateSession(t.Context(), agent.ID, client.NewSession{})
		}
		if err != nil {
			t.Fatal(err)
		}
		if sandboxes(t, f) == 0 {
			t.Fatal("there is no sandbox of this server's")
		}
		return f
	}
	none := func(t *testing.T, f *fleeting) {
		t.Helper()
		if left := sandboxes(t, f); left > 0 {
			t.Errorf("%d sandboxes are left", left)
		}
	}
	t.Run("closed", func(t *testing.T) {
		f := open(t)
		f.close(t)
		none(t, f)
	})
	t.Run("killed", func(t *testing.T) {
		other := open(t)
		f := open(t)
		f.kill(t)
		if on.engine == nil {
			eventually(t, "the sandboxes end with their server", func() bool { return sandboxes(t, f) == 0 })
		} else {
			withoutEngine(t, tmp).close(t)
			if _, err := os.Stat(f.DataDir); err != nil {
				t.Error("nobody knows any more whose the sandboxes are:", err)
			}
		}
		next := ephemeral(t, tmp)
		f.awaitSweep(t)
		none(t, f)
		if sandboxes(t, other) == 0 {
			t.Error("the sandboxes of a running server were removed")
		}
		next.close(t)
		other.close(t)
		none(t, other)
	})
}
