// Package api is lap's REST API over HTTP: routes, authentication, decoding, validation
// and encoding. What a request asks for is done by the store and the session engine.
package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/julienschmidt/httprouter"

	"lap/db"
	"lap/server/session"
)

// An Engine carries sessions. Its errors are those of package session, and
// db.ErrNotFound for what does not exist.
type Engine interface {
	// Create stores a session of agent and begins to bring it up.
	Create(ctx context.Context, agent db.Agent, in session.NewSession) (db.Session, error)
	// Stop ends a session. It may be called again.
	Stop(ctx context.Context, sessionID string) (db.Session, error)
	// Message sends a user turn and returns the reply, {"info", "parts"}.
	Message(ctx context.Context, sessionID string, parts []json.RawMessage) (json.RawMessage, error)
	// Messages returns a session's thread, oldest first.
	Messages(ctx context.Context, sessionID string) ([]json.RawMessage, error)
	// DeleteAgent ends every session of an agent, removes their sandboxes, and deletes it.
	DeleteAgent(ctx context.Context, agentID string) error
}

// Config says what an API works with.
type Config struct {
	Store        *db.Store
	Engine       Engine
	MasterKey    string        // the bearer token that may do everything
	TokenKey     []byte        // of the signatures of agent tokens; empty: none is accepted
	Listen       string        // host:port the server listens on
	AllowedHosts []string      // further names under which the server may be reached
	BaseURL      string        // public URL; empty: http:// and Listen
	DefaultModel string        // of agents created without a model; empty: a model is required
	IdleTimeout  time.Duration // shown as idle_timeout_ms; 0: sessions never idle out
	Log          *slog.Logger
	Now          func() time.Time // nil: time.Now
	NewID        func() string    // of skill blocks without a skill; nil: random UUIDs
}

// An API answers the REST API.
type API struct {
	cfg       Config
	guard     guard
	masterKey [sha256.Size]byte
	public    map[string]bool // paths that need no credential
	router    http.Handler
}

// New returns the API of cfg.
func New(cfg Config) *API {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NewID == nil {
		cfg.NewID = uuid.NewString
	}
	if cfg.BaseURL == "" {
		cfg.BaseURL = "http://" + cfg.Listen
	}
	a := &API{
		cfg:       cfg,
		guard:     newGuard(cfg.Listen, cfg.BaseURL, cfg.AllowedHosts),
		masterKey: sha256.Sum256([]byte(cfg.MasterKey)),
		public:    map[string]bool{},
	}
	a.router = a.newRouter()
	return a
}

// Handler answers clients that reach the server by its address.
func (a *API) Handler() http.Handler {
	return a.logged(a.guarded(a.authenticated(a.router)))
}

// SandboxHandler answers what comes out of one session's sandbox. The pipe says who is
// asking, so no credential is needed and any that is sent is ignored: only routes open
// to agents answer, and only for the session's own agent.
func (a *API) SandboxHandler(agentID, sessionID string) http.Handler {
	who := &caller{agent: agentID, session: sessionID, scopes: agentScopes}
	return a.logged(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.router.ServeHTTP(w, who.attach(r))
	}))
}

func (a *API) newRouter() http.Handler {
	router := httprouter.New()
	router.RedirectTrailingSlash = false
	router.RedirectFixedPath = false
	router.HandleOPTIONS = false
	router.NotFound = a.handle(unknownPath)
	router.MethodNotAllowed = a.handle(wrongMethod)
	router.PanicHandler = a.panicked
	for _, rt := range a.routes() {
		if rt.access.public {
			a.public[rt.path] = true
		}
		router.Handle(rt.method, rt.path, a.serve(rt))
		if rt.method == http.MethodGet {
			router.Handle(http.MethodHead, rt.path, a.serve(rt)) // net/http leaves the body out
		}
	}
	return router
}
