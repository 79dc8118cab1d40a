//go:build linux

package guest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"

	"lap/sandbox"
	"lap/sandbox/agent"
)

// maxBoot bounds a boot request: an agent's prompt and skills can be 16 MiB each.
const maxBoot = 128 << 20

// booted is what a guest has once it knows its session.
type booted struct {
	boot    *sandbox.Boot
	env     environment
	harness *harness
}

// takeBoot answers POST /boot: it makes the sandbox the session's own and streams how
// far it has come. The same boot again is answered as done.
func (g *Guest) takeBoot(w http.ResponseWriter, r *http.Request) error {
	var boot sandbox.Boot
	if err := decode(w, r, maxBoot, &boot); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	enc, flush := json.NewEncoder(w), http.NewResponseController(w)
	report := func(ev sandbox.BootEvent) {
		_ = enc.Encode(ev) // a host that has gone boots again
		_ = flush.Flush()
	}
	g.booting.Lock()
	defer g.booting.Unlock()
	if err := g.boot(r, &boot, report); err != nil {
		report(sandbox.BootEvent{Error: err.Error()})
		return nil
	}
	report(sandbox.BootEvent{Done: true, Guest: g.journal.id})
	g.trim()
	return nil
}

// boot does what takeBoot says. It finds the file system as it is: another guest process
// may have been booted on it before.
func (g *Guest) boot(r *http.Request, boot *sandbox.Boot, report func(sandbox.BootEvent)) error {
	if b := g.booted.Load(); b != nil {
		if reflect.DeepEqual(b.boot, boot) {
			return nil
		}
		return errors.New("this sandbox has been booted for something else already")
	}
	env := newEnvironment(*boot)
	proxied(env)
	if err := g.trust(boot.CA, env); err != nil {
		return fmt.Errorf("trust lap's certificates: %w", err)
	}
	if err := g.entered(r.Context()); err != nil {
		return err
	}
	if err := os.MkdirAll(g.places.work, 0o755); err != nil {
		return err
	}
	if len(boot.Files) > 0 {
		report(sandbox.BootEvent{Phase: "injecting_files"})
		if err := writeFiles(env.home(), boot.Files); err != nil {
			return err
		}
	}
	if err := g.install(r.Context(), boot, env, report); err != nil {
		return err
	}
	p, err := g.places.newHarness(g, boot, env)
	if err != nil {
		return err
	}
	h, err := newHarness(r.Context(), p, g.feed, g.log)
	if err != nil {
		return err
	}
	if err := g.keepBoot(boot); err != nil {
		h.close()
		return fmt.Errorf("keep a copy of the boot: %w", err)
	}
	g.booted.Store(&booted{boot: boot, env: env, harness: h})
	report(sandbox.BootEvent{Phase: "harness_listening"})
	return nil
}

// builtIn starts the harness that is part of lap.
func (g *Guest) builtIn(boot *sandbox.Boot, env environment) (program, error) {
	if boot.Harness != sandbox.HarnessLap {
		return nil, fmt.Errorf("this guest has no harness %q", boot.Harness)
	}
	if err := os.MkdirAll(g.places.scratch, 0o700); err != nil {
		return nil, err
	}
	return agent.New(agent.Config{
		GatewayURL: "http://" + sandbox.GatewayAddr + "/v1", PlatformURL: "http://" + sandbox.PlatformAddr,
		AgentID: boot.Agent, Dir: g.places.work, Home: env.home(), Scratch: g.places.scratch,
		Env: env.list(), Children: g.children, Log: g.log, Idle: g.trim,
	}), nil
}

// keepBoot writes the copy of the boot that outlives this process.
func (g *Guest) keepBoot(boot *sandbox.Boot) error {
	text, err := json.Marshal(boot)
	if err != nil {
		return err
	}
	return writeFile(g.places.record, bytes.NewReader(text), 0o600)
}

// lastBoot answers GET /boot.
func (g *Guest) lastBoot(w http.ResponseWriter, _ *http.Request) error {
	if b := g.booted.Load(); b != nil {
		return reply(w, b.boot)
	}
	f, err := os.Open(g.places.record)
	if err != nil {
		return fmt.Errorf("not booted: %w", err)
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.Copy(w, f) // the host may be gone
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
		mode := os.FileMode(f.Mode).Perm()
		if mode == 0 {
			mode = 0o644
		}
		if err := writeFile(path, bytes.NewReader(f.Content), mode); err != nil {
			return err
		}
	}
	return nil
}
