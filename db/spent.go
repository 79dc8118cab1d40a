package db

import (
	"context"
	"sync"
	"time"
)

// SessionSpent returns what a session has used. The error is ErrNotFound.
func (s *Store) SessionSpent(ctx context.Context, sessionID string) (Spent, error) {
	all, err := s.SpentOf(ctx, []string{sessionID})
	if err != nil {
		return Spent{}, err
	}
	spent, ok := all[sessionID]
	if !ok {
		return Spent{}, ErrNotFound
	}
	return spent, nil
}

// SpentOf returns what each of some sessions has used. Those that do not exist are left out.
func (s *Store) SpentOf(ctx context.Context, sessionIDs []string) (map[string]Spent, error) {
	tallies, err := s.tallies(ctx, sessionUsage, sessionTurns, sessionIDs)
	return s.spentOf(tallies), err
}

// AgentSpent returns what all sessions of an agent have used; none is zero.
func (s *Store) AgentSpent(ctx context.Context, agentID string) (Spent, error) {
	commits := s.w.commits.Load() // before the read, which may see a later one
	t, ok := s.spent.get(agentID, commits)
	if !ok {
		all, err := s.tallies(ctx, agentUsage, agentTurns, []string{agentID})
		if err != nil {
			return Spent{}, err
		}
		t = all[agentID]
		s.spent.put(agentID, commits, t)
	}
	return s.counted(t), nil
}

// AgentsSpent is AgentSpent of some agents.
func (s *Store) AgentsSpent(ctx context.Context, agentIDs []string) (map[string]Spent, error) {
	tallies, err := s.tallies(ctx, agentUsage, agentTurns, agentIDs)
	return s.spentOf(tallies), err
}

// The four queries take a JSON array of ids. An index holds all that they read of turns,
// whose rows are large. The joins are in the order in which they are made.
const (
	sumTurns     = `count(*), sum(coalesce(t.completed_at, 0) - t.sent_at), count(*) - count(t.completed_at)`
	sessionUsage = `SELECT s.id, coalesce(u.calls, 0), coalesce(u.input_tokens, 0), coalesce(u.output_tokens, 0),
		coalesce(u.cache_read_tokens, 0), coalesce(u.cache_write_tokens, 0), coalesce(u.cost, 0.0),
		coalesce(u.unpriced_calls, 0), coalesce(u.estimated_calls, 0)
		FROM json_each(?) wanted CROSS JOIN sessions s ON s.id = wanted.value LEFT JOIN usage u ON u.session_id = s.id`
	sessionTurns = `SELECT t.session_id, ` + sumTurns + ` FROM json_each(?) wanted
		CROSS JOIN turns t ON t.session_id = wanted.value WHERE t.sent_at IS NOT NULL GROUP BY wanted.key`
	agentUsage = `SELECT u.agent_id, sum(u.calls), sum(u.input_tokens), sum(u.output_tokens),
		sum(u.cache_read_tokens), sum(u.cache_write_tokens), sum(u.cost), sum(u.unpriced_calls), sum(u.estimated_calls)
		FROM json_each(?) wanted CROSS JOIN usage u ON u.agent_id = wanted.value GROUP BY wanted.key`
	agentTurns = `SELECT s.agent_id, ` + sumTurns + ` FROM json_each(?) wanted
		CROSS JOIN sessions s ON s.agent_id = wanted.value CROSS JOIN turns t ON t.session_id = s.id
		WHERE t.sent_at IS NOT NULL GROUP BY wanted.key`
)

// A tally is a Spent but for what depends on the time.
type tally struct {
	Usage
	turns   int64
	wall    int64 // milliseconds; of a turn that runs, minus the time at which it was sent
	running int64 // turns that run
}

// tallies returns what the ids have used, those without anything left out.
func (s *Store) tallies(ctx context.Context, usage, turns string, ids []string) (map[string]tally, error) {
	wanted := jsonList(ids)
	all := map[string]tally{}
	rows, err := s.r.query(ctx, usage, wanted)
	_, err = collect(rows, err, func(r scanner) (none struct{}, err error) {
		var (
			id string
			t  tally
		)
		err = r.Scan(&id, &t.Calls, &t.InputTokens, &t.OutputTokens, &t.CacheReadTokens, &t.CacheWriteTokens, &t.Cost,
			&t.UnpricedCalls, &t.EstimatedCalls)
		all[id] = t
		return none, err
	})
	if err != nil {
		return nil, err
	}
	rows, err = s.r.query(ctx, turns, wanted)
	_, err = collect(rows, err, func(r scanner) (none struct{}, err error) {
		var (
			id string
			t  tally
		)
		err = r.Scan(&id, &t.turns, &t.wall, &t.running)
		t.Usage = all[id].Usage
		all[id] = t
		return none, err
	})
	return all, err
}

func (s *Store) spentOf(tallies map[string]tally) map[string]Spent {
	out := make(map[string]Spent, len(tallies))
	for id, t := range tallies {
		out[id] = s.counted(t)
	}
	return out
}

// counted is a tally at the present time.
func (s *Store) counted(t tally) Spent {
	wall := t.wall
	if t.running > 0 {
		wall += t.running * s.nowMillis()
	}
	return Spent{Usage: t.Usage, Turns: t.turns, Wall: time.Duration(max(0, wall)) * time.Millisecond} // clocks are set back
}

// A spentCache keeps what agents have used, until the next commit of anything. It is for
// agents at rest, which are read far more often than they work.
type spentCache struct {
	mu      sync.Mutex // guards what follows
	commits uint64     // how many there were before it was read
	agents  map[string]tally
}

func (c *spentCache) get(agentID string, commits uint64) (tally, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.commits != commits {
		return tally{}, false
	}
	t, ok := c.agents[agentID]
	return t, ok
}

func (c *spentCache) put(agentID string, commits uint64, t tally) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.agents == nil || commits > c.commits:
		c.agents, c.commits = map[string]tally{}, commits
	case commits < c.commits: // somebody has read it since
		return
	}
	c.agents[agentID] = t
}
