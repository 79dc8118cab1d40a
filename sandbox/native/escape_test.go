//go:build linux

package native_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lap/sandbox"
	"lap/sandbox/native"
	"lap/sandbox/pipe"
)

// Environment of a copy of this test that runs as another user.
const (
	asUser    = "LAP_TEST_ESCAPE_AS_USER"
	builtHere = "LAP_TEST_BUILT" // folder with lap and intruder
)

// otherUser is no user of this machine.
const otherUser = 54_321

// A sandbox is attacked from inside, by its root, who wants to get at the machine.
func TestEscape(t *testing.T) {
	built := os.Getenv(builtHere)
	if built == "" {
		built = buildAttack(t)
	}
	attackMachine(t, built)
}

// The same with a lap that is an ordinary user, which is the root of its sandboxes.
func TestEscapeAsUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	dir, err := os.MkdirTemp("/tmp", "lap-escape-*") //nolint:usetesting // the other user has to get into it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := exec.CommandContext(t.Context(), "cp", "-r", buildAttack(t), os.Args[0], dir).Run(); err != nil {
		t.Fatal(err)
	}
	private := filepath.Join("/opt", filepath.Base(dir)) // what this user has where all may look
	t.Cleanup(func() { _ = os.RemoveAll(private) })
	for _, name := range []string{"own", "ownfolder/file"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(private, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(private, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, root := range []string{dir, private} {
		if err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, otherUser, otherUser)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(private, "ownfolder"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, filepath.Base(os.Args[0])), "-test.run", "^TestEscape$", "-test.v", "-test.timeout", "120s")
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, asUser + "=" + private, builtHere + "=" + filepath.Join(dir, "built")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: otherUser, Gid: otherUser, Groups: []uint32{4, 27}}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%d attacks", bytes.Count(out, []byte("--- PASS: TestEscape/")))
}

// buildAttack builds lap and the intruder.
func buildAttack(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "built")
	for name, pkg := range map[string]string{"lap": "../..", "intruder": "../../e2e/intruder"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(dir, name), pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	return dir
}

func attackMachine(t *testing.T, built string) {
	t.Helper()
	m := newMachine(t)
	lap := filepath.Join(built, "lap")
	before := fingerprint(t, lap)
	limits := sandbox.Limits{CPUs: 2, Memory: 512 << 20, PIDs: 256}
	n := native.New(native.Config{Dir: filepath.Join(m.home, "sandboxes"), Cache: filepath.Join(m.home, "cache"), Guest: lap})
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	inherited, err := unix.Open(m.home, unix.O_RDONLY|unix.O_DIRECTORY, 0) // and passed on to all that is started
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(inherited)
	b := startBox(t, n, limits)
	b.put(t, filepath.Join(built, "intruder"), "/intruder")
	args := append(m.told(), fmt.Sprintf("temp=%d", limits.Memory/2), fmt.Sprintf("memory=%d", limits.Memory), fmt.Sprintf("pids=%d", limits.PIDs))
	b.attack(t, "chmod +x /intruder; exec /intruder escape "+strings.Join(args, " "))

	if got := fingerprint(t, lap); got != before {
		t.Errorf("the lap binary was %s and is %s", before, got)
	}
	if m.visits.Load() > 0 {
		t.Errorf("%d connections came to sockets of the machine", m.visits.Load())
	}
	m.layers(t)
	if err := n.Remove(t.Context(), b.id); err != nil {
		t.Errorf("what it left cannot be removed: %v", err)
	}
	m.intact(t)
}

func fingerprint(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%v %d %v %v", info.Mode(), info.Size(), info.ModTime(), info.Sys().(*syscall.Stat_t).Uid)
}

// A machine is what a sandbox could get at: files, a process and sockets of somebody else.
type machine struct {
	home    string // of who runs lap
	canary  string
	public  []string
	private []string
	sockets []string
	ports   []string
	child   *exec.Cmd
	visits  atomic.Int32 // to sockets
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{home: t.TempDir(), canary: "canary-" + rand.Text()}
	places := []string{m.home, t.TempDir()}
	for _, dir := range []string{"/tmp", "/var/tmp", "/dev/shm", "/run", "/home", "/srv", "/opt", "/usr/local/share"} {
		own, err := os.MkdirTemp(dir, "lap-escape-") //nolint:usetesting // it is about this place
		if err != nil {
			continue // not a place of this user
		}
		t.Cleanup(func() { _ = os.RemoveAll(own) })
		if err := os.Chmod(own, 0o755); err != nil { //nolint:gosec // for all to enter
			t.Fatal(err)
		}
		places = append(places, own)
	}
	for _, dir := range places {
		system := strings.HasPrefix(dir, "/opt/") || strings.HasPrefix(dir, "/usr/")
		for name, mode := range map[string]fs.FileMode{"0600": 0o600, "0640": 0o640, "0644": 0o644, "0755": 0o755} {
			path := filepath.Join(dir, name)
			text := m.canary
			if system && mode&0o004 != 0 {
				text = "for everybody"
			}
			if err := os.WriteFile(path, []byte(text), mode); err != nil {
				t.Fatal(err)
			}
			if system && mode&0o004 != 0 {
				m.public = append(m.public, path)
			} else {
				m.private = append(m.private, path)
			}
		}
	}
	if own := os.Getenv(asUser); own != "" {
		m.private = append(m.private, own+"/own", own+"/ownfolder/file")
	}
	m.private = append(m.private, "/etc/shadow", "/etc/gshadow", "/root/.ssh", "/var/run/docker.sock", "/proc/1/root/etc/passwd")
	m.public = append(m.public, "/etc/passwd", "/bin/sh")
	m.child = exec.CommandContext(t.Context(), "sleep", "300")
	m.child.Env = append(os.Environ(), "CANARY="+m.canary)
	if err := m.child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.child.Process.Kill(); _ = m.child.Wait() })
	m.listen(t, "unix", filepath.Join(places[1], "socket"))
	m.listen(t, "unix", "@"+m.canary[:20])
	m.listen(t, "tcp", "127.0.0.1:0")
	m.listen(t, "tcp", "[::1]:0")
	return m
}

