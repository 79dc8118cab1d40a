//go:build linux

package guest_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lap/sandbox"
)

const patience = 20 * time.Second // for what must happen

// fakePip is a python3 whose pip notes what it is called with.
const fakePip = `
echo "$*" | sed 's/requirements-.*txt/FILE/' >> "$HOME/calls"
test "$3" = --version && exit
for file; do :; done
cat "$file" > "$HOME/got"
stat -c %a "$file"
echo "$PIP_BREAK_SYSTEM_PACKAGES $PIP_ROOT_USER_ACTION $SECRET"
cat; tty
pwd
echo no line end >&2; printf done
`

const pipCalls = "-m pip --version\n-m pip install --no-input --disable-pip-version-check --progress-bar off -r DIR/scratch/FILE\n"

// programs makes a folder for PATH with scripts, and what these use.
func programs(t *testing.T, scripts map[string]string) string {
	t.Helper()
	bin := t.TempDir()
	for _, name := range []string{"cat", "head", "sed", "setsid", "sh", "sleep", "stat", "tty", "tr", "yes"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	syscall.ForkLock.RLock() // a child of another test that held one open would make it busy
	defer syscall.ForkLock.RUnlock()
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return bin
}

// newInstall is a boot with requirements and scripts on PATH.
func (f *fixture) newInstall(requirements string, scripts map[string]string, setup ...sandbox.Setup) sandbox.Boot {
	f.t.Helper()
	b := f.newBoot()
	b.Env["PATH"] = programs(f.t, scripts)
	b.Requirements, b.Setup = requirements, setup
	return b
}

// setup is a setup command in the working tree.
func (f *fixture) setup(name, command string) sandbox.Setup {
	return sandbox.Setup{Name: name, Dir: f.dir + "/work", Command: command}
}

// install boots and returns the details of the installation, and the error.
func (f *fixture) install(b sandbox.Boot) (details []string, failure string) {
	f.t.Helper()
	events := f.boot(b)
	for _, ev := range events {
		if ev.Phase == "installing_deps" {
			details = append(details, ev.Detail)
		}
	}
	return details, events[len(events)-1].Error
}

// home reads a file in the home directory.
func (f *fixture) home(name string) string {
	f.t.Helper()
	text, err := os.ReadFile(f.dir + "/home/" + name)
	if err != nil {
		f.t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), f.dir, "DIR")
}

func (f *fixture) logs() string {
	f.t.Helper()
	return f.send(http.MethodGet, "/logs", "", http.StatusOK)
}

func TestRequirements(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	const text = "--index-url https://user@example.test/simple\r\na==1 --hash=sha256:00\n# ünï\ngit+ssh://git@example.test/x.git"
	details, failure := f.install(f.newInstall(text, map[string]string{"python3": fakePip}))
	if diff := cmp.Diff([]string{"requirements: looking for pip", "requirements: installing with pip"}, details); diff != "" || failure != "" {
		t.Errorf("%s %s", failure, diff)
	}
	if got := f.home("got"); got != text {
		t.Errorf("requirements = %q", got)
	}
	if diff := cmp.Diff(pipCalls, f.home("calls")); diff != "" {
		t.Error(diff)
	}
	if want := "600\n1 ignore s3cret\nnot a tty\n" + f.dir + "/scratch\nno line end\ndone\n"; f.logs() != want {
		t.Errorf("logs = %q, want %q", f.logs(), want)
	}
	if left, err := filepath.Glob(f.dir + "/scratch/requirements*"); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}

func TestRequirementsAreInstalledOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	boot := func(requirements, want string) {
		t.Helper()
		f := startAt(t, dir, nil)
		defer f.guest.Close()
		if _, failure := f.install(f.newInstall(requirements, map[string]string{"python": fakePip})); failure != "" {
			t.Fatal(failure)
		}
		if diff := cmp.Diff(want, f.home("calls")); diff != "" {
			t.Error(diff)
		}
	}
	boot("a", pipCalls)
	boot("a", pipCalls)
	boot(" \n", pipCalls)
	boot("b", pipCalls+pipCalls)
	if err := os.WriteFile(dir+"/lib/installed.json", []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	boot("b", pipCalls+pipCalls+pipCalls)
}

