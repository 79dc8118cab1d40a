//go:build linux

package guest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"

	"lap/sandbox"
	"lap/sandbox/agent"
)

// maxBoot bounds a boot request: an agent's prompt and skills can be 16 MiB each.
const maxBoot = 128 << 20

func (g *Guest) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("POST /boot", g.handleBoot)
	mux.Handle("/harness/", http.StripPrefix("/harness", http.HandlerFunc(g.handleHarness)))
	return mux
}

// handleHarness passes a request on to the harness.
func (g *Guest) handleHarness(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	h := g.harness
	g.mu.Unlock()
	if h == nil {
		http.Error(w, "not booted", http.StatusServiceUnavailable)
		return
	}
	h.ServeHTTP(w, r)
}

// handleBoot makes the sandbox the session's own and streams how far it has come. The
// same boot again is answered as done.
func (g *Guest) handleBoot(w http.ResponseWriter, r *http.Request) {
	var boot sandbox.Boot
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBoot)).Decode(&boot); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	enc, flush := json.NewEncoder(w), http.NewResponseController(w)
	report := func(ev sandbox.BootEvent) {
		_ = enc.Encode(ev) // a host that has gone boots again
		_ = flush.Flush()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.boot(boot, report); err != nil {
		report(sandbox.BootEvent{Error: err.Error()})
		return
	}
	report(sandbox.BootEvent{Done: true})
}

func (g *Guest) boot(boot sandbox.Boot, report func(sandbox.BootEvent)) error {
	if g.booted != nil {
		if reflect.DeepEqual(*g.booted, boot) {
			return nil
		}
		return errors.New("this sandbox has been booted for something else already")
	}
	env := newEnvironment(boot)
	if err := os.MkdirAll(sandbox.WorkDir, 0o755); err != nil {
		return err
	}
	if len(boot.Files) > 0 {
		report(sandbox.BootEvent{Phase: "injecting_files"})
		if err := writeFiles(env.home(), boot.Files); err != nil {
			return err
		}
	}
	if boot.Harness != sandbox.HarnessLap {
		return fmt.Errorf("this guest has no harness %q", boot.Harness)
	}
	scratch := filepath.Join(os.TempDir(), "lap")
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return err
	}
	g.harness = agent.New(agent.Config{
		GatewayURL: "http://" + sandbox.GatewayAddr + "/v1", PlatformURL: "http://" + sandbox.PlatformAddr,
		AgentID: boot.Agent, Dir: sandbox.WorkDir, Home: env.home(), Scratch: scratch,
		Env: env.list(), Children: g.children, Log: g.log, Idle: g.trim,
	})
	g.booted = &boot
	g.trim()
	report(sandbox.BootEvent{Phase: "harness_listening"})
	return nil
}

// trim gives back what the guest does not need while nothing runs.
func (g *Guest) trim() {
	if err := trimSelf(); err != nil {
		g.log.Warn("pages not given back", "err", err)
	}
}

func writeFiles(home string, files []sandbox.File) error {
	for _, f := range files {
		path := f.Path
		if !filepath.IsAbs(path) {
			path = filepath.Join(home, path)
		}
		mode := os.FileMode(f.Mode)
		if mode == 0 {
			mode = 0o644
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, f.Content, mode); err != nil {
			return err
		}
	}
	return nil
}
