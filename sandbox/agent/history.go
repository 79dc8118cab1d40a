package agent

import (
	"regexp"
	"slices"
	"strconv"
	"sync"
)

const (
	defaultWindow = 128_000 // tokens, until an error says less
	minWindow     = 4_000   // below it, no error is believed
	imageTokens   = 1_500   // a rough price
)

// history is what the model knows of a session: the thread, but for what was compacted.
type history struct {
	entries []utterance
	window  int    // tokens
	used    int64  // tokens of the last model call; 0 when it does not tell about entries
	request string // what the user asked for last
}

// add remembers one whole step. An empty answer, which models refuse, is left out.
func (h *history) add(step ...utterance) {
	for _, u := range step {
		if len(u.Content) > 0 || len(u.ToolCalls) > 0 {
			h.entries = append(h.entries, u)
		}
	}
}

// full reports whether the next question would come too near to the window.
func (h *history) full(system string) bool {
	limit := h.window * 4 / 5
	return int(h.used) > limit || len(system)/4+estimate(h.entries) > limit
}

// estimate counts tokens roughly: four bytes each.
func estimate(entries []utterance) int {
	n := 0
	for _, u := range entries {
		n += u.tokens()
	}
	return n
}

func (u utterance) tokens() int {
	n := 8
	for _, p := range u.Content {
		n += len(p.Text) / 4
		if p.Image != nil {
			n += imageTokens
		}
	}
	for _, c := range u.ToolCalls {
		n += (len(c.name) + len(c.args)) / 4
	}
	return n
}

// windowSize finds the window in an error. It is compiled when the first one comes.
var windowSize = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)(?:(?:maximum|limit|window)[^0-9]{0,40}|>\s*)(\d{4,8})`)
})

// learn takes the window from an error such as "maximum context length is 8192 tokens"
// or "9000 tokens > 8192 maximum". When it names none, the window was surely smaller
// than what was sent.
func (h *history) learn(message, system string) {
	n := (len(system)/4 + estimate(h.entries)) * 3 / 4
	if m := windowSize().FindStringSubmatch(message); m != nil {
		n, _ = strconv.Atoi(m[1]) // at most eight digits
	}
	h.window = max(minWindow, min(h.window, n))
}

// cut returns where the newest entries of keep tokens begin, never between a call and
// its results. The newest step is always kept.
func (h *history) cut(keep int) int {
	at, n := len(h.entries), 0
	for i, u := range slices.Backward(h.entries) {
		n += u.tokens()
		if n > keep && at < len(h.entries) {
			break
		}
		if u.Role != "tool" {
			at = i
		}
	}
	return at
}

// shorten cuts tool results, oldest first, until the entries take at most keep tokens
// or nothing is left to cut.
func (h *history) shorten(keep int) {
	for i, u := range h.entries {
		if estimate(h.entries) <= keep {
			return
		}
		if u.Role == "tool" {
			h.entries[i].Content = text(clip(u.Content.words(), outputLimit))
		}
	}
}