func TestRequirementsThatFail(t *testing.T) {
	t.Parallel()
	const needed = "requirements could not be installed: they need Python with pip, which the sandbox's image has not: choose a harness_image that has it"
	tests := []struct {
		name, want string
		scripts    map[string]string
	}{
		{
			"no python", needed, map[string]string{"uv": "exit 0"},
		},
		{
			"no pip", needed, map[string]string{"python3": "echo No module named $2; exit 1"},
		},
		{
			"pip does not come", needed, map[string]string{"python3": `test "$2" = ensurepip`},
		},
		{
			"errors", "requirements could not be installed: pip ended with status 1: ERROR: No matching distribution found for nosuchpkg==9",
			map[string]string{"python3": `test "$3" = --version || { echo Looking; echo ERROR: No matching distribution found for nosuchpkg==9 >&2; echo bye; exit 1; }`},
		},
		{
			"no error line", "requirements could not be installed: pip ended with status 2: Traceback oops",
			map[string]string{"python3": `test "$3" = --version || { printf 'Traceback\n  oops'; exit 2; }`},
		},
		{
			"silence", "requirements could not be installed: pip ended with status 3", map[string]string{"python3": `test "$3" = --version || exit 3`},
		},
		{
			"killed", "requirements could not be installed: pip ended with signal killed", map[string]string{"python3": `test "$3" = --version || kill -9 $$`},
		},
		{
			"uv fails", "requirements could not be installed: uv ended with status 2: error: no", map[string]string{"python3": "exit 1", "uv": "echo error: no; exit 2"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := start(t, nil)
			boot := f.newInstall("nosuchpkg==9", tt.scripts, f.setup("a", `echo ran > "$HOME/setup"`))
			if _, failure := f.install(boot); failure != tt.want {
				t.Errorf("error = %q, want %q", failure, tt.want)
			}
			if _, err := os.Stat(f.dir + "/home/setup"); err == nil {
				t.Error("the setup command ran")
			}
			f.send(http.MethodGet, "/boot", "", http.StatusNotFound)
			boot.Env["PATH"] = programs(t, map[string]string{"python3": fakePip})
			if _, failure := f.install(boot); failure != "" || f.home("got") != "nosuchpkg==9" {
				t.Errorf("again: %s", failure)
			}
		})
	}
}

