// Package prompt composes what an agent is told: skill blocks inside its prompt, skill
// files, its memories, and the prompts made of them. All its functions are pure.
package prompt

import (
	"regexp"
	"slices"
	"strings"
)

// A skill block is a marker line, <!-- skill:ID -->, and everything up to the next
// marker line or the end of the prompt. The legacy marker has no id and reaches to the
// end; it counts only after a newline.
var (
	markerLine   = regexp.MustCompile(`(?m)^<!-- skill:([^\s>]+) -->`)
	legacyMarker = regexp.MustCompile(`\n<!-- skill -->[ \t\r]*(\n|$)`)
	forgedMarker = regexp.MustCompile(`(?m)^<!--( skill(:[^\s>]+)? -->)`)
)

func marker(id string) string { return "<!-- skill:" + id + " -->" }

// A block is a skill block's place in a prompt. The newlines before the next marker
// belong to neither block.
type block struct {
	id         string
	start, end int
}

func blocks(prompt string) []block {
	var found []block
	for _, at := range markerLine.FindAllStringSubmatchIndex(prompt, -1) {
		if n := len(found); n > 0 {
			found[n-1].end = newlinesBefore(prompt, at[0])
		}
		found = append(found, block{id: prompt[at[2]:at[3]], start: at[0], end: len(prompt)})
	}
	return found
}

// newlinesBefore returns where the run of line ends that stops at position at begins.
func newlinesBefore(text string, at int) int {
	return len(strings.TrimRight(text[:at], "\r\n"))
}

// SkillIDs returns the ids of the skill blocks in prompt, in order, each once.
func SkillIDs(prompt string) []string {
	ids := []string{}
	for _, at := range markerLine.FindAllStringSubmatch(prompt, -1) {
		if !slices.Contains(ids, at[1]) {
			ids = append(ids, at[1])
		}
	}
	return ids
}

// Attach appends a skill block to prompt, unless a block of that id is there: then
// prompt is returned as it is. Lines of content that look like markers are defused, so
// that content cannot forge blocks.
func Attach(prompt, id, content string) string {
	for _, b := range blocks(prompt) {
		rest := strings.TrimLeft(prompt[b.start+len(marker(b.id)):], " \t\r")
		if b.id == id && (rest == "" || rest[0] == '\n') {
			return prompt
		}
	}
	content = forgedMarker.ReplaceAllString(strings.TrimSpace(content), "<!-- $1")
	added := marker(id) + "\n" + content
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
			return tidy(prompt[:newlinesBefore(prompt, b.start)] + prompt[b.end:])
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

func trimRight(text string) string { return strings.TrimRight(text, " \t\r\n\v\f\u0085\u00a0\u2028\u2029\ufeff") }
