package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"lap/db"
	"lap/sandbox"
)

// PoolConfig says how many sandboxes are kept warm.
type PoolConfig struct {
	Size            int           // in all; 0: none
	MaxProvisioning int           // made at once
	TTL             time.Duration // after which one is made anew
	Recent          time.Duration // agents with a session in this time get one each
	PriorityAgent   string        // id of an agent with a budget of its own; empty: none
	PrioritySize    int           // that budget
	Memory          int64         // bytes that all of them may take; 0: no limit
}

// A pool keeps sandboxes warm: started, connected, and not yet anybody's. What makes one
// a session's own comes over its pipe when a session takes it, so it depends on nothing
// but what containers are made from.
type pool struct {
	engine *Engine
	cfg    PoolConfig
	again  chan struct{} // has a value when there may be something to do

	mu     sync.Mutex // guards what follows
	boxes  map[string]*warmBox
	making int
	births map[string]bool // names of those that are being made
}

// A warmBox is a sandbox of the pool, with the way to it.
type warmBox struct {
	row  db.Sandbox
	conn *connection
}

func newPool(e *Engine, cfg PoolConfig) *pool {
	return &pool{engine: e, cfg: cfg, again: make(chan struct{}, 1), boxes: map[string]*warmBox{}, births: map[string]bool{}}
}

// wake makes the pool look whether it has something to do.
func (p *pool) wake() {
	select {
	case p.again <- struct{}{}:
	default:
	}
}

// on reports whether anything is kept warm.
func (p *pool) on() bool {
	return p.cfg.Size > 0 || p.cfg.PriorityAgent != "" && p.cfg.PrioritySize > 0
}

// keyFor names what sandboxes of an agent are made from, "" when it cannot be told or
// none are kept warm. Sandboxes with the same key are alike.
func (p *pool) keyFor(ctx context.Context, agent db.Agent) string {
	if !p.on() {
		return ""
	}
	ref, err := p.engine.image(agent)
	if err != nil {
		return ""
	}
	image, err := p.engine.cfg.Runtime.Image(ctx, ref)
	if err != nil {
		return ""
	}
	build, err := p.engine.cfg.Runtime.Build(ctx)
	if err != nil {
		return ""
	}
	limits := p.engine.cfg.Limits
	b, err := json.Marshal([]any{agent.HarnessID, ref, image.ID, build, limits.CPUs, limits.Memory, limits.PIDs, limits.Disk})
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// take gives a claimed sandbox to the session that took it, nil for none.
func (p *pool) take(row *db.Sandbox) *warmBox {
	if row == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.boxes[row.Name]
	delete(p.boxes, row.Name)
	if w == nil { // not reached yet, or gone
		return &warmBox{row: *row, conn: newConnection(row.SessionID, deref(row.ContainerID))}
	}
	return w
}

// count counts a session that asked the pool.
func (p *pool) count(hit bool) {
	if hit {
		p.engine.cfg.Metrics.PoolHit()
	} else {
		p.engine.cfg.Metrics.PoolMiss()
	}
}

// client is the client to a warm sandbox's guest, nil when its pipe has ended.
func (w *warmBox) client() *http.Client { return w.conn.current() }

// run keeps the pool as it should be until ctx ends, and then removes what is in it.
func (p *pool) run(ctx context.Context) error {
	if !p.on() {
		return nil
	}
	for {
		select {
		case <-p.again:
			if err := p.adjust(ctx); err != nil && ctx.Err() == nil {
				p.engine.cfg.Log.WarnContext(ctx, "warm pool", "err", err)
			}
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout/2)
			defer cancel()
			p.dismiss(ctx, "")
			return nil
		}
	}
}

// abandon condemns what an earlier process kept warm: nobody is connected to it.
func (p *pool) abandon(ctx context.Context) error {
	_, err := p.engine.cfg.Store.CondemnWarm(ctx, "")
	return err
}

