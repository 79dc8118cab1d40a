package session

import (
	"context"
	"encoding/json"

	"lap/sandbox/vault"
)

// Reconcile compares rows and sandboxes once.
var Reconcile = (*Engine).reconcile

// Rest looks for idle sessions once.
var Rest = (*Engine).rest

// ParseReply is what is made of a harness's answer to a turn.
var ParseReply = parseReply

// WithoutImages is what is stored of the parts of a turn.
var WithoutImages = withoutImages

// Lives is how many sessions this process holds something of.
func Lives(e *Engine) int { return len(e.lives()) }

// Warm wakes the pool.
func Warm(e *Engine) { e.pool.wake() }

// Frame is what is stored of a frame of a harness's event stream. ok is false when nothing is.
func Frame(frame json.RawMessage, harnessSession string) (body json.RawMessage, ok bool) {
	_, entry, ok := readEvent(frame, harnessSession)
	return entry.Body, ok
}

// A Thread is put together from events.
type Thread struct{ t *thread }

// NewThread returns an empty thread of a session.
func NewThread(e *Engine, id string) Thread { return Thread{newThread(e.cfg.Store, id)} }

// Apply takes a frame in, and returns what would be stored.
func (t Thread) Apply(ctx context.Context, frame json.RawMessage, harnessSession string) ([]json.RawMessage, error) {
	ev, _, ok := readEvent(frame, harnessSession)
	if !ok {
		return nil, nil
	}
	if err := t.t.apply(ctx, ev); err != nil {
		return nil, err
	}
	messages, _ := t.t.flush()
	var bodies []json.RawMessage
	for _, m := range messages {
		bodies = append(bodies, m.Body)
	}
	return bodies, nil
}

// Bounds that tests go beyond.
const (
	HeavyDrafts = heavyDrafts
	MaxLine     = maxLine
)

// Policy is what the vault is told of a session.
var Policy = (*Engine).policy

// Connected tells the engine of a connection that its vault has seen.
func Connected(e *Engine, c vault.Connection) { e.seen.connected(c) }

// Requested is Connected for requests.
func Requested(e *Engine, r vault.Request) { e.seen.requested(r) }
