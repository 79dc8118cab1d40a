// Package session is the engine that brings sessions up in sandboxes, carries their
// turns, and ends them.
package session

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"lap/clock"
	"lap/db"
	"lap/sandbox"
	"lap/sandbox/pipe"
	"lap/sandbox/vault"
	"lap/sandbox/vault/ca"
	"lap/server/metrics"
	"lap/server/mirror"
)

// Config says what an Engine works with.
type Config struct {
	Store   *db.Store
	Runtime sandbox.Runtime
	// RuntimeName is sandbox.Docker or sandbox.Native.
	RuntimeName string
	Mirrors     *mirror.Mirrors   // of git repositories
	Limits      sandbox.Limits    // of every sandbox
	Images      map[string]string // harness id to image, where it differs from the harness's own
	Env         map[string]string // for every sandbox, overridden by agents and sessions
	Repo        string            // cloned for agents that name none; empty: nothing
	BaseURL     string            // public URL of lap, for links; may be empty

	EnvPlain []string       // names in Env that are no secret, whatever they look like
	StubKey  []byte         // of what stands for credentials
	Sealer   *db.Sealer     // of what a sandbox keeps for lap
	CA       *ca.Authority  // of the connections that are opened
	Trust    string         // certificates that sandboxes are to trust, PEM
	Roots    *x509.CertPool // of the hosts of opened connections; nil: the system's
	Egress   EgressConfig

	Pool PoolConfig

	Gateway  http.Handler                                 // the model gateway that sandboxes reach
	Platform func(agentID, sessionID string) http.Handler // the REST API as one session's agent reaches it

	Clock        *clock.Clock  // of all limits and stamps below; nil: the real time
	StartTimeout time.Duration // for a bring-up without progress
	TurnTimeout  time.Duration // for a turn, waiting included
	IdleTimeout  time.Duration // after which a session ends; 0: never
	FreezeAfter  time.Duration // of idleness, after which a sandbox is paused; 0: never
	Reconcile    time.Duration // between two looks at what the runtime holds
	Metrics      *metrics.Metrics
	Log          *slog.Logger
}

// An Engine owns all sessions of an installation. Its work goes on when the request
// that asked for it is gone; it ends when Run's context does.
type Engine struct {
	cfg   Config
	pool  *pool
	ctx   context.Context // of everything that outlives a request
	stop  context.CancelFunc
	tasks sync.WaitGroup // what Run waits for before it returns

	gateway, platform, egress *pipe.Listener

	vault        *vault.Vault
	seen         *ledger
	reconnecting chan struct{} // holds those who reach sandboxes that nobody waits for

	// births is held for reading while a session is stored and made known in live, so
	// that who holds it for writing finds every stored session there.
	births sync.RWMutex
	ending map[string]int // agents that are being deleted, and by how many calls; guarded by births

	mu   sync.Mutex // guards live, and that nothing is launched when ctx has ended
	live map[string]*live
}

// reconnects is how many sandboxes are reached at once that nobody waits for.
const reconnects = 2

// New returns an engine whose work carries the values of ctx, but ends with Run.
func New(ctx context.Context, cfg Config) *Engine {
	e := &Engine{
		cfg:     cfg,
		gateway: pipe.NewListener(), platform: pipe.NewListener(), egress: pipe.NewListener(), seen: newLedger(cfg.Store, cfg.Clock, cfg.Log),
		live: map[string]*live{}, ending: map[string]int{}, reconnecting: make(chan struct{}, reconnects),
	}
	e.pool = newPool(e, cfg.Pool)
	e.vault = vault.New(vault.Config{
		CA: cfg.CA, Network: cfg.Egress.Network, Roots: cfg.Roots, Policy: e.policy,
		Connected: e.seen.connected, Requested: e.seen.requested, Log: cfg.Log,
	})
	e.ctx, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	return e
}

// Run serves the sandboxes and keeps rows and sandboxes in step until ctx ends. It
// leaves sandboxes running, for the next start to find.
func (e *Engine) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	serve := func(l *pipe.Listener, h http.Handler) {
		srv := &http.Server{
			Handler: h, ConnContext: pipe.ConnContext, ReadHeaderTimeout: time.Minute, IdleTimeout: time.Minute,
			MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(e.cfg.Log.Handler(), slog.LevelDebug),
		}
		g.Go(func() error {
			if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		g.Go(func() error {
			<-ctx.Done()
			return srv.Close()
		})
	}
	serve(e.gateway, e.cfg.Gateway)
	serve(e.platform, http.HandlerFunc(e.servePlatform))
	g.Go(func() error { return e.vault.Run(ctx) })
	g.Go(func() error { return e.serveEgress(ctx) })
	g.Go(func() error { return e.seen.run(ctx) })
	g.Go(func() error { return e.reconcileLoop(ctx) })
	g.Go(func() error { return e.restLoop(ctx) })
	g.Go(func() error { return e.pool.run(ctx) })
	g.Go(func() error {
		<-ctx.Done()
		e.end()
		e.closePipes()
		e.drain(ctx)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
		defer cancel()
		return e.saveOutputs(last)
	})
	err := g.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	return errors.Join(err, e.seen.flush(last)) // now that no connection is left to be told of
}

// drainTimeout bounds how long a stop waits for work that does not end, such as a call
// to an engine that hangs. What it leaves is put right by the next start.
const drainTimeout = 15 * time.Second

func (e *Engine) drain(ctx context.Context) {
	done := make(chan struct{})
	go func() { e.tasks.Wait(); close(done) }()
	late := time.NewTimer(drainTimeout)
	defer late.Stop()
	select {
	case <-done:
	case <-late.C:
		e.cfg.Log.WarnContext(ctx, "some work did not end in time; the next start puts right what it leaves")
	}
}

// servePlatform answers a sandbox as its own agent, whatever the request claims.
func (e *Engine) servePlatform(w http.ResponseWriter, r *http.Request) {
	id := pipe.Owner(r.Context())
	l := e.find(id)
	if l == nil {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusGone)
		_, _ = io.WriteString(w, `{"error":"the session has ended"}`) // who asked may be gone as well
		return
	}
	e.cfg.Platform(l.agent, id).ServeHTTP(w, r)
}

// end begins to stop the engine. Nothing is launched after it.
func (e *Engine) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stop()
}

// launch runs fn as part of the engine, or reports that the engine is stopping.
func (e *Engine) launch(fn func(ctx context.Context)) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ctx.Err() != nil {
		return false
	}
	e.tasks.Go(func() { fn(e.ctx) })
	return true
}

func (e *Engine) closePipes() {
	for _, l := range e.lives() {
		l.mu.Lock()
		if l.box != nil {
			l.box.close()
		}
		l.mu.Unlock()
	}
}
