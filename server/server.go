// Package server puts lap's parts together and runs them.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sync/errgroup"

	"lap/clock"
	"lap/db"
	"lap/server/api"
	"lap/server/budget"
	"lap/server/fault"
	"lap/server/fixture"
	"lap/server/gateway"
	"lap/server/metrics"
	"lap/server/mirror"
	"lap/server/session"
)

const (
	drainTimeout  = 10 * time.Second // for requests that run when the server is told to stop
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
)

// A Server is one running lap: a database, an engine of sessions, an API.
type Server struct {
	settings    Settings
	clock       *clock.Clock     // nil: the real time
	fixture     *fixture.Fixture // nil: nobody controls this server's world
	faults      *fault.Armed     // nil: none can be armed
	instruments instruments
	log         *slog.Logger
	lock        *flock.Flock
	store       *db.Store
	runtime     choice
	mirrors     *mirror.Mirrors
	engine      *session.Engine
	handler     http.Handler
	endStreams  func() // lets requests go that would stay for ever
	listener    net.Listener
	key         string
	schema      string
	keepDir     bool // the data directory of an ephemeral server is not removed
	sealKey     []byte
	sealer      *db.Sealer
	trust       trust
}

// New opens the data directory and listens, but serves nothing before Run. schema is
// the text of schema.sql. After an error nothing stays open.
func New(ctx context.Context, s Settings, schema string, log *slog.Logger) (_ *Server, err error) {
	srv := &Server{settings: s, schema: schema, log: log}
	orders, err := ordered()
	if err != nil {
		return nil, err
	}
	if s.Fixture {
		srv.clock, srv.faults = clock.New(), &fault.Armed{}
		orders = append(orders, srv.faults)
	}
	srv.instruments = instrument(orders)
	defer func() {
		if err != nil {
			err = errors.Join(err, srv.close())
		}
	}()
	if err = srv.openDir(ctx); err != nil {
		return nil, err
	}
	s = srv.settings
	if srv.key, err = masterKey(s); err != nil {
		return nil, err
	}
	if srv.sealKey, err = sealKey(s); err != nil {
		return nil, err
	}
	if srv.sealer, err = db.NewSealer(srv.sealKey); err != nil {
		return nil, err
	}
	if srv.trust, err = openTrust(s); err != nil {
		return nil, err
	}
	srv.store, err = db.Open(ctx, db.Config{
		Path: filepath.Join(s.DataDir, databaseFile), Schema: schema, Sealer: srv.sealer, Now: srv.clock.Now, Hook: srv.instruments.commits,
		Volatile: s.Ephemeral,
	})
	if err != nil {
		return nil, err
	}
	owner, err := srv.owner(ctx)
	if err != nil {
		return nil, err
	}
	if srv.runtime, err = chooseRuntime(ctx, s, srv.store, owner, log); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	if srv.listener, err = lc.Listen(ctx, "tcp", s.Listen); err != nil {
		return nil, fmt.Errorf("%w: choose another address with --listen", err)
	}
	if s.Fixture {
		srv.control(ctx)
	}
	return srv, srv.wire(ctx)
}

// openDir opens the data directory, or makes that of an ephemeral server.
func (s *Server) openDir(ctx context.Context) (err error) {
	if s.settings.Ephemeral {
		s.settings.DataDir, s.lock, err = makeEphemeralDir(ctx, s.settings.DataDir)
	} else {
		s.lock, err = openDataDir(ctx, s.settings.DataDir)
	}
	return err
}

// owner is what this installation's sandboxes are known by.
func (s *Server) owner(ctx context.Context) (string, error) {
	if s.settings.Ephemeral {
		return filepath.Base(s.settings.DataDir), nil
	}
	return s.store.Installation(ctx)
}

// control gives the server's world into the hands of who has its master key.
func (s *Server) control(ctx context.Context) {
	s.fixture = fixture.New(fixture.Config{Clock: s.clock, Faults: s.faults, Store: s.store, Engine: (*controlled)(s), Kill: s.runtime.Kill})
	if s.settings.Ephemeral {
		return
	}
	s.log.WarnContext(ctx, "this server is for tests: who has its master key can move its clock, make it fail and delete all that it holds",
		"setting", "LAP_FIXTURE", "address", s.Addr())
}

// wire makes the engine and the API, which know of each other.
func (s *Server) wire(ctx context.Context) error {
	models, err := s.modelGateway()
	if err != nil {
		return err
	}
	tokens, err := tokenKey(s.settings, s.key)
	if err != nil {
		return err
	}
	stubs, err := stubKey(s.sealKey)
	if err != nil {
		return err
	}
	s.mirrors = mirror.New(mirror.Config{Dir: filepath.Join(s.settings.DataDir, mirrorsDir), Log: s.log})
	counters := metrics.New()
	var rest *api.API
	s.engine = session.New(ctx, session.Config{
		Store: s.store, Runtime: s.instruments.around(s.runtime.sandboxes), RuntimeName: s.runtime.name, Limits: s.settings.Limits, Images: s.settings.Images,
		Mirrors: s.mirrors, EnvPlain: s.settings.EnvPlain, StubKey: stubs, Sealer: s.sealer,
		CA: s.trust.authority, Trust: s.trust.text, Roots: s.trust.roots, Egress: s.egress(),
		Env: s.settings.SandboxEnv, Repo: s.settings.Repo, BaseURL: s.settings.BaseURL, Pool: s.settings.Pool, Gateway: models,
		Platform: func(agentID, sessionID string) http.Handler { return rest.SandboxHandler(agentID, sessionID) },
		Clock:    s.clock, StartTimeout: s.settings.StartTimeout, TurnTimeout: s.settings.TurnTimeout,
		IdleTimeout: s.settings.IdleTimeout, FreezeAfter: s.settings.FreezeAfter,
		Reconcile: s.settings.Reconcile, Metrics: counters, Log: s.log,
	})
	rest = api.New(api.Config{
		Store: s.store, Engine: engine{s.engine}, MasterKey: s.key, TokenKey: tokens,
		Listen: s.listener.Addr().String(), AllowedHosts: s.settings.AllowedHosts, BaseURL: s.settings.BaseURL,
		DefaultModel: s.settings.DefaultModel, IdleTimeout: s.settings.IdleTimeout,
		Sandboxes: func(ctx context.Context) api.SandboxHealth {
			return s.runtime.check(ctx, s.instruments.around(s.runtime.sandboxes))
		}, Metrics: counters, OpenMetrics: s.settings.PublicMetrics, Log: s.log,
		Now: s.clock.Now, Fixture: s.fixture,
	})
	s.handler, s.endStreams = rest.Handler(), rest.EndStreams
	return nil
}

