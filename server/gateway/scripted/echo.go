package scripted

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

const runMark = "RUN:"

// echo answers with the last text of the last user message. Lines RUN: <cmd> in it are
// run first, one after the other, and the answer is then what they said.
func echo(req *request) answer {
	last := lastUser(req.messages)
	if last < 0 {
		return answer{text: "(no user message)"}
	}
	said := req.messages[last].content
	commands := commandsIn(said.last())
	if len(commands) == 0 {
		return answer{text: repeat(said)}
	}
	shell := req.shell()
	results := toolResults(req.messages[last+1:])
	switch {
	case len(results) >= len(commands):
		return answer{text: report(commands, results)}
	case shell != nil:
		return answer{calls: []call{shell.run(commands[len(results)])}}
	default:
		return answer{text: "No bash tool is on offer to run: " + strings.Join(commands, "; ")}
	}
}

func repeat(said content) string {
	var lines []string
	if text := said.last(); text != "" {
		lines = append(lines, text)
	}
	switch said.images {
	case 0:
	case 1:
		lines = append(lines, "[1 image]")
	default:
		lines = append(lines, fmt.Sprintf("[%d images]", said.images))
	}
	if len(lines) == 0 {
		return "(an empty message)"
	}
	return strings.Join(lines, "\n")
}

func commandsIn(text string) []string {
	var commands []string
	for line := range strings.Lines(text) {
		cmd, marked := strings.CutPrefix(strings.TrimSpace(line), runMark)
		if cmd = strings.TrimSpace(cmd); marked && cmd != "" {
			commands = append(commands, cmd)
		}
	}
	return commands
}

// toolResults are the outputs for the calls in messages, in the order of the calls. A
// call whose result is missing counts with an empty one, so that it is not made again.
func toolResults(messages []message) []string {
	byID := map[string]string{}
	for _, m := range messages {
		if m.role == roleTool {
			byID[m.answers] = m.content.all()
		}
	}
	var results []string
	for _, m := range messages {
		for _, id := range m.calls {
			results = append(results, byID[id])
		}
	}
	return results
}

func report(commands, results []string) string {
	var b strings.Builder
	for i, cmd := range commands {
		output := strings.TrimRight(results[i], "\n")
		if output == "" {
			output = "(no output)"
		}
		fmt.Fprintf(&b, "$ %s\n%s\n", cmd, output)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// lastUser is the index of the newest user message, or -1.
func lastUser(messages []message) int {
	for i, m := range slices.Backward(messages) {
		if m.role == roleUser {
			return i
		}
	}
	return -1
}

// marshal is JSON as models write it: without escapes for HTML, which would hide && in
// a command. v must be a value that has a JSON form.
func marshal(v any) []byte {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // only for a type that has no JSON form
	}
	return []byte(strings.TrimSuffix(b.String(), "\n"))
}
