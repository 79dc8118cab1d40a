package session

import (
	"context"
	"sync/atomic"
)

// A gate keeps those who use a sandbox and the one who freezes it apart.
type gate struct {
	lock   chan struct{} // full while somebody enters, leaves, freezes or thaws
	users  int           // guarded by lock
	frozen atomic.Bool   // written under lock
	open   chan struct{} // closed while not frozen; guarded by lock
}

func newGate() *gate {
	g := &gate{lock: make(chan struct{}, 1), open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) take(ctx context.Context) error {
	select {
	case g.lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enter lets a user in, after thaw has woken the sandbox if it is frozen. Who entered
// must call leave.
func (g *gate) enter(ctx context.Context, thaw func(context.Context) error) error {
	if err := g.take(ctx); err != nil {
		return err
	}
	defer func() { <-g.lock }()
	if g.frozen.Load() {
		if err := thaw(ctx); err != nil {
			return err
		}
		g.frozen.Store(false)
		close(g.open)
	}
	g.users++
	return nil
}

func (g *gate) leave() {
	g.lock <- struct{}{}
	defer func() { <-g.lock }()
	g.users--
}

// freeze runs note and then pause, unless somebody uses the sandbox or it is frozen
// already. Once note has succeeded the gate is shut: whether or not pause did what it
// should, who enters next thaws.
func (g *gate) freeze(ctx context.Context, note, pause func(context.Context) error) error {
	if err := g.take(ctx); err != nil {
		return err
	}
	defer func() { <-g.lock }()
	if g.users > 0 || g.frozen.Load() {
		return nil
	}
	if err := note(ctx); err != nil {
		return err
	}
	g.shut()
	return pause(ctx)
}

// found notes that the sandbox was seen to be frozen, unless it is not so any more:
// somebody uses it, who will have woken it, or look says so.
func (g *gate) found(ctx context.Context, look func(context.Context) (frozen bool, err error)) error {
	if err := g.take(ctx); err != nil {
		return err
	}
	defer func() { <-g.lock }()
	if g.users > 0 || g.frozen.Load() {
		return nil
	}
	frozen, err := look(ctx)
	if err == nil && frozen {
		g.shut()
	}
	return err
}

// shut marks the sandbox as frozen. The lock is held.
func (g *gate) shut() {
	g.frozen.Store(true)
	g.open = make(chan struct{})
}

// thawed waits until the sandbox is not frozen.
func (g *gate) thawed(ctx context.Context) error {
	if err := g.take(ctx); err != nil {
		return err
	}
	open := g.open
	<-g.lock
	select {
	case <-open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
