//go:build unix

// Package agent is the built-in agent: it speaks the opencode HTTP wire on one side
// and streaming OpenAI chat completions on the other, and works with tools in between.
package agent

import (
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"

	"lap/sandbox/proc"
)

// Config says where an Agent works and whom it talks to. All fields but Children and
// Log are required.
type Config struct {
	GatewayURL  string       // OpenAI base URL, such as http://127.0.0.1:4000/v1
	PlatformURL string       // lap's REST API for this agent, which asks for no credential
	AgentID     string       // whose memory the memory tools use
	Dir         string       // where tools start: the working tree
	Home        string       // HOME; skills are in <Home>/.claude/skills/<slug>/SKILL.md
	Scratch     string       // where whole outputs of long commands go; made when missing
	Env         []string     // environment of tools
	Children    *proc.Table  // starts and waits for tools; nil: a new one
	Log         *slog.Logger // nil: nothing is logged
}

// An Agent holds sessions, which live in memory only, and runs their turns.
type Agent struct {
	cfg     Config
	mux     *http.ServeMux
	bus     bus
	ids     ids
	model   *model
	version string

	closing chan struct{} // closed by Close
	tasks   sync.WaitGroup

	mu       sync.Mutex // guards the rest
	sessions map[string]*session
	closed   bool
}

// New returns an Agent that is ready to serve. The caller closes it.
func New(cfg Config) *Agent {
	if cfg.Children == nil {
		cfg.Children = proc.NewTable()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	a := &Agent{
		cfg: cfg, model: newModel(cfg.GatewayURL), version: version(),
		closing: make(chan struct{}), sessions: map[string]*session{},
	}
	a.bus.ids = &a.ids
	a.mux = a.routes()
	return a
}

// ServeHTTP answers one request of the opencode wire.
func (a *Agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mux.ServeHTTP(w, r)
}

// Close aborts running turns, ends event streams and waits for every goroutine the
// Agent started. Requests that wait for a turn are answered.
func (a *Agent) Close() {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		close(a.closing)
	}
	a.mu.Unlock()
	for _, s := range a.all() {
		s.end()
	}
	a.tasks.Wait()
	a.model.close()
}

// start runs fn in a goroutine that Close waits for; false means that it is too late.
func (a *Agent) start(fn func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.closed {
		a.tasks.Go(fn)
	}
	return !a.closed
}

func (a *Agent) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, h := range map[string]handler{
		"GET /global/health":              a.health,
		"GET /event":                      a.events,
		"GET /session":                    a.listSessions,
		"POST /session":                   a.createSession,
		"GET /session/status":             a.status,
		"GET /session/{id}":               a.readSession,
		"DELETE /session/{id}":            a.deleteSession,
		"POST /session/{id}/abort":        a.abort,
		"POST /session/{id}/message":      a.message,
		"POST /session/{id}/prompt_async": a.promptAsync,
		"GET /session/{id}/message":       a.listMessages,
		"GET /session/{id}/message/{msg}": a.readMessage,
		"/":                               a.unknownRoute,
	} {
		mux.Handle(pattern, h)
	}
	return mux
}

// version is that of the program the agent is part of.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
