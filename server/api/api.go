// Package api is lap's REST API over HTTP: routes, authentication, decoding, validation
// and encoding. What a request asks for is done by the store and the session engine.
package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/julienschmidt/httprouter"

	"lap/db"
	"lap/server/fixture"
	"lap/server/session"
)

// An Engine carries sessions. Its errors are those of package session, and
// db.ErrNotFound for what does not exist.
type Engine interface {
	// Create stores a session of agent and begins to bring it up. again is the first
	// answer to a request whose idempotency key was used before, else nil. The error is
	// db.ErrKeyReused when the key belongs to another request.
	Create(ctx context.Context, agent db.Agent, in session.NewSession) (s db.Session, again json.RawMessage, err error)
	// Stop ends a session. It may be called again.
	Stop(ctx context.Context, sessionID string) (db.Session, error)
	// Restart replaces the sandbox of a session and returns when it is ready. env are
	// per-session variables; nil: those that it has, where they can be had. hosts are what
	// env is bound to; nil: what those names are bound to already.
	Restart(ctx context.Context, sessionID string, env map[string]string, hosts map[string][]string) (db.Session, error)
	// Abort ends the turn that a session carries out. None is no error.
	Abort(ctx context.Context, sessionID string) error
	// Begin accepts a user turn: it is stored, and will be sent when those before it are
	// over, even when the caller leaves. The error is db.ErrKeyReused too.
	Begin(ctx context.Context, sessionID string, t session.Turn) (Pending, error)
	// Feed reads a session's event log from after the given event on; -1: from now on.
	Feed(ctx context.Context, sessionID string, after int64) (Feed, error)
	// Messages returns a session's thread, oldest first, with what is being written now.
	Messages(ctx context.Context, sessionID string) ([]json.RawMessage, error)
	// Sandbox gives access to the guest of a ready session (see sandbox.Entry's file for
	// its HTTP API), which is woken or brought back for it. The caller calls release when
	// it is done; until then the sandbox is not frozen.
	Sandbox(ctx context.Context, sessionID string) (guest *http.Client, release func(), err error)
	// Output returns what a session's sandbox printed last, also after it has ended.
	Output(ctx context.Context, sessionID string) (string, error)
	// Diagnose looks at a session's sandbox. It changes nothing.
	Diagnose(ctx context.Context, s db.Session) session.Diagnosis
	// Phase notes a phase that a session's sandbox reports with its progress token. ok is
	// false when the session is not creating. The error is session.ErrToken, also for
	// sessions that do not exist.
	Phase(ctx context.Context, sessionID, token, phase, detail string) (ok bool, err error)
	// DeleteAgent ends every session of an agent, removes their sandboxes, and deletes it.
	DeleteAgent(ctx context.Context, agentID string) error
	// Changed says that what sandboxes of an agent are made from has changed, or what holds
	// for those that run.
	Changed(agentID string)
	// VaultKeys returns the names of the credentials that a session's sandbox has stubs of,
	// the session's own last; none when it has no sandbox.
	VaultKeys(ctx context.Context, s db.Session) ([]string, error)
	// Advice says of an agent's credentials where they go, and which are of no use.
	Advice(agent db.Agent) []string
	// FlushEgress stores what was seen of connections and requests and is not stored yet.
	FlushEgress(ctx context.Context) error
}

// A Pending is a turn that was accepted.
type Pending interface {
	// Started waits until the turn is on its way to the harness and returns the newest
	// event before it. The error says why it never will be. It may be called again.
	Started(ctx context.Context) (after int64, err error)
	// Reply waits until the turn is over and returns its reply, {"info", "parts"}.
	Reply(ctx context.Context) (json.RawMessage, error)
}

// A Feed reads a session's event log in order and without gaps.
type Feed interface {
	// After is the event that was read last, or the one that the feed begins after.
	After() int64
	// Next waits for events after those already read and returns at most a few hundred.
	// The error is session.ErrEnded when the session is over and all was read.
	Next(ctx context.Context) ([]db.Event, error)
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
	Sandboxes    func(ctx context.Context) SandboxHealth
	Metrics      io.WriterTo // what GET /api/v1/metrics answers; nil: there is no such route
	OpenMetrics  bool        // it answers everybody
	Log          *slog.Logger
	Fixture      *fixture.Fixture // control of the server's world; nil: its routes are refused
	Now          func() time.Time // nil: time.Now
	NewID        func() string    // of skill blocks without a skill; nil: random UUIDs
}

// An API answers the REST API.
type API struct {
	cfg       Config
	guard     guard
	masterKey [sha256.Size]byte
	timing    timing
	public    *httprouter.Router // knows the paths that need no credential
	router    http.Handler
	ending    context.Context // ends with EndStreams
	end       context.CancelFunc
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
		timing:    defaultTiming,
		public:    httprouter.New(),
	}
	a.ending, a.end = context.WithCancel(context.Background())
	a.router = a.newRouter()
	return a
}

// EndStreams ends every event stream, now and from now on, which would keep a server
// that shuts down waiting. Give it to http.Server.RegisterOnShutdown.
func (a *API) EndStreams() { a.end() }

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

// anyMethod is the one method that the router of public paths knows.
const anyMethod = "*"

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
			a.public.Handle(anyMethod, rt.path, func(http.ResponseWriter, *http.Request, httprouter.Params) {})
		}
		router.Handle(rt.method, rt.path, a.serve(rt))
		if rt.method == http.MethodGet {
			router.Handle(http.MethodHead, rt.path, a.serve(rt)) // net/http leaves the body out
		}
	}
	return router
}