// dismiss removes the sandboxes that were meant for an agent, or with an empty id all.
func (p *pool) dismiss(ctx context.Context, agentID string) {
	rows, err := p.engine.cfg.Store.CondemnWarm(ctx, agentID)
	if err != nil {
		p.engine.cfg.Log.WarnContext(ctx, "warm pool not emptied", "err", err)
	}
	var removing sync.WaitGroup
	for _, row := range rows {
		removing.Go(func() { p.discard(ctx, row) })
	}
	removing.Wait()
}

// discard removes a sandbox of the pool.
func (p *pool) discard(ctx context.Context, row db.Sandbox) {
	p.mu.Lock()
	w := p.boxes[row.Name]
	delete(p.boxes, row.Name)
	p.mu.Unlock()
	if w != nil {
		w.conn.close()
	}
	if err := p.engine.remove(ctx, row); err != nil {
		p.engine.cfg.Log.WarnContext(ctx, "warm sandbox not removed, the next reconcile tries again", "name", row.Name, "err", err)
	}
}

// A want is a sandbox that should be warm.
type want struct {
	agent db.Agent
	key   string
	image string
}

// adjust removes sandboxes that are stale and makes those that are missing.
func (p *pool) adjust(ctx context.Context) error {
	wants, err := p.wants(ctx)
	if err != nil {
		return err
	}
	rows, err := p.engine.cfg.Store.Sandboxes(ctx)
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(b db.Sandbox) bool {
		return b.WarmKey == nil || b.State != db.SandboxWarm && b.State != db.SandboxMaking
	})
	slices.SortFunc(rows, func(a, b db.Sandbox) int {
		if a.AgentID == "" != (b.AgentID == "") { // nobody's last: they may do where there is none
			return strings.Compare(b.AgentID, a.AgentID)
		}
		return a.CreatedAt.Compare(b.CreatedAt)
	})
	kept := 0
	for _, row := range rows {
		i := slices.IndexFunc(wants, func(w want) bool {
			return (w.agent.ID == row.AgentID || row.AgentID == "") && w.key == deref(row.WarmKey)
		})
		spare := row.AgentID == "" && kept+len(wants) < p.cfg.Size
		if (i >= 0 || spare) && p.fit(row) {
			if kept++; i >= 0 {
				wants = slices.Delete(wants, i, i+1)
			}
			continue
		}
		if list, err := p.engine.cfg.Store.CondemnWarmOne(ctx, row.Name); err != nil {
			return err
		} else if list {
			p.engine.cfg.Metrics.WarmStale()
			p.discard(ctx, row)
		}
	}
	for _, w := range wants {
		p.provision(w)
	}
	return nil
}

// fit reports whether a sandbox of the pool is alive and not too old.
func (p *pool) fit(row db.Sandbox) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.boxes[row.Name]
	if row.State == db.SandboxMaking {
		return p.births[row.Name] || w != nil
	}
	return w != nil && w.client() != nil && (row.ReadyAt == nil || p.engine.cfg.Clock.Since(*row.ReadyAt) < p.cfg.TTL)
}

// wants says which sandboxes should be warm: one for each agent that was used lately, the
// latest first, as many as fit, and those of the agent that goes before all.
func (p *pool) wants(ctx context.Context) ([]want, error) {
	e := p.engine
	ids, err := e.cfg.Store.RecentAgents(ctx, e.cfg.Clock.Now().Add(-p.cfg.Recent), max(p.cfg.Size, 1)+1)
	if err != nil {
		return nil, err
	}
	var list []want
	add := func(id string) bool {
		agent, err := e.cfg.Store.Agent(ctx, id)
		if err != nil {
			return false
		}
		w := want{agent: agent, key: p.keyFor(ctx, agent)}
		if w.image, err = e.image(agent); err != nil || w.key == "" {
			return false
		}
		list = append(list, w)
		return true
	}
	for range p.cfg.PrioritySize {
		if p.cfg.PriorityAgent == "" || !add(p.cfg.PriorityAgent) {
			break
		}
	}
	left := p.cfg.Size
	for _, id := range ids {
		if left > 0 && id != p.cfg.PriorityAgent && add(id) {
			left--
		}
	}
	return p.affordable(list), nil
}

