package agent

import (
	"bytes"
	"encoding/json"
	"slices"

	"lap/sandbox/agent/tool"
)

// The types of this file are OpenAI's chat completions, as far as the loop needs them.
// openai-go has them whole, which made half of the allocations of a turn.

// question is the body of a model call.
type question struct {
	Model    string      `json:"model"`
	Messages []utterance `json:"messages"`
	Tools    []function  `json:"tools,omitempty"`
	Stream   bool        `json:"stream"`
	Options  struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
}

type function struct {
	Type     string          `json:"type"` // "function"
	Function tool.Definition `json:"function"`
}

// functions is what a model may call.
func functions() []function {
	var all []function
	for _, d := range tool.Definitions() {
		all = append(all, function{"function", d})
	}
	return all
}

// utterance is one message as the model gets it. One of role tool always follows the
// one of role assistant whose call it answers.
type utterance struct {
	Role       string  `json:"role"` // system, user, assistant, tool
	Content    content `json:"content,omitempty"`
	ToolCalls  []*call `json:"tool_calls,omitempty"`
	ToolCallID string  `json:"tool_call_id,omitempty"`
}

// content is text and images.
type content []piece

type piece struct {
	Type  string `json:"type"` // text, image_url
	Text  string `json:"text,omitempty"`
	Image *image `json:"image_url,omitempty"`
}

type image struct {
	URL string `json:"url"` // a data: URL
}

func text(s string) content { return content{{Type: "text", Text: s}} }

// MarshalJSON writes one text alone as a plain string, which every gateway takes. Empty
// texts beside others, which models refuse, are left out.
func (c content) MarshalJSON() ([]byte, error) {
	if len(c) == 1 && c[0].Image == nil {
		return encode(c[0].Text)
	}
	empty := func(p piece) bool { return p.Text == "" && p.Image == nil }
	return encode(slices.DeleteFunc(slices.Clone([]piece(c)), empty))
}

// call is a tool call as the model wrote it; args should be a JSON object, but may be
// anything.
type call struct {
	index    int
	id, name string
	args     []byte
	part     Part // which shows the call to the user
}

// input is the call's arguments as a JSON object, whatever the model wrote.
func (c *call) input() json.RawMessage {
	if args := bytes.TrimSpace(c.args); len(args) > 0 && args[0] == '{' && json.Valid(args) {
		return args
	}
	return json.RawMessage("{}")
}

// MarshalJSON writes the call as a model may read it.
func (c *call) MarshalJSON() ([]byte, error) {
	var v struct {
		ID       string `json:"id"`
		Type     string `json:"type"`
		Function struct {
			Name      string `json:"name"`
			Arguments string `json:"arguments"`
		} `json:"function"`
	}
	v.ID, v.Type, v.Function.Name, v.Function.Arguments = c.id, "function", c.name, string(c.input())
	return encode(v)
}

// chunk is one event of an answer. Gateways pass on what a model thinks as Reasoning or
// ReasoningContent.
type chunk struct {
	Choices []struct {
		Index        int    `json:"index"`
		FinishReason string `json:"finish_reason"`
		Delta        struct {
			Content          string      `json:"content"`
			Reasoning        string      `json:"reasoning"`
			ReasoningContent string      `json:"reasoning_content"`
			ToolCalls        []callDelta `json:"tool_calls"`
		} `json:"delta"`
	} `json:"choices"`
	Usage *usage `json:"usage"`
}

// callDelta is a piece of a tool call. Only the first one has id and name.
type callDelta struct {
	Index    int    `json:"index"`
	ID       string `json:"id"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

type usage struct {
	Prompt        int64 `json:"prompt_tokens"`
	Completion    int64 `json:"completion_tokens"`
	Total         int64 `json:"total_tokens"`
	PromptDetails struct {
		Cached int64 `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

// tokens counts each token once, as the opencode wire does.
func (u usage) tokens() Tokens {
	t := Tokens{Total: u.Total, Reasoning: u.CompletionDetails.Reasoning}
	t.Cache.Read = u.PromptDetails.Cached
	t.Input = max(0, u.Prompt-t.Cache.Read)
	t.Output = max(0, u.Completion-t.Reasoning)
	return t
}
