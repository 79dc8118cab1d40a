package agent_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"lap/sandbox/agent"
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
				if *s.Metadata.Exit == 0 || !strings.Contains(*s.Output, "unexpected") {
					t.Errorf("output %q", *s.Output)
				}
				return
			}
			if s.Status != "completed" || *s.Output != tt.output || *s.Metadata.Exit != tt.exit {
				t.Errorf("%s: output %q, exit %d; want %q, %d", s.Status, *s.Output, *s.Metadata.Exit, tt.output, tt.exit)
			}
		})
	}
}

func TestBashKeepsItsDirectory(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.write("sub/dir/file.txt", "hello\n")
	f.bash("cd sub; exit 3")
	if s := f.bash("pwd; cd dir"); *s.Output != filepath.Join(f.dir, "sub")+"\n" {
		t.Errorf("after exit: %q", *s.Output)
	}
	if s := f.tool("read", `{"path":"file.txt"}`); s.Status != "completed" || !strings.Contains(*s.Output, "hello") {
		t.Errorf("read in bash's directory: %+v", s)
	}
	f.bash("(cd ..); echo /nonexistent >&3")
	if s := f.bash("pwd; rm -r ../../sub"); *s.Output != filepath.Join(f.dir, "sub", "dir")+"\n" {
		t.Errorf("after a subshell: %q", *s.Output)
	}
	if s := f.bash("pwd"); *s.Output != f.dir+"\n" {
		t.Errorf("after the directory was removed: %q", *s.Output)
	}
	if m := f.thread(); m[len(m)-1].Info.Path.CWD != f.dir {
		t.Errorf("path = %+v", m[len(m)-1].Info.Path)
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
	f := start(t, func(c *agent.Config) { c.Env = []string{"PATH=" + bin} })
	if s := f.bash("mkdir d; cd d; echo ${BASH_VERSION:-plain}; exit 2"); *s.Output != "plain\n[exit code 2]" {
		t.Errorf("output = %q", *s.Output)
	}
	if s := f.bash("pwd"); *s.Output != filepath.Join(f.dir, "d")+"\n" {
		t.Errorf("directory = %q", *s.Output)
	}
}

func TestBashTimeout(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	begun := time.Now()
	s := f.tool("bash", `{"command":"echo begun; (setsid sleep 300 & echo $! > pid); sleep 300","timeout":1}`)
	if s.Status != "completed" || *s.Output != "begun\n[killed after 1s, the time limit of this call]" || *s.Metadata.Exit != 137 {
		t.Errorf("%+v %q", s, *s.Output)
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
	if !strings.Contains(*s.Output, "started\n") || *s.Metadata.Exit != 0 {
		t.Errorf("output = %q", *s.Output)
	}
	// It still runs, and what it writes does not kill it.
	if s := f.bash("touch stop; while [ ! -e ended ]; do sleep 0.01; done; cat ended"); *s.Output != "end\n" {
		t.Errorf("output = %q", *s.Output)
	}
}

func TestBashKeepsHeadAndTail(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	s := f.bash("seq 1 100000; printf 'the end \\377'")
	text := *s.Output
	if !utf8.ValidString(text) || len(text) > 40<<10 || !s.Metadata.Truncated {
		t.Errorf("%d bytes, truncated %v", len(text), s.Metadata.Truncated)
	}
	if !strings.HasPrefix(text, "1\n2\n") || !strings.HasSuffix(text, "\n100000\nthe end \uFFFD") {
		t.Errorf("begins %q, ends %q", text[:10], text[len(text)-30:])
	}
	file := regexp.MustCompile(`the whole output is in (\S+)\]`).FindStringSubmatch(text)
	if file == nil || filepath.Dir(file[1]) != f.scratch {
		t.Fatalf("no file in %s named: %v", f.scratch, file)
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
		if len(*s.Output) < 16384 || s.Metadata.Truncated || strings.Trim(*s.Output, "x") != "" {
			t.Errorf("%s bytes: %d, truncated %v", n, len(*s.Output), s.Metadata.Truncated)
		}
	}
	if s := f.bash("head -c 32769 /dev/zero | tr '\\0' x"); !s.Metadata.Truncated {
		t.Error("32769 bytes are not truncated")
	}
	files, err := os.ReadDir(f.scratch)
	if err != nil || len(files) != 1 {
		t.Errorf("%d files in scratch, want 1: %v", len(files), err)
	}
}

func TestBashShowsOutputWhileItRuns(t *testing.T) {
	t.Parallel()
	f := start(t, nil, use("bash", `{"command":"echo first; while [ ! -e go ]; do sleep 0.01; done; echo second","description":"Say two things"}`))
	stream := f.subscribe()
	reply := f.sendInBackground("go")
	f.waitForOutput(stream, "first\n")
	f.write("go", "")
	<-reply
	s := f.tools()[0]
	if *s.Output != "first\nsecond\n" || s.Title != "Say two things" {
		t.Errorf("state = %+v", s)
	}
}

func TestBashEnvironment(t *testing.T) {
	t.Parallel()
	f := start(t, func(c *agent.Config) { c.Env = append(c.Env, "PAGER=most", "MINE=1") })
	if s := f.bash(`echo "$HOME $PAGER $MINE $GIT_TERMINAL_PROMPT"`); *s.Output != f.home+" most 1 0\n" {
		t.Errorf("output = %q", *s.Output)
	}
}
