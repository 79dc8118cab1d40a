//go:build linux

package guest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// git runs git in the working tree, as nobody in particular.
func (f *fixture) git(args ...string) string {
	f.t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=n", "-c", "user.email=e", "-c", "init.defaultBranch=main"}, args...)...)
	cmd.Dir = f.dir + "/work"
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "HOME="+f.dir+"/home")
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("git %s: %v: %s", args, err, out)
	}
	return string(out)
}

func (f *fixture) diff(want int) string {
	f.t.Helper()
	return f.send(http.MethodGet, "/diff", "", want)
}

func needGit(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
}

// bootedInGit is a guest whose working tree has one commit.
func bootedInGit(t *testing.T) *fixture {
	t.Helper()
	needGit(t)
	f := booted(t, newFakeHarness(nil))
	f.git("init", "--quiet")
	f.write("work/old", "one\ntwo\n")
	f.write("work/.gitignore", "ignored\n")
	f.git("add", ".")
	f.git("commit", "--quiet", "--message", "m")
	return f
}

// snapshot is the names below a directory, with their sizes.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			fmt.Fprintln(&all, path, info.Mode(), info.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func TestDiff(t *testing.T) {
	t.Parallel()
	f := bootedInGit(t)
	if got := f.diff(http.StatusOK); got != "" {
		t.Errorf("diff of nothing = %s", got)
	}
	f.write("work/old", "one\n2\n")
	f.write("work/sub/new", "new\n")
	f.write("work/staged", "staged\n")
	f.write("work/ignored", "ignored\n")
	f.write("work/large", strings.Repeat("large line\n", 1<<20))
	f.git("add", "staged")
	status, before := f.git("status", "--porcelain"), snapshot(t, f.dir+"/work")
	got := f.diff(http.StatusOK)
	for _, want := range []string{
		"diff --git a/old b/old\n", "\n-two\n+2\n", "diff --git a/sub/new b/sub/new\nnew file mode 100644\n", "\n+new\n", "\n+staged\n", "\n+large line\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in the diff", want)
		}
	}
	if strings.Contains(got, "ignored") {
		t.Error("an ignored file is in the diff")
	}
	if after := snapshot(t, f.dir+"/work"); after != before {
		t.Errorf("the working tree has changed:\n%s\nto\n%s", before, after)
	}
	if after := f.git("status", "--porcelain"); after != status {
		t.Errorf("status = %s, was %s", after, status)
	}
}

func TestDiffRunsNothingOfTheRepository(t *testing.T) {
	t.Parallel()
	f := bootedInGit(t)
	f.write("trap", "#!/bin/sh\ntouch '"+f.dir+"/ran'\ncat\n")
	if err := os.Chmod(f.dir+"/trap", 0o755); err != nil {
		t.Fatal(err)
	}
	trap := f.dir + "/trap"
	for _, name := range []string{
		"core.fsmonitor", "diff.external", "diff.x.textconv", "diff.x.command", "filter.x.clean", "filter.x.smudge", "filter.y.process", "core.pager",
	} {
		f.git("config", name, trap)
	}
	f.git("config", "filter.y.required", "true")
	f.git("config", "diff.noprefix", "true")
	f.git("config", "color.ui", "always")
	f.write("work/.gitattributes", "*.x filter=x diff=x\n*.y filter=y\n")
	for _, hook := range []string{"post-index-change", "pre-commit"} {
		f.write("work/.git/hooks/"+hook, f.read("trap"))
		if err := os.Chmod(f.dir+"/work/.git/hooks/"+hook, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	f.write("work/a.x", "x\n")
	f.write("work/a.y", "y\n")
	got := f.diff(http.StatusOK)
	if !strings.Contains(got, "b/a.x\n") || !strings.Contains(got, "\n+y\n") || strings.Contains(got, "\x1b") {
		t.Errorf("diff = %s", got)
	}
	if _, err := os.Stat(f.dir + "/ran"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program of the repository was run: %v", err)
	}
}

func TestDiffBeforeTheFirstCommit(t *testing.T) {
	t.Parallel()
	needGit(t)
	f := booted(t, newFakeHarness(nil))
	f.git("init", "--quiet")
	f.write("work/a", "a\n")
	if got := f.diff(http.StatusOK); !strings.Contains(got, "+++ b/a\n") {
		t.Errorf("diff = %s", got)
	}
}

func TestDiffThatIsNotThere(t *testing.T) {
	t.Parallel()
	needGit(t)
	f := booted(t, newFakeHarness(nil))
	if got := f.diff(http.StatusConflict); got != "the working tree is not a git repository\n" {
		t.Errorf("answer = %s", got)
	}
	bare := start(t, newFakeHarness(nil))
	boot := bare.newBoot()
	boot.Env["PATH"] = bare.dir
	bare.boot(boot)
	if got := bare.diff(http.StatusNotImplemented); got != "there is no git in this image\n" {
		t.Errorf("answer = %s", got)
	}
}

func TestDiffOfAVeryOddRepository(t *testing.T) {
	t.Parallel()
	f := bootedInGit(t)
	f.write("work/.git/index", "broken")
	if got := f.diff(http.StatusInternalServerError); !strings.Contains(got, "git add") {
		t.Errorf("answer = %s", got)
	}
	f.git("config", "filter.a=b.clean", "x")
	f.diff(http.StatusConflict)
}

func TestDiffEndsWithItsReader(t *testing.T) {
	t.Parallel()
	f := bootedInGit(t)
	f.write("work/large", strings.Repeat("large line\n", 4<<20))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	res := f.do(ctx, http.MethodGet, "/diff", nil)
	if _, err := io.ReadFull(res.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	leave()
	for pattern := f.dir + "/scratch/diff-*"; ; { // until the guest has tidied up
		if left, err := filepath.Glob(pattern); err != nil || len(left) == 0 {
			break
		}
	}
}
