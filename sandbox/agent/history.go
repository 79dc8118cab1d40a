//go:build unix

package agent

import (
	"regexp"
	"strconv"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/shared"
)

const (
	defaultWindow = 128_000 // tokens, until an error says less
	minWindow     = 4_000   // below it, no error is believed
	imageTokens   = 1_500   // a rough price
)

// entry is one message as the model gets it. A "tool" entry always follows the
// "assistant" entry whose call it answers.
type entry struct {
	role   string // user, assistant, tool
	text   string
	said   []content   // user
	calls  []*toolCall // assistant
	callID string      // tool
}

// history is what the model knows of a session: the thread, but for what was compacted.
type history struct {
	entries []entry
	window  int    // tokens
	used    int64  // tokens of the last model call; 0 when it does not tell about entries
	request string // what the user asked for last
}

// add remembers entries, which are one whole step. Empty ones, which models refuse,
// are left out.
func (h *history) add(step ...entry) {
	for _, e := range step {
		if e.role != "assistant" || e.text != "" || len(e.calls) > 0 {
			h.entries = append(h.entries, e)
		}
	}
}

// full reports whether the next question would come too near to the window.
func (h *history) full(system string) bool {
	limit := h.window * 4 / 5
	return int(h.used) > limit || len(system)/4+estimate(h.entries) > limit
}

// estimate counts tokens roughly: four bytes each.
func estimate(entries []entry) int {
	n := 0
	for _, e := range entries {
		n += e.tokens()
	}
	return n
}

func (e entry) tokens() int {
	n := len(e.text)/4 + 8
	for _, c := range e.said {
		n += len(c.text) / 4
		if c.image != "" {
			n += imageTokens
		}
	}
	for _, c := range e.calls {
		n += (len(c.name) + len(c.args)) / 4
	}
	return n
}

// learn takes the window from an error such as "maximum context length is 8192 tokens"
// or "9000 tokens > 8192 maximum". When it names none, the window was surely smaller
// than what was sent.
func (h *history) learn(message, system string) {
	limit := regexp.MustCompile(`(?i)(?:maximum|limit|window)[^0-9]{0,40}(\d{4,8})|>\s*(\d{4,8})`)
	for _, m := range limit.FindAllStringSubmatch(message, -1) {
		for _, digits := range m[1:] {
			if n, err := strconv.Atoi(digits); err == nil {
				h.window = max(minWindow, min(h.window, n))
				return
			}
		}
	}
	h.window = max(minWindow, min(h.window, (len(system)/4+estimate(h.entries))*3/4))
}

// params is the request as openai-go sends it.
func (r request) params() openai.ChatCompletionNewParams {
	p := openai.ChatCompletionNewParams{
		Model:         r.model,
		Messages:      []openai.ChatCompletionMessageParamUnion{openai.SystemMessage(r.system)},
		StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)},
	}
	for _, e := range r.messages {
		p.Messages = append(p.Messages, e.param())
	}
	for _, t := range r.tools {
		p.Tools = append(p.Tools, openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: t.name, Description: openai.String(t.description), Parameters: t.parameters,
		}))
	}
	return p
}

func (e entry) param() openai.ChatCompletionMessageParamUnion {
	switch e.role {
	case "tool":
		return openai.ToolMessage(e.text, e.callID)
	case "assistant":
		return e.assistant()
	default:
		return e.user()
	}
}

func (e entry) assistant() openai.ChatCompletionMessageParamUnion {
	m := openai.ChatCompletionAssistantMessageParam{}
	if e.text != "" {
		m.Content.OfString = openai.String(e.text)
	}
	for _, c := range e.calls {
		m.ToolCalls = append(m.ToolCalls, openai.ChatCompletionMessageToolCallUnionParam{
			OfFunction: &openai.ChatCompletionMessageFunctionToolCallParam{
				ID:       c.id,
				Function: openai.ChatCompletionMessageFunctionToolCallFunctionParam{Name: c.name, Arguments: string(c.input())},
			},
		})
	}
	return openai.ChatCompletionMessageParamUnion{OfAssistant: &m}
}

// user is a plain string when there is only one text, which every gateway takes.
func (e entry) user() openai.ChatCompletionMessageParamUnion {
	if len(e.said) == 1 && e.said[0].image == "" {
		return openai.UserMessage(e.said[0].text)
	}
	var parts []openai.ChatCompletionContentPartUnionParam
	for _, c := range e.said {
		if c.image != "" {
			parts = append(parts, openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: c.image}))
			continue
		}
		parts = append(parts, openai.TextContentPart(c.text))
	}
	return openai.UserMessage(parts)
}
