//go:build linux

package guest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lap/sandbox"
)

func (f *fixture) health() sandbox.Health {
	f.t.Helper()
	var h sandbox.Health
	if err := json.Unmarshal([]byte(f.send(http.MethodGet, "/health", "", http.StatusOK)), &h); err != nil {
		f.t.Fatal(err)
	}
	return h
}

func (f *fixture) lastBoot() sandbox.Boot {
	f.t.Helper()
	var b sandbox.Boot
	if err := json.Unmarshal([]byte(f.send(http.MethodGet, "/boot", "", http.StatusOK)), &b); err != nil {
		f.t.Fatal(err)
	}
	return b
}

func TestBoot(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	if h := f.health(); h.Guest == "" || h.Session != "" {
		t.Errorf("health before boot = %+v", h)
	}
	f.send(http.MethodGet, "/boot", "", http.StatusNotFound)
	f.send(http.MethodGet, "/harness/session", "", http.StatusServiceUnavailable)
	f.send(http.MethodPost, "/turns", `{"id":"t","path":"/session/s/message","body":{}}`, http.StatusServiceUnavailable)
	boot := f.newBoot()
	guest := f.health().Guest
	want := []sandbox.BootEvent{{Phase: "injecting_files"}, {Phase: "harness_listening"}, {Done: true, Guest: guest}}
	if diff := cmp.Diff(want, f.boot(boot)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]sandbox.BootEvent{{Done: true, Guest: guest}}, f.boot(boot)); diff != "" {
		t.Errorf("again: %s", diff)
	}
	if diff := cmp.Diff(sandbox.Health{Guest: guest, Session: "session-1"}, f.health()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(boot, f.lastBoot()); diff != "" {
		t.Error(diff)
	}
	other := boot
	other.Session = "session-2"
	if events := f.boot(other); events[0].Error == "" {
		t.Errorf("boot for another session: %+v", events)
	}
	f.send(http.MethodGet, "/harness/session", "", http.StatusOK)
	f.send(http.MethodPost, "/boot", "{", http.StatusBadRequest)
}

func TestBootOverAnEarlierOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startAt(t, dir, nil)
	boot := first.newBoot()
	first.boot(boot)
	for _, path := range []string{dir + "/home/notes/a.txt", dir + "/abs/run"} {
		if err := os.WriteFile(path, []byte("changed"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first.guest.Close()
	second := startAt(t, dir, nil)
	if h := second.health(); h.Session != "" || h.Guest == first.id {
		t.Errorf("health = %+v", h)
	}
	if diff := cmp.Diff(boot, second.lastBoot()); diff != "" {
		t.Error(diff)
	}
	if events := second.boot(boot); !events[len(events)-1].Done {
		t.Fatalf("boot: %+v", events)
	}
	for path, want := range map[string]os.FileMode{"/home/notes/a.txt": 0o644, "/abs/run": 0o755, "/lib/boot.json": 0o600} {
		if info, err := os.Stat(dir + path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if text, err := os.ReadFile(dir + "/abs/run"); err != nil || string(text) != "b\n" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestBootThatFails(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	boot := f.newBoot()
	boot.Harness = "other"
	if events := f.boot(boot); events[len(events)-1].Error != `this guest has no harness "other"` {
		t.Errorf("boot: %+v", events)
	}
	f.send(http.MethodGet, "/boot", "", http.StatusNotFound)
	boot.Harness = sandbox.HarnessLap
	if events := f.boot(boot); !events[len(events)-1].Done {
		t.Errorf("boot after one that failed: %+v", events)
	}
}

func TestBootThatIsTooLarge(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	res := f.do(t.Context(), http.MethodPost, "/boot", io.LimitReader(blanks{}, 129<<20), "Expect", "100-continue")
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status = %s", res.Status)
	}
}

// blanks is endless white space.
type blanks struct{}

func (blanks) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}
