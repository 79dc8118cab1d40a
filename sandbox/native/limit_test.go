//go:build linux

package native_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"lap/sandbox"
	"lap/sandbox/native"
)

// A journal is a log that tests read.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) has(text string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Contains(j.text.String(), text)
}

// eat is a command of which two processes take more than half of 256 MB each, and wait then.
const eat = `for i in 1 2; do python3 -c 'import time
all = bytearray(150 << 20)
for i in range(0, len(all), 4096): all[i] = 1
time.sleep(1000)' & done; wait -n; kill %1 %2; wait`

func TestMemoryLimit(t *testing.T) {
	for _, who := range []string{"kernel", "guard"} {
		t.Run(who, func(t *testing.T) {
			n := newNative(t, native.Config{})
			if limits, _ := native.HasGroups(n); who == "kernel" && !limits {
				t.Skip("no control groups here that this user may limit")
			} else if who == "guard" {
				native.WithoutGroups(n)
			}
			id, sh := begin(t, n, spec("s", sandbox.Limits{Memory: 256 << 20, PIDs: 100, CPUs: 2}))
			if sh.run("python3 -c pass && echo yes") != "yes" {
				t.Skip("no python3 here")
			}
			sh.run("exec bash -c '" + strings.ReplaceAll(eat, "'", "'\\''") + "'")
			sh.want("echo on", "on")
			if err := unix.Kill(native.First(n, id), unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			until(t, "it is known that it ran out of memory", func() bool {
				d, err := n.Inspect(t.Context(), id)
				return err == nil && d.State == sandbox.StateExited && d.OOMKilled
			})
		})
	}
}

func TestProcessLimit(t *testing.T) {
	for _, who := range []string{"kernel", "guard"} {
		t.Run(who, func(t *testing.T) {
			log := &journal{}
			n := newNative(t, native.Config{Log: slog.New(slog.NewTextHandler(log, nil))})
			if limits, _ := native.HasGroups(n); who == "kernel" && !limits {
				t.Skip("no control groups here that this user may limit")
			} else if who == "guard" {
				native.WithoutGroups(n)
			}
			_, sh := begin(t, n, spec("s", sandbox.Limits{PIDs: 60}))
			count, err := 0, error(nil)
			answer := sh.run("for i in $(seq 100); do sleep 1000 >/dev/null 2>&1 & done; ls -d /proc/[0-9]* | wc -l")
			if _, err = fmt.Sscan(answer[strings.LastIndexByte(answer, '\n')+1:], &count); err == nil && count > 60 {
				t.Errorf("%d processes run", count)
			}
		})
	}
}

func TestDiskLimit(t *testing.T) {
	log := &journal{}
	n := newNative(t, native.Config{Log: slog.New(slog.NewTextHandler(log, nil))})
	_, sh := begin(t, n, spec("s", sandbox.Limits{Disk: 32 << 20}))
	if answer := sh.run("head -c 50000000 /dev/zero >/root/one"); !strings.Contains(answer, "ile size limit exceeded") && !strings.Contains(answer, "File too large") {
		t.Errorf("one file that is too large: %q", answer)
	}
	sh.run("i=0; while :; do i=$((i+1)); head -c 4000000 /dev/zero >/root/$i; sleep .05; done")
	if !log.has("LAP_SANDBOX_DISK") {
		t.Error("nobody was told")
	}
	sh.want("rm -r /root/* && echo gone", "gone")
}

func TestHostileTrees(t *testing.T) {
	n := newNative(t, native.Config{})
	id, sh := begin(t, n, spec("s", sandbox.Limits{}))
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if got := sh.run(`cd /root && mkdir closed && echo x >closed/file && mkdir closed/in && echo x >closed/in/x && chmod 000 closed/in closed &&
		ln -s ` + filepath.Dir(outside) + ` link && mkfifo fifo && mkdir many && cd many && seq 5000 | xargs touch && echo made`); !strings.HasSuffix(got, "made") {
		t.Fatal(got)
	}
	upper := filepath.Join(native.Dir(n, id), "layers/root/upper")
	dig(t, filepath.Join(upper, "root"), 3000)
	if os.Geteuid() == 0 {
		mark(t, filepath.Join(upper, "root/many"))
	}
	if err := n.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if list, err := n.List(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("left: %v %v", list, err)
	}
	until(t, "all is deleted", func() bool {
		left, err := os.ReadDir(filepath.Join(filepath.Dir(native.Dir(n, id)), "trash"))
		return err == nil && len(left) == 0
	})
	if _, err := os.Stat(outside); err != nil {
		t.Error("a file outside was deleted")
	}
}

// dig makes folders in each other, deeper than a path can name.
func dig(t *testing.T, path string, depth int) {
	t.Helper()
	dir, err := unix.Open(path, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	for range depth {
		if err == nil {
			err = unix.Mkdirat(dir, "deeeeeeeep", 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		below, failed := unix.Openat(dir, "deeeeeeeep", unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		unix.Close(dir)
		dir, err = below, failed
	}
	unix.Close(dir)
}

// mark makes a folder one that nobody may change.
func mark(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|unix.STATX_ATTR_IMMUTABLE)
	}
	if err != nil {
		t.Logf("this file system has no immutable files: %v", err)
	}
}
