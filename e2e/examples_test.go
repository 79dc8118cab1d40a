package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestExamples runs the examples as their users do, in copies, since some of them
// install and compile.
func TestExamples(t *testing.T) {
	on := onAny(t)
	tests := []struct {
		name string
		run  func(t *testing.T, f folder) (output string)
		want string // what the output says when all tests have run
	}{
		{"pytest", pytest, "4 passed"},
		{"vitest", vitest, "4 passed (4)"},
		{"junit", junit, "4 tests successful"},
		{"go", goTest, "ok  \texample.com/agent"},
		{"shell", shell, "ok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), tt.name)
			if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "examples", tt.name))); err != nil {
				t.Fatal(err)
			}
			if got := tt.run(t, folder{dir, on.name}); !strings.Contains(got, tt.want) {
				t.Errorf("it says\n%s\nwant %q in it", got, tt.want)
			}
		})
	}
}

func pytest(t *testing.T, f folder) string {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} { // the first one may not be Debian's
		if _, err := f.attempt(t, python, "-c", "import pytest, xdist"); err == nil {
			return f.execute(t, python, "-m", "pytest", "-n", "2")
		}
	}
	needs(t, errors.New("needs Python with pytest and pytest-xdist"))
	return ""
}

func vitest(t *testing.T, f folder) string {
	t.Helper()
	_, err := exec.LookPath("npm")
	needs(t, err)
	if out, err := f.attempt(t, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"); err != nil {
		needs(t, fmt.Errorf("vitest cannot be installed: %w\n%s", err, out))
	}
	return f.execute(t, "npm", "test")
}

// junit compiles with Debian's libraries; Maven's repository may not be in reach.
func junit(t *testing.T, f folder) string {
	t.Helper()
	_, err := exec.LookPath("javac")
	needs(t, err)
	path := "classes"
	for _, library := range []string{
		"junit-jupiter-api", "junit-jupiter-engine", "junit-platform-commons", "junit-platform-engine", "junit-platform-launcher",
		"junit-platform-console", "junit-platform-reporting", "opentest4j", "apiguardian-api", "picocli", "gson",
	} {
		jar := filepath.Join("/usr/share/java", library+".jar")
		if _, err := os.Stat(jar); err != nil {
			needs(t, fmt.Errorf("needs Debian's junit5 and libgoogle-gson-java: %w", err))
		}
		path += ":" + jar
	}
	sources, err := filepath.Glob(filepath.Join(f.dir, "src/test/java/com/example/*.java"))
	if err != nil {
		t.Fatal(err)
	}
	f.execute(t, "javac", append([]string{"-Xlint:all,-path", "-Werror", "-d", "classes", "-cp", path}, sources...)...)
	return f.execute(t, "java", "-cp", path, "org.junit.platform.console.ConsoleLauncher", "--scan-classpath=classes", "--disable-banner")
}

// goTest takes the versions of this module's dependencies, and so needs no network.
func goTest(t *testing.T, f folder) string {
	t.Helper()
	_, err := exec.LookPath("go")
	needs(t, err)
	source, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(source, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "go.sum"), sums, 0o600); err != nil {
		t.Fatal(err)
	}
	f.execute(t, "go", "mod", "edit", "-replace=lap="+source)
	return f.execute(t, "go", "test", "-mod=mod", "./...")
}

func shell(t *testing.T, f folder) string {
	t.Helper()
	for _, program := range []string{"bash", "curl", "jq"} {
		_, err := exec.LookPath(program)
		needs(t, err)
	}
	return f.execute(t, "./agent_test.sh")
}

// A folder is where programs run that start laps.
type folder struct {
	dir     string
	sandbox string // LAP_SANDBOX of those laps
}

// execute runs a program, which has to succeed, and returns what it said.
func (f folder) execute(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := f.attempt(t, program, args...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	return out
}

// attempt is execute for a program that may fail.
func (f folder) attempt(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	lap, err := filepath.Abs(binary)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.WaitDelay = f.dir, 10*time.Second
	cmd.Env = append(os.Environ(), "LAP_BINARY="+lap, "LAP_SANDBOX="+f.sandbox, "NO_COLOR=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