func TestPythonWithoutPip(t *testing.T) {
	t.Parallel()
	const note = `echo "${0##*/} $*" | sed 's/requirements-.*txt/FILE/' >> "$HOME/calls"` + "\n"
	tests := []struct {
		name, want string
		scripts    map[string]string
	}{
		{
			"uv", "python3 -m pip --version\nuv pip install --system -r DIR/scratch/FILE\n",
			map[string]string{"python3": note + "exit 1", "uv": note},
		},
		{
			"ensurepip", "python3 -m pip --version\npython3 -m ensurepip --user\npython3 -m pip --version\n" +
				"python3 -m pip install --no-input --disable-pip-version-check --progress-bar off -r DIR/scratch/FILE\n",
			map[string]string{"python3": note + `case $2 in ensurepip) echo > "$HOME/pip";; *) test -e "$HOME/pip";; esac`},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := start(t, nil)
			if _, failure := f.install(f.newInstall("a", tt.scripts)); failure != "" {
				t.Fatal(failure)
			}
			if diff := cmp.Diff(tt.want, f.home("calls")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// hanging leaves a process of its own group and one of its own session, and waits.
const hanging = `
sleep 301 & echo $! > "$HOME/pids"
setsid sh -c 'echo $$ >> "$HOME/pids"; exec sleep 302' &
echo $$ >> "$HOME/pids"
echo hangs
sleep 303
`

// pids returns the processes that hanging told of, once all are there.
func (f *fixture) pids(n int) []int {
	f.t.Helper()
	var pids []int
	f.eventually("all processes are there", func() bool {
		text, _ := os.ReadFile(f.dir + "/home/pids") // it may not be there yet
		pids = nil
		for line := range strings.Lines(string(text)) {
			if pid, err := strconv.Atoi(strings.TrimSuffix(line, "\n")); err == nil {
				pids = append(pids, pid)
			}
		}
		return len(pids) == n
	})
	return pids
}

func (f *fixture) eventually(what string, ok func() bool) {
	f.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// lives reports whether a process has not exited.
func lives(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && stat[bytes.LastIndexByte(stat, ')')+2] != 'Z'
}

func TestInstallEndsWithItsProcesses(t *testing.T) {
	t.Parallel()
	ends := map[string]func(f *fixture, leave context.CancelFunc){
		"host leaves":  func(_ *fixture, leave context.CancelFunc) { leave() },
		"guest closes": func(f *fixture, _ context.CancelFunc) { f.guest.Close() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, nil)
			body, err := json.Marshal(f.newInstall("a", map[string]string{"python3": `test "$3" = --version && exit` + hanging}))
			if err != nil {
				t.Fatal(err)
			}
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			f.do(ctx, http.MethodPost, "/boot", bytes.NewReader(body)) // it answers with the first phase
			pids := f.pids(3)
			end(f, leave)
			for _, pid := range pids {
				f.eventually("no process is left", func() bool { return !lives(pid) })
			}
			if _, err := os.Stat(f.dir + "/lib/installed.json"); err == nil {
				t.Error("the requirements count as installed")
			}
		})
	}
}

func TestSetup(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	if err := os.MkdirAll(f.dir+"/work/b", 0o755); err != nil {
		t.Fatal(err)
	}
	b := f.setup("b", `echo "b $PWD" >> "$HOME/ran"; false; exec cat`)
	b.Dir += "/b"
	boot := f.newInstall("a", map[string]string{"python3": fakePip},
		f.setup("a", `cat "$HOME/calls" > "$HOME/ran"; echo "a $(pwd) $SECRET" >> "$HOME/ran"`), b,
		f.setup("c", `echo oops; echo c >> "$HOME/ran"; exit 2`), f.setup("d", `echo d >> "$HOME/ran"`))
	details, failure := f.install(boot)
	want := []string{
		"requirements: looking for pip", "requirements: installing with pip",
		"setup_cmd of project a", "setup_cmd of project b", "setup_cmd of project c",
	}
	if diff := cmp.Diff(want, details); diff != "" || failure != "setup_cmd of project c failed with status 2: oops" {
		t.Errorf("%s %s", failure, diff)
	}
	ran := pipCalls + "a DIR/work s3cret\nb DIR/work/b\nc\n"
	if diff := cmp.Diff(ran, f.home("ran")); diff != "" {
		t.Error(diff)
	}
	boot.Setup[2].Command = "echo c again; exit 0"
	details, failure = f.install(boot) // without what succeeded
	if diff := cmp.Diff([]string{"setup_cmd of project c", "setup_cmd of project d"}, details); diff != "" || failure != "" {
		t.Errorf("%s %s", failure, diff)
	}
	if diff := cmp.Diff(ran+"d\n", f.home("ran")); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(f.logs(), "\noops\nc again\n") {
		t.Errorf("logs = %q", f.logs())
	}
}

func TestSetupThatCannotRun(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	s := f.setup("a", "true")
	s.Dir = f.dir + "/none"
	want := "setup_cmd of project a could not be run: there is no directory " + s.Dir
	if _, failure := f.install(f.newInstall("", nil, s)); failure != want {
		t.Errorf("error = %q, want %q", failure, want)
	}
	s = f.setup("a", strings.Repeat("#", 200<<10))
	if _, failure := f.install(f.newInstall("", nil, s)); !strings.Contains(failure, "argument list too long") {
		t.Errorf("error = %q", failure)
	}
}

func TestSetupLeavesServersOnlyWhenItSucceeds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		end   string
		lives bool
	}{"success": {"", true}, "failure": {"\nexit 1", false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, nil)
			server := `(while sleep 0.1; do echo serving; done) & echo $! > "$HOME/pids"
				setsid sh -c 'echo $$ >> "$HOME/pids"; while sleep 0.1; do echo serving; done' &
				while test "$(sed -n 2p "$HOME/pids")" = ""; do sleep 0.01; done`
			_, failure := f.install(f.newInstall("", nil, f.setup("a", server+tt.end)))
			pids := f.pids(2)
			t.Cleanup(func() {
				for _, pid := range pids {
					_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone
				}
			})
			if (failure == "") != tt.lives {
				t.Errorf("error = %q", failure)
			}
			if tt.lives {
				before := len(f.logs())
				f.eventually("what it prints goes on", func() bool { return len(f.logs()) > before+100 })
			}
			for _, pid := range pids {
				if lives(pid) != tt.lives {
					t.Errorf("process %d lives: %t", pid, !tt.lives)
				}
			}
		})
	}
}

