package scripted

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
)

// parse reads a request of OpenAI's responses. Nothing is kept of earlier ones, so it
// must hold the whole conversation.
func (responses) parse(body []byte) (*request, error) {
	const kind = "responses"
	var wire struct {
		Input        span           `json:"input"`
		Instructions span           `json:"instructions"`
		Stream       bool           `json:"stream"`
		Background   bool           `json:"background"`
		Previous     span           `json:"previous_response_id"`
		Conversation span           `json:"conversation"`
		Include      includes       `json:"include"`
		Tools        responsesTools `json:"tools"`
		ToolChoice   span           `json:"tool_choice"`
	}
	if err := json.Unmarshal(body, &wire); err != nil {
		return nil, unreadable(kind, err)
	}
	switch {
	case wire.Previous.isSet():
		return nil, invalid("previous_response_not_found", "previous_response_id: scripted models keep no responses: send the whole conversation as input")
	case wire.Conversation.isSet():
		return nil, invalid("conversation_not_found", "conversation: scripted models keep no conversations: send the whole of it as input")
	case wire.Background:
		return nil, invalid("unsupported_background", "background: scripted models answer at once: ask without it")
	}
	req := &request{stream: wire.Stream, sealed: wire.Include.sealed}
	req.tools = wire.Tools.tools
	if err := req.hearInput(wire.Input); err != nil {
		return nil, unreadable(kind, fmt.Errorf("input: %w", err))
	}
	if string(wire.ToolChoice) == `"none"` {
		req.tools = nil
	}
	return req, req.complete("input", body, len(wire.Input)+len(wire.Instructions))
}

// includes are what a response should hold beside the usual.
type includes struct{ sealed bool }

// UnmarshalJSON reads an array of names, or null.
func (i *includes) UnmarshalJSON(data []byte) error {
	*i = includes{}
	return eachIfAny(data, func(name string) error {
		i.sealed = i.sealed || name == "reasoning.encrypted_content"
		return nil
	})
}

func (r *request) hearInput(input span) error {
	if bytes.HasPrefix(input, []byte(`"`)) {
		said, err := input.content()
		if err != nil {
			return err
		}
		return r.add(message{role: roleUser, content: said})
	}
	h := hearing{req: r}
	if err := each(input, h.hear); err != nil {
		return err
	}
	return h.flush()
}

// hearing makes messages of items. An answer comes in several of them.
type hearing struct {
	req     *request
	answer  message // so far
	pending bool    // there is one
}

type item struct {
	Type    string `json:"type"`
	ID      string `json:"id"`
	Role    string `json:"role"`
	Content span   `json:"content"`
	CallID  string `json:"call_id"`
	Output  span   `json:"output"`
	Tools   span   `json:"tools"`
}

func (h *hearing) hear(i item) error {
	switch i.Type {
	case "", "message":
		return h.hearMessage(i)
	case "reasoning":
		h.pending = true
		return nil
	case "function_call", "custom_tool_call", "local_shell_call":
		h.pending = true
		return h.answer.addCall(cmp.Or(i.CallID, i.ID))
	case "function_call_output", "custom_tool_call_output", "local_shell_call_output":
		result, err := i.Output.content()
		if err != nil {
			return err
		}
		return h.add(message{role: roleTool, answers: cmp.Or(i.CallID, i.ID), content: result})
	case "additional_tools":
		return eachIfAny(i.Tools, h.req.offerAll)
	case "item_reference":
		return invalid("", "item_reference: scripted models keep no items: send %.100q itself", i.ID)
	default:
		return nil // what other tools and the harness leave in a conversation
	}
}

func (h *hearing) hearMessage(i item) error {
	said, err := i.Content.content()
	if err != nil {
		return err
	}
	if i.Role != roleAssistant {
		return h.add(message{role: i.Role, content: said})
	}
	h.pending = true
	h.answer.content.size += said.size
	h.answer.content.texts = append(h.answer.content.texts, said.texts...)
	return nil
}

// add takes in a message that is no part of an answer, and so ends one.
func (h *hearing) add(m message) error {
	if err := h.flush(); err != nil {
		return err
	}
	return h.req.add(m)
}

func (h *hearing) flush() error {
	if !h.pending {
		return nil
	}
	m := h.answer
	m.role = roleAssistant
	h.answer, h.pending = message{}, false
	return h.req.add(m)
}

type responsesTools struct{ request }

// UnmarshalJSON reads an array of tools, or null.
func (t *responsesTools) UnmarshalJSON(data []byte) error {
	*t = responsesTools{}
	return eachIfAny(data, t.offerAll)
}

type responsesTool struct {
	Type       string `json:"type"`
	Name       string `json:"name"`
	Parameters span   `json:"parameters"`
	Tools      span   `json:"tools"`
}

// offerAll takes in a tool, or a namespace of tools.
func (r *request) offerAll(t responsesTool) error {
	if t.Type != "namespace" {
		return r.offer("", t)
	}
	return eachIfAny(t.Tools, func(inner responsesTool) error { return r.offer(t.Name, inner) })
}

func (r *request) offer(namespace string, t responsesTool) error {
	name := t.Name
	if t.Type == kindLocalShell {
		name = t.Type
	}
	return r.addTool(tool{name: name, kind: t.Type, namespace: namespace, schema: t.Parameters})
}
