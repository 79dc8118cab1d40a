//go:build linux

package guest

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"lap/sandbox/proc"
)

const (
	reportEvery = 500 * time.Millisecond // between two looks at what a step printed
	outputGrace = 200 * time.Millisecond // for output after a step has ended
	stepMark    = "LAP_INSTALL="         // in the environment of all that a step starts
)

// A step is a program that is run to its end.
type step struct {
	args   []string // the path of the program first
	dir    string
	env    []string // where the session's own has nothing else
	errors string   // how lines begin that tell why it failed; "": its last ones do
}

func (s step) with(args ...string) step {
	s.args = args
	return s
}

// An exitError is that a step did not succeed.
type exitError struct {
	state *os.ProcessState
	said  string // the part of its output that matters; "": it said nothing
}

func (e *exitError) Error() string {
	text := fmt.Sprintf("status %d", e.state.ExitCode())
	if status, ok := e.state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		text = "signal " + status.Signal().String()
	}
	if e.said != "" {
		text += ": " + e.said
	}
	return text
}

// run runs a step and reports what it prints meanwhile. A step that fails, which is an
// exitError, or outlives ctx leaves no process; one that succeeds may leave servers.
func (in *installer) run(ctx context.Context, s step) error {
	g := in.guest
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	mark := stepMark + rand.Text()
	cmd := in.command(ctx, s, mark)
	cmd.Stdout, cmd.Stderr = writer, writer
	err = g.children.Start(cmd)
	writer.Close()
	if err != nil {
		reader.Close()
		return err
	}
	out := &printed{log: g.logs, prefix: s.errors}
	drained := proc.Drain(&g.work, g.closing, reader, out)
	in.watch(cmd, out)
	if ctx.Err() != nil || !cmd.ProcessState.Success() {
		proc.KillTree(cmd.Process.Pid, mark)
	}
	select {
	case <-drained:
	case <-time.After(outputGrace):
	}
	out.flush()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !cmd.ProcessState.Success():
		return &exitError{cmd.ProcessState, out.reason()}
	}
	return nil
}

func (in *installer) command(ctx context.Context, s step, mark string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.args[0], s.args[1:]...)
	cmd.Dir = s.dir
	cmd.Env = slices.Concat(s.env, in.env.list(), []string{"PWD=" + s.dir})
	proc.Mark(cmd, mark)
	return cmd
}

// watch waits for cmd and reports the last line of its output meanwhile.
func (in *installer) watch(cmd *exec.Cmd, out *printed) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = in.guest.children.Wait(cmd) // ProcessState says how it ended
	}()
	look := time.NewTicker(reportEvery)
	defer look.Stop()
	for shown := ""; ; {
		select {
		case <-ended:
			return
		case <-look.C:
			if line := out.last(); line != "" && line != shown {
				shown = line
				in.tell(line)
			}
		}
	}
}

// find returns the path of a program on the PATH of e, or what stands in for it.
func (e environment) find(name, instead string) string {
	for _, dir := range filepath.SplitList(e["PATH"]) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return instead
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
