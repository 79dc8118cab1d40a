//go:build unix

package tool

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
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

// bash is the bash tool. A command that fails, is killed or takes too long is a result
// and not an error.
func (b *Box) bash(ctx context.Context, c Call) (Result, error) {
	var args bashArgs
	if err := c.decode(&args); err != nil {
		return Result{}, err
	}
	command := strings.TrimSpace(args.Command)
	if command == "" {
		return Result{}, errors.New("command is missing")
	}
	if args.Timeout <= 0 {
		args.Timeout = defaultTimeout
	}
	limit := time.Duration(min(args.Timeout, maxTimeout)) * time.Second
	limited, cancel := context.WithTimeoutCause(ctx, limit, errTimeout)
	defer cancel()
	out := &output{dir: b.set.Scratch}
	code, err := b.shell(limited, c, args.Command, out)
	if err != nil {
		return Result{}, err
	}
	firstLine, _, _ := strings.Cut(command, "\n")
	text, cut := out.text()
	res := Result{Title: cmp.Or(args.Description, firstLine), Output: text, Truncated: cut, Printed: text, Exit: &code}
	switch {
	case ctx.Err() != nil:
		res.note("User aborted the command")
	case errors.Is(context.Cause(limited), errTimeout):
		res.note(fmt.Sprintf("[killed after %s, the time limit of this call]", limit))
	case code != 0:
		res.note(fmt.Sprintf("[exit code %d]", code))
	case text == "":
		res.Output = "(no output)"
	}
	return res, nil
}

// note adds a line to the output.
func (r *Result) note(line string) {
	if r.Output != "" && !strings.HasSuffix(r.Output, "\n") {
		r.Output += "\n"
	}
	r.Output += line
}

// shell runs command and returns its exit code when it and, within a grace, its output
// are over. When ctx ends, everything the command started ends with it.
func (b *Box) shell(ctx context.Context, c Call, command string, out *output) (int, error) {
	defer out.close()
	left, err := createTemp(b.set.Scratch, "cwd-") // a file: what the command leaves behind may hold a pipe open
	if err != nil {
		return 0, err
	}
	defer left.Close()
	defer os.Remove(left.Name())
	reader, writer, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	cmd := b.command(ctx, c.ID, command)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = writer, writer, []*os.File{left}
	err = b.set.Children.Start(cmd)
	writer.Close()
	if err != nil {
		reader.Close()
		return 0, err
	}
	drained := proc.Drain(&b.set.tasks, b.set.closing, reader, out)
	b.set.watch(cmd, out, c.Progress)
	select {
	case <-drained:
	case <-time.After(pipeGrace):
	}
	b.move(left)
	return exitCode(cmd.ProcessState), nil
}

// command prepares a shell that tells on descriptor 3 where it ended up.
func (b *Box) command(ctx context.Context, id, command string) *exec.Cmd {
	if !isDir(b.dir) {
		b.dir = b.set.Dir // somebody removed it
	}
	mark := callMark + id
	cmd := exec.CommandContext(ctx, shellPath(b.set.Env), "-c", "trap 'pwd 2>/dev/null >&3' EXIT; "+command)
	cmd.Dir = b.dir
	cmd.Env = slices.Concat(
		[]string{"HOME=" + b.set.Home, "TERM=dumb", "PAGER=cat", "GIT_PAGER=cat", "GIT_TERMINAL_PROMPT=0"},
		b.set.Env, []string{"PWD=" + b.dir})
	proc.Mark(cmd, mark)
	return cmd
}

// shellPath finds bash, or else sh, on the PATH in env.
func shellPath(env []string) string {
	path := usualPath
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			path = value // the last one counts
		}
	}
	for _, name := range []string{"bash", "sh"} {
		for _, dir := range filepath.SplitList(path) {
			if file, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return file
			}
		}
	}
	return "/bin/sh"
}

// watch waits for cmd and shows its output meanwhile.
func (s *Set) watch(cmd *exec.Cmd, out *output, progress func(string)) {
	ended := make(chan struct{})
	s.tasks.Go(func() {
		defer close(ended)
		_ = s.Children.Wait(cmd) // ProcessState says how it ended
	})
	look := time.NewTicker(showEvery)
	defer look.Stop()
	for shown := ""; ; {
		select {
		case <-ended:
			return
		case <-look.C:
			if text, _ := out.text(); text != shown && progress != nil {
				shown = text
				progress(text)
			}
		}
	}
}

// move makes the directory written in f the working directory, if it is one.
func (b *Box) move(f *os.File) {
	text := make([]byte, 4096)
	n, _ := f.ReadAt(text, 0) // io.EOF is the rule
	if dir := string(bytes.TrimSuffix(text[:n], []byte("\n"))); filepath.IsAbs(dir) && isDir(dir) {
		b.dir = dir
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// exitCode is a shell's number for how a process ended: 128 and the signal when it was
// killed.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
