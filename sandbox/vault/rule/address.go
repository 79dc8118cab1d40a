package rule

import (
	"net/netip"
	"strings"
)

// local reports whether a name stands for the machine that lap runs on or for its
// cloud's metadata service, whatever it resolves to there.
func local(name string) bool {
	switch name {
	case "metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal":
		return true
	}
	for _, top := range []string{"localhost", "docker.internal", "containers.internal"} {
		if name == top || strings.HasSuffix(name, "."+top) {
			return true
		}
	}
	return false
}

// A special range of addresses is reached only by a rule that names it.
type special struct {
	prefix netip.Prefix
	kind   string
}

var specials = []special{
	{netip.MustParsePrefix("0.0.0.0/8"), "reserved"}, // Linux takes 0.0.0.0 for itself
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "private"}, // carriers' networks, Tailscale, Alibaba's metadata
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("168.63.129.16/32"), "metadata"}, // Azure's
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved"},
	{netip.MustParsePrefix("198.18.0.0/15"), "synthetic"}, // stand for names inside sandboxes
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"}, // with 255.255.255.255
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("fc00::/7"), "private"},
	{netip.MustParsePrefix("fec0::/10"), "private"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// public is all of IPv6 that is routed in the internet.
var public = netip.MustParsePrefix("2000::/3")

// findSpecial reports whether addr, as reached returns it, is special.
func findSpecial(addr netip.Addr) (special, bool) {
	for _, sp := range specials {
		if sp.prefix.Contains(addr) {
			return sp, true
		}
	}
	if addr.Is4() || public.Contains(addr) {
		return special{}, false
	}
	return special{netip.PrefixFrom(addr, addr.BitLen()), "reserved"}, true
}

var (
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	translated = netip.MustParsePrefix("::ffff:0:0:0/96")
	sixToFour  = netip.MustParsePrefix("2002::/16")
	teredo     = netip.MustParsePrefix("2001::/32")
)

// reached is the addresses at which packets to addr, a plain one, may arrive: those that
// it embeds, else itself. 64:ff9b:1::/48 embeds one too, but at a place that only
// its network knows, so it stays, and is special.
func reached(addr netip.Addr) []netip.Addr {
	switch {
	case nat64.Contains(addr), translated.Contains(addr):
		return []netip.Addr{embedded(addr, 12)}
	case sixToFour.Contains(addr):
		return []netip.Addr{embedded(addr, 2)}
	case teredo.Contains(addr):
		client := embedded(addr, 12).As4()
		for i := range client {
			client[i] = ^client[i]
		}
		return []netip.Addr{embedded(addr, 4), netip.AddrFrom4(client)}
	default:
		return []netip.Addr{addr}
	}
}

// Address decides whether one of the addresses that t resolves to may be dialled, when
// Host has allowed t. Special addresses, those of the host, of its networks and of no
// one, are open only to an allow entry that names them, or a range with nothing but such.
// A name in an allow list opens none of them: whoever runs its DNS could choose any.
func (s Set) Address(t Target, addr netip.Addr) Decision {
	addr = plain(addr)
	if !addr.IsValid() {
		return refuseBroken(t)
	}
	d := Decision{Allowed: true, Rule: "public address"}
	for _, a := range reached(addr) {
		if r, ok := find(func(e Entry) bool { return e.MatchAddr(a) }, s.deny()); ok {
			return refuseDenied(route(t, addr, a), r)
		}
		sp, ok := findSpecial(a)
		if !ok {
			continue
		}
		r, ok := find(func(e Entry) bool { return sp.namedBy(e) && e.MatchAddr(a) }, s.allow())
		if !ok {
			return s.refuseSpecial(route(t, addr, a), a, sp)
		}
		d.Rule = r.String()
	}
	return d
}

// namedBy reports whether an entry is about special addresses only: 0.0.0.0/0 shows no
// wish to open the host's own network.
func (sp special) namedBy(e Entry) bool {
	return e.prefix.IsValid() && e.prefix.Bits() >= sp.prefix.Bits() && sp.prefix.Contains(e.prefix.Addr())
}
