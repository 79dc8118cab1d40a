package rule

import (
	"fmt"
	"net/netip"
)

// What users know lists and switches by.
const (
	allowOut    = "allow_out"
	denyOut     = "deny_out"
	serverAllow = "LAP_EGRESS_ALLOW"
	serverDeny  = "LAP_EGRESS_DENY"
	defaultDeny = "EGRESS_DEFAULT_DENY"
	noRule      = "no rule"
)

func refuse(rule, format string, args ...any) Decision {
	return Decision{Rule: rule, Reason: fmt.Sprintf(format, args...)}
}

func refuseBroken(t Target) Decision {
	return refuse("no host", "%.100q is not a host name or an address in its plain form", t.String())
}

func (s Set) refuseLocal(t Target) Decision {
	return refuse("local name", "%s stands for the machine that lap runs on or its metadata service: %s", t, s.howToAllow(t.Name))
}

// refuseDenied begins the sentence with how the denied host came up.
func refuseDenied(how string, m match) Decision {
	change := "remove that entry from the agent's deny_out to allow it"
	if m.list == serverDeny {
		change = "only who runs lap can change that list"
	}
	return refuse(m.String(), "%s refused by %s: %s", how, m, change)
}

func (s Set) refuseUnlisted(t Target) Decision {
	rule, why := noRule, "matches no entry of the agent's allow_out"
	if len(s.Allow) == 0 {
		rule, why = defaultDeny, "is in no allow list, and EGRESS_DEFAULT_DENY refuses all else"
	}
	if t.Addr.Is6() {
		return refuse(rule, "%s %s: no entry can be an IPv6 address, so use a host name and add that to the agent's allow_out", t, why)
	}
	return refuse(rule, "%s %s: %s", t, why, s.howToAllow(t.String()))
}

func (s Set) refuseSpecial(how string, addr netip.Addr, sp special) Decision {
	change := "no rule can allow it"
	if addr.Is4() {
		change = s.howToAllow(addr.String())
	}
	return refuse(sp.kind+" address", "%s a %s address: %s", how, sp.kind, change)
}

// howToAllow warns of an agent's first allow entry, which makes a list of all that is allowed.
func (s Set) howToAllow(host string) string {
	if len(s.Allow) > 0 || s.DefaultDeny {
		return fmt.Sprintf("add %s to the agent's allow_out to allow it", host)
	}
	return fmt.Sprintf("to allow it add %s to LAP_EGRESS_ALLOW, or to the agent's allow_out, "+
		"which then must list all hosts that the agent needs", host)
}

// route begins a sentence about reached, one of the addresses where addr leads to.
func route(t Target, addr, reached netip.Addr) string {
	switch {
	case t.Name == "" && reached == addr:
		return addr.String() + " is"
	case t.Name == "":
		return fmt.Sprintf("%s leads to %s,", addr, reached)
	case reached == addr:
		return fmt.Sprintf("%s resolves to %s,", t.Name, addr)
	default:
		return fmt.Sprintf("%s resolves to %s, which leads to %s,", t.Name, addr, reached)
	}
}
