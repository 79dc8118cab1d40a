//go:build unix

package agent

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync"
)

// workspace is where the tools of a session work.
type workspace struct {
	cfg       *Config
	transport *http.Transport // to the platform
	closing   <-chan struct{} // closed when the agent is
	tasks     *sync.WaitGroup // Close waits for it
	cwd       string          // where bash was left
}

// resolve makes path absolute: "~" is home, the rest starts in the working directory.
func (w *workspace) resolve(path string) string {
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || rest[0] == '/') {
		path = filepath.Join(w.cfg.Home, rest)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(w.cwd, path)
	}
	return filepath.Clean(path)
}

// short is path as the tools take it: relative to the working directory if it is in there.
func (w *workspace) short(path string) string {
	if rel, err := filepath.Rel(w.cwd, path); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return path
}

// env returns the value of a variable in the environment of tools.
func (w *workspace) env(name string) string {
	value := ""
	for _, entry := range w.cfg.Env {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v // the last one counts
		}
	}
	return value
}
