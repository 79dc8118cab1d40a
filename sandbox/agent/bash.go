//go:build unix

package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"lap/sandbox/proc"
)

const (
	defaultTimeout = 120                    // seconds
	maxTimeout     = 1800                   // seconds
	showEvery      = 100 * time.Millisecond // between two looks at what a command wrote
	pipeGrace      = 200 * time.Millisecond // for output after the shell has ended
	callMark       = "LAP_CALL="            // in the environment of all that a call starts
	usualPath      = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

var errTimeout = errors.New("time limit")

type bashArgs struct {
	Command     string `json:"command"`
	Timeout     int64  `json:"timeout"`
	Description string `json:"description"`
}

func (a bashArgs) limit() time.Duration {
	if a.Timeout <= 0 {
		return defaultTimeout * time.Second
	}
	return time.Duration(min(a.Timeout, maxTimeout)) * time.Second
}

// runBash is the bash tool. A command that fails, is killed or takes too long is a
// result and not an error.
func (w *workspace) runBash(ctx context.Context, c call) (result, error) {
	var args bashArgs
	if err := c.decode(&args); err != nil {
		return result{}, err
	}
	if strings.TrimSpace(args.Command) == "" {
		return result{}, errors.New("command is missing")
	}
	limited, cancel := context.WithTimeoutCause(ctx, args.limit(), errTimeout)
	defer cancel()
	out := &output{dir: w.cfg.Scratch}
	code, err := w.shell(limited, c, args.Command, out)
	if err != nil {
		return result{}, err
	}
	title, _, _ := strings.Cut(strings.TrimSpace(args.Command), "\n")
	if args.Description != "" {
		title = args.Description
	}
	text, cut := out.text()
	res := result{title: title, output: text, metadata: Metadata{Output: &text, Exit: &code, Truncated: cut}}
	switch {
	case ctx.Err() != nil:
		res.note("User aborted the command")
	case errors.Is(context.Cause(limited), errTimeout):
		res.note(fmt.Sprintf("[killed after %s, the time limit of this call]", args.limit()))
	case code != 0:
		res.note(fmt.Sprintf("[exit code %d]", code))
	case text == "":
		res.output = "(no output)"
	}
	return res, nil
}

// note adds a line to the output.
func (r *result) note(line string) {
	if r.output != "" && !strings.HasSuffix(r.output, "\n") {
		r.output += "\n"
	}
	r.output += line
}

// shell runs command and returns its exit code when it and, within a grace, its output
// are over. When ctx ends, everything the command started ends with it.
func (w *workspace) shell(ctx context.Context, c call, command string, out *output) (int, error) {
	defer out.close()
	left, err := w.tempFile() // a file: what the command leaves behind may hold a pipe open
	if err != nil {
		return 0, err
	}
	defer left.Close()
	reader, writer, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	cmd := w.command(ctx, c.id, command)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = writer, writer, []*os.File{left}
	err = w.cfg.Children.Start(cmd)
	writer.Close()
	if err != nil {
		reader.Close()
		return 0, err
	}
	drained := w.drain(reader, out)
	w.watch(cmd, c, out)
	select {
	case <-drained:
	case <-time.After(pipeGrace):
	}
	w.move(left)
	return exitCode(cmd.ProcessState), nil
}

// command prepares a shell that tells on descriptor 3 where it ended up.
func (w *workspace) command(ctx context.Context, id, command string) *exec.Cmd {
	if info, err := os.Stat(w.cwd); err != nil || !info.IsDir() {
		w.cwd = w.cfg.Dir // somebody removed it
	}
	mark := callMark + id
	cmd := exec.CommandContext(ctx, w.shellPath(), "-c", "trap 'pwd 2>/dev/null >&3' EXIT; "+command)
	cmd.Dir = w.cwd
	cmd.Env = slices.Concat(
		[]string{"HOME=" + w.cfg.Home, "TERM=dumb", "PAGER=cat", "GIT_PAGER=cat", "GIT_TERMINAL_PROMPT=0"},
		w.cfg.Env, []string{"PWD=" + w.cwd, mark})
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		proc.KillTree(cmd.Process.Pid, mark)
		return nil
	}
	return cmd
}

// shellPath finds bash, or else sh, on the PATH of tools.
func (w *workspace) shellPath() string {
	path := w.env("PATH")
	if path == "" {
		path = usualPath
	}
	for _, name := range []string{"bash", "sh"} {
		for _, dir := range filepath.SplitList(path) {
			file := filepath.Join(dir, name)
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return file
			}
		}
	}
	return "/bin/sh"
}

// drain reads all output, for as long as anybody holds the pipe: a server that a
// command left in the background must not die of a closed one.
func (w *workspace) drain(r *os.File, out *output) <-chan struct{} {
	done := make(chan struct{})
	w.tasks.Go(func() {
		defer close(done)
		_, _ = io.Copy(out, r) // ends when the last writer is gone, or r is closed
	})
	w.tasks.Go(func() {
		select {
		case <-done:
		case <-w.closing:
		}
		r.Close()
	})
	return done
}

// watch waits for cmd and shows its output meanwhile.
func (w *workspace) watch(cmd *exec.Cmd, c call, out *output) {
	ended := make(chan struct{})
	w.tasks.Go(func() {
		defer close(ended)
		_ = w.cfg.Children.Wait(cmd) // ProcessState says how it ended
	})
	look := time.NewTicker(showEvery)
	defer look.Stop()
	for shown := int64(0); ; {
		select {
		case <-ended:
			return
		case <-look.C:
			if size := out.size(); size != shown {
				shown = size
				text, _ := out.text()
				c.progress(text)
			}
		}
	}
}

// tempFile returns a file without a name.
func (w *workspace) tempFile() (*os.File, error) {
	if err := os.MkdirAll(w.cfg.Scratch, 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(w.cfg.Scratch, "cwd-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// move makes the directory written in f the working directory, if it is one.
func (w *workspace) move(f *os.File) {
	text := make([]byte, 4096)
	n, _ := f.ReadAt(text, 0) // io.EOF is the rule
	dir := string(bytes.TrimSuffix(text[:n], []byte("\n")))
	if info, err := os.Stat(dir); err == nil && info.IsDir() && filepath.IsAbs(dir) {
		w.cwd = dir
	}
}

// exitCode is a shell's number for how a process ended: 128 and the signal when it was
// killed.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
