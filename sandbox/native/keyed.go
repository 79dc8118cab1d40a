//go:build linux

package native

import (
	"context"
	"sync"
)

// A keyed is a lock for each name. Its zero value is ready.
type keyed struct {
	mu    sync.Mutex
	names map[string]*held
}

// A held is the lock of one name, for as long as anybody has it or waits for it.
type held struct {
	token chan struct{}
	users int
}

// lock takes the lock of a name and returns what gives it back.
func (k *keyed) lock(ctx context.Context, name string) (unlock func(), err error) {
	k.mu.Lock()
	h := k.names[name]
	if h == nil {
		h = &held{token: make(chan struct{}, 1)}
		if k.names == nil {
			k.names = map[string]*held{}
		}
		k.names[name] = h
	}
	h.users++
	k.mu.Unlock()
	select {
	case h.token <- struct{}{}:
		return func() { <-h.token; k.leave(name, h) }, nil
	case <-ctx.Done():
		k.leave(name, h)
		return nil, context.Cause(ctx)
	}
}

func (k *keyed) leave(name string, h *held) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h.users--; h.users == 0 {
		delete(k.names, name)
	}
}
