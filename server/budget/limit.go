package budget

import (
	"fmt"
	"strconv"
	"time"

	"lap/db"
	"lap/server/gateway"
)

// owner is whose budget it is.
type owner int

const (
	ofSession owner = iota
	ofAgent
)

// unit is what a limit is counted in.
type unit int

const (
	tokens unit = iota
	dollars
	seconds
	turns
)

// limit is one number of a budget beside what was used of it.
type limit struct {
	owner      owner
	unit       unit
	most, have float64
}

// limitsOf are the limits of a budget.
func limitsOf(b *db.Budget, s db.Spent, o owner) []limit {
	var out []limit
	if b.Tokens != nil {
		out = append(out, limit{o, tokens, float64(*b.Tokens), float64(s.InputTokens + s.OutputTokens)})
	}
	if b.Cost != nil {
		out = append(out, limit{o, dollars, *b.Cost, s.Cost})
	}
	if b.WallSeconds != nil {
		out = append(out, limit{o, seconds, float64(*b.WallSeconds), s.Wall.Seconds()})
	}
	if b.Turns != nil { // the one that calls has begun, and the last one may call, too
		out = append(out, limit{o, turns, float64(*b.Turns), float64(max(0, s.Turns-1))})
	}
	return out
}

// nearly is the part of a budget from which on calls are made one by one.
const nearly = 0.9

func (l limit) inDollars() bool { return l.unit == dollars }
func (l limit) nearlySpent() bool {
	return (l.unit == tokens || l.unit == dollars) && l.have >= nearly*l.most
}

// refuse is why a call may not be made, or nil.
func (l limit) refuse() *gateway.RefusalError {
	if l.have < l.most {
		return nil
	}
	cure := "create a session with a larger " + l.member()
	if l.owner == ofAgent {
		cure = "raise " + l.member() + " of the agent"
	}
	return &gateway.RefusalError{Message: fmt.Sprintf("%s is spent (%s used): %s", l.what(), l.used(), cure)}
}

func (l limit) unpriced(model string) *gateway.RefusalError {
	return &gateway.RefusalError{Message: fmt.Sprintf("%s is one in dollars, but the price of model %s is not known: set LAP_MODEL_PRICES", l.what(), model)}
}

// what names the budget.
func (l limit) what() string {
	if l.owner == ofAgent {
		return "the budget of " + l.amount(l.most) + " that all sessions of this agent share"
	}
	return "this session's budget of " + l.amount(l.most)
}

// member is where the limit is set.
func (l limit) member() string {
	switch l.unit {
	case dollars:
		return "budget.cost_usd"
	case seconds:
		return "budget.wall_seconds"
	case turns:
		return "budget.turns"
	case tokens:
	}
	return "budget.tokens"
}

func (l limit) amount(n float64) string {
	switch l.unit {
	case dollars:
		return money(n)
	case seconds:
		return (time.Duration(n) * time.Second).String() + " of work"
	case turns:
		return fmt.Sprintf("%.0f turns", n)
	case tokens:
	}
	return fmt.Sprintf("%.0f tokens", n)
}

// used is the number alone.
func (l limit) used() string {
	switch l.unit {
	case dollars:
		return money(l.have)
	case seconds:
		return (time.Duration(l.have) * time.Second).String()
	case tokens, turns:
	}
	return fmt.Sprintf("%.0f", l.have)
}

// money has cents, and more where that is less than a dollar.
func money(n float64) string {
	if n >= 1 {
		return "$" + strconv.FormatFloat(n, 'f', 2, 64)
	}
	return "$" + strconv.FormatFloat(n, 'g', 3, 64)
}
