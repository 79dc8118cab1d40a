package tool_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lap/sandbox/agent/tool"
)

func TestRead(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.write("a.txt", "one\ntwo\r\n\nfour")
	f.write("long.txt", strings.Repeat("x", 5000)+"\nnext\n")
	f.write("many.txt", strings.Repeat("line\n", 3000))
	f.write("wide.txt", strings.Repeat(strings.Repeat("y", 999)+"\n", 100))
	f.write("bin", "\x7fELF\x00\x01")
	f.write("latin1.txt", "gr\xfcn\n")
	f.write("empty.txt", "")
	f.write("sub/inner.go", "package inner\n")
	write(t, filepath.Join(f.Home, "notes.md"), "at home\n")
	if err := os.Mkdir(filepath.Join(f.Dir, "void"), 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, args, want string }{
		{"whole file", `{"path":"a.txt"}`, "     1\tone\n     2\ttwo\n     3\t\n     4\tfour\n"},
		{"part", `{"path":"a.txt","offset":2,"limit":1}`, "     2\ttwo\n\n[more follows: go on with offset 3]"},
		{"absolute", `{"path":"` + f.Dir + `/a.txt","offset":4}`, "     4\tfour\n"},
		{"home", `{"path":"~/notes.md"}`, "     1\tat home\n"},
		{"beyond the end", `{"path":"a.txt","offset":9}`, "error: offset 9 is beyond the end: the file has 4 lines"},
		{"long line", `{"path":"long.txt"}`, "... [line of 5000 bytes]\n     2\tnext\n"},
		{"too many lines", `{"path":"many.txt"}`, "  2000\tline\n\n[more follows: go on with offset 2001]"},
		{"too many bytes", `{"path":"wide.txt"}`, "[more follows: go on with offset 51]"},
		{"binary", `{"path":"bin"}`, "is not text: application/octet-stream"},
		{"not utf-8", `{"path":"latin1.txt"}`, "     1\tgr\uFFFDn\n"},
		{"empty", `{"path":"empty.txt"}`, "(the file is empty)"},
		{"directory", `{"path":"sub"}`, "inner.go\n"},
		{"tree", `{"path":"."}`, "many.txt\nsub/\nvoid/\n"},
		{"empty directory", `{"path":"void"}`, "(the directory is empty)"},
		{"missing", `{"path":"A.md"}`, "error: " + f.Dir + "/A.md does not exist; in the same directory: a.txt"},
		{"missing directory", `{"path":"no/such"}`, "does not exist; neither does its directory"},
		{"device", `{"path":"/dev/zero"}`, "not a regular file"},
		{"no path", `{}`, "error: path is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := f.outcome("read", tt.args); !strings.Contains(got, tt.want) {
				t.Errorf("read(%s) = %q, want %q", tt.args, got, tt.want)
			}
		})
	}
}

func TestWrite(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	if got := f.outcome("write", `{"path":"new/dir/a.sh","content":"echo hi\n"}`); !strings.HasPrefix(got, "Wrote 8 bytes") {
		t.Error(got)
	}
	path := filepath.Join(f.Dir, "new/dir/a.sh")
	check(t, path, "echo hi\n", 0o644)
	if err := os.Chmod(path, 0o751); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(f.Dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	f.outcome("write", `{"path":"link","content":""}`)
	check(t, path, "", 0o751)
	if target, err := os.Readlink(link); err != nil || target != path {
		t.Errorf("the link is gone: %v", err)
	}
	if got := f.outcome("write", `{"path":"new","content":"x"}`); !strings.Contains(got, "not a regular file") {
		t.Error(got)
	}
	if got := f.outcome("write", `{"path":"x"}`); got != "error: path or content is missing" {
		t.Error(got)
	}
	if files, err := os.ReadDir(filepath.Join(f.Dir, "new/dir")); err != nil || len(files) != 1 {
		t.Errorf("%d files are left: %v", len(files), err)
	}
}

func check(t *testing.T, path, want string, mode os.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want || info.Mode().Perm() != mode {
		t.Errorf("%s: %q, mode %v; want %q, %v", path, got, info.Mode().Perm(), want, mode)
	}
}

func TestEdit(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	tests := []struct{ name, before, old, new, all, want, after string }{
		{"once", "a\nb\nc\n", "b", "B", "", "Replaced 1", "a\nB\nc\n"},
		{"delete", "a\nb\nc\n", "b\n", "", "", "Replaced 1", "a\nc\n"},
		{"all", "x y x", "x", "z", `,"replace_all":true`, "Replaced 2", "z y z"},
		{"no pattern", "a.c abc", "a.c", "$1", "", "Replaced 1", "$1 abc"},
		{"not unique", "x\ny\nx\nx", "x", "z", "", "old is there 3 times, at lines 1, 3, 4", ""},
		{"several lines not unique", "a\nb\n\na\nb\n", "a\nb", "z", "", "2 times, at lines 1, 4", ""},
		{"same", "x", "x", "x", "", "old and new are the same", ""},
		{"empty old", "x", "", "x", "", "old is empty", ""},
		{"not there", "x", "y", "z", "", "old was not found; read the file again", ""},
		{"indentation", "if x {\n\t\treturn 1\n}\n", "    return 1", "z", "", "lines from 2 on differ from it only in white space", ""},
		{"crlf kept", "a\r\nb\r\nc\r\n", "a\nb\n", "A\nB\n", "", "Replaced 1", "A\r\nB\r\nc\r\n"},
		{"crlf given", "a\r\nb\r\n", "a\r\nb", "A\r\nB", "", "Replaced 1", "A\r\nB\r\n"},
		{"many places", strings.Repeat("x\n", 30), "x", "y", "", "9, 10, …", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(f.Dir, "f.txt")
			write(t, path, tt.before)
			args := fmt.Sprintf(`{"path":"f.txt","old":%s,"new":%s%s}`, quote(tt.old), quote(tt.new), tt.all)
			if got := f.outcome("edit", args); !strings.Contains(got, tt.want) {
				t.Errorf("edit = %q, want %q", got, tt.want)
			}
			if tt.after == "" {
				tt.after = tt.before
			}
			check(t, path, tt.after, 0o600)
		})
	}
	if got := f.outcome("edit", `{"path":"g.txt","old":"a","new":"b"}`); !strings.Contains(got, "does not exist") {
		t.Error(got)
	}
	if got := f.outcome("edit", `{"old":"a","new":"b"}`); got != "error: path is missing" {
		t.Error(got)
	}
}

