// Package vault is the way out of a sandbox. Every connection that a sandbox makes is a
// stream to the host, where a Vault decides whether it may be made, makes it, and puts
// real credentials in the place of their stubs on the way.
//
// What comes up a stream may come from the agent: all of it is bounded and checked here.
package vault

import (
	"context"
	"crypto/x509"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"lap/sandbox/pipe"
	"lap/sandbox/vault/ca"
)

// Config is what a Vault works with.
type Config struct {
	CA      *ca.Authority
	Network *Network
	Roots   *x509.CertPool // of the hosts whose connections are opened; nil: the system's
	// Policy returns what holds for a sandbox now. It is asked for every connection and every
	// request. When it fails, nothing leaves.
	Policy func(ctx context.Context, sandbox string) (Policy, error)
	// Connected and Requested are told what was seen. They must not block.
	Connected func(Connection)
	Requested func(Request)
	Log       *slog.Logger
}

// A Vault serves the streams of all sandboxes of an installation.
type Vault struct {
	cfg    Config
	opened *pipe.Listener // for connections whose HTTP is read
	log    *log.Logger    // of what goes wrong between clients and hosts

	mu        sync.Mutex // guards sandboxes, and what they hold
	sandboxes map[string]*share
}

// New returns a Vault. It serves nothing that must be read before Run.
func New(cfg Config) *Vault {
	return &Vault{
		cfg: cfg, opened: pipe.NewListener(), sandboxes: map[string]*share{},
		log: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
}

const (
	headerTimeout = time.Minute     // for a client to send the header of a request
	idleTimeout   = 5 * time.Minute // between two requests on a connection
	maxHeader     = 64 << 10        // bytes
	maxRequests   = 32              // at once on one connection of HTTP/2

	streamBuffer     = 256 << 10 // bytes of HTTP/2 that wait to be passed on, of one request
	connectionBuffer = 1 << 20   // and of all on one connection
)

// Run reads HTTP on the connections that must be read until ctx ends.
func (v *Vault) Run(ctx context.Context) error {
	srv := &http.Server{
		Handler: http.HandlerFunc(serveOpened), ConnContext: connContext, BaseContext: func(net.Listener) context.Context { return ctx },
		DisableGeneralOptionsHandler: true, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxRequests, MaxReceiveBufferPerStream: streamBuffer, MaxReceiveBufferPerConnection: connectionBuffer,
		}, Protocols: new(http.Protocols),
		ErrorLog: v.log,
	}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.Serve(v.opened) }) // returns when it is closed, which is nothing to report
	<-ctx.Done()
	_ = v.opened.Close() // always nil
	err := srv.Close()
	serving.Wait()
	return err
}

// Serve answers one stream of a sandbox, until the connection it asks for is over or ctx
// ends. It closes the stream.
func (v *Vault) Serve(ctx context.Context, stream net.Conn, sandbox string) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := newConnection(v, stream, sandbox)
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	v.add(c)
	defer v.remove(c)
	c.serve(ctx)
}

// changedTimeout is for the rules of a sandbox to be read.
const changedTimeout = 10 * time.Second

// Changed looks at the open connections of a sandbox again and ends those that its policy
// does not allow any more; all of them, when it cannot be read.
func (v *Vault) Changed(ctx context.Context, sandbox string) {
	open := v.open(sandbox)
	if len(open) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, changedTimeout)
	defer cancel()
	policy, err := v.cfg.Policy(ctx, sandbox)
	for _, c := range open {
		c.recheck(policy, err)
	}
}
