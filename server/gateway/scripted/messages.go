package scripted

import (
	"encoding/base64"
	"encoding/json"
)

// messages is the wire of Anthropic's messages.
type messages struct{}

type messagesAnswer struct {
	ID           string        `json:"id"`
	Type         string        `json:"type"`
	Role         string        `json:"role"`
	Model        string        `json:"model"`
	Content      []any         `json:"content"`
	StopReason   *string       `json:"stop_reason"`
	StopSequence *string       `json:"stop_sequence"`
	Usage        messagesUsage `json:"usage"`
}

type thinkingBlock struct {
	Type      string `json:"type"`
	Thinking  string `json:"thinking"`
	Signature string `json:"signature"`
}

type textBlock struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type toolUseBlock struct {
	Type  string          `json:"type"`
	ID    string          `json:"id"`
	Name  string          `json:"name"`
	Input json.RawMessage `json:"input"`
}

// messagesUsage counts cached tokens apart.
type messagesUsage struct {
	Input      int `json:"input_tokens"`
	CacheWrite int `json:"cache_creation_input_tokens"`
	CacheRead  int `json:"cache_read_input_tokens"`
	Output     int `json:"output_tokens"`
}

func (u Usage) messages() messagesUsage {
	cached := min(u.Cached, u.Prompt)
	return messagesUsage{Input: u.Prompt - cached, CacheRead: cached, Output: u.Completion}
}

// stopReasons are by finish_reason.
var stopReasons = map[string]string{
	finishStop: "end_turn", finishLength: "max_tokens", finishCalls: "tool_use", finishFilter: "refusal",
}

func newMessagesAnswer(req *request, u messagesUsage) messagesAnswer {
	return messagesAnswer{ID: req.id("msg_"), Type: "message", Role: roleAssistant, Model: req.model, Content: []any{}, Usage: u}
}

// signature is what an answer's thinking is signed with.
func (r *request) signature() string { return base64.StdEncoding.EncodeToString(r.seed[:]) }

func (messages) whole(req *request, a answer) any {
	out := newMessagesAnswer(req, a.used(req).messages())
	if a.reasoning != "" {
		out.Content = append(out.Content, thinkingBlock{Type: "thinking", Thinking: a.reasoning, Signature: req.signature()})
	}
	if a.text != "" {
		out.Content = append(out.Content, textBlock{Type: "text", Text: a.text})
	}
	for i, c := range a.calls {
		out.Content = append(out.Content, toolUseBlock{Type: "tool_use", ID: req.partID("toolu_", i), Name: c.name, Input: c.input()})
	}
	out.StopReason = new(stopReasons[a.reason()])
	return out
}

// input is the arguments as a value. What is no JSON becomes a string.
func (c call) input() json.RawMessage {
	if !json.Valid([]byte(c.arguments)) {
		return marshal(c.arguments)
	}
	return json.RawMessage(c.arguments)
}

// Events of a stream. Each says its type once more.
type (
	messageStart struct {
		Type    string         `json:"type"`
		Message messagesAnswer `json:"message"`
	}
	blockStart struct {
		Type  string `json:"type"`
		Index int    `json:"index"`
		Block any    `json:"content_block"`
	}
	blockDelta struct {
		Type  string `json:"type"`
		Index int    `json:"index"`
		Delta any    `json:"delta"`
	}
	blockStop struct {
		Type  string `json:"type"`
		Index int    `json:"index"`
	}
	messageDelta struct {
		Type  string        `json:"type"`
		Delta stopDelta     `json:"delta"`
		Usage messagesUsage `json:"usage"`
	}
	plainEvent struct {
		Type string `json:"type"`
	}
)

type stopDelta struct {
	StopReason   string  `json:"stop_reason"`
	StopSequence *string `json:"stop_sequence"`
}

type textDelta struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type thinkingDelta struct {
	Type     string `json:"type"`
	Thinking string `json:"thinking"`
}

type signatureDelta struct {
	Type      string `json:"type"`
	Signature string `json:"signature"`
}

type inputDelta struct {
	Type    string `json:"type"`
	Partial string `json:"partial_json"`
}

func (messages) stream(s *stream, a answer) {
	used := a.used(s.req).messages()
	begun := used
	begun.Output = min(used.Output, 1) // the rest is not yet known
	s.send("message_start", messageStart{"message_start", newMessagesAnswer(s.req, begun)})
	b := &blockStream{stream: s}
	if a.reasoning != "" {
		b.start(thinkingBlock{Type: "thinking"})
		for piece := range s.pieces(a.reasoning) {
			b.delta(thinkingDelta{"thinking_delta", piece})
		}
		b.delta(signatureDelta{"signature_delta", s.req.signature()})
		b.stop()
	}
	if a.text != "" {
		b.start(textBlock{Type: "text"})
		for piece := range s.pieces(a.text) {
			b.delta(textDelta{"text_delta", piece})
		}
		b.stop()
	}
	for i, c := range a.calls {
		b.start(toolUseBlock{Type: "tool_use", ID: s.req.partID("toolu_", i), Name: c.name, Input: json.RawMessage("{}")})
		b.delta(inputDelta{"input_json_delta", ""})
		for piece := range s.pieces(c.arguments) {
			b.delta(inputDelta{"input_json_delta", piece})
		}
		b.stop()
	}
	s.end()
	s.send("message_delta", messageDelta{"message_delta", stopDelta{StopReason: stopReasons[a.reason()]}, used})
	s.send("message_stop", plainEvent{"message_stop"})
}

// blockStream sends one content block after the other.
type blockStream struct {
	*stream
	index int
}

func (b *blockStream) start(block any) {
	b.send("content_block_start", blockStart{"content_block_start", b.index, block})
	if b.index == 0 {
		b.send("ping", plainEvent{"ping"})
	}
}

func (b *blockStream) delta(d any) {
	b.send("content_block_delta", blockDelta{"content_block_delta", b.index, d})
}

func (b *blockStream) stop() {
	b.send("content_block_stop", blockStop{"content_block_stop", b.index})
	b.index++
}

func (messages) fail(s *stream, e *Error) { s.send("error", e.Anthropic()) }

func countedMessages(tokens int) any {
	return struct {
		Input int `json:"input_tokens"`
	}{tokens}
}