func TestGlobAndGrep(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	f.write("main.go", "package main\n\nfunc main() {\n\tprintln(\"Hello\")\n}\n")
	f.write("pkg/util.go", "package pkg\n// hello there\n")
	f.write("pkg/util_test.go", "package pkg\n")
	f.write("README.md", "hello\n")
	f.write("node_modules/x/index.go", "hello\n")
	f.write(".git/config.go", "hello\n")
	f.write("bin.go", "\x00hello")
	f.write("wide.txt", "hello "+strings.Repeat("x", 1000)+"\n")
	for i := range 300 {
		f.write(fmt.Sprintf("many/%03d.txt", i), "same line\n")
	}
	old := filepath.Join(f.Dir, "main.go")
	longAgo := time.Unix(1e9, 0)
	if err := os.Chtimes(old, longAgo, longAgo); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ tool, args, want, not string }{
		{"glob", `{"pattern":"*.go"}`, "pkg/util.go\n", "node_modules"},
		{"glob", `{"pattern":"*.go"}`, "main.go\n", ".git"},
		{"glob", `{"pattern":"pkg/*_test.go"}`, "pkg/util_test.go\n", "util.go"},
		{"glob", `{"pattern":"**/*.{md,mod}"}`, "README.md\n", "go"},
		{"glob", `{"pattern":"node_modules/**/*.go"}`, "node_modules/x/index.go\n", "main.go"},
		{"glob", `{"pattern":"*.go","path":"pkg"}`, "pkg/util.go\n", "main.go"},
		{"glob", `{"pattern":"` + f.Dir + `/pkg/*.go"}`, "pkg/util.go\n", "main.go"},
		{"glob", `{"pattern":"*.rs"}`, "No file matches.", "\n"},
		{"glob", `{"pattern":"*.txt","path":"many"}`, "[100 more: narrow the pattern]", "README"},
		{"glob", `{"pattern":"a[b"}`, "is not a valid glob", "\n"},
		{"glob", `{"pattern":""}`, "pattern is missing", "\n"},
		{"glob", `{"pattern":"*","path":"nope"}`, "no such file", "\n"},
		{"grep", `{"pattern":"hello"}`, "pkg/util.go:2:// hello there\n", "bin.go"},
		{"grep", `{"pattern":"hello"}`, "README.md:1:hello\n", "node_modules"},
		{"grep", `{"pattern":"hello","case_insensitive":true,"glob":"*.go"}`, "main.go:4:\tprintln(\"Hello\")\n", "README"},
		{"grep", `{"pattern":"^func \\w+","path":"main.go","context":1}`, "main.go-2-\nmain.go:3:func main() {\nmain.go-4-\tprintln(\"Hello\")\n", "package"},
		{"grep", `{"pattern":"hello","path":"wide.txt"}`, "...\n", strings.Repeat("x", 500)},
		{"grep", `{"pattern":"same line"}`, "[only the first 200 matching lines: narrow the search]", "hello"},
		{"grep", `{"pattern":"nowhere at all"}`, "Nothing matches.", "\n"},
		{"grep", `{"pattern":"(?=x)"}`, "RE2", "\n"},
		{"grep", `{"pattern":""}`, "pattern is missing", "\n"},
		{"grep", `{"pattern":"x","glob":"[a"}`, "is not a valid glob", "\n"},
		{"grep", `{"pattern":"x","path":"nope"}`, "no such file", "\n"},
	}
	for _, tt := range tests {
		t.Run(tt.tool+" "+tt.args, func(t *testing.T) {
			got := f.outcome(tt.tool, tt.args)
			if !strings.Contains(got, tt.want) || strings.Contains(got, tt.not) {
				t.Errorf("got %q, want %q without %q", got, tt.want, tt.not)
			}
		})
	}
	if got := f.outcome("glob", `{"pattern":"*.go"}`); !strings.HasSuffix(got, "main.go\n") {
		t.Errorf("the oldest file is not last: %q", got)
	}
}

// An edit changes what was asked for and nothing else, or nothing.
func FuzzEdit(f *testing.F) {
	f.Add("a\nb\nc", "b", "B", false)
	f.Add("a\r\nb\r\n", "a\nb", "x\ny", false)
	f.Add("xx", "x", "xx", true)
	f.Add(" a\n\tb", "a\nb", "", false)
	f.Fuzz(func(t *testing.T, text, old, replacement string, all bool) {
		got, n, err := tool.Replace(text, old, replacement, all)
		switch {
		case err != nil && (got != "" || n != 0):
			t.Fatalf("an error and a change: %q", got)
		case err != nil:
			return
		case n < 1 || (n > 1 && !all):
			t.Fatalf("%d replacements", n)
		case strings.Contains(text, old) && got != strings.ReplaceAll(text, old, replacement):
			t.Fatalf("got %q", got)
		case strings.Count(got, "\n")-strings.Count(text, "\n") != n*(strings.Count(replacement, "\n")-strings.Count(old, "\n")):
			t.Fatalf("lines were lost: %q", got)
		}
	})
}
