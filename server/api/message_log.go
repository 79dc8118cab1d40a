package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"lap/db"
)

// toolText is how many characters the log shows of a tool call.
const toolText = 200

// history begins the text that tells a new sandbox what was said before.
const history = "<previous_session_history>"

// A loggedMessage is what the log reads of a message. What is not as expected is zero.
type loggedMessage struct {
	Info struct {
		ID     string `json:"id"`
		Role   string `json:"role"`
		Time   span   `json:"time"`
		Tokens struct {
			Output float64 `json:"output"`
		} `json:"tokens"`
	} `json:"info"`
	Parts []loggedPart `json:"-"` // one by one, so that a strange one spoils no other
}

// A span is from when to when, in Unix milliseconds. 0: not known.
type span struct {
	Created   float64 `json:"created"`
	Completed float64 `json:"completed"`
}

// A loggedPart is a part in any of the shapes that harnesses use.
type loggedPart struct {
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	Thinking  string          `json:"thinking"`
	Synthetic bool            `json:"synthetic"`
	Tool      string          `json:"tool"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
	State     json.RawMessage `json:"state"`
	Call      struct {
		Tool  string          `json:"toolName"`
		State string          `json:"state"`
		Args  json.RawMessage `json:"args"`
	} `json:"toolInvocation"`
}

// messageLog is the log of one message. at is when the one before it was; the time of
// this one is returned, which never lies before that.
func messageLog(raw json.RawMessage, at time.Time) ([]logEvent, time.Time) {
	m := parseMessage(raw)
	if ms := int64(m.Info.Time.Created); ms > at.UnixMilli() {
		at = time.UnixMilli(ms)
	}
	if m.Info.Role == "user" {
		return userLog(m, at), at
	}
	var list []logEvent
	for i, part := range m.Parts {
		e, ok := part.log()
		if !ok {
			continue
		}
		e.ID, e.At = part.ID, stamp(at)
		if e.ID == "" {
			e.ID = fmt.Sprint(m.Info.ID, ":", i)
		}
		if len(list) == 0 {
			e.Meta = m.meta()
		}
		list = append(list, e)
	}
	return list, at
}

// parseMessage reads as much of a message as is in order: it comes out of a sandbox.
func parseMessage(raw json.RawMessage) loggedMessage {
	var v struct {
		loggedMessage
		Parts []json.RawMessage `json:"parts"`
	}
	_ = json.Unmarshal(raw, &v) // members of wrong types stay zero
	m := v.loggedMessage
	for _, text := range v.Parts {
		var p loggedPart
		_ = json.Unmarshal(text, &p)
		m.Parts = append(m.Parts, p)
	}
	return m
}

// userLog is the log of what a user said. What lap put in front of it is not shown.
func userLog(m loggedMessage, at time.Time) []logEvent {
	var list []logEvent
	detail, restored := said(m.Parts)
	if restored {
		list = append(list, logEvent{ID: m.Info.ID + ":restored", Kind: kindRecovered, At: stamp(at), Title: "Session restored"})
	}
	if detail != "" {
		list = append(list, logEvent{ID: m.Info.ID, Kind: "user", At: stamp(at), Title: "User message", Detail: detail})
	}
	return list
}

// said is the text of a user's parts, or what they are where there is none. restored says
// that the conversation before was among them.
func said(parts []loggedPart) (detail string, restored bool) {
	var texts []string
	others := map[string]int{}
	for _, p := range parts {
		switch {
		case strings.HasPrefix(p.Text, history):
			restored = true
		case p.Synthetic:
		case p.Type == "text" && strings.TrimSpace(p.Text) != "":
			texts = append(texts, p.Text)
		case p.Type != "text":
			others[p.Type]++
		}
	}
	if len(texts) > 0 {
		return cut(strings.Join(texts, "\n"), logText), restored
	}
	for _, kind := range keysOf(others) {
		texts = append(texts, fmt.Sprintf("[%s × %d]", cut(kind, quoteLimit), others[kind]))
	}
	return strings.Join(texts, " "), restored
}

// log is what the log shows of a part of an answer.
func (p loggedPart) log() (e logEvent, ok bool) {
	switch p.Type {
	case "thinking", "reasoning":
		e = logEvent{Kind: "thinking", Title: "Thinking", Detail: cut(cmp.Or(p.Text, p.Thinking), logText)}
		return e, e.Detail != ""
	case "text":
		return logEvent{Kind: "response", Title: "Response", Detail: cut(p.Text, logText)}, p.Text != ""
	case "tool", "tool-invocation", "tool_use", "tool-call":
		return p.toolLog(), true
	}
	return logEvent{}, false
}

func (p loggedPart) toolLog() logEvent {
	var state struct {
		Status string          `json:"status"`
		Input  json.RawMessage `json:"input"`
	}
	_ = json.Unmarshal(p.State, &state) // or a text, or nothing
	var words []string
	if status := cmp.Or(state.Status, p.Call.State); status != "" {
		words = append(words, status)
	}
	for _, input := range []json.RawMessage{state.Input, p.Input, p.Call.Args} {
		var b bytes.Buffer
		if len(input) > 0 && json.Compact(&b, input) == nil {
			words = append(words, b.String())
			break
		}
	}
	name := cut(cmp.Or(p.Tool, p.Name, p.Call.Tool, "?"), quoteLimit)
	return logEvent{Kind: "tool", Title: "Tool: " + name, Detail: cut(strings.Join(words, " · "), toolText)}
}

// meta is how long an answer took, and how many tokens it has.
func (m loggedMessage) meta() string {
	var words []string
	if t := m.Info.Time; t.Created > 0 && t.Completed >= t.Created {
		ms := t.Completed - t.Created
		word := fmt.Sprintf("%.1fs", ms/1000)
		if ms < 1000 {
			word = fmt.Sprintf("%.0fms", ms)
		}
		words = append(words, word)
	}
	if n := m.Info.Tokens.Output; n > 0 {
		words = append(words, fmt.Sprintf("%.0f tok", n))
	}
	return strings.Join(words, " · ")
}

// turnLog is the log that turns make, where there is no thread.
func turnLog(turns []db.Turn) []logEvent {
	var list []logEvent
	for _, t := range turns {
		said := parseMessage(json.RawMessage(`{"parts":` + string(t.Parts) + `}`))
		said.Info.ID = turnID(t)
		list = append(list, userLog(said, sentAt(t))...)
		e := logEvent{ID: turnID(t) + ":answer", Kind: "assistant", At: stamp(sentAt(t)), Title: "Agent", Status: "pending"}
		switch {
		case t.Status == db.TurnComplete:
			e.Status, e.Detail = "complete", answered(t.Reply)
		case !t.Open():
			e.Status, e.Detail = "failed", cut(text(t.Error), logText)
		}
		if t.CompletedAt != nil {
			e.At = stamp(*t.CompletedAt)
		}
		list = append(list, e)
	}
	return list
}

// answered is the text of a reply.
func answered(reply json.RawMessage) string {
	var texts []string
	for _, p := range parseMessage(reply).Parts {
		if p.Type == "text" {
			texts = append(texts, p.Text)
		}
	}
	return cut(strings.Join(texts, "\n"), logText)
}

func turnID(t db.Turn) string { return fmt.Sprint(t.SessionID, ":turn:", t.Seq) }
