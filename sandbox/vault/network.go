package vault

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"lap/sandbox/vault/rule"
)

const (
	lookupTimeout = 10 * time.Second
	dialTimeout   = 10 * time.Second // for one address
	maxAddresses  = 4                // that are tried
)

// A Network resolves names and dials addresses for sandboxes. Its functions can be replaced
// to see what is dialled.
type Network struct {
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	Dial   func(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
	// Pins are what names resolve to in place of DNS. Who runs lap has chosen these
	// addresses, so they may be private. Port 0 is the port that was asked for.
	Pins map[string]netip.AddrPort
	// Proxy returns the proxy that leads to host:port, nil for none, as the environment of
	// lap says. It may be nil.
	Proxy func(hostport string) (*url.URL, error)
	// Own reports whether an address is one of lap's own ports. It may be nil.
	Own func(addr netip.AddrPort) bool
	// Local reports whether an address is one of this machine's, whose services may be meant
	// for its neighbours only. It may be nil.
	Local func(addr netip.Addr) bool
	// Roots are what proxies are checked against; nil: the system's.
	Roots *x509.CertPool
}

// NewNetwork returns the network of this machine.
func NewNetwork() *Network {
	var dialer net.Dialer
	return &Network{
		Lookup: func(ctx context.Context, name string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", name+".") // a name of the world, not of a search domain
		},
		Dial: func(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", addr.String())
		},
	}
}

// reach connects to t, which the rules allow by its name. What it resolves to is decided
// about here, and dialled: nobody resolves it again. The error is a *refusal, or says why
// there is no connection.
func (n *Network) reach(ctx context.Context, rules rule.Set, t rule.Target) (route, error) {
	if pin, ok := n.Pins[t.Name]; ok && t.Name != "" {
		port := t.Port
		if pin.Port() != 0 {
			port = pin.Port()
		}
		return n.dial(ctx, t, []netip.Addr{pin.Addr()}, port, true)
	}
	proxy, err := n.proxy(t)
	if err != nil {
		return route{}, err
	}
	addrs, err := n.resolve(ctx, t)
	if err != nil && (proxy == nil || !rules.Lists(t)) { // a proxy may know names that lap does not, but where they lead nobody has said
		return route{}, err
	}
	allowed := make([]netip.Addr, 0, len(addrs))
	var refused *refusal
	for _, addr := range addrs {
		if d := n.address(rules, t, addr); d.Allowed {
			allowed = append(allowed, addr)
		} else if refused == nil {
			refused = &refusal{d}
		}
	}
	switch {
	case refused != nil && (len(allowed) == 0 || proxy != nil): // which address a proxy takes is not known
		return route{}, refused
	case proxy != nil:
		conn, err := n.throughProxy(ctx, proxy, t)
		return route{Conn: conn}, err
	}
	return n.dial(ctx, t, allowed, t.Port, false)
}

// address decides about one of the addresses of t.
func (n *Network) address(rules rule.Set, t rule.Target, addr netip.Addr) rule.Decision {
	if d, own := n.own(netip.AddrPortFrom(addr, t.Port)); own {
		return d
	}
	d := rules.Address(t, addr)
	if !d.Allowed || n.Local == nil || !n.Local(addr) || rules.Lists(rule.Target{Addr: addr, Port: t.Port}) {
		return d
	}
	return rule.Decision{Rule: "lap's machine", Reason: fmt.Sprintf(
		"%s leads to %s, an address of the machine that lap runs on: to allow it add %s to LAP_EGRESS_ALLOW, or to the agent's allow_out", t, addr, addr)}
}

// own says why nobody may reach an address that is lap itself.
func (n *Network) own(at netip.AddrPort) (rule.Decision, bool) {
	if n.Own == nil || !n.Own(at) {
		return rule.Decision{}, false
	}
	return rule.Decision{Rule: "lap's own port", Reason: fmt.Sprintf("%s is lap itself, which no sandbox may reach this way", at)}, true
}

// resolve returns the addresses of a target.
func (n *Network) resolve(ctx context.Context, t rule.Target) ([]netip.Addr, error) {
	if t.Name == "" {
		return []netip.Addr{t.Addr}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := n.Lookup(ctx, t.Name)
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return nil, fmt.Errorf("there is no host %s", t.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("the name %s cannot be resolved: %w", t.Name, err)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("there is no host %s", t.Name)
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap().WithZone("")
	}
	// Most networks have IPv4, not all have IPv6.
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return a.BitLen() - b.BitLen() })
	return addrs, nil
}

// dial connects to the first of the addresses that answers.
func (n *Network) dial(ctx context.Context, t rule.Target, addrs []netip.Addr, port uint16, pinned bool) (route, error) {
	var errs []error
	for _, addr := range addrs[:min(len(addrs), maxAddresses)] {
		at := netip.AddrPortFrom(addr, port)
		if d, own := n.own(at); own { // a pin may lead there
			return route{}, &refusal{d}
		}
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		conn, err := n.Dial(ctx, at)
		cancel()
		if err == nil {
			return route{conn, addr, pinned}, nil
		}
		errs = append(errs, err)
	}
	return route{}, fmt.Errorf("%s gives no connection: %w", net.JoinHostPort(t.String(), fmt.Sprint(t.Port)), errors.Join(errs...))
}
