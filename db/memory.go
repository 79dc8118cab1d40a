package db

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Memory is one thing that an agent remembers.
type Memory struct {
	ID              string
	AgentID         string
	Text            string
	Tags            []string
	Type            string
	Priority        int64 // higher first
	Pinned          bool
	Disabled        bool
	TimesApplied    int64
	LastAppliedAt   *time.Time
	Source          string // agent, slack or ui
	SourceUserID    *string
	SourceSessionID *string
	SourceThreadTS  *string
	CreatedAt       time.Time
	UpdatedAt       time.Time // of the last edit; usage does not move it
}

const (
	memoryColumns = `id, agent_id, text, tags, type, priority, pinned, disabled, times_applied, last_applied_at,
	source, source_user_id, source_session_id, source_thread_ts, created_at, updated_at`
	memoryOrder = ` ORDER BY priority DESC, times_applied DESC, created_at DESC, id LIMIT ? OFFSET ?`
)

func scanMemory(r scanner) (Memory, error) {
	var (
		m                Memory
		tags             string
		applied          *int64
		created, updated int64
	)
	err := r.Scan(&m.ID, &m.AgentID, &m.Text, &tags, &m.Type, &m.Priority, &m.Pinned, &m.Disabled, &m.TimesApplied, &applied,
		&m.Source, &m.SourceUserID, &m.SourceSessionID, &m.SourceThreadTS, &created, &updated)
	if err != nil {
		return Memory{}, err
	}
	if applied != nil {
		at := moment(*applied)
		m.LastAppliedAt = &at
	}
	m.CreatedAt, m.UpdatedAt = moment(created), moment(updated)
	if err := json.Unmarshal([]byte(tags), &m.Tags); err != nil {
		return Memory{}, fmt.Errorf("memory %s: %w", m.ID, err)
	}
	return m, nil
}

// CreateMemory stores m under a new id, unused so far, and returns it. The error is
// ErrNotFound when the agent is gone.
func (s *Store) CreateMemory(ctx context.Context, m Memory) (Memory, error) {
	now := s.nowMillis()
	m.ID, m.CreatedAt, m.UpdatedAt = s.newID(), moment(now), moment(now)
	m.TimesApplied, m.LastAppliedAt = 0, nil
	err := s.tx(ctx, func(t tx) error {
		n, err := t.changed(ctx, `INSERT INTO memories (`+memoryColumns+`)
			SELECT ?1, id, ?3, ?4, ?5, ?6, ?7, ?8, 0, NULL, ?9, ?10, ?11, ?12, ?13, ?13 FROM agents WHERE id = ?2`,
			m.ID, m.AgentID, m.Text, jsonList(m.Tags), m.Type, m.Priority, m.Pinned, m.Disabled,
			m.Source, m.SourceUserID, m.SourceSessionID, m.SourceThreadTS, now)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		return err
	})
	return m, err
}

// Memory returns one memory of an agent, or ErrNotFound.
func (s *Store) Memory(ctx context.Context, agentID, id string) (Memory, error) {
	return scanMemory(s.r.row(ctx, selectMemory, id, agentID))
}

const selectMemory = `SELECT ` + memoryColumns + ` FROM memories WHERE id = ? AND agent_id = ?`

// UpdateMemory changes the text, tags, type, priority, pinned and disabled of a memory
// with edit and returns it. An edit that changes nothing does not count as one; an error
// of edit is returned and nothing is stored. The error is ErrNotFound when there is no
// such memory.
func (s *Store) UpdateMemory(ctx context.Context, agentID, id string, edit func(*Memory) error) (Memory, error) {
	var out Memory
	err := s.tx(ctx, func(t tx) error {
		old, err := scanMemory(t.row(ctx, selectMemory, id, agentID))
		if err != nil {
			return err
		}
		out = old
		if err := edit(&out); err != nil || sameMemory(old, out) {
			return err
		}
		out.UpdatedAt = moment(s.nowMillis())
		_, err = t.exec(ctx, `UPDATE memories
			SET text = ?2, tags = ?3, type = ?4, priority = ?5, pinned = ?6, disabled = ?7, updated_at = ?8 WHERE id = ?1`,
			id, out.Text, jsonList(out.Tags), out.Type, out.Priority, out.Pinned, out.Disabled, millis(out.UpdatedAt))
		return err
	})
	return out, err
}

