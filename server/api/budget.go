package api

import (
	"math"
	"time"

	"lap/db"
)

// maxWallSeconds is some thirty years.
const maxWallSeconds = 1e9

// budget reads the member budget. null, and an object that limits nothing, is none.
func budget(in *object) optional[db.Budget] {
	return nullable(in, "budget", func(name string) *db.Budget {
		o := in.Object(name)
		if o == nil {
			return nil
		}
		b := db.Budget{
			Tokens: o.Int("tokens", 1, maxExact), Cost: o.Positive("cost_usd"),
			WallSeconds: o.Int("wall_seconds", 1, maxWallSeconds), Turns: o.Int("turns", 1, maxExact),
		}
		if b == (db.Budget{}) {
			return nil
		}
		return &b
	})
}

// A usageReply is on the wire what an agent or a session has used.
type usageReply struct {
	Calls            int64   `json:"calls"`
	InputTokens      int64   `json:"input_tokens"`
	OutputTokens     int64   `json:"output_tokens"`
	TotalTokens      int64   `json:"total_tokens"`
	CacheReadTokens  int64   `json:"cache_read_tokens"`
	CacheWriteTokens int64   `json:"cache_write_tokens"`
	CostUSD          float64 `json:"cost_usd"`
	UnpricedCalls    int64   `json:"unpriced_calls"`
	EstimatedCalls   int64   `json:"estimated_calls"`
	Turns            int64   `json:"turns"`
	WallSeconds      float64 `json:"wall_seconds"`
}

func newUsageReply(s db.Spent) usageReply {
	return usageReply{
		Calls: s.Calls, InputTokens: s.InputTokens, OutputTokens: s.OutputTokens, TotalTokens: s.InputTokens + s.OutputTokens,
		CacheReadTokens: s.CacheReadTokens, CacheWriteTokens: s.CacheWriteTokens,
		CostUSD:       math.Round(s.Cost*1e9) / 1e9, // a sum of binary fractions has digits that nobody paid
		UnpricedCalls: s.UnpricedCalls, EstimatedCalls: s.EstimatedCalls,
		Turns: s.Turns, WallSeconds: float64(s.Wall/time.Millisecond) / 1e3,
	}
}
