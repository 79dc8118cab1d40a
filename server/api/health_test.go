package api_test

import (
	"context"
	"errors"
	"testing"

	"lap/server/api"
)

func TestSandboxHealth(t *testing.T) {
	const sandboxes, docker, k8s = "/api/v1/health/sandbox", "/api/v1/health/docker", "/api/v1/health/k8s"
	native := api.SandboxHealth{Runtime: "native", Reason: "no Docker engine answers", Version: "Linux 6.18"}
	broken := api.SandboxHealth{Runtime: "native", Err: errors.New("user namespaces are off: turn them on")}
	for _, c := range []struct {
		health api.SandboxHealth
		path   string
		status int
		want   map[string]any
	}{
		{native, sandboxes, 200, map[string]any{"ok": true, "runtime": "native", "reason": "no Docker engine answers", "version": "Linux 6.18"}},
		{native, docker, 503, map[string]any{"ok": false, "error": "sandboxes of this server are native: ask /api/v1/health/sandbox"}},
		{broken, sandboxes, 503, map[string]any{"ok": false, "error": "user namespaces are off: turn them on"}},
		{api.SandboxHealth{Runtime: "docker"}, docker, 200, map[string]any{"ok": true, "runtime": "docker"}},
		{api.SandboxHealth{Runtime: "docker"}, k8s, 200, map[string]any{"ok": true}},
	} {
		w := newWorld(t, func(cfg *api.Config) {
			cfg.Sandboxes = func(context.Context) api.SandboxHealth { return c.health }
		})
		w.send(t, "GET", c.path, nil, nil).wantError(t, 401, "unauthorized")
		got := w.do(t, "GET", c.path, nil)
		if got.status != c.status { // a monitor gets more than an error's text
			t.Errorf("%s with %+v = %d, want %d", c.path, c.health, got.status, c.status)
		}
		for name, want := range c.want {
			if is := got.get(name).Value(); is != want {
				t.Errorf("%s with %+v: %s = %v, want %v", c.path, c.health, name, is, want)
			}
		}
		if !got.get("elapsed_ms").Exists() {
			t.Errorf("%s does not tell how long it took", c.path)
		}
	}
}
