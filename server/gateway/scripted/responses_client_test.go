package scripted_test

import (
	"errors"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

// responsesTalker speaks through OpenAI's client of responses.
type responsesTalker struct {
	client openai.Client
	params responses.ResponseNewParams
}

func newResponsesTalker(url, model, session string) talker {
	c := &responsesTalker{client: openAI(url, session), params: responses.ResponseNewParams{
		Model: model, Store: openai.Bool(false), Instructions: openai.String("Be brief."),
	}}
	for _, name := range []string{"bash", "read"} {
		c.params.Tools = append(c.params.Tools, responses.ToolParamOfFunction(name, nil, false))
	}
	return c
}

func (c *responsesTalker) add(items ...responses.ResponseInputItemUnionParam) {
	c.params.Input.OfInputItemList = append(c.params.Input.OfInputItemList, items...)
}

func (c *responsesTalker) user(text string) {
	c.add(
		responses.ResponseInputItemParamOfMessage("<environment_context>not the user</environment_context>", responses.EasyInputMessageRoleUser),
		responses.ResponseInputItemParamOfMessage(text, responses.EasyInputMessageRoleUser),
	)
}

func (c *responsesTalker) tool(text, id string) {
	item := responses.ResponseInputItemParamOfFunctionCallOutput(text)
	item.OfFunctionCallOutput.CallID = openai.String(id)
	c.add(item)
}

func (c *responsesTalker) ask(t *testing.T) reply {
	t.Helper()
	stream := c.client.Responses.NewStreaming(t.Context(), c.params)
	defer stream.Close()
	var r reply
	next := int64(0)
	for stream.Next() {
		event := stream.Current()
		if event.SequenceNumber != next {
			t.Errorf("event %d has the number %d", next, event.SequenceNumber)
		}
		next++
		r.hearResponse(event)
	}
	r.fail(t, stream.Err())
	if r.err == nil && r.finish != "" {
		c.answered(r)
	}
	return r
}

func (c *responsesTalker) whole(t *testing.T) (r reply) {
	t.Helper()
	res, err := c.client.Responses.New(t.Context(), c.params)
	if err != nil {
		t.Fatal(err)
	}
	r.text = res.OutputText()
	for _, item := range res.Output {
		switch item := item.AsAny().(type) {
		case responses.ResponseReasoningItem:
			r.thought += item.Summary[0].Text
		case responses.ResponseFunctionToolCall:
			r.calls = append(r.calls, toolCall{item.CallID, item.Name, item.Arguments})
		}
	}
	r.end(*res)
	return r
}

func (r *reply) hearResponse(event responses.ResponseStreamEventUnion) {
	switch e := event.AsAny().(type) {
	case responses.ResponseTextDeltaEvent:
		r.text += e.Delta
	case responses.ResponseReasoningSummaryTextDeltaEvent:
		r.thought += e.Delta
	case responses.ResponseOutputItemAddedEvent:
		if e.Item.Type == "function_call" {
			r.calls = append(r.calls, toolCall{id: e.Item.CallID, name: e.Item.Name})
		}
	case responses.ResponseFunctionCallArgumentsDeltaEvent:
		r.calls[len(r.calls)-1].arguments += e.Delta
	case responses.ResponseErrorEvent:
		r.err = errors.New("error: " + e.Message)
	case responses.ResponseFailedEvent:
		r.lost = e.Response.Error.Message
	case responses.ResponseCompletedEvent:
		r.end(e.Response)
	case responses.ResponseIncompleteEvent:
		r.end(e.Response)
	}
}

func (r *reply) end(res responses.Response) {
	r.finish = string(res.Status) + res.IncompleteDetails.Reason
	r.usage = [2]int64{res.Usage.InputTokens, res.Usage.OutputTokens}
}

// answered adds the reply to what the next request repeats.
func (c *responsesTalker) answered(r reply) {
	if r.thought != "" {
		c.add(responses.ResponseInputItemParamOfReasoning("rs_1", []responses.ResponseReasoningItemSummaryParam{{Text: r.thought}}))
	}
	if r.text != "" {
		c.add(responses.ResponseInputItemParamOfMessage(r.text, responses.EasyInputMessageRoleAssistant))
	}
	for _, call := range r.calls {
		c.add(responses.ResponseInputItemParamOfFunctionCall(call.arguments, call.id, call.name))
	}
}
