package prompt

import (
	"fmt"
	"strings"

	"lap/db"
)

const (
	memoryStart = "=== AGENT MEMORY ==="
	memoryEnd   = "=== END AGENT MEMORY ==="
)

// guidance tells an agent when to use its memory.
const guidance = `Tools for your memory:
  save_memory(text, tags?, type?, priority?, pinned?)
  search_memory(query?, tags?)

How to use it:
- Save a memory when the user gives feedback that will hold beyond this task, or asks you to remember something.
- Phrase it in general terms, one rule per entry, with 1 to 4 tags.
- Before you finish a piece of work, always search your memory and correct what goes against it.
- Do not save what only concerns the task at hand, or what is remembered already.
- When a memory looks wrong, point it out to the user; never disable it yourself.`

// MemoryBlock is the part of a prompt that shows an agent what it remembers. It is
// there even when that is nothing.
func MemoryBlock(m db.Preload) string {
	var b strings.Builder
	b.WriteString(memoryStart + "\n")
	b.WriteString("You have a memory that lasts from session to session. Below is what matters most of it; you can search the rest.\n\n")
	if n := len(m.Pinned); n > 0 {
		fmt.Fprintf(&b, "ALWAYS-ON (%d pinned, always included):\n", n)
		writeRows(&b, m.Pinned)
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "RANKED (top %d by priority + recent usage):\n", len(m.Ranked))
	switch {
	case len(m.Ranked) > 0:
		writeRows(&b, m.Ranked)
	case len(m.Pinned) > 0:
		b.WriteString("(none)\n")
	default:
		b.WriteString("(no memories yet)\n")
	}
	b.WriteString("\n" + guidance + "\n" + memoryEnd)
	return b.String()
}

func writeRows(b *strings.Builder, rows []db.Memory) {
	for _, m := range rows {
		labels := append([]string{m.Type}, m.Tags...)
		for i, label := range labels {
			labels[i] = strings.Join(strings.Fields(label), " ")
		}
		row := "- [" + strings.Join(labels, ", ") + "] " + indent(m.Text)
		b.WriteString(strings.ReplaceAll(row, memoryEnd, "= = = END AGENT MEMORY = = =") + "\n")
	}
}

// lineEnds makes one kind of line end of all.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\v", "\n", "\f", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")

// indent keeps the further lines of text from looking like lines of the block.
func indent(text string) string {
	return strings.ReplaceAll(lineEnds.Replace(text), "\n", "\n  ")
}
