package agent

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/openai/openai-go/v3/packages/ssestream"
)

// silence is how long a model may send nothing before the attempt counts as failed.
const silence = 10 * time.Minute

// model is the gateway's side of the loop. Of openai-go it uses the reader of streams
// alone: the typed client would be half of the binary that every sandbox runs.
type model struct {
	url    string
	client *http.Client
}

func newModel(url string, client *http.Client) *model {
	return &model{url: strings.TrimRight(url, "/") + "/chat/completions", client: client}
}

// post sends a question on behalf of a session. The caller closes the answer's body.
func (m *model) post(ctx context.Context, session string, q question) (*http.Response, error) {
	body, err := q.encode()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Authorization", "Bearer sandbox") // the host puts the real key there
	req.Header.Set("x-session-id", session)
	return m.client.Do(req)
}

// completion is what a model answered.
type completion struct {
	text   []byte
	calls  []*call
	finish string // as on the opencode wire: stop, tool-calls, length, content-filter
	used   Tokens
	size   int    // bytes that the answer takes, roughly
	kind   string // of the last delta
}

// utterance is the answer as the model gets it back.
func (c completion) utterance() utterance {
	u := utterance{Role: "assistant", ToolCalls: c.calls}
	if len(c.text) > 0 {
		u.Content = text(string(c.text))
	}
	return u
}

// listener hears an answer while it comes: text of a kind ("text", "reasoning") in
// pieces, and each call when its name is known.
type listener interface {
	grow(kind, delta string)
	called(c *call)
}

// stream asks the model on behalf of a session and returns its answer; an error is a
// *modelError and comes with what was received before it.
func (m *model) stream(ctx context.Context, session string, q question, l listener) (completion, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch := time.AfterFunc(silence, cancel)
	defer watch.Stop()
	q.Stream, q.Options.IncludeUsage = true, true
	res, err := m.post(ctx, session, q)
	if err != nil {
		return completion{}, classify(err)
	}
	defer res.Body.Close()
	if res.StatusCode >= http.StatusBadRequest {
		return completion{}, refused(res)
	}
	events := newMeter(res)
	stream := ssestream.NewStream[chunk](ssestream.NewDecoder(res), nil)
	var out completion
	for stream.Next() {
		watch.Reset(silence)
		events.reset()
		out.hear(stream.Current(), l)
		if out.size > answerLimit {
			return out, endless("the model's answer is longer than %d MiB", answerLimit>>20)
		}
	}
	if err := stream.Err(); err != nil {
		return out, classify(err)
	}
	if out.finish == "" {
		return out, failed(0, "", "the model's answer ended in the middle")
	}
	if len(out.calls) > 0 {
		out.finish = "tool-calls" // some gateways say stop
	}
	return out, nil
}

// hear takes one chunk in.
func (c *completion) hear(from chunk, l listener) {
	if from.Usage != nil {
		c.used = from.Usage.tokens()
	}
	for _, choice := range from.Choices {
		if choice.Index != 0 {
			continue
		}
		d := choice.Delta
		c.count("reasoning", len(cmp.Or(d.ReasoningContent, d.Reasoning)))
		c.count("text", len(d.Content))
		l.grow("reasoning", cmp.Or(d.ReasoningContent, d.Reasoning))
		l.grow("text", d.Content)
		c.text = append(c.text, d.Content...)
		for _, piece := range d.ToolCalls {
			c.hearCall(piece, l)
		}
		switch choice.FinishReason {
		case "":
		case "tool_calls", "function_call":
			c.finish = "tool-calls"
		case "content_filter":
			c.finish = "content-filter"
		default:
			c.finish = choice.FinishReason
		}
	}
}

func (c *completion) hearCall(d callDelta, l listener) {
	to := c.callAt(d.Index, d.ID)
	if to == nil {
		to = &call{index: d.Index, id: cmp.Or(d.ID, "call_"+rand.Text()), name: d.Function.Name}
		c.calls = append(c.calls, to)
		c.size += partCost + len(to.id) + len(to.name)
		c.kind = ""
		l.called(to)
	}
	c.size += len(d.Function.Arguments)
	to.args = append(to.args, d.Function.Arguments...)
}

// callAt finds the call that a delta belongs to. A new id at a known index is a new
// call: some gateways number every call 0.
func (c *completion) callAt(index int, id string) *call {
	for _, known := range slices.Backward(c.calls) {
		if known.index == index && (id == "" || id == known.id) {
			return known
		}
	}
	return nil
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
