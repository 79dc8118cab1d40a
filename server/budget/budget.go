// Package budget counts what sessions use of models, and refuses calls that their budgets
// do not allow.
package budget

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"lap/db"
	"lap/server/gateway"
)

// Config is what a Meter needs.
type Config struct {
	Store  *db.Store
	Prices *gateway.Prices
	Log    *slog.Logger
}

// A Meter is the gateway.Meter of sessions, which are known by their sandboxes. Calls that
// are under way when a budget is spent go on: what is used can be more than a budget by
// what atOnce calls use, or by one, where the budget was nearly spent when they began. For
// the budget of an agent that is so for each of its sessions.
type Meter struct {
	cfg Config

	mu    sync.Mutex // guards lanes
	lanes map[string]*lane
}

var _ gateway.Meter = (*Meter)(nil)

// New makes a Meter.
func New(cfg Config) *Meter { return &Meter{cfg: cfg, lanes: map[string]*lane{}} }

// lane is where the calls of one session go side by side.
type lane struct {
	users int           // calls that are under way or ask to be
	calls int           // under way
	ended chan struct{} // closed, and replaced, when one of them ends
}

// atOnce is how many calls a session with a budget makes at a time. Further ones wait.
const atOnce = 8

// Admit refuses a call when a budget of the session or its agent is spent, and when it is
// one in dollars and what the call would cost cannot be told. When calls are under way
// that may spend it, it waits for one of them to end.
func (m *Meter) Admit(ctx context.Context, sessionID, model string) error {
	l := m.join(sessionID)
	for {
		ended := m.next(l)
		most, err := m.allowed(ctx, sessionID, model)
		if err != nil {
			m.quit(sessionID, l)
			return err
		}
		if m.enter(l, most, ended) {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			m.quit(sessionID, l)
			return ctx.Err()
		}
	}
}

// unlimited is the number of calls of a session without a budget.
const unlimited = 0

// allowed is how many calls the session may have under way, the new one included.
func (m *Meter) allowed(ctx context.Context, sessionID, model string) (int, error) {
	limits, session, err := m.limits(ctx, sessionID)
	if err != nil {
		return 0, err
	}
	most := unlimited
	for _, l := range limits {
		if no := l.refuse(); no != nil {
			m.note(ctx, session, l)
			return 0, no
		}
		if l.inDollars() {
			if _, ok := m.cfg.Prices.Of(ctx, model); !ok {
				return 0, l.unpriced(model)
			}
		}
		switch {
		case l.nearlySpent():
			most = 1
		case most == unlimited:
			most = atOnce
		}
	}
	return most, nil
}

// limits are those of the budgets that hold for a session's calls.
func (m *Meter) limits(ctx context.Context, sessionID string) ([]limit, db.Session, error) {
	session, err := m.cfg.Store.SessionState(ctx, sessionID)
	if errors.Is(err, db.ErrNotFound) { // a sandbox that is kept warm, or whose session was deleted
		return nil, session, &gateway.RefusalError{Message: "this sandbox has no session, so nobody would pay for calls of models"}
	}
	if err != nil {
		return nil, session, err
	}
	agent, err := m.cfg.Store.Agent(ctx, session.AgentID)
	if err != nil {
		return nil, session, err
	}
	var out []limit
	if session.Budget != nil {
		spent, err := m.cfg.Store.SessionSpent(ctx, session.ID)
		if err != nil {
			return nil, session, err
		}
		out = append(out, limitsOf(session.Budget, spent, ofSession)...)
	}
	if agent.Budget != nil {
		spent, err := m.cfg.Store.AgentSpent(ctx, agent.ID)
		if err != nil {
			return nil, session, err
		}
		out = append(out, limitsOf(agent.Budget, spent, ofAgent)...)
	}
	return out, session, nil
}

// note lets the session say why its calls are refused.
func (m *Meter) note(ctx context.Context, session db.Session, l limit) {
	reason := "budget spent: " + l.what()
	if session.FailureReason != nil && strings.HasPrefix(*session.FailureReason, reason) {
		return // noted already
	}
	m.cfg.Log.WarnContext(ctx, "budget spent", "session", session.ID, "budget", l.what(), "used", l.used())
	err := m.cfg.Store.NoteFailure(ctx, session.ID, fmt.Sprintf("%s (%s used)", reason, l.used()))
	if err != nil && !errors.Is(err, db.ErrStale) && ctx.Err() == nil {
		m.cfg.Log.ErrorContext(ctx, "spent budget not noted", "session", session.ID, "err", err)
	}
}

// join returns the lane of a session, which is there until all that joined it have quit.
func (m *Meter) join(sessionID string) *lane {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lanes[sessionID]
	if l == nil {
		l = &lane{ended: make(chan struct{})}
		m.lanes[sessionID] = l
	}
	l.users++
	return l
}

func (m *Meter) quit(sessionID string, l *lane) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(m.lanes, sessionID)
	}
}

// next is what is closed when the next call ends.
func (m *Meter) next(l *lane) chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return l.ended
}

// enter lets a call into a lane that has less than most, unless one has ended since ended
// was the next to: what it used was not known then.
func (m *Meter) enter(l *lane, most int, ended chan struct{}) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if most != unlimited && (l.ended != ended || l.calls >= most) {
		return false
	}
	l.calls++
	return true
}

// leave ends a call that was admitted.
func (m *Meter) leave(sessionID string) {
	m.mu.Lock()
	l := m.lanes[sessionID]
	l.calls--
	close(l.ended)
	l.ended = make(chan struct{})
	m.mu.Unlock()
	m.quit(sessionID, l)
}

// countTimeout bounds what the end of an answer may wait for: the prices, and the store.
const countTimeout = 30 * time.Second

// Count adds to what the session has used.
func (m *Meter) Count(ctx context.Context, sessionID, model string, u gateway.Usage) {
	defer m.leave(sessionID)
	if u.Calls == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	used := db.Usage{
		Calls: u.Calls, InputTokens: u.InputTokens, OutputTokens: u.OutputTokens,
		CacheReadTokens: u.CacheReadTokens, CacheWriteTokens: u.CacheWriteTokens, Cost: u.Cost,
	}
	if u.Estimated {
		used.EstimatedCalls = u.Calls
	}
	if u.Cost == 0 {
		price, ok := m.cfg.Prices.Of(ctx, model)
		if used.Cost = price.Cost(u); !ok {
			used.UnpricedCalls = u.Calls
		}
	}
	err := m.cfg.Store.AddUsage(ctx, sessionID, used)
	if err != nil && !errors.Is(err, db.ErrNotFound) {
		m.cfg.Log.ErrorContext(ctx, "model call not counted", "session", sessionID, "err", err)
	}
}