// affordable cuts a list to what the memory for it allows.
func (p *pool) affordable(list []want) []want {
	if p.cfg.Memory <= 0 {
		return list
	}
	left := p.cfg.Memory
	for i, w := range list {
		h, _ := sandbox.LookupHarness(w.agent.HarnessID)
		if left -= h.IdleMemory; left < 0 {
			return list[:i]
		}
	}
	return list
}

// provision makes a sandbox for the pool, unless enough are being made.
func (p *pool) provision(w want) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.making >= p.cfg.MaxProvisioning {
		return // who is done looks again
	}
	p.making++
	started := p.engine.launch(func(ctx context.Context) {
		began := time.Now()
		err := p.make(ctx, w)
		p.mu.Lock()
		p.making--
		p.mu.Unlock()
		if err == nil {
			p.engine.cfg.Metrics.PoolProvisioned(time.Since(began))
		}
		if ignoreStale(err) == nil {
			p.wake()
		} else if ctx.Err() == nil {
			p.engine.cfg.Metrics.PoolFailed()
			p.engine.cfg.Log.WarnContext(ctx, "warm sandbox not made", "agent", w.agent.ID, "err", err)
		}
	})
	if !started {
		p.making--
	}
}

// make makes one sandbox for the pool. It has the labels of the session that will take it,
// and a name that this session uses for no other. On failure it leaves nothing behind; the
// error is db.ErrStale when it is not wanted any more.
func (p *pool) make(ctx context.Context, w want) (err error) {
	e := p.engine
	spec := sandbox.Spec{Session: uuid.NewString(), Agent: w.agent.ID, Image: w.image, Limits: e.cfg.Limits}
	row := db.Sandbox{Name: spec.Name(), SessionID: spec.Session, AgentID: w.agent.ID, WarmKey: &w.key}
	p.setBirth(row.Name, true)
	defer p.setBirth(row.Name, false)
	if err := e.cfg.Store.PlanSandbox(ctx, row); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.remove(ctx, row))
		}
	}()
	id, err := e.cfg.Runtime.Create(ctx, spec)
	if err != nil {
		return err
	}
	row.ContainerID = &id
	if err := e.cfg.Store.SandboxMade(ctx, row.Name, id); err != nil {
		return err
	}
	raw, err := e.cfg.Runtime.Start(ctx, id)
	if err != nil {
		return err
	}
	box := &warmBox{row: row, conn: newConnection(spec.Session, id)}
	defer func() {
		if err != nil {
			box.conn.close()
		}
	}()
	client, err := e.connect(box.conn, raw)
	if err != nil {
		return err
	}
	if _, err := guestHealth(ctx, client); err != nil {
		return box.conn.explain(err)
	}
	p.mu.Lock()
	p.boxes[row.Name] = box
	p.mu.Unlock()
	if err := e.cfg.Store.SandboxReady(ctx, row.Name); err != nil {
		p.mu.Lock()
		delete(p.boxes, row.Name)
		p.mu.Unlock()
		return err
	}
	return nil
}

func (p *pool) setBirth(name string, going bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if going {
		p.births[name] = true
	} else {
		delete(p.births, name)
	}
}

// counts is how many sandboxes of the pool an agent has, by state.
func (p *pool) counts(ctx context.Context, agentID string) (map[string]int, error) {
	rows, err := p.engine.cfg.Store.Sandboxes(ctx)
	n := map[string]int{"provisioning": 0, "warm": 0, "claimed": 0, "dead": 0}
	for _, b := range rows {
		if b.AgentID != agentID || b.WarmKey == nil {
			continue
		}
		switch b.State {
		case db.SandboxMaking:
			n["provisioning"]++
		case db.SandboxWarm:
			n["warm"]++
		case db.SandboxRemoving:
			n["dead"]++
		}
	}
	return n, err
}

// Changed says that something has changed from which sandboxes of an agent may be made, or
// by which they are ruled. It returns at once.
func (e *Engine) Changed(agentID string) {
	e.pool.wake()
	e.launch(func(ctx context.Context) { // a policy may have to be asked of a sandbox
		for _, l := range e.lives() {
			if l.agent == agentID {
				e.vault.Changed(ctx, l.id)
			}
		}
	})
}