// modelGateway makes the gateway of sandboxes, whose calls count for their sessions.
func (s *Server) modelGateway() (*gateway.Gateway, error) {
	cfg := gateway.Config{
		BaseURL: s.settings.GatewayBase, APIKey: s.settings.GatewayKey, Roots: s.trust.roots,
		Scripts: s.settings.folder(s.settings.Scripts, scriptsDir), Cassettes: s.settings.folder(s.settings.Cassettes, cassettesDir),
		DefaultModel: s.settings.DefaultModel, Clock: s.clock, Log: s.log,
	}
	if s.fixture != nil {
		cfg.Watch = s.fixture
	}
	prices, err := gateway.NewPrices(cfg, s.settings.ModelPrices)
	if err != nil {
		return nil, err
	}
	cfg.Meter = budget.New(budget.Config{Store: s.store, Prices: prices, Log: s.log})
	return gateway.New(cfg)
}

// Addr is the address the server listens on, with the real port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// URL is where a client on this machine reaches the server.
func (s *Server) URL() string {
	host, port, err := net.SplitHostPort(s.Addr())
	if err != nil {
		return "http://" + s.Addr()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// MasterKey is the bearer token of the API.
func (s *Server) MasterKey() string { return s.key }

// MasterKeyFile is where the master key is kept, or "" when it came from outside.
func (s *Server) MasterKeyFile() string {
	if s.settings.MasterKey != "" {
		return ""
	}
	return filepath.Join(s.settings.DataDir, masterKeyFile)
}

// DataDir is the directory of the database.
func (s *Server) DataDir() string { return s.settings.DataDir }

// Run serves until ctx ends, then lets running requests finish for a while. Sandboxes
// are left running, for the next start to find; an ephemeral server removes them, and its
// data directory.
func (s *Server) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.engine.Recover(ctx); err != nil || ctx.Err() != nil {
		return ignoreCancel(ctx, err)
	}
	httpServer := &http.Server{
		Handler: s.handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	httpServer.RegisterOnShutdown(s.endStreams)
	g, ctx := errgroup.WithContext(ctx)
	engineCtx, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	defer stopEngine()
	g.Go(func() error { return s.engine.Run(engineCtx) })
	g.Go(func() error {
		if err := httpServer.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		if s.faults != nil {
			s.faults.End() // a stop is no test
		}
		defer stopEngine() // turns that still run go on in their sandboxes
		return s.drain(ctx, httpServer)
	})
	g.Go(func() error { s.greetEngine(ctx); return nil })
	g.Go(func() error { s.sweepMirrors(ctx); return nil })
	if !s.settings.Ephemeral {
		return g.Wait()
	}
	g.Go(func() error { s.sweepEphemeral(ctx); return nil })
	return errors.Join(g.Wait(), s.clear(ctx))
}

// ignoreCancel drops an error that only says that ctx has ended.
func ignoreCancel(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// drain lets running requests finish for a while; those that then still wait
// are answered when the engine stops.
func (s *Server) drain(ctx context.Context, httpServer *http.Server) error {
	limit := drainTimeout
	if s.settings.Ephemeral {
		limit = ephemeralDrain
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	err := httpServer.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// greetEngine says at start whether sandboxes can be run, and tidies the engine.
func (s *Server) greetEngine(ctx context.Context) {
	h := s.runtime.check(ctx, s.runtime)
	switch {
	case ctx.Err() != nil:
		return
	case h.Err != nil:
		s.log.WarnContext(ctx, "sessions cannot start", "runtime", h.Runtime, "err", h.Err)
		return
	}
	if err := s.runtime.prepare(ctx); err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "the first session will have to wait", "err", err)
	}
	s.log.InfoContext(ctx, "sandboxes", "runtime", h.Runtime, "because", h.Reason, "version", h.Version)
	if err := s.runtime.Sweep(ctx); err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "not all that earlier sandboxes left is removed", "err", err)
	}
}

// sweepEvery is how often mirrors of repositories are looked through for what is not used.
const sweepEvery = 6 * time.Hour

// sweepMirrors removes what is not used of the mirrors, again and again until ctx ends.
func (s *Server) sweepMirrors(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := s.mirrors.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "mirrors of repositories not tidied", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// close closes what New opened.
func (s *Server) close() error {
	var errs []error
	if s.listener != nil {
		if err := s.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.runtime.sandboxes != nil {
		errs = append(errs, s.runtime.Close())
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.lock != nil && s.settings.Ephemeral && !s.keepDir {
		errs = append(errs, removeEphemeralDir(s.settings.DataDir))
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}
