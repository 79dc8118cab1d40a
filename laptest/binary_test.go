package laptest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"lap/laptest"
)

// program is the source of a program that prints text.
func program(t *testing.T, dir, text string) {
	t.Helper()
	files := map[string]string{
		"go.mod":       "module lap\n\ngo 1.26\n",
		"main.go":      "package main\n\nimport \"os\"\n\nfunc main() { os.Stdout.WriteString(\"" + text + "\") }\n",
		"main_test.go": "package main // " + text + " has no part in it\n",
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func run(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), path).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestBuiltOncePerSource(t *testing.T) {
	source, cache := t.TempDir(), t.TempDir()
	program(t, source, "one")
	paths := make([]string, 8)
	var building sync.WaitGroup
	for i := range paths {
		building.Go(func() {
			var err error
			if paths[i], err = laptest.Built(source, cache); err != nil {
				t.Error(err)
			}
		})
	}
	building.Wait()
	for _, path := range paths {
		if path != paths[0] {
			t.Fatalf("paths = %q", paths)
		}
	}
	if got := run(t, paths[0]); got != "one" {
		t.Errorf("it printed %q", got)
	}
	old := time.Now().Add(-30 * 24 * time.Hour)
	if err := os.Chtimes(filepath.Dir(paths[0]), old, old); err != nil {
		t.Fatal(err)
	}
	program(t, source, "two")
	second, err := laptest.Built(source, cache)
	if err != nil {
		t.Fatal(err)
	}
	if got := run(t, second); got != "two" {
		t.Errorf("it printed %q", got)
	}
	if _, err := os.Stat(paths[0]); !os.IsNotExist(err) {
		t.Errorf("what nobody has used for a month is kept, error %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(cache, "build-*")); err != nil || len(left) > 0 {
		t.Errorf("builds left: %q, error %v", left, err)
	}
}

func TestBrokenSourceIsShown(t *testing.T) {
	source, cache := t.TempDir(), t.TempDir()
	program(t, source, `" + nothing + "`)
	if _, err := laptest.Built(source, cache); err == nil || !strings.Contains(err.Error(), "undefined: nothing") {
		t.Errorf("error = %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(cache, "*")); err != nil || len(left) != 1 { // the lock
		t.Errorf("left: %q, error %v", left, err)
	}
}
