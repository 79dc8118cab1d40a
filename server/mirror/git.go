package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	mostOutput = 1 << 20         // of what git prints that is kept
	closeDelay = 5 * time.Second // for pipes that outlive a killed git
	minMajor   = 2               // of git's version
	minMinor   = 32              // which first knew GIT_CONFIG_GLOBAL
)

// errStalled says that git was silent for too long.
var errStalled = errors.New("no sign of life")

// git runs the host's git so that neither the host's configuration nor a repository has a
// say in what it does.
type git struct {
	stall time.Duration
	found atomic.Bool // a git that is new enough
}

// A command is one run of git.
type command struct {
	dir    string // the bare repository; empty: none
	config []setting
	env    []string
	args   []string
	stdin  string
	stdout io.Writer           // set: all that it prints goes there
	remote func(detail string) // set: it talks to a host, and this hears how far it is
}

// A runError is a git that failed.
type runError struct {
	command string
	stderr  string
	cause   error
}

func (e *runError) Error() string {
	return fmt.Sprintf("git %s: %v: %s", e.command, e.cause, reason(e.stderr))
}
func (e *runError) Unwrap() error { return e.cause }

// ready says what is wrong with the host's git.
func (g *git) ready(ctx context.Context) error {
	if g.found.Load() {
		return nil
	}
	out, err := g.run(ctx, command{args: []string{"version"}})
	if err != nil {
		return err
	}
	var major, minor int
	if _, err := fmt.Sscanf(out, "git version %d.%d", &major, &minor); err != nil {
		return failf(ErrNoGit, "the git where lap runs does not tell its version: install git %d.%d or later", minMajor, minMinor)
	}
	if major < minMajor || major == minMajor && minor < minMinor {
		return failf(ErrNoGit, "git %d.%d is too old for lap: install git %d.%d or later where lap runs", major, minor, minMajor, minMinor)
	}
	g.found.Store(true)
	return nil
}

// run runs git to its end and returns what it printed. When ctx ends, git and all that it
// started are killed.
func (g *git) run(ctx context.Context, c command) (string, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var stdout bytes.Buffer
	stderr := &talk{}
	cmd := exec.CommandContext(ctx, "git", c.args...)
	cmd.Env = environment(c)
	cmd.Dir = os.TempDir() // wherever lap runs may be a repository, or be gone
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(c.stdin), c.stdout, stderr
	if c.stdout == nil {
		cmd.Stdout = &bounded{w: &stdout, left: mostOutput}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = closeDelay
	if c.remote != nil {
		watch := time.AfterFunc(g.stall, func() { cancel(errStalled) })
		defer watch.Stop()
		stderr.alive = func() { watch.Reset(4 * g.stall) } // who has talked may think longer
		stderr.progress = c.remote
	}
	err := cmd.Run()
	if err == nil {
		return stdout.String(), nil
	}
	if errors.Is(err, exec.ErrNotFound) {
		return "", failf(ErrNoGit, "git is not installed where lap runs: install it, or create the agent without repo_url")
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return "", &runError{command: c.args[0], stderr: stderr.String(), cause: err}
}