func TestProgressOfAnInstallation(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	command := `for i in 1 2 3 4 5 6 7 8; do printf "step $i\r"; sleep 0.2; done; sleep 0.6; printf '\033[31mred\000\a\033[0m\n'; sleep 0.6; yes é | head -c 1200 | tr -d '\n'; sleep 1.1`
	details, failure := f.install(f.newInstall("", nil, f.setup("a", command)))
	if failure != "" {
		t.Fatal(failure)
	}
	steps, red, long := 0, 0, 0
	for _, d := range details {
		switch {
		case strings.HasPrefix(d, "step "):
			steps++
		case d == "red":
			red++
		case d == strings.Repeat("é", 299)+"…":
			long++
		}
	}
	if steps < 2 || steps > 5 || red != 1 || long != 1 {
		t.Errorf("details = %q", details)
	}
}

func TestHugeOutputOfAnInstallation(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	command := "head -c 4000000 /dev/zero; head -c 4000000 /dev/urandom; yes | head -c 4000000; echo; echo the end; exit 1"
	_, failure := f.install(f.newInstall("", nil, f.setup("a", command)))
	if want := strings.Repeat(" y", 300) + " the end"; !strings.HasSuffix(failure, want) || len([]rune(failure)) > 1600 {
		t.Errorf("error = %q", failure)
	}
	if !strings.HasSuffix(f.logs(), "\nthe end\n") {
		t.Error("the logs do not end as the output does")
	}
}

// wheel writes a package for pip into dir.
func wheel(t *testing.T, dir, name string) {
	t.Helper()
	info := name + "-1.0.dist-info/"
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for path, text := range map[string]string{
		name + ".py":       "answer = 42\n",
		info + "METADATA":  "Metadata-Version: 2.1\nName: " + name + "\nVersion: 1.0\n",
		info + "WHEEL":     "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
		info + "RECORD":    name + ".py,,\n" + info + "METADATA,,\n" + info + "WHEEL,,\n" + info + "RECORD,,\n",
		info + "top_level": name + "\n",
	} {
		w, err := z.Create(path)
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+"-1.0-py3-none-any.whl"), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRequirementsWithPip(t *testing.T) {
	t.Parallel()
	if out, err := exec.Command("python3", "-m", "pip", "--version").CombinedOutput(); err != nil {
		t.Skipf("no Python with pip here: %v: %s", err, out)
	}
	f := start(t, nil)
	wheels := t.TempDir()
	wheel(t, wheels, "lapsample")
	if err := os.MkdirAll(f.dir+"/work", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.dir+"/work/logging.py", []byte("raise SystemExit('not that one')\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	boot := f.newBoot()
	boot.Env["PIP_TARGET"] = f.dir + "/target" // nothing of the machine is to change
	options := "--no-index\n--find-links " + wheels + "\n"
	boot.Requirements = options + "nosuchpkg==9\n"
	_, failure := f.install(boot)
	want := "requirements could not be installed: pip ended with status 1: ERROR: Could not find a version that satisfies the requirement " +
		"nosuchpkg==9 (from versions: none) ERROR: No matching distribution found for nosuchpkg==9"
	if failure != want {
		t.Errorf("error = %q, want %q", failure, want)
	}
	boot.Requirements = options + "lapsample>=1\n"
	if _, failure := f.install(boot); failure != "" {
		t.Fatal(failure)
	}
	if text, err := os.ReadFile(f.dir + "/target/lapsample.py"); err != nil || string(text) != "answer = 42\n" {
		t.Errorf("%q, %v", text, err)
	}
	if !strings.Contains(f.logs(), "Successfully installed lapsample-1.0\n") {
		t.Errorf("logs = %s", f.logs())
	}
}
