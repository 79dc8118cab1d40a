package tool_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"lap/sandbox/agent/tool"
)

func TestBashCommands(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, command, output string
		exit                  int
	}{
		{"both streams in order", "echo 1; echo 2 >&2; echo 3", "1\n2\n3\n", 0},
		{"failure", "echo oops; exit 7", "oops\n[exit code 7]", 7},
		{"silence", "true", "(no output)", 0},
		{"silent failure", "false", "[exit code 1]", 1},
		{"no input", "cat; echo read", "read\n", 0},
		{"invalid utf-8", `printf 'a\377b'`, "a\uFFFDb", 0},
		{"unicode", "echo grün", "grün\n", 0},
		{"killed", "kill -9 $$", "[exit code 137]", 137},
		{"syntax error", "echo $(", "", 0},
		{"here document", "cat <<'E'\n$x\nE", "$x\n", 0},
		{"comment first", "# nothing\necho hi", "hi\n", 0},
		{"closes descriptor 3", "exec 3>&-; echo hi", "hi\n", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, nil).bash(tt.command)
			if tt.name == "syntax error" {
				if *s.Exit == 0 || !strings.Contains(s.Output, "unexpected") {
					t.Errorf("output %q", s.Output)
				}
				return
			}
			if s.Output != tt.output || *s.Exit != tt.exit {
				t.Errorf("output %q, exit %d; want %q, %d", s.Output, *s.Exit, tt.output, tt.exit)
			}
		})
	}
}

func TestBashKeepsItsDirectory(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.write("sub/dir/file.txt", "hello\n")
	f.bash("cd sub; exit 3")
	if s := f.bash("pwd; cd dir"); s.Output != filepath.Join(f.Dir, "sub")+"\n" {
		t.Errorf("after exit: %q", s.Output)
	}
	if got := f.outcome("read", `{"path":"file.txt"}`); !strings.Contains(got, "hello") {
		t.Errorf("read in bash's directory: %s", got)
	}
	f.bash("(cd ..); echo /nonexistent >&3")
	if s := f.bash("pwd; rm -r ../../sub"); s.Output != filepath.Join(f.Dir, "sub", "dir")+"\n" {
		t.Errorf("after a subshell: %q", s.Output)
	}
	if s := f.bash("pwd"); s.Output != f.Dir+"\n" {
		t.Errorf("after the directory was removed: %q", s.Output)
	}
	if dir := f.box.Dir(); dir != f.Dir {
		t.Errorf("directory = %s", dir)
	}
}

