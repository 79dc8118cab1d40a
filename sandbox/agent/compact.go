//go:build unix

package agent

import (
	"fmt"
	"slices"
	"strings"
)

const (
	quoteLimit   = 8 << 10 // bytes of the last request that survive word by word
	excerptLimit = 2 << 10 // bytes of one tool result in what is summarised
	outputLimit  = 1 << 10 // bytes that stay of a tool result which has to make room
	minSummary   = 200     // tokens: less than this is not worth a summary
)

const summarise = `You condense the conversation of a coding agent so that it can go on without it.
Write what it needs, in this order: what the user asked for and every rule they gave; what was done and
found out, with exact paths, names, commands and error texts; the state of the work; what is left to do.
Use plain short sentences. Do not address anybody and do not call tools.`

const forgotten = "(Earlier messages no longer fitted and were removed. Look at the files again where you need to.)"

// compact makes room: all but the newest entries, of keep tokens together, become a
// summary. It does not fail: without a summary the older part is just forgotten. The
// thread that clients see keeps everything and gets a mark. It returns false when there
// was nothing to gain.
func (t *turn) compact(keep int) bool {
	s := t.session
	h := &s.history
	before := estimate(h.entries)
	cut := h.cut(keep)
	if old := h.entries[:cut]; estimate(old) > minSummary {
		head := entry{role: "user", said: []content{{text: t.summary(old) + h.pending(cut)}}}
		if t.ctx.Err() != nil {
			return false // a user who stops the agent does not want it to forget
		}
		h.entries = append([]entry{head}, h.entries[cut:]...)
	}
	h.shorten(keep)
	if estimate(h.entries) >= before {
		return false
	}
	h.used = 0
	mark := t.current.part("compaction")
	mark.Auto = true
	t.current.put(mark)
	s.agent.bus.publish("session.compacted", sessionMark{s.id})
	return true
}

// cut returns where the newest entries of keep tokens begin, never between a call and
// its results. The newest step is always kept.
func (h *history) cut(keep int) int {
	at, n := len(h.entries), 0
	for i, e := range slices.Backward(h.entries) {
		n += e.tokens()
		if n > keep && at < len(h.entries) {
			break
		}
		if e.role != "tool" {
			at = i
		}
	}
	return at
}

// shorten cuts tool results, oldest first, until the entries take at most keep tokens
// or nothing is left to cut.
func (h *history) shorten(keep int) {
	for i := range h.entries {
		if estimate(h.entries) <= keep {
			return
		}
		if e := &h.entries[i]; e.role == "tool" {
			e.text = clip(e.text, outputLimit)
		}
	}
}

// summary asks the model for what matters in old.
func (t *turn) summary(old []entry) string {
	text := transcript(old, t.session.history.window*2) // bytes: half of the window
	q := t.question(summarise)
	q.messages, q.tools = []entry{{role: "user", said: []content{{text: text}}}}, nil
	out, err := t.session.agent.model.stream(t.ctx, q, nobody{})
	if err != nil || len(out.text) == 0 {
		t.session.agent.cfg.Log.Warn("conversation not summarised", "session", t.session.id, "err", err)
		return forgotten
	}
	t.session.touch(out.used)
	return "Summary of this conversation so far:\n\n" + string(out.text)
}

// nobody listens to a summary.
type nobody struct{}

func (nobody) grow(string, string) {}
func (nobody) called(*toolCall)    {}

// transcript writes entries as plain text of at most limit bytes: calls without tools
// in the request are refused by some models. The oldest entries give way.
func transcript(entries []entry, limit int) string {
	var lines []string
	for _, e := range slices.Backward(entries) {
		line := e.transcript()
		if limit -= len(line); limit < 0 {
			break
		}
		lines = append(lines, line)
	}
	var b strings.Builder
	for _, line := range slices.Backward(lines) {
		b.WriteString(line)
	}
	return b.String()
}

func (e entry) transcript() string {
	var b strings.Builder
	switch e.role {
	case "user":
		fmt.Fprintf(&b, "USER: %s\n\n", clip(e.words(), quoteLimit))
	case "tool":
		fmt.Fprintf(&b, "RESULT: %s\n\n", clip(e.text, excerptLimit))
	default:
		fmt.Fprintf(&b, "AGENT: %s\n\n", clip(e.text, quoteLimit))
	}
	for _, c := range e.calls {
		fmt.Fprintf(&b, "CALL: %s %s\n\n", c.name, clip(string(c.args), excerptLimit))
	}
	return b.String()
}

// words is the text of what a user said.
func (e entry) words() string {
	var texts []string
	for _, c := range e.said {
		if c.image != "" {
			c.text = "(an image)"
		}
		texts = append(texts, c.text)
	}
	return strings.Join(texts, "\n")
}

// pending quotes what the user asked for last, when that is about to go.
func (h *history) pending(cut int) string {
	for _, e := range h.entries[cut:] {
		if e.role == "user" {
			return ""
		}
	}
	return "\n\nThe user's request, which you are working on, word by word:\n\n" + clip(h.request, quoteLimit)
}

// clip shortens text to about limit bytes by leaving out its middle.
func clip(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	half := limit / 2
	return strings.ToValidUTF8(text[:half], "") +
		fmt.Sprintf("\n... [%d bytes left out] ...\n", len(text)-2*half) +
		strings.ToValidUTF8(text[len(text)-half:], "")
}
