// Package agent is the built-in agent: it speaks the opencode HTTP wire on one side
// and streaming OpenAI chat completions on the other, and works with tools in between.
package agent

import (
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"lap/sandbox/agent/tool"
	"lap/sandbox/proc"
)

// Config says where an Agent works and whom it talks to. All fields but Children,
// Idle and Log are required.
type Config struct {
	GatewayURL  string       // OpenAI base URL, such as http://127.0.0.1:4000/v1
	PlatformURL string       // lap's REST API for this agent, which asks for no credential
	AgentID     string       // whose memory the memory tools use
	Dir         string       // where tools start: the working tree
	Home        string       // HOME; skills are in <Home>/.claude/skills/<slug>/SKILL.md
	Scratch     string       // where whole outputs of long commands go; made when missing
	Env         []string     // environment of tools
	Children    *proc.Table  // starts and waits for tools; nil: a new one
	Idle        func()       // called after memory was given back, as nothing runs; it may outlast Close
	Log         *slog.Logger // nil: nothing is logged
}

// tidyAfter is how long nothing has run before memory goes back to the system.
const tidyAfter = 2 * time.Second

// An Agent holds sessions, which live in memory only, and runs their turns.
type Agent struct {
	cfg     Config
	mux     *http.ServeMux
	bus     bus
	http    *http.Client // to the gateway and the platform
	model   *model
	tools   *tool.Set
	version string

	functions []function // that a model may call

	tidy    *time.Timer
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
	// No proxy: the gateway and the platform are in the sandbox.
	client := &http.Client{Transport: &http.Transport{IdleConnTimeout: time.Minute}}
	a := &Agent{
		cfg: cfg, http: client, model: newModel(cfg.GatewayURL, client), version: version(), functions: functions(),
		tidy: time.AfterFunc(tidyAfter, cfg.rest), closing: make(chan struct{}), sessions: map[string]*session{},
	}
	a.bus.subs = map[*subscriber]struct{}{}
	a.tools = tool.NewSet(tool.Config{
		Dir: cfg.Dir, Home: cfg.Home, Scratch: cfg.Scratch, Env: cfg.Env, Children: cfg.Children, HTTP: client,
		Memory: strings.TrimRight(cfg.PlatformURL, "/") + "/api/v1/managed_agents/agents/" + url.PathEscape(cfg.AgentID) + "/memory",
	})
	a.mux = a.routes()
	return a
}

// rest gives memory back to the system.
func (c *Config) rest() {
	debug.FreeOSMemory()
	if c.Idle != nil {
		c.Idle()
	}
}

// version is that of the program the agent is part of.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}

// ServeHTTP answers one request of the opencode wire.
func (a *Agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mux.ServeHTTP(w, r)
}

// Close aborts running turns, ends event streams and waits for every goroutine the
// Agent started. Requests that wait for a turn are answered. A second call does nothing.
func (a *Agent) Close() {
	a.mu.Lock()
	again := a.closed
	a.closed = true
	a.mu.Unlock()
	if again {
		return
	}
	close(a.closing)
	for _, s := range a.all() {
		s.end()
	}
	a.tasks.Wait()
	a.tidy.Stop()
	a.tools.Close()
	a.http.CloseIdleConnections()
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

// all returns the sessions, in no order.
func (a *Agent) all() []*session {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Collect(maps.Values(a.sessions))
}
