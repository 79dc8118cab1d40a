package session

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"lap/clock"
	"lap/db"
	"lap/sandbox/vault"
)

const (
	flushEvery   = 250 * time.Millisecond
	flushAgain   = 5 * time.Second // after one that failed
	flushTimeout = 10 * time.Second
)

// A ledger stores what the vault has seen, a batch at a time: one sandbox can make more
// connections than a disk has commits.
type ledger struct {
	store *db.Store
	clock *clock.Clock
	log   *slog.Logger
	kick  chan struct{} // holds one token when something waits

	flushing chan struct{} // holds one token; who has it stores, so that the order stays

	mu      sync.Mutex // guards what follows
	waiting map[string]*seen
}

// seen is what waits to be stored of one session.
type seen struct {
	connections   queue[db.Egress]
	interceptions queue[db.Interception]
}

func newLedger(store *db.Store, c *clock.Clock, log *slog.Logger) *ledger {
	l := &ledger{
		store: store, clock: c, log: log, kick: make(chan struct{}, 1), flushing: make(chan struct{}, 1),
		waiting: map[string]*seen{},
	}
	l.flushing <- struct{}{}
	return l
}

// run stores what comes until ctx ends.
func (l *ledger) run(ctx context.Context) error {
	for {
		select {
		case <-l.kick:
		case <-ctx.Done():
			return nil
		}
		pause := flushEvery // for more to come
		if err := l.flush(ctx); err != nil && ctx.Err() == nil {
			l.log.WarnContext(ctx, "connections of sandboxes not stored, which is tried again", "err", err)
			pause = flushAgain
			l.wake()
		}
		sleep(ctx, pause)
	}
}

func (l *ledger) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}

// flush stores all that waits. What cannot be stored goes on waiting. Once it has begun,
// the end of ctx does not end it.
func (l *ledger) flush(ctx context.Context) error {
	select {
	case <-l.flushing:
		defer func() { l.flushing <- struct{}{} }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	l.mu.Lock()
	batch := l.waiting
	l.waiting = map[string]*seen{}
	l.mu.Unlock()
	var (
		connections   []db.Egress
		interceptions []db.Interception
	)
	for _, s := range batch {
		connections = append(connections, s.connections.list...)
		interceptions = append(interceptions, s.interceptions.list...)
	}
	egressErr := l.store.AppendEgress(ctx, connections)
	interceptionErr := l.store.AppendInterceptions(ctx, interceptions)
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, s := range batch {
		if egressErr != nil {
			l.of(id).connections.putBack(connectionsKind, s.connections)
		}
		if interceptionErr != nil {
			l.of(id).interceptions.putBack(interceptionsKind, s.interceptions)
		}
	}
	return errors.Join(egressErr, interceptionErr)
}

// FlushEgress stores what the vault has seen so far.
func (e *Engine) FlushEgress(ctx context.Context) error { return e.seen.flush(ctx) }

// of returns what waits of a session. mu is held.
func (l *ledger) of(sessionID string) *seen {
	s := l.waiting[sessionID]
	if s == nil {
		s = &seen{}
		l.waiting[sessionID] = s
	}
	return s
}

// connected takes note of a connection that is over.
func (l *ledger) connected(c vault.Connection) {
	one := db.Egress{
		SessionID: c.Sandbox, At: l.clock.At(c.At), Host: cut(c.Host, maxText), Port: c.Port, Address: cut(c.Address, maxText), Via: cut(c.Via, maxText),
		Rule: cut(c.Rule, maxText), Reason: cut(c.Reason, maxText), Refused: c.Refused, Opened: c.Opened,
		Sent: c.Sent, Received: c.Received, Duration: c.Duration,
	}
	l.mu.Lock()
	l.of(c.Sandbox).connections.add(connectionsKind, one)
	l.mu.Unlock()
	l.wake()
}

// minTail is how long a value must be for the end of it to be shown.
const minTail = 16

// requested takes note of a request that has been answered.
func (l *ledger) requested(r vault.Request) {
	one := db.Interception{
		SessionID: r.Sandbox, At: l.clock.At(r.At), Method: cut(r.Method, maxMethod), Host: cut(r.Host, maxText), Path: cut(r.Path, maxPath),
		Status: r.Status, Blocked: r.Blocked, Note: cut(r.Note, maxText),
	}
	for _, c := range r.Swapped {
		s := db.SwappedCredential{Stub: c.Stub, Name: c.Name}
		if len(c.Value) >= minTail {
			s.Tail = c.Value[len(c.Value)-2:]
		}
		one.Swapped = append(one.Swapped, s)
	}
	for _, d := range r.Declined {
		one.Declined = append(one.Declined, db.DeclinedCredential{Name: d.Name, Reason: cut(d.Reason, maxText)})
	}
	l.mu.Lock()
	l.of(r.Sandbox).interceptions.add(interceptionsKind, one)
	l.mu.Unlock()
	l.wake()
}
