package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"lap/audit"
	"lap/sandbox"
)

// auditing makes the command "lap audit", whose temporary files are in the folder it returns.
func (on runtime) auditing(t *testing.T, args ...string) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	tmp = t.TempDir()
	cmd = exec.CommandContext(t.Context(), binary, append([]string{"audit"}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp, "LAP_SANDBOX="+on.name)
	return cmd, tmp
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the temporary directory: %v, %v", left, err)
	}
}

func TestAuditFindsNoLeak(t *testing.T) { onEach(t, testAuditFindsNoLeak) }

func testAuditFindsNoLeak(t *testing.T, on runtime) {
	cmd, tmp := on.auditing(t, "--json")
	var talk bytes.Buffer
	cmd.Stderr = &talk
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("lap audit: %v\n%s", err, &talk)
	}
	var r audit.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !r.Clean || r.Hits() != 0 || len(r.Canaries) < 14 || len(r.Places) < 50 {
		t.Errorf("clean = %v, %d hits, %d canaries, %d places", r.Clean, r.Hits(), len(r.Canaries), len(r.Places))
	}
	for _, p := range r.Places {
		for _, h := range p.Hits {
			t.Errorf("%s: %+v", p.Name, h)
		}
	}
	for _, c := range r.Controls {
		if !c.Held {
			t.Errorf("not so: %s", c.Name)
		}
	}
	if len(r.Controls) < 8 {
		t.Errorf("controls = %v", r.Controls)
	}
	wantEmpty(t, tmp)
}

var agentMark = regexp.MustCompile(`agent=([0-9a-f-]{36})`)

func TestAuditCleansUpWhenInterrupted(t *testing.T) { onEach(t, testAuditCleansUpWhenInterrupted) }

func testAuditCleansUpWhenInterrupted(t *testing.T, on runtime) {
	cmd, tmp := on.auditing(t)
	talk, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(talk)
	for stealing := false; !stealing && lines.Scan(); {
		stealing = strings.Contains(lines.Text(), "try to steal")
	}
	logs, err := filepath.Glob(filepath.Join(tmp, "*", "serve.log"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("logs of the server: %v, %v", logs, err)
	}
	log, err := os.ReadFile(logs[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	interrupted := time.Now()
	if _, err := io.Copy(io.Discard, talk); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("interrupted, it ends with %v, want exit code 1", err)
	}
	if took := time.Since(interrupted); took > 20*time.Second {
		t.Errorf("it took %s to end", took)
	}
	wantEmpty(t, tmp)
	if left := processesWith(t, tmp); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
	agents := agentMark.FindAllSubmatch(log, -1)
	if len(agents) == 0 {
		t.Errorf("no agents in the server's log:\n%s", log)
	}
	for _, id := range agents {
		if on.engine == nil {
			break
		}
		if left := containers(t, on.engine, "dev.lap.agent", string(id[1])); len(left) > 0 {
			t.Errorf("%d containers left", len(left))
		}
	}
}

func TestAuditWithoutDocker(t *testing.T) {
	cmd, tmp := runtime{name: sandbox.Docker}.auditing(t)
	cmd.Env = append(cmd.Env, "DOCKER_HOST=tcp://127.0.0.1:1")
	out, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "needs a Docker engine") {
		t.Errorf("%v: %s", err, out)
	}
	wantEmpty(t, tmp)
}
