package laptest_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"lap/client"
	"lap/laptest"
)

func TestServersShareNothing(t *testing.T) {
	first, second := laptest.Start(t), laptest.Start(t, laptest.Env("MASTER_KEY", "a key of the test"))
	if first.URL == second.URL || first.DataDir == second.DataDir || second.Key != "a key of the test" {
		t.Errorf("servers %+v and %+v", first, second)
	}
	agent, err := first.CreateAgent(t.Context(), client.NewAgent{Model: "scripted/echo"})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.DeleteAgent(t.Context(), agent.ID); err == nil {
		t.Error("the agent of one server is known to the other")
	}
	if err := first.DeleteAgent(t.Context(), agent.ID); err != nil {
		t.Error(err)
	}
}

func TestServerGoesWithTheTest(t *testing.T) {
	var dir string
	t.Run("server", func(t *testing.T) {
		dir = laptest.Start(t, laptest.Script("short", "turns:\n  - text: yes\n")).DataDir
		if text, err := os.ReadFile(dir + "/scripts/short.yaml"); err != nil || !strings.Contains(string(text), "yes") {
			t.Errorf("script %q, error %v", text, err)
		}
	})
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is left, error %v", dir, err)
	}
}

func TestSettingsOfTheUserAreLeftOut(t *testing.T) {
	t.Setenv("MASTER_KEY", "short") // or it would not start
	t.Setenv("LAP_LISTEN", "nowhere")
	t.Setenv("LITELLM_API_BASE", "nowhere")
	laptest.Start(t)
}

// TestWhyItDoesNotStart has what lap says in the message.
func TestWhyItDoesNotStart(t *testing.T) {
	f := &failing{TB: t}
	func() {
		defer func() { _ = recover() }() // Fatalf does not return
		laptest.Start(f, laptest.Env("LAP_PULL", "sometimes"))
	}()
	if !strings.Contains(f.said.String(), "LAP_PULL: \"sometimes\" is none of") {
		t.Errorf("it said %s", &f.said)
	}
}

// TestLogOfAFailedTest is shown, and only that.
func TestLogOfAFailedTest(t *testing.T) {
	for _, failed := range []bool{false, true} {
		f := &failing{TB: t, failed: failed}
		lap := laptest.Start(f)
		for _, fn := range f.cleanups {
			fn()
		}
		if got := strings.Contains(f.said.String(), "lap at "+lap.URL+" logged:"); got != failed {
			t.Errorf("failed %v, said %s", failed, &f.said)
		}
	}
}

// A failing is a test whose words are kept, and that can fail without failing this one.
type failing struct {
	testing.TB
	failed   bool
	said     strings.Builder
	cleanups []func()
}

func (f *failing) Helper()           {}
func (f *failing) Cleanup(fn func()) { f.cleanups = append(f.cleanups, fn) }
func (f *failing) Failed() bool      { return f.failed }

func (f *failing) Logf(format string, a ...any) { fmt.Fprintf(&f.said, format+"\n", a...) }

func (f *failing) Fatalf(format string, a ...any) {
	f.Logf(format, a...)
	panic(f)
}
