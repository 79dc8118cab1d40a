package session

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"lap/db"
)

const (
	maxHistory     = 200 << 10 // bytes of history told to a fresh harness session
	maxHistoryText = 32 << 10  // and bytes of one text in it
)

// An utterance is a message as a fresh harness session is told of it.
type utterance struct {
	Role  string `json:"role"`
	Parts []any  `json:"parts"`
}

// history tells what was said in a session before a turn, the newest turns that fit, or
// is "" when there was nothing. Turns that failed are left out; one that was interrupted
// is told without an answer.
func (e *Engine) history(ctx context.Context, sessionID string, before int64) (string, error) {
	turns, err := e.cfg.Store.Turns(ctx, sessionID)
	if err != nil {
		return "", err
	}
	var told []json.RawMessage
	size := 0
	for _, t := range slices.Backward(turns) {
		if t.Seq >= before || t.Status != db.TurnComplete && t.Status != db.TurnInterrupted {
			continue
		}
		said, err := recount(t)
		if err != nil {
			return "", fmt.Errorf("turn %d: %w", t.Seq, err)
		}
		for _, u := range slices.Backward(said) {
			raw, err := json.MarshalIndent(u, "", "  ") // escapes < and >, so that no text can end the element
			if err != nil {
				return "", err
			}
			if size += len(raw); size > maxHistory {
				return wrapHistory(told), nil
			}
			told = append(told, raw)
		}
	}
	return wrapHistory(told), nil
}

// wrapHistory puts messages, the newest first, into the form that harnesses are told.
func wrapHistory(told []json.RawMessage) string {
	if len(told) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("<previous_session_history>\n<msgs>\n[\n")
	for i, raw := range slices.Backward(told) {
		b.Write(raw)
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString("\n")
	}
	b.WriteString("]\n</msgs>\n</previous_session_history>\n" +
		"This conversation took place before. Your sandbox was replaced since, so processes are gone, and files may be. Go on from here.")
	return b.String()
}

// recount is a turn as messages: what was said, and what was answered.
func recount(t db.Turn) ([]utterance, error) {
	var said []json.RawMessage
	if err := json.Unmarshal(t.Parts, &said); err != nil {
		return nil, err
	}
	list := []utterance{{Role: "user", Parts: essence(said)}}
	if t.Reply == nil {
		return list, nil
	}
	var reply message
	if err := json.Unmarshal(t.Reply, &reply); err != nil {
		return nil, err
	}
	if parts := essence(reply.Parts); len(parts) > 0 {
		list = append(list, utterance{Role: "assistant", Parts: parts})
	}
	return list, nil
}

// A message is what lap itself looks at in a message.
type message struct {
	Parts []json.RawMessage `json:"parts"`
}

// essence is what of some parts is worth telling: texts, and which tools were used.
func essence(parts []json.RawMessage) []any {
	var kept []any
	for _, raw := range parts {
		var p struct {
			part
			Tool  string `json:"tool"`
			State struct {
				Input  json.RawMessage `json:"input,omitempty"`
				Output string          `json:"output,omitempty"`
			} `json:"state"`
		}
		if json.Unmarshal(raw, &p) != nil || p.Synthetic { // not a part lap knows: not told
			continue
		}
		switch p.Type {
		case "text":
			kept = append(kept, map[string]any{"type": "text", "text": clipText(p.Text)})
		case "tool":
			kept = append(kept, map[string]any{"type": "tool", "tool": p.Tool, "input": p.State.Input, "output": clipText(p.State.Output)})
		case "image", "file":
			kept = append(kept, map[string]any{"type": "text", "text": "(an image that is no longer there)"})
		}
	}
	return kept
}

// clipText cuts text in its middle to about maxHistoryText bytes.
func clipText(text string) string {
	if len(text) <= maxHistoryText {
		return text
	}
	half := maxHistoryText / 2
	return strings.ToValidUTF8(text[:half], "") + "\n…\n" + strings.ToValidUTF8(text[len(text)-half:], "")
}
