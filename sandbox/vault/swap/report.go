package swap

import (
	"slices"
	"sync"
)

// A Report is what was done to a request: each credential once, in the order of its first
// stub. A bound credential can be in both lists, when only some places could take it.
type Report struct {
	Swapped  []Credential
	Declined []Declined
}

// A ledger collects a report, while a transport reads the body and others ask for it.
type ledger struct {
	mu  sync.Mutex
	rep Report // guarded by mu
}

func (l *ledger) swapped(c Credential) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.rep.Swapped, c) {
		l.rep.Swapped = append(l.rep.Swapped, c)
	}
}

func (l *ledger) declined(name, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := Declined{Name: name, Reason: reason}
	if !slices.Contains(l.rep.Declined, d) {
		l.rep.Declined = append(l.rep.Declined, d)
	}
}

func (l *ledger) report() Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Report{Swapped: slices.Clone(l.rep.Swapped), Declined: slices.Clone(l.rep.Declined)}
}
