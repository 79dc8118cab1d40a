// Package prompt composes what an agent is told: skill blocks inside its prompt, skill
// files, its memories, and the prompts made of them. All its functions are pure.
package prompt

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// A skill block is a marker line, <!-- skill:ID -->, and everything up to the next
// marker line or the end of the prompt. The legacy marker has no id and reaches to the
// end; it counts only after a newline.
const (
	markerStart = "<!-- skill:"
	markerEnd   = " -->"
)

var (
	legacyMarker = regexp.MustCompile(`\n<!-- skill -->[ \t\r]*(\n|$)`)
	forgedMarker = regexp.MustCompile(`(?m)^<!--( skill(:[^\s>]+)? -->)`)
)

// A block is a skill block's place in a prompt. The newlines before the next marker
// belong to neither block.
type block struct {
	id                string
	start, text, stop int // of the marker, of what follows it, of the block
}

func blocks(prompt string) []block {
	var found []block
	for at := nextMarker(prompt, 0); at >= 0; at = nextMarker(prompt, at+1) {
		if n := len(found); n > 0 {
			found[n-1].stop = newlinesBefore(prompt, at)
		}
		id := markerID(prompt[at:])
		found = append(found, block{id: id, start: at, text: at + len(markerStart+id+markerEnd), stop: len(prompt)})
	}
	return found
}

// nextMarker returns where the first marker line at or after from begins, or -1. It
// looks for the text first: most prompts have no marker, and some are long.
func nextMarker(prompt string, from int) int {
	for {
		i := strings.Index(prompt[from:], markerStart)
		if i < 0 {
			return -1
		}
		at := from + i
		if (at == 0 || prompt[at-1] == '\n') && markerID(prompt[at:]) != "" {
			return at
		}
		from = at + 1
	}
}

// markerID returns the id of the marker that text begins with, or "". An id has neither
// blanks nor ">".
func markerID(text string) string {
	text = text[len(markerStart):]
	end := strings.IndexFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == '>' })
	if end < 0 || !strings.HasPrefix(text[end:], markerEnd) {
		return ""
	}
	return text[:end]
}

// newlinesBefore returns where the run of line ends that stops at position at begins.
func newlinesBefore(text string, at int) int {
	return len(strings.TrimRight(text[:at], "\r\n"))
}

// SkillIDs returns the ids of the skill blocks in prompt, in order, each once.
func SkillIDs(prompt string) []string {
	ids := []string{}
	for _, b := range blocks(prompt) {
		if !slices.Contains(ids, b.id) {
			ids = append(ids, b.id)
		}
	}
	return ids
}

// Attach appends a skill block to prompt, unless a block of that id is there: then
// prompt is returned as it is. A marker that no newline follows does not count. Lines of content that look like markers are defused, so
// that content cannot forge blocks.
func Attach(prompt, id, content string) string {
	for _, b := range blocks(prompt) {
		rest := strings.TrimLeft(prompt[b.text:], " \t\r")
		if b.id == id && strings.HasPrefix(rest, "\n") {
			return prompt
		}
	}
	content = forgedMarker.ReplaceAllString(strings.TrimSpace(content), "<!-- $1")
	added := markerStart + id + markerEnd + "\n" + content
	if prompt = trimRight(prompt); prompt == "" {
		return added
	}
	return prompt + "\n\n" + added
}

// Detach removes the first block of the given id. A prompt without one is returned as
// it is.
func Detach(prompt, id string) string {
	for _, b := range blocks(prompt) {
		if b.id == id {
			return tidy(prompt[:newlinesBefore(prompt, b.start)] + prompt[b.stop:])
		}
	}
	return prompt
}

// DetachAll removes every skill block, and the legacy one with all that follows it. A
// prompt without any is returned as it is.
func DetachAll(prompt string) string {
	kept := prompt
	if at := legacyMarker.FindStringIndex(kept); at != nil {
		kept = kept[:at[0]]
	}
	if all := blocks(kept); len(all) > 0 {
		kept = kept[:all[0].start] // blocks reach to the end
	}
	if kept == prompt {
		return prompt
	}
	return tidy(kept)
}

func tidy(prompt string) string { return strings.TrimLeft(trimRight(prompt), "\r\n") }

func trimRight(text string) string {
	return strings.TrimRight(text, " \t\r\n\v\f\u0085\u00a0\u2028\u2029\ufeff")
}
