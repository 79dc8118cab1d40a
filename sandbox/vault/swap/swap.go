// Package swap puts real credentials in the place of their stubs in HTTP requests, and
// stubs in the place of credentials in responses.
//
// Scrubbing defeats whoever lets a host echo a credential; it is no proof against a host
// that helps. It does not see a value that is shorter than eight bytes, cut over several
// responses, wrapped in lines, or encoded in ways that newScrubber does not list.
package swap

import "slices"

// shortest is the length of the shortest value that is taken out of responses. What is
// shorter is in too many answers by chance, and a setting rather than a secret.
const shortest = 8

// A Credential is a secret and what stands for it inside one sandbox.
type Credential struct {
	Name  string // of the environment variable
	Stub  string
	Value string // never empty
}

// A Declined is a credential whose stub was in a request and stayed there.
type Declined struct {
	Name   string
	Reason string
}

// Keys are the credentials of a sandbox as one host may see them. They are safe for use by
// several goroutines.
type Keys struct {
	entries []entry
	stubs   *matcher // an id is an index of entries; nil when there are none
	bound   bool
	scrub   *scrubber // nil when nothing is taken out of responses
	bodies  Bodies
}

// An entry is a credential that is looked for in requests.
type entry struct {
	Credential
	bound  bool
	reason string // why it stays, unless it is bound
}

// Bodies says in which request bodies stubs are replaced.
type Bodies int

// The choices of Bodies.
const (
	BodiesOAuth Bodies = iota // secret fields of forms, as OAuth token requests have them
	BodiesText                // in all text, as the reference platform does
)

// New returns Keys that replace the stubs of bound. The stubs of others are reported with
// the reason why they stay; a Declined's Name finds its credential in all. Stubs of less
// than two bytes are overlooked.
func New(bound, all []Credential, others []Declined, bodies Bodies) *Keys {
	scrubbed := slices.Clone(bound)
	for _, c := range all {
		if len(bound) > 0 && !slices.Contains(bound, c) { // the host may have got it in another way
			scrubbed = append(scrubbed, c)
		}
	}
	k := &Keys{bound: len(bound) > 0, scrub: newScrubber(scrubbed), bodies: bodies}
	for _, c := range bound {
		k.entries = append(k.entries, entry{Credential: c, bound: true})
	}
	for _, o := range others {
		i := slices.IndexFunc(all, func(c Credential) bool { return c.Name == o.Name })
		if i >= 0 {
			k.entries = append(k.entries, entry{Credential: all[i], reason: o.Reason})
		}
	}
	stubs := make([]string, len(k.entries))
	for i, e := range k.entries {
		stubs[i] = e.Stub
	}
	k.stubs = newMatcher(stubs)
	return k
}