func (m *machine) listen(t *testing.T, network, addr string) {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if network == "unix" {
		m.sockets = append(m.sockets, addr)
	} else {
		m.ports = append(m.ports, l.Addr().String())
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			m.visits.Add(1)
			_ = conn.Close()
		}
	}()
}

// told is what the intruder is told.
func (m *machine) told() []string {
	return []string{
		"canary=" + hex.EncodeToString([]byte(m.canary)), "public=" + strings.Join(m.public, ","), "private=" + strings.Join(m.private, ","),
		"sockets=" + strings.Join(m.sockets, ","), "ports=" + strings.Join(m.ports, ","), "pid=" + strconv.Itoa(m.child.Process.Pid),
	}
}

// layers looks at what the sandbox has left on disk: nothing that leads the kernel
// somewhere else when it mounts that again.
func (m *machine) layers(t *testing.T) {
	t.Helper()
	found := false
	err := filepath.WalkDir(filepath.Join(m.home, "sandboxes"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && len(path) > 3000 {
			return fs.SkipDir // closed ones, for who is no root, and deep ones
		}
		found = found || d.Name() == "redirected"
		names := make([]byte, 4096)
		n, err := unix.Llistxattr(path, names)
		if err != nil {
			t.Errorf("attributes of %s: %v", path, err)
		}
		for name := range bytes.SplitSeq(names[:max(n, 0)], []byte{0}) {
			value := make([]byte, 256)
			if n, err := unix.Lgetxattr(path, string(name), value); err == nil && bytes.Equal(value[:n], []byte("/etc")) && !bytes.HasPrefix(name, []byte("user.overlay.overlay.")) {
				t.Errorf("%s of %s is what the sandbox has set", name, path)
			}
		}
		return nil
	})
	if err != nil || !found {
		t.Errorf("the layers were not seen: %v", err)
	}
}

// intact fails when something of the machine is missing.
func (m *machine) intact(t *testing.T) {
	t.Helper()
	for _, path := range slices.Concat(m.public, m.private) {
		if strings.Contains(path, "lap-escape-") || strings.HasPrefix(path, m.home) {
			if _, err := os.Lstat(path); err != nil && os.Getenv(asUser) == "" {
				t.Error(err)
			}
		}
	}
	if err := m.child.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("a process of the machine: %v", err)
	}
}

// An attacked is a sandbox with an open pipe.
type attacked struct {
	id   string
	http *http.Client
}

func startBox(t *testing.T, n *native.Native, limits sandbox.Limits) *attacked {
	t.Helper()
	id, err := n.Create(t.Context(), sandbox.Spec{Session: "escape", Agent: "a", Generation: 1, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Remove(context.WithoutCancel(t.Context()), id); err != nil {
			t.Error(err)
		}
	})
	conn, err := n.Start(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	h, err := pipe.NewHost(conn)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() { defer close(served); h.Serve("escape", nil) }()
	t.Cleanup(func() { _ = h.Close(); <-served })
	return &attacked{id: id, http: &http.Client{Timeout: 100 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return h.Dial(ctx) },
	}}}
}

func (b *attacked) do(t *testing.T, method, path string, body io.Reader) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://sandbox"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := b.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		t.Fatalf("%s: %s %s %v", path, res.Status, answer, err)
	}
	return string(answer)
}

func (b *attacked) put(t *testing.T, from, to string) {
	t.Helper()
	f, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b.do(t, http.MethodPut, "/files?path="+to, f)
}

// attack runs the intruder as a setup command, and makes a subtest of each line it prints.
func (b *attacked) attack(t *testing.T, command string) {
	t.Helper()
	boot, err := json.Marshal(sandbox.Boot{
		Session: "escape", Agent: "a", Harness: sandbox.HarnessLap, Env: map[string]string{"HOME": "/root"},
		Setup: []sandbox.Setup{{Name: "attack", Dir: "/work", Command: "(" + command + ") >/tmp/attack 2>&1"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	booted := b.do(t, http.MethodPost, "/boot", bytes.NewReader(boot))
	lines := strings.Split(strings.TrimSpace(b.do(t, http.MethodGet, "/files?path=/tmp/attack", nil)), "\n")
	if !strings.Contains(booted, `"done":true`) || len(lines) < 100 {
		t.Errorf("%s\n%s", booted, strings.Join(lines, "\n"))
	}
	for _, line := range lines {
		result, what, _ := strings.Cut(line, " ")
		name, got, _ := strings.Cut(what, ": ")
		if result != "broken" {
			name, got = what, ""
		}
		t.Run(name, func(t *testing.T) {
			if result != "held" {
				t.Error(result, got)
			}
		})
	}
}
