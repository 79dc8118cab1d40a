package vault

import (
	"slices"

	"lap/sandbox/vault/rule"
	"lap/sandbox/vault/swap"
)

// A Policy is what holds for one sandbox at one moment.
type Policy struct {
	Rules       rule.Set
	Credentials []Credential
	Bodies      swap.Bodies
}

// A Credential is a secret that a sandbox has a stub of, and where it may go.
type Credential struct {
	swap.Credential
	Hosts    []rule.Entry // it is bound to
	Anywhere bool         // it is bound to no host, and may go to all
	Reason   string       // why it is bound to nothing; empty: it is, or may go anywhere
}

func (c Credential) goesTo(t rule.Target) bool {
	return c.Anywhere || slices.ContainsFunc(c.Hosts, func(e rule.Entry) bool { return e.Match(t) })
}

func (c Credential) equal(d Credential) bool {
	return c.Credential == d.Credential && c.Anywhere == d.Anywhere && c.Reason == d.Reason && slices.Equal(c.Hosts, d.Hosts)
}

// sameKeys reports whether the keys of p and q are the same for any host.
func (p Policy) sameKeys(q Policy) bool {
	return p.Bodies == q.Bodies && slices.EqualFunc(p.Credentials, q.Credentials, Credential.equal)
}

// keys are the credentials as the host of t may see them.
func (p Policy) keys(t rule.Target) *swap.Keys {
	var (
		bound, all []swap.Credential
		others     []swap.Declined
	)
	for _, c := range p.Credentials {
		all = append(all, c.Credential)
		switch {
		case c.goesTo(t):
			bound = append(bound, c.Credential)
		case c.Reason != "":
			others = append(others, swap.Declined{Name: c.Name, Reason: c.Reason})
		default:
			others = append(others, swap.Declined{
				Name: c.Name, Reason: c.Name + " is not bound to " + t.String() + ": add the host to env_var_hosts." + c.Name + " to allow it",
			})
		}
	}
	return swap.New(bound, all, others, p.Bodies)
}

// opens reports whether a credential could be swapped on the way to t, so that what is
// sent there must be read.
func (p Policy) opens(t rule.Target) bool {
	return slices.ContainsFunc(p.Credentials, func(c Credential) bool { return c.goesTo(t) })
}

// looks reports whether unencrypted HTTP is read on the way to anywhere: rules may be
// evaded by the name in it, and a stub in it be one that the user expects to be swapped.
func (p Policy) looks() bool { return len(p.Credentials) > 0 || p.Rules.Restricts() }

// name decides about a name that a connection to t is for, as the connection itself says:
// the server name of TLS, or HTTP's Host. Otherwise an allowed host could be asked for what
// a refused one has, where one machine serves both.
func (p Policy) name(t rule.Target, name string) rule.Decision {
	other, err := rule.ParseTarget(name, int(t.Port))
	switch {
	case err != nil:
		return rule.Decision{Rule: "no host", Reason: "the connection names no host that can be understood: " + err.Error()}
	case other == t:
		return rule.Decision{Allowed: true}
	case t.Name != "":
	case p.opens(other): // which would go by the wrong keys
		return rule.Decision{Rule: "by address", Reason: "a connection to " + t.String() + " asks for " + other.String() + ", which a credential is bound to: connect to it by its name"}
	default:
		return p.Rules.Denied(other)
	}
	return rule.Decision{Rule: "other host", Reason: "a connection to " + t.String() + " asks for " + other.String() + ": connect to the host that is meant"}
}
