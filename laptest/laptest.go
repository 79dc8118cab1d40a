// Package laptest gives a Go test a lap server of its own: a process that is ready within
// milliseconds, shares nothing with other tests, and is gone with the test.
//
//	func TestAssistant(t *testing.T) {
//		t.Parallel()
//		lap := laptest.Start(t, laptest.Script("fix", turns))
//		agent, err := lap.CreateAgent(t.Context(), client.NewAgent{Model: "scripted/fix"})
//		…
//	}
//
// Agents, skills and memory need nothing else. Sessions need what sandboxes are made with,
// which is Docker unless the server is told otherwise.
package laptest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lap/client"
)

// A Server is a running server. It is safe for concurrent use.
type Server struct {
	*client.Client        // of the server, with its key
	URL            string // such as http://127.0.0.1:41234
	Key            string // bearer token of the API
	DataDir        string // of the server; it goes with it
}

// config is what options change.
type config struct {
	args    []string
	env     []string
	scripts map[string]string // name to text
}

// An Option changes how a server is started.
type Option func(*config)

// Args adds arguments of "lap serve".
func Args(args ...string) Option {
	return func(c *config) { c.args = append(c.args, args...) }
}

// Env sets a variable of the server's environment. It has no other settings of lap from the
// environment of the test than those that tell of the machine: LAP_SANDBOX, LAP_PULL,
// LAP_EXTRA_CA and LAP_IMAGE_….
func Env(name, value string) Option {
	return func(c *config) { c.env = append(c.env, name+"="+value) }
}

// Script installs a scripted model. An agent whose model is "scripted/<name>" is answered
// from text, which is YAML as docs/scripted-models.md has it.
func Script(name, text string) Option {
	return func(c *config) { c.scripts[name] = text }
}

// Cassettes plays recorded calls of models from a folder, such as testdata/cassettes.
func Cassettes(dir string) Option {
	return func(c *config) {
		if abs, err := filepath.Abs(dir); err == nil { // else the server says what is wrong with it
			dir = abs
		}
		Env("LAP_CASSETTES", dir)(c)
	}
}

// Start starts a server and waits until it takes requests; the test fails if it does not.
// With the test it ends, and removes all that it made. What it logged is shown if the test
// has failed. The binary is the one that $LAP_BINARY names, else one that is built from the
// source of this package, once for each state of it, else the lap in $PATH.
func Start(tb testing.TB, opts ...Option) *Server {
	tb.Helper()
	c := config{scripts: map[string]string{}}
	for _, o := range opts {
		o(&c)
	}
	binary, err := binary()
	if err != nil {
		tb.Fatalf("find lap: %v", err)
	}
	p, err := start(binary, c)
	if err != nil {
		tb.Fatalf("start lap: %v", err)
	}
	tb.Cleanup(func() {
		if err := p.stop(); err != nil {
			tb.Errorf("stop lap: %v", err)
		}
		if tb.Failed() {
			tb.Logf("lap at %s logged:\n%s", p.ready.URL, p.log)
		}
	})
	if len(c.scripts) > 0 && slices.ContainsFunc(c.env, func(entry string) bool { return strings.HasPrefix(entry, "LAP_SCRIPTS=") }) {
		tb.Fatal("laptest.Script writes to the server's own folder, and LAP_SCRIPTS names another: use one of them")
	}
	if err := install(p.ready.DataDir, c.scripts); err != nil {
		tb.Fatalf("install a scripted model: %v", err)
	}
	return &Server{
		Client: client.New(p.ready.URL, p.ready.Key),
		URL:    p.ready.URL, Key: p.ready.Key, DataDir: p.ready.DataDir,
	}
}

// install writes scripts to where the server reads them at every call.
func install(dataDir string, scripts map[string]string) error {
	if len(scripts) == 0 {
		return nil
	}
	dir := filepath.Join(dataDir, "scripts")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, text := range scripts {
		if name == "" || filepath.Base(name) != name {
			return fmt.Errorf("%q is no name: the file would be outside of %s", name, dir)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
