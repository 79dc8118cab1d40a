// Package rule decides which hosts a sandbox may reach. It is pure: it resolves nothing
// and connects to nothing.
package rule

import "slices"

// A Set is all rules that hold for one sandbox.
type Set struct {
	Allow       []Entry // the agent's allow_out and the hosts its credentials are bound to; empty: no list
	Deny        []Entry // the agent's deny_out
	ServerAllow []Entry // reachable from every sandbox; unlike Allow this is no list of all that is
	ServerDeny  []Entry
	DefaultDeny bool // what no list names is refused
}

// A Decision says whether a connection may be made, and by which rule.
type Decision struct {
	Allowed bool
	Rule    string // such as "allow_out *.github.com", "deny_out 10.0.0.0/8", "private address", "no rule"
	Reason  string // of a refusal: one sentence with the host, the rule, and what the user can change
}

// Restricts reports whether any rule narrows what is reachable. ServerAllow alone does not.
func (s Set) Restricts() bool {
	return s.DefaultDeny || len(s.Allow) > 0 || len(s.Deny) > 0 || len(s.ServerDeny) > 0
}

// Host decides by what was asked for, before it is resolved. Of an allowed name each
// address must also pass Address. A Target that ParseTarget would not return is refused.
func (s Set) Host(t Target) Decision {
	if local(t.Name) && !s.names(t.Name) {
		return s.refuseLocal(t)
	}
	if d := s.Denied(t); !d.Allowed {
		return d
	}
	d := s.listed(t)
	if d.Allowed && t.Name == "" {
		if a := s.Address(t, t.Addr); !a.Allowed {
			return a
		}
	}
	return d
}

// Denied decides by the deny lists alone. It is for a name that shows up in a connection
// which Host has allowed by its address. A Target that ParseTarget would not return is refused.
func (s Set) Denied(t Target) Decision {
	if !t.parsed() {
		return refuseBroken(t)
	}
	matches := func(e Entry) bool { return e.MatchName(t.Name) }
	if t.Name == "" {
		matches = func(e Entry) bool { return slices.ContainsFunc(reached(t.Addr), e.MatchAddr) }
	}
	if r, ok := find(matches, s.deny()); ok {
		return refuseDenied(t.String()+" is", r)
	}
	return Decision{Allowed: true, Rule: noRule}
}

// listed decides by the allow lists, and by DefaultDeny when there is none.
func (s Set) listed(t Target) Decision {
	if r, ok := find(func(e Entry) bool { return e.Match(t) }, s.allow()); ok {
		return Decision{Allowed: true, Rule: r.String()}
	}
	if len(s.Allow) > 0 || s.DefaultDeny {
		return s.refuseUnlisted(t)
	}
	return Decision{Allowed: true, Rule: noRule}
}

// names reports whether an allow list has name itself, not by a wildcard.
func (s Set) names(name string) bool {
	_, ok := find(func(e Entry) bool { return !e.wild && e.MatchName(name) }, s.allow())
	return ok
}

// Lists reports whether an allow list has t.
func (s Set) Lists(t Target) bool {
	_, ok := find(func(e Entry) bool { return e.Match(t) }, s.allow())
	return ok
}

func (s Set) allow() []list { return []list{{allowOut, s.Allow}, {serverAllow, s.ServerAllow}} }

func (s Set) deny() []list { return []list{{serverDeny, s.ServerDeny}, {denyOut, s.Deny}} }

// A list has the name that users know it by.
type list struct {
	name    string
	entries []Entry
}

// A match is an entry and the list it stands in.
type match struct {
	list  string
	entry Entry
}

func (m match) String() string { return m.list + " " + m.entry.String() }

func find(matches func(Entry) bool, lists []list) (match, bool) {
	for _, l := range lists {
		if i := slices.IndexFunc(l.entries, matches); i >= 0 {
			return match{l.name, l.entries[i]}, true
		}
	}
	return match{}, false
}
