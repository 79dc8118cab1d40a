package agent

import (
	"encoding/json"
	"slices"
	"strings"
)

// answer is an assistant message under construction. It is the last message of its
// session's thread until it is done; each change is stored and told.
type answer struct {
	session *session
	info    Info
	open    *Part // the text or reasoning part that still grows
	text    strings.Builder
}

// begin adds an empty assistant message to the thread.
func (t *turn) begin() *answer {
	s := t.session
	info := Info{ID: newID(messageID), SessionID: s.id, Role: "assistant", Agent: agentName}
	info.Time.Created = now()
	info.Reply = &Reply{
		ParentID: t.user.ID, ModelID: t.prompt.Model.ModelID, ProviderID: t.prompt.Model.ProviderID,
		Mode: agentName, Path: Path{CWD: s.tools.Dir(), Root: s.agent.cfg.Dir},
	}
	a := &answer{session: s, info: info}
	s.add(Message{Info: info})
	a.put(a.part("step-start"))
	return a
}

// part returns a new part of the message, not yet stored.
func (a *answer) part(kind string) Part {
	return Part{ID: newID(partID), SessionID: a.session.id, MessageID: a.info.ID, Type: kind}
}

// put stores and tells p, in place of the part with its id if there is one.
func (a *answer) put(p Part) {
	a.store(p)
	a.session.tell("message.part.updated", Properties{Part: &p, Time: now()})
}

func (a *answer) store(p Part) {
	a.session.edit(func(m *Message) {
		i := slices.IndexFunc(m.Parts, func(q Part) bool { return q.ID == p.ID })
		if i < 0 {
			m.Parts = append(m.Parts, p)
			return
		}
		m.Parts[i] = p
	})
}

// grow appends delta to the open part, after opening one of that kind ("text",
// "reasoning") if need be.
func (a *answer) grow(kind, delta string) {
	if delta == "" {
		return
	}
	if a.open == nil || a.open.Type != kind {
		a.settle()
		p := a.part(kind)
		p.Text, p.Time = new(string), &Span{Start: now()}
		a.open = &p
		a.put(p)
	}
	a.text.WriteString(delta)
	a.open.Text = new(a.text.String()) // shares its bytes with the builder, so this is no copy
	a.store(*a.open)
	a.session.tell("message.part.delta", Properties{MessageID: a.info.ID, PartID: a.open.ID, Field: "text", Delta: delta})
}

// settle ends the open part.
func (a *answer) settle() {
	if a.open == nil {
		return
	}
	a.open.Time = &Span{Start: a.open.Time.Start, End: now()}
	a.put(*a.open)
	a.open = nil
	a.text.Reset()
}

// called adds a tool part for a call whose arguments are still on their way.
func (a *answer) called(c *call) {
	a.settle()
	c.part = a.part("tool")
	c.part.Tool, c.part.CallID = c.name, c.id
	c.part.State = &ToolState{Status: "pending", Input: json.RawMessage("{}"), Raw: new(string)}
	a.put(c.part)
}

// discard removes what a failed attempt left, so that the next one starts afresh.
func (a *answer) discard() {
	a.open = nil
	a.text.Reset()
	var gone []Part
	a.session.edit(func(m *Message) {
		m.Parts = slices.DeleteFunc(m.Parts, func(p Part) bool {
			if p.Type == "step-start" || p.Type == "compaction" {
				return false
			}
			gone = append(gone, p)
			return true
		})
	})
	for _, p := range gone {
		a.session.tell("message.part.removed", Properties{MessageID: a.info.ID, PartID: p.ID})
	}
}

// abandon ends the parts that nobody will go on with.
func (a *answer) abandon() {
	a.settle()
	for _, p := range a.session.last().Parts {
		if p.State != nil && (p.State.Status == "pending" || p.State.Status == "running") {
			p.State = &ToolState{Status: "error", Input: p.State.Input, Error: notRun, Time: &Span{Start: now(), End: now()}}
			a.put(p)
		}
	}
}

// finish completes the message: with reason when the model was done, else with what
// went wrong.
func (a *answer) finish(reason string, used Tokens, failure *Error) {
	a.settle()
	if failure == nil {
		p := a.part("step-finish")
		p.Reason, p.Cost, p.Tokens = reason, new(float64), &used
		a.put(p)
	}
	r := *a.info.Reply // the old one has been handed out
	r.Finish, r.Tokens, r.Error = reason, used, failure
	a.info.Reply, a.info.Time.Completed = &r, now()
	a.session.edit(func(m *Message) { m.Info = a.info })
	a.session.tell("message.updated", Properties{Info: a.info})
	a.session.touch(used)
}
