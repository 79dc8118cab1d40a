package scripted_test

import (
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
)

// messagesTalker speaks through Anthropic's client.
type messagesTalker struct {
	client anthropic.Client
	params anthropic.MessageNewParams
}

func newMessagesTalker(url, model, session string) talker {
	c := &messagesTalker{
		client: anthropic.NewClient(option.WithBaseURL(url), option.WithAPIKey("stub"), option.WithMaxRetries(0), option.WithHeader("x-claude-code-session-id", session)),
		params: anthropic.MessageNewParams{Model: model, MaxTokens: 1000, System: []anthropic.TextBlockParam{{Text: "Be brief."}}},
	}
	for _, name := range []string{"bash", "read"} {
		c.params.Tools = append(c.params.Tools, anthropic.ToolUnionParam{OfTool: &anthropic.ToolParam{Name: name}})
	}
	return c
}

func (c *messagesTalker) user(text string) {
	c.params.Messages = append(c.params.Messages, anthropic.NewUserMessage(
		anthropic.NewTextBlock("<system-reminder>not the user</system-reminder>"), anthropic.NewTextBlock(text),
	))
}

// tool puts results of one answer into one message, as the API wants it, and beside them
// what a harness adds.
func (c *messagesTalker) tool(text, id string) {
	result := anthropic.NewToolResultBlock(id, text, false)
	if last := &c.params.Messages[len(c.params.Messages)-1]; last.Role == anthropic.MessageParamRoleUser {
		last.Content = append(last.Content, result)
		return
	}
	c.params.Messages = append(c.params.Messages, anthropic.NewUserMessage(result, anthropic.NewTextBlock("<system-reminder>not the user</system-reminder>")))
}

func (c *messagesTalker) ask(t *testing.T) reply {
	t.Helper()
	stream := c.client.Messages.NewStreaming(t.Context(), c.params)
	defer stream.Close()
	var r reply
	for stream.Next() {
		r.hearEvent(t, stream.Current())
	}
	r.err = stream.Err()
	if refused, ok := errors.AsType[*anthropic.Error](r.err); ok {
		r.refuse(t, refused)
	}
	if r.err == nil && r.finish == "" {
		r.err = io.ErrUnexpectedEOF
	}
	if r.err == nil {
		c.params.Messages = append(c.params.Messages, r.param())
	}
	return r
}

func (c *messagesTalker) whole(t *testing.T) (r reply) {
	t.Helper()
	res, err := c.client.Messages.New(t.Context(), c.params)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range res.Content {
		r.thought += block.Thinking
		r.text += block.Text
		if block.Type == "tool_use" {
			r.calls = append(r.calls, toolCall{block.ID, block.Name, string(block.Input)})
		}
	}
	r.finish = string(res.StopReason)
	r.usage = [2]int64{res.Usage.InputTokens + res.Usage.CacheReadInputTokens, res.Usage.OutputTokens}
	return r
}

func (r *reply) hearEvent(t *testing.T, event anthropic.MessageStreamEventUnion) {
	t.Helper()
	switch e := event.AsAny().(type) {
	case anthropic.MessageStartEvent:
		r.begun = true
		if e.Message.ID == "" || e.Message.Role != "assistant" || e.Message.Usage.OutputTokens > 1 {
			t.Errorf("start = %s", e.RawJSON())
		}
	case anthropic.ContentBlockStartEvent:
		if use := e.ContentBlock; use.Type == "tool_use" {
			r.calls = append(r.calls, toolCall{id: use.ID, name: use.Name})
		}
	case anthropic.ContentBlockDeltaEvent:
		r.text += e.Delta.Text
		r.thought += e.Delta.Thinking
		if e.Delta.Type == "input_json_delta" {
			r.calls[len(r.calls)-1].arguments += e.Delta.PartialJSON
		}
	case anthropic.MessageDeltaEvent:
		r.finish = string(e.Delta.StopReason)
		r.usage = [2]int64{e.Usage.InputTokens + e.Usage.CacheReadInputTokens, e.Usage.OutputTokens}
	}
}

// param is the reply as the next request repeats it.
func (r *reply) param() anthropic.MessageParam {
	var blocks []anthropic.ContentBlockParamUnion
	if r.thought != "" {
		blocks = append(blocks, anthropic.NewThinkingBlock("signature", r.thought))
	}
	if r.text != "" {
		blocks = append(blocks, anthropic.NewTextBlock(r.text))
	}
	for _, call := range r.calls {
		var input map[string]any // empty for what is no JSON
		_ = json.Unmarshal([]byte(call.arguments), &input)
		blocks = append(blocks, anthropic.NewToolUseBlock(call.id, input, call.name))
	}
	return anthropic.NewAssistantMessage(blocks...)
}

// refuse takes in an error, which comes before the reply or in its middle.
func (r *reply) refuse(t *testing.T, e *anthropic.Error) {
	t.Helper()
	var body struct {
		Type  string
		Error struct{ Type, Message string }
	}
	if err := json.Unmarshal([]byte(e.RawJSON()), &body); err != nil || body.Type != "error" {
		t.Fatalf("error = %s", e.RawJSON())
	}
	if r.begun {
		r.lost = body.Error.Message
		return
	}
	r.refused = describe(e.StatusCode, body.Error.Type, "", body.Error.Message, e.Response.Header)
}
