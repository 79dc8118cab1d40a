package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"lap/client"
)

// TestAction runs what action.yml starts as a step does: in a process that is gone when the
// next step uses the server.
func TestAction(t *testing.T) {
	dir := t.TempDir()
	output, variables := filepath.Join(dir, "output"), filepath.Join(dir, "env")
	lap, err := filepath.Abs(binary)
	if err != nil {
		t.Fatal(err)
	}
	step := exec.CommandContext(t.Context(), filepath.Join("..", ".github", "action", "start"))
	step.Env = append(os.Environ(), "LAP_BINARY="+lap, "RUNNER_TEMP="+dir, "GITHUB_OUTPUT="+output, "GITHUB_ENV="+variables,
		"LAP_ACTION_ENV=MASTER_KEY="+masterKey+"\nLAP_LOG=info\n", "LAP_ACTION_ARGS=--log-format json")
	said, err := step.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	got := assignments(t, output)
	pid, err := strconv.Atoi(got["pid"])
	if err != nil {
		t.Fatalf("the outputs are %v", got)
	}
	t.Cleanup(func() {
		if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		eventually(t, "the server has ended", func() bool { return syscall.Kill(pid, 0) != nil })
	})

	if !strings.HasPrefix(string(said), "::add-mask::"+masterKey+"\n") {
		t.Errorf("the key is not masked: %s", said)
	}
	if env := assignments(t, variables); env["LAP_BASE_URL"] != got["url"] || env["LAP_MASTER_KEY"] != masterKey || got["key"] != masterKey {
		t.Errorf("the outputs are %v, the variables %v", got, env)
	}
	if _, err := client.New(got["url"], got["key"]).CreateAgent(t.Context(), client.NewAgent{Model: "scripted/echo"}); err != nil {
		t.Error(err)
	}
	eventually(t, "the log has the request", func() bool {
		log, err := os.ReadFile(got["log"])
		return err == nil && strings.Contains(string(log), `"msg":"request"`)
	})
}

func TestActionFails(t *testing.T) {
	dir := t.TempDir()
	step := exec.CommandContext(t.Context(), filepath.Join("..", ".github", "action", "start"))
	step.Env = append(os.Environ(), "LAP_BINARY="+binary, "RUNNER_TEMP="+dir, "LAP_ACTION_ARGS=--listen nowhere")
	said, err := step.CombinedOutput()
	if err == nil || !strings.Contains(string(said), "::error::lap did not start\nlap: ") {
		t.Errorf("it ends with %v and says %s", err, said)
	}
}

// TestWorkflow lints the example of a workflow, with the action of this tree in it, so that
// inputs and outputs are looked at too.
func TestWorkflow(t *testing.T) {
	for _, program := range []string{"git", "go"} {
		_, err := exec.LookPath(program)
		needs(t, err)
	}
	dir := t.TempDir()
	workflow := filepath.Join(dir, ".github", "workflows", "workflow.yml")
	if err := os.MkdirAll(filepath.Dir(workflow), 0o700); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{"../action.yml": filepath.Join(dir, "action.yml"), "../examples/github/workflow.yml": workflow} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(strings.ReplaceAll(string(text), "example/lap@v1", "./")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := folder{dir: dir}
	at.execute(t, "git", "init", "-q") // what is not in a repository has no actions
	t.Setenv("GOBIN", dir)
	if out, err := at.attempt(t, "go", "install", "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12"); err != nil {
		needs(t, fmt.Errorf("the linter cannot be installed: %w\n%s", err, out))
	}
	at.execute(t, "./actionlint", "-shellcheck=", "-pyflakes=")
}

// assignments reads a file of lines name=value.
func assignments(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		all[name] = value
	}
	return all
}
