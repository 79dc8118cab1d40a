package scripted_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/ssestream"
)

func openAI(url, session string) openai.Client {
	return openai.NewClient(
		option.WithBaseURL(url+"/v1"), option.WithAPIKey("stub"), option.WithMaxRetries(0), option.WithHeader("x-session-id", session),
	)
}

// chatTalker speaks through OpenAI's client of chat completions.
type chatTalker struct {
	client openai.Client
	params openai.ChatCompletionNewParams
}

func newChatTalker(url, model, session string) talker {
	c := &chatTalker{client: openAI(url, session), params: openai.ChatCompletionNewParams{Model: model}}
	c.params.StreamOptions.IncludeUsage = openai.Bool(true)
	for _, name := range []string{"bash", "read"} {
		c.params.Tools = append(c.params.Tools, openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: name}))
	}
	return c
}

func (c *chatTalker) user(text string) {
	c.params.Messages = append(c.params.Messages, openai.UserMessage(text))
}

func (c *chatTalker) tool(text, id string) {
	c.params.Messages = append(c.params.Messages, openai.ToolMessage(text, id))
}

func (c *chatTalker) ask(t *testing.T) reply {
	t.Helper()
	stream := c.client.Chat.Completions.NewStreaming(t.Context(), c.params)
	defer stream.Close()
	var acc openai.ChatCompletionAccumulator
	var thought strings.Builder
	for stream.Next() {
		chunk := stream.Current()
		if !acc.AddChunk(chunk) {
			t.Fatalf("the client refuses the chunk %s", chunk.RawJSON())
		}
		if len(chunk.Choices) > 0 {
			thought.WriteString(reasoning(t, chunk.Choices[0].Delta.JSON.ExtraFields["reasoning_content"].Raw()))
		}
	}
	r := reply{thought: thought.String()}
	r.fail(t, stream.Err())
	if len(acc.Choices) > 0 {
		r.hear(acc.ChatCompletion)
	}
	if r.err == nil {
		c.params.Messages = append(c.params.Messages, acc.Choices[0].Message.ToParam())
	}
	return r
}

func (c *chatTalker) whole(t *testing.T) (r reply) {
	t.Helper()
	params := c.params
	params.StreamOptions = openai.ChatCompletionStreamOptionsParam{}
	res, err := c.client.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	r.thought = reasoning(t, res.Choices[0].Message.JSON.ExtraFields["reasoning_content"].Raw())
	r.hear(*res)
	return r
}

func (r *reply) hear(c openai.ChatCompletion) {
	msg := c.Choices[0].Message
	r.text, r.finish, r.usage = msg.Content, c.Choices[0].FinishReason, [2]int64{c.Usage.PromptTokens, c.Usage.CompletionTokens}
	for _, call := range msg.ToolCalls {
		r.calls = append(r.calls, toolCall{call.ID, call.Function.Name, call.Function.Arguments})
	}
}

func reasoning(t *testing.T, raw string) (text string) {
	t.Helper()
	if raw == "" {
		return ""
	}
	if err := json.Unmarshal([]byte(raw), &text); err != nil {
		t.Fatal(err)
	}
	return text
}

// fail takes in the error of a stream of OpenAI's.
func (r *reply) fail(t *testing.T, err error) {
	t.Helper()
	r.err = errors.Join(r.err, err)
	if refused, ok := errors.AsType[*openai.Error](err); ok {
		r.refused = describe(refused.StatusCode, refused.Type, refused.Code, refused.Message, refused.Response.Header)
	}
	if broken, ok := errors.AsType[*ssestream.StreamError](err); ok {
		var event struct {
			Error struct{ Message string }
		}
		if err := json.Unmarshal(broken.Event.Data, &event); err != nil {
			t.Fatal(err)
		}
		r.lost = event.Error.Message
	}
}

// describe writes a refusal down.
func describe(status int, kind, code, message string, h http.Header) string {
	if code != "" {
		kind += " " + code
	}
	text := fmt.Sprintf("%d %s: %s", status, kind, message)
	if wait, err := time.ParseDuration(h.Get("Retry-After-Ms") + "ms"); err == nil {
		text += fmt.Sprintf(" (again after %v)", wait)
	}
	return text
}
