//go:build unix

package agent

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// silence is how long a model may send nothing before the attempt counts as failed.
const silence = 10 * time.Minute

// model is the gateway's side of the loop.
type model struct {
	transport *http.Transport
	chat      openai.ChatCompletionService
}

// newModel makes a client of the gateway at url. It takes the chat service alone and
// not openai.NewClient, which would let OPENAI_* variables of a session change requests.
func newModel(url string) *model {
	tr := &http.Transport{Proxy: nil, IdleConnTimeout: time.Minute} // the gateway is in the sandbox
	return &model{transport: tr, chat: openai.NewChatCompletionService(
		option.WithHTTPClient(&http.Client{Transport: tr}),
		option.WithBaseURL(url),
		option.WithAPIKey("sandbox"), // the host adds the real one
		option.WithMaxRetries(0),     // a retry has to be told to the client of the wire
	)}
}

func (m *model) close() { m.transport.CloseIdleConnections() }

// request is one question to a model.
type request struct {
	session  string
	model    string
	system   string
	messages []entry
	tools    []tool
}

// toolCall is a call as the model wrote it; args should be a JSON object, but may be anything.
type toolCall struct {
	index    int64
	id, name string
	args     []byte
	part     Part // which shows the call to the user
}

// completion is what a model answered.
type completion struct {
	text   []byte
	calls  []*toolCall
	finish string // as on the opencode wire: stop, tool-calls, length, content-filter
	used   Tokens
}

// failure says what is wrong with an answer that calls no tool.
func (c completion) failure() error {
	switch {
	case c.finish == "content-filter":
		return &Error{Name: "ContentFilterError", Data: ErrorData{Message: "The model's content filter ended the answer."}}
	case c.finish == "length" && len(c.text) == 0:
		return &Error{Name: "MessageOutputLengthError", Data: ErrorData{Message: "The model reached its output limit before it answered."}}
	}
	return nil
}

// listener hears an answer as it comes: deltas of text and reasoning, and each call
// when its name is known.
type listener interface {
	grow(kind, delta string)
	called(c *toolCall)
}

// stream asks the model and returns its answer; an error is a *modelError and comes
// with what was received before it.
func (m *model) stream(ctx context.Context, req request, l listener) (completion, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := time.AfterFunc(silence, cancel)
	defer watch.Stop()
	var res *http.Response
	stream := m.chat.NewStreaming(ctx, req.params(), option.WithResponseInto(&res),
		option.WithHeader("x-session-id", req.session))
	defer stream.Close()
	var out completion
	for stream.Next() {
		watch.Reset(silence)
		out.hear(stream.Current(), l)
	}
	if err := stream.Err(); err != nil {
		return out, classify(err, res)
	}
	if out.finish == "" {
		return out, &modelError{message: "the model's answer ended in the middle", retryable: true}
	}
	if len(out.calls) > 0 {
		out.finish = "tool-calls" // some gateways say stop
	}
	return out, nil
}

// hear takes one chunk in. openai.ChatCompletionAccumulator is too strict here: it
// refuses chunks whose id differs from the first one's, which gateways do send.
func (c *completion) hear(chunk openai.ChatCompletionChunk, l listener) {
	if chunk.JSON.Usage.Valid() {
		c.used = tokens(chunk.Usage)
	}
	for _, choice := range chunk.Choices {
		if choice.Index != 0 {
			continue
		}
		l.grow("reasoning", reasoning(choice.Delta))
		c.text = append(c.text, choice.Delta.Content...)
		l.grow("text", choice.Delta.Content)
		for _, d := range choice.Delta.ToolCalls {
			c.hearCall(d, l)
		}
		if choice.FinishReason != "" {
			c.finish = finish(choice.FinishReason)
		}
	}
}

func (c *completion) hearCall(d openai.ChatCompletionChunkChoiceDeltaToolCall, l listener) {
	call := c.callAt(d.Index, d.ID)
	if call == nil {
		call = &toolCall{index: d.Index, id: cmp.Or(d.ID, "call_"+rand.Text()), name: d.Function.Name}
		c.calls = append(c.calls, call)
		l.called(call)
	}
	call.args = append(call.args, d.Function.Arguments...)
}

// callAt finds the call that a delta belongs to. A new id at a known index is a new
// call: some gateways number every call 0.
func (c *completion) callAt(index int64, id string) *toolCall {
	for _, call := range slices.Backward(c.calls) {
		if call.index == index && (id == "" || id == call.id) {
			return call
		}
	}
	return nil
}

// reasoning reads the field in which gateways pass on what a model thinks.
func reasoning(d openai.ChatCompletionChunkChoiceDelta) string {
	for _, name := range []string{"reasoning_content", "reasoning"} {
		var text string
		if f, ok := d.JSON.ExtraFields[name]; ok && json.Unmarshal([]byte(f.Raw()), &text) == nil && text != "" {
			return text
		}
	}
	return ""
}

func finish(reason string) string {
	switch reason {
	case "tool_calls", "function_call":
		return "tool-calls"
	case "content_filter":
		return "content-filter"
	default:
		return reason
	}
}

// tokens counts each token once, as the opencode wire does.
func tokens(u openai.CompletionUsage) Tokens {
	t := Tokens{Total: u.TotalTokens, Reasoning: u.CompletionTokensDetails.ReasoningTokens}
	t.Cache.Read = u.PromptTokensDetails.CachedTokens
	t.Input = max(0, u.PromptTokens-t.Cache.Read)
	t.Output = max(0, u.CompletionTokens-t.Reasoning)
	return t
}
