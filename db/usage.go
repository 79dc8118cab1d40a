package db

import (
	"context"
	"encoding/json"
	"time"
)

// A Usage is what model calls have used. Tokens read from or written to a provider's cache
// are part of InputTokens.
type Usage struct {
	Calls            int64
	InputTokens      int64
	OutputTokens     int64
	CacheReadTokens  int64
	CacheWriteTokens int64
	Cost             float64 // US dollars, of the calls whose price is known
	UnpricedCalls    int64   // calls that are not in Cost
	EstimatedCalls   int64   // calls whose tokens were estimated, as their answers did not tell
}

// A Spent is a Usage with what else a Budget limits.
type Spent struct {
	Usage
	Turns int64         // sent to the harness
	Wall  time.Duration // that turns have run, those that run included
}

// A Budget limits a Spent. A nil member does not.
type Budget struct {
	Tokens      *int64   `json:"tokens,omitempty"` // input and output
	Cost        *float64 `json:"cost_usd,omitempty"`
	WallSeconds *int64   `json:"wall_seconds,omitempty"` // during which turns run
	Turns       *int64   `json:"turns,omitempty"`
}

// column is the budget as a column keeps it, NULL for nil.
func (b *Budget) column() *string {
	if b == nil {
		return nil
	}
	text, err := json.Marshal(b)
	if err != nil {
		panic(err) // no budget is NaN or infinite
	}
	return textOrNull(text)
}

// AddUsage adds to a session's usage. The error is ErrNotFound when it does not exist.
func (s *Store) AddUsage(ctx context.Context, sessionID string, u Usage) error {
	return s.tx(ctx, func(t tx) error {
		return t.mustChange(ctx, ErrNotFound, `INSERT INTO usage (session_id, agent_id, calls, input_tokens, output_tokens,
			cache_read_tokens, cache_write_tokens, cost, unpriced_calls, estimated_calls)
			SELECT id, agent_id, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM sessions WHERE id = ?1
			ON CONFLICT (session_id) DO UPDATE SET calls = calls + excluded.calls,
			input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
			cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
			cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens, cost = cost + excluded.cost,
			unpriced_calls = unpriced_calls + excluded.unpriced_calls, estimated_calls = estimated_calls + excluded.estimated_calls`,
			sessionID, u.Calls, u.InputTokens, u.OutputTokens, u.CacheReadTokens, u.CacheWriteTokens, u.Cost,
			u.UnpricedCalls, u.EstimatedCalls)
	})
}
