//go:build linux

package native_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lap/sandbox"
	"lap/sandbox/native"
)

// Variables of the test binary when it runs as another process.
const (
	helperVar = "LAP_TEST_NATIVE_HELPER" // what it is to do
	dirVar    = "LAP_TEST_NATIVE_DIR"    // with sandboxes
	toolsVar  = "LAP_TEST_NATIVE_TOOLS"  // with programs and a cache
)

// tools is a folder that everybody can read, with the programs of sandboxes.
var tools string

func TestMain(m *testing.M) {
	tools = os.Getenv(toolsVar)
	if what := os.Getenv(helperVar); what != "" {
		help(what)
		return
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if tools != "" {
		return m.Run()
	}
	var err error
	if tools, err = os.MkdirTemp("", "lap-native-"); err == nil {
		err = os.Chmod(tools, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(tools)
	return m.Run()
}

// program builds a program for sandboxes, once.
func program(t *testing.T, name, source string) string {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	path := filepath.Join(tools, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", source, err, out)
	}
	return path
}

var building sync.Mutex

func guest(t *testing.T) string {
	t.Helper()
	return program(t, "guest", "./testdata/guest")
}

func lap(t *testing.T) string {
	t.Helper()
	return program(t, "lap", "../..")
}

func cache() string { return filepath.Join(tools, fmt.Sprintf("cache-%d", os.Geteuid())) }

// newNative returns a runtime with sandboxes in dir, and ends them with the test.
func newNative(t *testing.T, c native.Config) *native.Native {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	if c.Guest == "" {
		c.Guest = guest(t)
	}
	if c.Cache == "" {
		c.Cache = cache()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	n := native.New(c)
	t.Cleanup(func() {
		all, err := n.List(context.Background())
		if err != nil {
			t.Error(err)
		}
		for _, i := range all {
			if err := n.Remove(context.Background(), i.ID); err != nil {
				t.Error(err)
			}
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := n.Ping(t.Context()); err != nil {
		if os.Getenv("LAP_TEST_REQUIRE_ALL") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return n
}

// A shell is a pipe to the guest of a test.
type shell struct {
	t    *testing.T
	conn io.ReadWriteCloser
	out  *json.Decoder
}

func newShell(t *testing.T, conn io.ReadWriteCloser) *shell {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	return &shell{t, conn, json.NewDecoder(conn)}
}

func (s *shell) send(command string) {
	s.t.Helper()
	if err := json.NewEncoder(s.conn).Encode(command); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shell) run(command string) string {
	s.t.Helper()
	s.send(command)
	var answer string
	if err := s.out.Decode(&answer); err != nil {
		s.t.Fatalf("%s: %v", command, err)
	}
	return strings.TrimSpace(answer)
}

func (s *shell) want(command, answer string) {
	s.t.Helper()
	if got := s.run(command); got != answer {
		s.t.Errorf("%s: %q, want %q", command, got, answer)
	}
}

func spec(name string, l sandbox.Limits) sandbox.Spec {
	return sandbox.Spec{Session: name, Agent: "a", Generation: 1, Image: "i", Limits: l}
}

// begin makes and starts a sandbox.
func begin(t *testing.T, n *native.Native, s sandbox.Spec) (string, *shell) {
	t.Helper()
	id, err := n.Create(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return id, start(t, n, id)
}

func start(t *testing.T, n *native.Native, id string) *shell {
	t.Helper()
	conn, err := n.Start(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return newShell(t, conn)
}

func dial(t *testing.T, n *native.Native, id string) *shell {
	t.Helper()
	conn, err := n.Dial(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return newShell(t, conn)
}

func state(t *testing.T, n *native.Native, id string) sandbox.State {
	t.Helper()
	d, err := n.Inspect(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return d.State
}

// until waits until ok.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// running returns the processes of this machine whose program lies in tools.
func running(name string) []string {
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	var all []string
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == filepath.Join(tools, name) {
			all = append(all, filepath.Base(filepath.Dir(link)))
		}
	}
	return all
}
