package vault

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"lap/sandbox"
	"lap/sandbox/vault/rule"
)

// requestTimeout is for a guest to say what it wants.
const requestTimeout = 10 * time.Second

// A connection is one connection of a sandbox, from the moment it is asked for.
type connection struct {
	vault   *Vault
	sandbox string
	down    *counted // to the sandbox
	in      *bufio.Reader
	via     string
	target  rule.Target
	unclear error // why it is not known what is asked for

	mu     sync.Mutex // guards what follows
	seen   Connection
	asked  rule.Target      // target, once it is known
	routes map[*routed]bool // to it, that are open
	stale  bool             // the rules have changed since they were asked
	passed bool             // on unread, since no credential was bound to its host
	closed bool
}

func newConnection(v *Vault, stream net.Conn, name string) *connection {
	down := &counted{Conn: stream}
	return &connection{
		vault: v, sandbox: name, down: down, in: bufio.NewReaderSize(down, sandbox.MaxEgressLine),
		routes: map[*routed]bool{}, seen: Connection{Sandbox: name, At: time.Now()},
	}
}

// serve carries the connection from its request to its end.
func (c *connection) serve(ctx context.Context) {
	defer c.close()
	if err := c.ask(); err != nil {
		_ = c.answer(err) // whoever asks so may be gone
		return
	}
	defer c.report()
	if c.unclear != nil {
		c.turnDown(ctx, &refusal{rule.Decision{Rule: "no host", Reason: c.unclear.Error()}})
		return
	}
	policy, up, err := c.reach(ctx)
	if err != nil {
		c.turnDown(ctx, err)
		return
	}
	defer up.Close()
	if c.answer(nil) == nil {
		c.carry(ctx, policy, up)
	}
}

// ask reads what the guest wants.
func (c *connection) ask() error {
	err := c.down.SetReadDeadline(time.Now().Add(requestTimeout))
	if err != nil {
		return err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("the request of the sandbox cannot be read: %w", err)
	}
	var req sandbox.EgressRequest
	if err := json.Unmarshal(line, &req); err != nil {
		return errors.New("the request of the sandbox is no JSON")
	}
	if err := c.down.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	c.down.read.Store(int64(c.in.Buffered())) // what came with the request counts, and what comes now
	switch req.Via {
	case sandbox.ViaProxy, sandbox.ViaSOCKS, sandbox.ViaCapture:
		c.via = req.Via
	default:
		return errors.New("the request of the sandbox says no known way")
	}
	c.target, c.unclear = rule.ParseTarget(req.Host, req.Port)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = c.target
	c.seen.Host, c.seen.Port, c.seen.Via = clip(req.Host), req.Port, c.via
	if c.unclear == nil {
		c.seen.Host = c.target.String()
	}
	return nil
}

// reach decides whether the connection may be made, and makes it. The error is a *refusal
// or says why there is no connection.
func (c *connection) reach(ctx context.Context) (Policy, net.Conn, error) {
	policy, err := c.vault.cfg.Policy(ctx, c.sandbox)
	if err != nil {
		return policy, nil, fmt.Errorf("the rules of this sandbox cannot be read, so nothing leaves it: %w", err)
	}
	d := policy.Rules.Host(c.target)
	c.decided(d)
	if !d.Allowed {
		return policy, nil, &refusal{d}
	}
	up, err := c.connect(ctx, policy)
	return policy, up, err
}

func (c *connection) decided(d rule.Decision) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen.Rule = d.Rule
}

// answer tells the guest how its request came out; nil: the connection is there.
func (c *connection) answer(err error) error {
	var out sandbox.EgressAnswer
	if err != nil {
		out.Error = clip(err.Error())
		_, out.Refused = errors.AsType[*refusal](err)
	}
	line, encoded := json.Marshal(out)
	if encoded != nil {
		return encoded
	}
	if _, err := c.down.Conn.Write(append(line, '\n')); err != nil { // below the count
		return err
	}
	return nil
}

// clip keeps a sentence within what a line may hold.
func clip(text string) string {
	const limit = sandbox.MaxEgressLine / 8 // quoted, a character may take six
	if len(text) > limit {
		return strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}

// recheck ends the connection when it is not allowed any more, or nobody knows.
func (c *connection) recheck(policy Policy, err error) {
	c.mu.Lock()
	c.stale = true
	target := c.asked
	allowed := err == nil
	for r := range c.routes {
		allowed = allowed && r.allowed(c.vault.cfg.Network, policy.Rules, target)
	}
	passed := c.passed
	c.mu.Unlock()
	if target == (rule.Target{}) { // it has not said where it leads; it will be asked about it
		return
	}
	if !allowed || !policy.Rules.Host(target).Allowed || passed && policy.opens(target) { // another one is read
		c.close()
	}
}

// passes notes that no credential is bound to the host of the connection.
func (c *connection) passes() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passed = true
}

func (c *connection) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// close ends the connection in both directions. More calls do nothing.
func (c *connection) close() {
	c.mu.Lock()
	c.closed = true
	routes := slices.Collect(maps.Keys(c.routes))
	c.mu.Unlock()
	// Closing a stream ends one direction; the deadline ends a Read that waits for the other.
	_ = c.down.SetReadDeadline(time.Unix(1, 0))
	_ = c.down.Close()
	for _, r := range routes {
		_ = r.Close()
	}
}

// report tells what was seen of the connection.
func (c *connection) report() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen.Sent, c.seen.Received = c.down.read.Load(), c.down.written.Load()
	c.seen.Duration = time.Since(c.seen.At)
	c.vault.cfg.Connected(c.seen)
}

// failed notes why there is no connection.
func (c *connection) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen.Reason = clip(err.Error())
	if r, ok := errors.AsType[*refusal](err); ok {
		c.seen.Refused, c.seen.Rule = true, r.Rule
	}
}