func sameMemory(a, b Memory) bool {
	return a.Text == b.Text && slices.Equal(a.Tags, b.Tags) && a.Type == b.Type &&
		a.Priority == b.Priority && a.Pinned == b.Pinned && a.Disabled == b.Disabled
}

// DeleteMemory deletes one memory of an agent. The error is ErrNotFound.
func (s *Store) DeleteMemory(ctx context.Context, agentID, id string) error {
	return s.deleteOne(ctx, `DELETE FROM memories WHERE id = ? AND agent_id = ?`, id, agentID)
}

// MemoryQuery says which memories of an agent to list.
type MemoryQuery struct {
	AgentID         string
	Text            string   // substring, letter case aside; blank: any
	Tags            []string // a memory must have all of them
	IncludeDisabled bool
	Limit           int
	Offset          int
}

const memoryFilter = ` FROM memories WHERE agent_id = ?
	AND (disabled = 0 OR ?) AND (? = '' OR contains_fold(CAST(text AS BLOB), CAST(? AS BLOB)))
	AND NOT EXISTS (SELECT 1 FROM json_each(?) wanted WHERE wanted.value NOT IN (SELECT value FROM json_each(tags)))`

func (q MemoryQuery) args() []any {
	text := q.Text
	if strings.TrimSpace(text) == "" {
		text = ""
	}
	return []any{q.AgentID, q.IncludeDisabled, text, text, jsonList(q.Tags)}
}

// Memories returns a page of an agent's memories, best first, and how many match in
// all.
func (s *Store) Memories(ctx context.Context, q MemoryQuery) ([]Memory, int, error) {
	return readMemories(ctx, s.r, q)
}

// SearchMemories is Memories, and counts as a use of each row it returns that is not
// disabled. The rows are as they were before.
func (s *Store) SearchMemories(ctx context.Context, q MemoryQuery) ([]Memory, int, error) {
	var (
		list  []Memory
		total int
	)
	err := s.tx(ctx, func(t tx) error {
		var err error
		if list, total, err = readMemories(ctx, t, q); err != nil || len(list) == 0 {
			return err
		}
		ids := make([]string, len(list))
		for i, m := range list {
			ids[i] = m.ID
		}
		_, err = t.exec(ctx, `UPDATE memories SET times_applied = times_applied + 1, last_applied_at = ?2
			WHERE id IN (SELECT value FROM json_each(?1)) AND disabled = 0`, jsonList(ids), s.nowMillis())
		return err
	})
	return list, total, err
}

func readMemories(ctx context.Context, from queryer, q MemoryQuery) ([]Memory, int, error) {
	args := q.args()
	var total int
	if err := from.row(ctx, `SELECT count(*)`+memoryFilter, args...).Scan(&total); err != nil {
		return nil, 0, err
	}
	rows, err := from.query(ctx, `SELECT `+memoryColumns+memoryFilter+memoryOrder, append(args, q.Limit, q.Offset)...)
	list, err := collect(rows, err, scanMemory)
	return list, total, err
}

// Preload is what an agent's prompt shows of its memory.
type Preload struct {
	Pinned []Memory // always there
	Ranked []Memory // the best of the rest
}

// PreloadMemories returns at most pinned pinned memories and at most ranked others,
// best first. Preloading is not a use.
func (s *Store) PreloadMemories(ctx context.Context, agentID string, pinned, ranked int) (Preload, error) {
	tier := func(isPinned bool, limit int) ([]Memory, error) {
		rows, err := s.r.query(ctx, `SELECT `+memoryColumns+` FROM memories
			WHERE agent_id = ? AND disabled = 0 AND pinned = ?`+memoryOrder, agentID, isPinned, limit, 0)
		return collect(rows, err, scanMemory)
	}
	var (
		p   Preload
		err error
	)
	if p.Pinned, err = tier(true, pinned); err != nil {
		return Preload{}, err
	}
	p.Ranked, err = tier(false, ranked)
	return p, err
}
