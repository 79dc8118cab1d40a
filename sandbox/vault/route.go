package vault

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"lap/sandbox/vault/rule"
)

// A route is a connection to a target.
type route struct {
	net.Conn
	addr   netip.Addr // that was dialled; not valid: a proxy did
	pinned bool
}

func (r route) address() string {
	if !r.addr.IsValid() {
		return ""
	}
	return r.addr.String()
}

// allowed reports whether the rules allow where the route leads.
func (r route) allowed(n *Network, rules rule.Set, t rule.Target) bool {
	return r.pinned || !r.addr.IsValid() || n.address(rules, t, r.addr).Allowed
}

// A routed is a route that belongs to a connection, and ends with it.
type routed struct {
	route
	of       *connection
	once     sync.Once
	giveBack func()
}

// Close ends the route.
func (r *routed) Close() error {
	err := r.route.Close()
	r.once.Do(func() {
		r.of.mu.Lock()
		delete(r.of.routes, r)
		r.of.mu.Unlock()
		r.giveBack()
	})
	return err
}

// CloseWrite ends what is sent.
func (r *routed) CloseWrite() error { return closeWrite(r.Conn) }

// connect makes a route of the connection. policy allows its host. The error is a *refusal
// or says why there is none.
func (c *connection) connect(ctx context.Context, policy Policy) (*routed, error) {
	giveBack, ok := c.vault.take(c, upstreams, maxUpstream)
	if !ok {
		return nil, errors.New("this sandbox has too many connections open: close some")
	}
	way, err := c.vault.cfg.Network.reach(ctx, policy.Rules, c.target)
	if err != nil {
		giveBack()
		return nil, err
	}
	r := &routed{route: way, of: c, giveBack: giveBack}
	c.mu.Lock()
	closed, stale := c.closed, c.stale
	c.routes[r] = true
	c.seen.Address = way.address()
	c.mu.Unlock()
	if stale && !closed { // while it was made
		var now Policy
		now, err = c.vault.cfg.Policy(ctx, c.sandbox)
		closed = err != nil || !now.Rules.Host(c.target).Allowed || !way.allowed(c.vault.cfg.Network, now.Rules, c.target)
	}
	if closed {
		return nil, errors.Join(net.ErrClosed, err, r.Close())
	}
	return r, nil
}
