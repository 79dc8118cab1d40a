package db

import "sync"

const (
	cachedAgents    = 128      // at once
	cachedAgentSize = 32 << 10 // characters of prompt and projects; larger ones are not kept
)

// An agentCache keeps agents that were read. One agent is read far more often than any
// is changed, and a read from the file costs more than the whole rest of a request. It
// is right because a Store is the only writer of its file.
type agentCache struct {
	mu      sync.RWMutex // guards what follows
	agents  map[string]Agent
	changes int // how often anything was dropped
}

// get returns a kept agent, or a ticket for put.
func (c *agentCache) get(id string) (a Agent, ok bool, ticket int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	a, ok = c.agents[id]
	return a, ok, c.changes
}

// put keeps a, unless an agent was changed since get gave the ticket: then a may be from
// before the change.
func (c *agentCache) put(a Agent, ticket int) {
	size := len(a.Projects)
	if a.Prompt != nil {
		size += len(*a.Prompt)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ticket != c.changes || size > cachedAgentSize {
		return
	}
	if c.agents == nil || len(c.agents) == cachedAgents {
		c.agents = map[string]Agent{}
	}
	c.agents[a.ID] = a
}

// clear forgets all agents, after the commit that deleted them.
func (c *agentCache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.agents = nil
	c.changes++
}

// drop forgets an agent. It must come after the commit of what changed it: before, a
// reader could still bring back what was.
func (c *agentCache) drop(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.agents, id)
	c.changes++
}
