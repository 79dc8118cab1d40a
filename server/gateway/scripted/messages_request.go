package scripted

import (
	"encoding/json"
	"fmt"
)

// parse reads a request of Anthropic's messages.
func (messages) parse(body []byte) (*request, error) {
	const kind = "messages"
	var wire struct {
		Messages   span          `json:"messages"`
		System     span          `json:"system"`
		Stream     bool          `json:"stream"`
		Tools      messagesTools `json:"tools"`
		ToolChoice struct {
			Type string `json:"type"`
		} `json:"tool_choice"`
	}
	if err := json.Unmarshal(body, &wire); err != nil {
		return nil, unreadable(kind, err)
	}
	req := &request{stream: wire.Stream}
	err := each(wire.Messages, func(m struct {
		Role    string `json:"role"`
		Content blocks `json:"content"`
	},
	) error {
		for _, result := range m.Content.results {
			if err := req.add(result); err != nil {
				return err
			}
		}
		if len(m.Content.results) > 0 && len(m.Content.texts) == 0 && m.Content.images == 0 {
			return nil // the user said nothing
		}
		return req.add(message{role: m.Role, content: m.Content.content, calls: m.Content.calls})
	})
	if err != nil {
		return nil, unreadable(kind, fmt.Errorf("messages: %w", err))
	}
	if wire.ToolChoice.Type != "none" {
		req.tools = wire.Tools.tools
	}
	return req, req.complete("messages", body, len(wire.Messages)+len(wire.System))
}

// blocks are the content of a message: what is said, tool calls and their results.
type blocks struct {
	content
	message // its calls
	results []message
}

// UnmarshalJSON reads a string or an array of blocks.
func (b *blocks) UnmarshalJSON(data []byte) error {
	*b = blocks{}
	if len(data) == 0 || data[0] != '[' {
		return b.content.UnmarshalJSON(data)
	}
	b.size = len(data)
	return each(data, func(block struct {
		part
		ID        string `json:"id"`
		ToolUseID string `json:"tool_use_id"`
		Content   span   `json:"content"`
	},
	) error {
		switch block.Type {
		case "tool_use":
			return b.addCall(block.ID)
		case "tool_result":
			return b.addResult(block.ToolUseID, block.Content)
		default:
			b.add(block.part)
			return nil
		}
	})
}

// addResult takes in the result of a tool call. An error of a tool is a result as well.
func (b *blocks) addResult(id string, data span) error {
	if len(b.results) == maxMessages {
		return fmt.Errorf("more than %d tool results", maxMessages)
	}
	said, err := data.content()
	if err != nil {
		return fmt.Errorf("tool_result: %w", err)
	}
	b.size -= len(data) // it is counted as its own
	b.results = append(b.results, message{role: roleTool, answers: id, content: said})
	return nil
}

type messagesTools struct{ request }

// UnmarshalJSON reads an array of tools, or null.
func (t *messagesTools) UnmarshalJSON(data []byte) error {
	*t = messagesTools{}
	return eachIfAny(data, func(v struct {
		Name   string `json:"name"`
		Schema span   `json:"input_schema"`
	},
	) error {
		return t.addTool(tool{name: v.Name, schema: v.Schema})
	})
}
