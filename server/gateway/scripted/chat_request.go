package scripted

import (
	"encoding/json"
	"fmt"
)

// parse reads a chat completion request.
func (chat) parse(body []byte) (*request, error) {
	const kind = "chat completion"
	var wire struct {
		Messages      span `json:"messages"`
		Stream        bool `json:"stream"`
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
		Tools      chatTools `json:"tools"`
		ToolChoice span      `json:"tool_choice"`
	}
	if err := json.Unmarshal(body, &wire); err != nil {
		return nil, unreadable(kind, err)
	}
	req := &request{stream: wire.Stream, withUsage: wire.StreamOptions.IncludeUsage}
	err := each(wire.Messages, func(m chatMessage) error {
		return req.add(message{role: m.Role, content: m.Content, answers: m.ToolCallID, calls: m.ToolCalls.calls})
	})
	if err != nil {
		return nil, unreadable(kind, fmt.Errorf("messages: %w", err))
	}
	if string(wire.ToolChoice) != `"none"` {
		req.tools = wire.Tools.tools
	}
	return req, req.complete("messages", body, len(wire.Messages))
}

type chatMessage struct {
	Role       string    `json:"role"`
	Content    content   `json:"content"`
	ToolCallID string    `json:"tool_call_id"`
	ToolCalls  chatCalls `json:"tool_calls"`
}

// chatCalls are a message's tool calls, of which the ids are kept.
type chatCalls struct{ message }

// UnmarshalJSON reads an array of tool calls, or null.
func (c *chatCalls) UnmarshalJSON(data []byte) error {
	*c = chatCalls{}
	return eachIfAny(data, func(v struct {
		ID string `json:"id"`
	},
	) error {
		return c.addCall(v.ID)
	})
}

type chatTools struct{ request }

// UnmarshalJSON reads an array of tools, or null.
func (t *chatTools) UnmarshalJSON(data []byte) error {
	*t = chatTools{}
	return eachIfAny(data, func(v struct {
		Function struct {
			Name       string `json:"name"`
			Parameters span   `json:"parameters"`
		} `json:"function"`
	},
	) error {
		return t.addTool(tool{name: v.Function.Name, schema: v.Function.Parameters})
	})
}