func TestBashWithoutBash(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	for _, name := range []string{"sh", "sleep", "mkdir"} {
		target, err := filepath.EvalSymlinks(filepath.Join("/bin", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	f := start(t, func(c *tool.Config) { c.Env = []string{"PATH=" + bin} })
	if s := f.bash("mkdir d; cd d; echo ${BASH_VERSION:-plain}; exit 2"); s.Output != "plain\n[exit code 2]" {
		t.Errorf("output = %q", s.Output)
	}
	if s := f.bash("pwd"); s.Output != filepath.Join(f.Dir, "d")+"\n" {
		t.Errorf("directory = %q", s.Output)
	}
}

func TestBashTimeout(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	begun := time.Now()
	s, err := f.run("bash", `{"command":"echo begun; (setsid sleep 300 & echo $! > pid); sleep 300","timeout":1}`)
	if err != nil || s.Output != "begun\n[killed after 1s, the time limit of this call]" || *s.Exit != 137 {
		t.Errorf("%+v, %v", s, err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	if alive(f.pid()) {
		t.Error("a process outlived the timeout")
	}
}

func TestBashDoesNotWaitForTheBackground(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	begun := time.Now()
	s := f.bash(`sh -c 'echo $$ > pid; echo up; i=0; while [ ! -e stop ]; do echo tick; sleep 0.01; done; echo end > ended' & while [ ! -e pid ]; do :; done; echo started`)
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
	if !strings.Contains(s.Output, "started\n") || *s.Exit != 0 {
		t.Errorf("output = %q", s.Output)
	}
	// It still runs, and what it writes does not kill it.
	if s := f.bash("touch stop; while [ ! -e ended ]; do sleep 0.01; done; cat ended"); s.Output != "end\n" {
		t.Errorf("output = %q", s.Output)
	}
}

func TestBashKeepsHeadAndTail(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	s := f.bash("seq 1 100000; printf 'the end \\377'")
	text := s.Output
	if !utf8.ValidString(text) || len(text) > 40<<10 || !s.Truncated {
		t.Errorf("%d bytes, truncated %v", len(text), s.Truncated)
	}
	if !strings.HasPrefix(text, "1\n2\n") || !strings.HasSuffix(text, "\n100000\nthe end \uFFFD") {
		t.Errorf("begins %q, ends %q", text[:10], text[len(text)-30:])
	}
	file := regexp.MustCompile(`the whole output is in (\S+)\]`).FindStringSubmatch(text)
	if file == nil || filepath.Dir(file[1]) != f.Scratch {
		t.Fatalf("no file in %s named: %v", f.Scratch, file)
	}
	whole, err := os.ReadFile(file[1])
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(whole), "\n"); n != 100_000 || !strings.HasSuffix(string(whole), "the end \xff") {
		t.Errorf("the file has %d lines", n)
	}
}

func TestBashJustBelowTheLimit(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	for _, n := range []string{"16384", "16385", "32768"} {
		s := f.bash("head -c " + n + " /dev/zero | tr '\\0' x")
		if len(s.Output) < 16384 || s.Truncated || strings.Trim(s.Output, "x") != "" {
			t.Errorf("%s bytes: %d, truncated %v", n, len(s.Output), s.Truncated)
		}
	}
	if s := f.bash("head -c 32769 /dev/zero | tr '\\0' x"); !s.Truncated {
		t.Error("32769 bytes are not truncated")
	}
	files, err := os.ReadDir(f.Scratch)
	if err != nil || len(files) != 1 {
		t.Errorf("%d files in scratch, want 1: %v", len(files), err)
	}
}

func TestBashShowsOutputWhileItRuns(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	var shown []string
	res, err := f.box.Run(t.Context(), tool.Call{
		ID: t.Name(), Name: "bash",
		Args: []byte(`{"command":"echo first; while [ ! -e go ]; do sleep 0.01; done; echo second","description":"Say two things"}`),
		Progress: func(output string) {
			shown = append(shown, output)
			f.write("go", "")
		},
	})
	if err != nil || res.Output != "first\nsecond\n" || res.Title != "Say two things" || shown[0] != "first\n" {
		t.Errorf("%+v, %v; shown %q", res, err, shown)
	}
}

func TestBashEnvironment(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *tool.Config) { c.Env = append(c.Env, "PAGER=most", "MINE=1") })
	if s := f.bash(`echo "$HOME $PAGER $MINE $GIT_TERMINAL_PROMPT"`); s.Output != f.Home+" most 1 0\n" {
		t.Errorf("output = %q", s.Output)
	}
}

func TestAbortEndsTheWholeTree(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	ctx, abort := context.WithCancel(t.Context())
	res, err := f.box.Run(ctx, tool.Call{
		ID: t.Name(), Name: "bash",
		Args:     []byte(`{"command":"setsid sh -c 'echo $$ > pid; echo started; exec sleep 300' & wait"}`),
		Progress: func(string) { abort() },
	})
	abort()
	if err != nil || res.Output != "started\nUser aborted the command" || res.Printed != "started\n" {
		t.Errorf("%+v, %v", res, err)
	}
	if pid := f.pid(); alive(pid) {
		t.Errorf("process %d outlived the abort", pid)
	}
}

// pid is what a command wrote to the file pid.
func (f *fixture) pid() int {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(f.Dir, "pid"))
	if err != nil {
		f.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		f.t.Fatal(err)
	}
	return pid
}

// alive reports whether a process runs; one that only waits for its parent does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}
