package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"lap/db"
	"lap/sandbox"
)

// A Fault is what is to happen at a step.
type Fault struct {
	Step  string
	Times int           // how often; 0: until it is taken away
	Error string        // what the step fails with; empty: as it fails by itself, or with a Delay alone not at all
	Delay time.Duration // before it fails, or goes on

	Status     int           // of the answer of Model; 0: see Model's user
	RetryAfter time.Duration // that the answer of Model announces; 0: none
}

// Fails reports whether the step fails, and is not only slow.
func (f Fault) Fails() bool { return f.Delay == 0 || f.Error != "" || f.Status != 0 }

// A Standing is a fault with how often it has struck.
type Standing struct {
	Fault
	Hits int

	gone chan struct{} // closed when it is taken away
}

// Over reports whether the fault will strike no more.
func (s Standing) Over() bool { return s.Times > 0 && s.Hits >= s.Times }

// Armed are faults that wait for their steps. The zero value has none.
type Armed struct {
	mu    sync.Mutex // guards what follows
	list  []*Standing
	ended bool
}

// maxArmed is how many faults may be armed, those that are over included.
const maxArmed = 1000

// ErrTooMany says that no more faults can be armed.
var ErrTooMany = fmt.Errorf("more than %d faults are armed: take them away first", maxArmed)

// Arm adds faults, whose steps must be among Steps. Of several for one step the first one
// strikes until it is over. The error is ErrTooMany.
func (a *Armed) Arm(list []Fault) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.list)+len(list) > maxArmed {
		return ErrTooMany
	}
	for _, f := range list {
		a.list = append(a.list, &Standing{Fault: f, gone: make(chan struct{})})
	}
	return nil
}

// List returns all faults in the order in which they were armed, those that are over too.
func (a *Armed) List() []Standing {
	a.mu.Lock()
	defer a.mu.Unlock()
	list := make([]Standing, len(a.list))
	for i, f := range a.list {
		list[i] = *f
	}
	return list
}

// Clear takes all faults away. Steps that they delay go on.
func (a *Armed) Clear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.list {
		close(f.gone)
	}
	a.list = nil
}

// End takes all faults away for good: those that are armed later never strike.
func (a *Armed) End() {
	a.Clear()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
}

// Strike returns the fault for a step that is just being taken, and counts it. When it has a
// delay, that is over, or ctx is, whose error comes then. ok is false for none.
func (a *Armed) Strike(ctx context.Context, step string) (f Fault, ok bool, err error) {
	if ctx.Value(sparedKey{}) != nil {
		return Fault{}, false, nil
	}
	next, gone := a.next(step)
	if next == nil {
		return Fault{}, false, nil
	}
	timer := time.NewTimer(next.Delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return *next, true, nil
	case <-gone:
		return Fault{}, false, nil
	case <-ctx.Done():
		return *next, true, context.Cause(ctx)
	}
}

// next is the fault that strikes at a step, nil for none.
func (a *Armed) next(step string) (f *Fault, gone <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := slices.IndexFunc(a.list, func(f *Standing) bool { return f.Step == step && !f.Over() })
	if i < 0 || a.ended {
		return nil, nil
	}
	a.list[i].Hits++
	return &a.list[i].Fault, a.list[i].gone
}

// At implements Orders.
func (a *Armed) At(ctx context.Context, names ...string) error {
	i := slices.IndexFunc(names, func(name string) bool { return stepOf(name) != "" })
	if i < 0 {
		return nil
	}
	step := stepOf(names[i])
	f, ok, err := a.Strike(ctx, step)
	switch {
	case err != nil || !ok || !f.Fails():
		return err
	case step == Disk && f.Error != "":
		return fmt.Errorf("%w: %s", db.ErrFull, f.Error)
	case step == Disk:
		return db.ErrFull
	case f.Error != "":
		return errors.New(f.Error)
	}
	return fmt.Errorf("%w: a fault was armed for %s", sandbox.ErrUnavailable, step)
}

type sparedKey struct{}

// Spare returns a context at whose calls no armed fault strikes.
func Spare(ctx context.Context) context.Context { return context.WithValue(ctx, sparedKey{}, true) }
