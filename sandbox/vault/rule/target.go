package rule

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// A Target is what a sandbox asks to reach: a name or an address, and a port.
type Target struct {
	Name string     // lower-case ASCII without a last dot; empty: Addr is asked for
	Addr netip.Addr // IPv4 is never in its IPv6 form; valid only without Name
	Port uint16
}

// ParseTarget understands host as any program might: names in any case, internationalised
// ones, with a last dot; addresses in every notation, such as 0x7f.1, 2130706433, 017700000001,
// ::ffff:127.0.0.1. What no resolver should be asked for is an error: empty or long labels,
// characters other than letters, digits, - and _, a last label that is a number without the
// whole being an address, IPv6 zones. Whoever connects must use the Target, not host: only
// then does it not matter that others may understand host differently.
func ParseTarget(host string, port int) (Target, error) {
	if port < 1 || port > 65535 {
		return Target{}, fmt.Errorf("port %d is not in 1..65535", port)
	}
	t, err := parseHost(host)
	if err != nil {
		return Target{}, fmt.Errorf("host %.100q %w", host, err)
	}
	t.Port = uint16(port)
	return t, nil
}

func parseHost(host string) (Target, error) {
	if strings.Contains(host, ":") || strings.HasPrefix(host, "[") {
		addr, err := parseIPv6(host)
		return Target{Addr: addr}, err
	}
	name, err := parseName(host)
	if err != nil {
		return Target{}, err
	}
	if endsInNumber(name) {
		addr, err := parseIPv4(name)
		return Target{Addr: addr}, err
	}
	if !resolvable(name) {
		return Target{}, errors.New("is too long or has a label that is")
	}
	return Target{Name: name}, nil
}

// String is the target's host as rules and logs show it, an IPv6 address without brackets.
func (t Target) String() string {
	if t.Name != "" {
		return t.Name
	}
	return t.Addr.String()
}

// parsed reports whether t is as ParseTarget makes it; only of such a Target can be said
// that no rule overlooks it.
func (t Target) parsed() bool {
	again, err := parseHost(t.String())
	return err == nil && again.Name == t.Name && again.Addr == t.Addr
}
