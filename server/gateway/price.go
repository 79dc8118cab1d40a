package gateway

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A Price is what tokens of a model cost, in US dollars for each.
type Price struct{ Input, Output, CacheRead, CacheWrite float64 }

// Cost is what a usage costs at this price.
func (p Price) Cost(u Usage) float64 {
	plain := max(0, u.InputTokens-u.CacheReadTokens-u.CacheWriteTokens)
	return float64(plain)*p.Input + float64(u.CacheReadTokens)*p.CacheRead +
		float64(u.CacheWriteTokens)*p.CacheWrite + float64(u.OutputTokens)*p.Output
}

// A PriceTable holds prices by names of models, of which one may end in * for whatever
// follows.
type PriceTable map[string]Price

// ParsePrices reads a comma list of name=input/output/cache read/cache write, in dollars
// for a million tokens. Without a price of their own, tokens of a cache cost what others
// of the input do.
func ParsePrices(text string) (PriceTable, error) {
	table := PriceTable{}
	for entry := range strings.SplitSeq(text, ",") {
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		name, numbers, ok := cutLast(entry, "=")
		name = strings.TrimSpace(name)
		if !ok || name == "" || strings.Contains(strings.TrimSuffix(name, "*"), "*") {
			return nil, fmt.Errorf("%q is no price of a model, such as gpt-5=1.25/10 or claude-*=3/15/0.3/3.75", entry)
		}
		if _, twice := table[name]; twice {
			return nil, fmt.Errorf("%q has two prices", name)
		}
		price, err := parsePrice(numbers)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		table[name] = price
	}
	return table, nil
}

func cutLast(text, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(text, sep)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(sep):], true
}

const (
	million  = 1e6
	maxPrice = 1e6 // dollars for a million tokens
)

func parsePrice(text string) (Price, error) {
	parts := strings.Split(text, "/")
	if len(parts) < 2 || len(parts) > 4 {
		return Price{}, errors.New("needs dollars for a million tokens of input and of output, such as 1.25/10, and may have those read from and written to a cache after them")
	}
	n := make([]float64, len(parts))
	for i, part := range parts {
		v, err := strconv.ParseFloat(strings.TrimSpace(part), 64)
		if err != nil || !(v >= 0 && v <= maxPrice) {
			return Price{}, fmt.Errorf("%q is no number of dollars", part)
		}
		n[i] = v / million
	}
	for len(n) < 4 {
		n = append(n, n[0])
	}
	return Price{Input: n[0], Output: n[1], CacheRead: n[2], CacheWrite: n[3]}, nil
}

// of returns the price of a model: that of its name or, without, of the longest beginning.
func (t PriceTable) of(model string) (Price, bool) {
	if p, ok := t[model]; ok {
		return p, true
	}
	best := ""
	for name := range t {
		if begin, ok := strings.CutSuffix(name, "*"); ok && strings.HasPrefix(model, begin) && len(name) > len(best) {
			best = name
		}
	}
	p, ok := t[best]
	return p, ok
}
