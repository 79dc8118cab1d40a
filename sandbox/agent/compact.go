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
	h := &t.session.history
	before := estimate(h.entries)
	cut := h.cut(keep)
	if old := h.entries[:cut]; estimate(old) > minSummary {
		head := utterance{Role: "user", Content: text(t.summary(old) + h.pending(cut))}
		if t.ctx.Err() != nil {
			return false // a user who stops the agent does not want it to forget
		}
		h.entries = append([]utterance{head}, h.entries[cut:]...)
	}
	h.shorten(keep)
	if estimate(h.entries) >= before {
		return false
	}
	h.used = 0
	mark := t.current.part("compaction")
	mark.Auto = true
	t.current.put(mark)
	t.session.tell("session.compacted", Properties{})
	return true
}

// summary asks the model for what matters in old.
func (t *turn) summary(old []utterance) string {
	s := t.session
	said := text(transcript(old, s.history.window*2)) // bytes: half of the window
	q := t.question(summarise)
	q.Messages, q.Tools = []utterance{q.Messages[0], {Role: "user", Content: said}}, nil
	out, err := s.agent.model.stream(t.ctx, s.id, q, nobody{})
	if err != nil || len(out.text) == 0 {
		s.agent.cfg.Log.Warn("conversation not summarised", "session", s.id, "err", err)
		return forgotten
	}
	s.touch(out.used)
	return "Summary of this conversation so far:\n\n" + string(out.text)
}

// nobody listens to a summary.
type nobody struct{}

func (nobody) grow(string, string) {}
func (nobody) called(*call)        {}

// pending quotes what the user asked for last, when that is about to go.
func (h *history) pending(cut int) string {
	if slices.ContainsFunc(h.entries[cut:], func(u utterance) bool { return u.Role == "user" }) {
		return ""
	}
	return "\n\nThe user's request, which you are working on, word by word:\n\n" + clip(h.request, quoteLimit)
}

// transcript writes entries as plain text of at most limit bytes: calls without tools
// in the request are refused by some models. The oldest entries give way.
func transcript(entries []utterance, limit int) string {
	var lines []string
	for _, u := range slices.Backward(entries) {
		line := u.transcript()
		if limit -= len(line); limit < 0 {
			break
		}
		lines = append(lines, line)
	}
	slices.Reverse(lines)
	return strings.Join(lines, "")
}

func (u utterance) transcript() string {
	limit := quoteLimit
	if u.Role == "tool" {
		limit = excerptLimit
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\n", strings.ToUpper(u.Role), clip(u.Content.words(), limit))
	for _, c := range u.ToolCalls {
		fmt.Fprintf(&b, "CALL: %s %s\n\n", c.name, clip(string(c.args), excerptLimit))
	}
	return b.String()
}

// words is the text in c.
func (c content) words() string {
	var texts []string
	for _, p := range c {
		if p.Image != nil {
			p.Text = "(an image)"
		}
		texts = append(texts, p.Text)
	}
	return strings.Join(texts, "\n")
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
