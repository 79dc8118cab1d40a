package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"lap/client"
	"lap/e2e/process"
)

// A fleeting is a running "lap serve --ephemeral" process.
type fleeting struct {
	*client.Client
	URL     string `json:"url"`
	Key     string `json:"key"`
	PID     int    `json:"pid"`
	DataDir string `json:"data_dir"`

	cmd    *exec.Cmd
	stdin  io.WriteCloser // nil: not a pipe of this test
	stdout *bufio.Reader
	talk   *strings.Builder // read it after the end
}

// command is "lap serve --ephemeral", whose data directory will be in tmp.
func command(t *testing.T, tmp string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, append([]string{"serve", "--ephemeral"}, args...)...)
	cmd.Env = append(process.Environment(), "TMPDIR="+tmp)
	return cmd
}

// ephemeral starts the server with a pipe to its standard input.
func ephemeral(t *testing.T, tmp string) *fleeting {
	t.Helper()
	return hold(t, command(t, tmp))
}

// withoutEngine is ephemeral on a machine without Docker.
func withoutEngine(t *testing.T, tmp string) *fleeting {
	t.Helper()
	cmd := command(t, tmp)
	cmd.Env = append(cmd.Env, "DOCKER_HOST=unix:///nowhere/docker.sock")
	return hold(t, cmd)
}

// hold is launch with a pipe to the standard input.
func hold(t *testing.T, cmd *exec.Cmd) *fleeting {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	f := launch(t, cmd)
	f.stdin = stdin
	return f
}

// launch starts cmd and reads the line that says where the server is. The process is killed
// with the test.
func launch(t *testing.T, cmd *exec.Cmd) *fleeting {
	t.Helper()
	f, err := tryLaunch(t, cmd)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func tryLaunch(t *testing.T, cmd *exec.Cmd) (*fleeting, error) {
	t.Helper()
	f := &fleeting{cmd: cmd, talk: &strings.Builder{}}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if cmd.Stderr == nil {
		cmd.Stderr = f.talk
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill() // it may have ended by itself
			_ = cmd.Wait()         // that it was killed
		}
	})
	f.stdout = bufio.NewReader(out)
	line, err := f.stdout.ReadBytes('\n')
	if err != nil {
		return nil, errors.Join(err, cmd.Wait(), errors.New(f.talk.String()))
	}
	if err := json.Unmarshal(line, f); err != nil {
		return nil, err
	}
	f.Client = client.New(f.URL, f.Key)
	return f, nil
}

// ended waits for the end of the process, which must have been clean, and for the end of
// all that it printed.
func (f *fleeting) ended(t *testing.T) {
	t.Helper()
	rest, err := io.ReadAll(f.stdout)
	if err != nil || len(rest) > 0 {
		t.Errorf("it printed %q too, error %v", rest, err)
	}
	if err := f.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v and said:\n%s", err, f.talk)
	}
	f.gone(t)
}

// gone checks that the data directory is no more.
func (f *fleeting) gone(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(f.DataDir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left (error %v)", f.DataDir, err)
	}
}

// kill ends the process so that it can do nothing about it.
func (f *fleeting) kill(t *testing.T) {
	t.Helper()
	if err := f.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = f.cmd.Wait() // that it was killed
}

// close ends the process by closing its standard input.
func (f *fleeting) close(t *testing.T) {
	t.Helper()
	if err := f.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	f.ended(t)
}

// awaitSweep waits until another server has removed what this one left.
func (f *fleeting) awaitSweep(t *testing.T) {
	t.Helper()
	eventually(t, f.DataDir+" is removed", func() bool {
		_, err := os.Stat(f.DataDir)
		return errors.Is(err, fs.ErrNotExist)
	})
}
