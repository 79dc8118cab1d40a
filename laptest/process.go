package laptest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

const (
	startLimit = time.Minute      // for a server to be ready, on a machine that is very busy
	stopLimit  = 45 * time.Second // more than it gives itself
)

// A process is a running "lap serve --ephemeral".
type process struct {
	ready struct {
		URL     string `json:"url"`
		Key     string `json:"key"`
		DataDir string `json:"data_dir"`
	}
	log   *bytes.Buffer // read it when the process has ended
	cmd   *exec.Cmd
	stdin io.Closer // open for as long as the server is to run
}

// start starts a server and waits until it is ready. On error nothing runs. Should this
// process be killed, the server ends as well.
func start(binary string, c config) (*process, error) {
	p := &process{log: &bytes.Buffer{}}
	p.cmd = exec.CommandContext(context.Background(), binary, append([]string{"serve", "--ephemeral"}, c.args...)...)
	p.cmd.Env = append(environment(os.Environ()), c.env...)
	p.cmd.Stderr = p.log
	p.cmd.WaitDelay = time.Second // for what outlives it and holds its standard error
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	p.stdin = stdin
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	late := time.AfterFunc(startLimit, func() { _ = p.cmd.Process.Kill() }) // it may have ended
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &p.ready)
	}
	if late.Stop() && err == nil {
		return p, nil
	}
	_ = p.cmd.Process.Kill() // it may have ended
	return nil, fmt.Errorf("%s: no line says that it is ready: %w\n%s", strings.Join(p.cmd.Args, " "), errors.Join(err, p.cmd.Wait()), p.log)
}

// stop ends the server, and waits until it has removed what it made.
func (p *process) stop() error {
	if err := p.stdin.Close(); err != nil {
		return err
	}
	late := time.AfterFunc(stopLimit, func() { _ = p.cmd.Process.Kill() }) // it may have ended
	defer late.Stop()
	return p.cmd.Wait()
}

// ofMachine are settings that a test cannot know, since they depend on where it runs.
var ofMachine = []string{"LAP_SANDBOX", "LAP_OCI_RUNTIME", "LAP_PULL", "LAP_EXTRA_CA"}

// settings begin the names of variables that lap has a meaning for.
var settings = []string{
	"LAP_", "LITELLM_", "WARM_POOL_", "EGRESS_", "CONTAINER_ENV_", "MASTER_KEY", "ENCRYPTION_KEY",
	"HARNESS_TOKEN_SIGNING_KEY", "BASE_URL", "RECONCILE_INTERVAL_SECONDS", "PREINSTALLED_GITHUB_REPO",
}

// environment is env for a server that is alike on all machines. Whoever runs the tests may
// have settings, and real keys, for a lap of their own.
func environment(env []string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		if slices.Contains(ofMachine, name) || strings.HasPrefix(name, "LAP_IMAGE_") {
			return false
		}
		return slices.ContainsFunc(settings, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	})
	return append(env, "LAP_FIXTURE=true", "LAP_LOG=info")
}
