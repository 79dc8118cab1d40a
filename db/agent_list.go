package db

import "context"

// An AgentSort says by what agents are ordered.
type AgentSort string

// The orders of agents.
const (
	SortCreated  AgentSort = "created_at"
	SortName     AgentSort = "name" // agents without a name count as greater than all names
	SortHarness  AgentSort = "harness_id"
	SortSessions AgentSort = "sessions" // how many sessions an agent ever had
)

// AgentQuery says which agents to list.
type AgentQuery struct {
	Search string // substring of name, id or harness id, letter case aside; empty: all
	Sort   AgentSort
	Desc   bool
	Limit  int
	Offset int
}

// An AgentRow is an agent in a list.
type AgentRow struct {
	Agent
	SessionCount     int
	HasActiveSession bool // one is creating or ready
}

const (
	agentFilter = ` FROM agents WHERE (?1 = '' OR contains_fold(CAST(name AS BLOB), CAST(?1 AS BLOB))
	OR contains_fold(CAST(id AS BLOB), CAST(?1 AS BLOB)) OR contains_fold(CAST(harness_id AS BLOB), CAST(?1 AS BLOB)))`
	agentPage = `SELECT ` + agentColumns + `,
	(SELECT count(*) FROM sessions s WHERE s.agent_id = agents.id) AS session_count,
	EXISTS (SELECT 1 FROM sessions s WHERE s.agent_id = agents.id AND s.status IN ('creating', 'ready'))` + agentFilter
)

// Agents returns a page of agents, ties by id, and how many match in all.
func (s *Store) Agents(ctx context.Context, q AgentQuery) ([]AgentRow, int, error) {
	var total int
	if err := s.r.row(ctx, `SELECT count(*)`+agentFilter, q.Search).Scan(&total); err != nil {
		return nil, 0, err
	}
	rows, err := s.r.query(ctx, agentPage+q.order()+` LIMIT ?2 OFFSET ?3`, q.Search, q.Limit, q.Offset)
	list, err := collect(rows, err, func(r scanner) (AgentRow, error) {
		var (
			row AgentRow
			err error
		)
		row.Agent, err = s.scanAgent(r, &row.SessionCount, &row.HasActiveSession)
		return row, err
	})
	return list, total, err
}

// order is one of a fixed set of texts, since each query text is prepared and kept.
func (q AgentQuery) order() string {
	orders := map[AgentSort][2]string{
		SortCreated:  {` ORDER BY created_at, id`, ` ORDER BY created_at DESC, id`},
		SortName:     {` ORDER BY name IS NULL, name, id`, ` ORDER BY name IS NULL DESC, name DESC, id`},
		SortHarness:  {` ORDER BY harness_id, id`, ` ORDER BY harness_id DESC, id`},
		SortSessions: {` ORDER BY session_count, id`, ` ORDER BY session_count DESC, id`},
	}
	pair, ok := orders[q.Sort]
	if !ok {
		pair = orders[SortCreated]
	}
	if q.Desc {
		return pair[1]
	}
	return pair[0]
}
