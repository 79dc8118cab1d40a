package gateway

import (
	"math"
	"net/http"
	"strconv"

	"github.com/tidwall/gjson"
)

// form is how the answers of a route tell their usage.
type form int

const (
	free form = iota // the call runs no model
	formOpenAI
	formAnthropic
	formGemini
)

// told is the usage that an answer told, the largest of each number: streams repeat them
// as they grow.
type told struct {
	form                       form
	any                        bool // something was told
	final                      bool // and it is not of a beginning only
	input, output, read, write int64
	cost                       float64
}

// add takes in an object of usage. nested is that of an event about a message that
// begins, or a response that is over.
func (t *told) add(raw []byte, nested bool) {
	u := gjson.ParseBytes(raw)
	switch t.form {
	case formAnthropic:
		t.note(u, nil, &t.input, "input_tokens")
		t.note(u, nil, &t.read, "cache_read_input_tokens")
		t.note(u, nil, &t.write, "cache_creation_input_tokens")
		t.note(u, &t.final, &t.output, "output_tokens")
		t.final = t.final && !nested
	case formGemini:
		t.addGemini(u)
	case formOpenAI, free:
		t.addOpenAI(u)
	}
	if cost := u.Get("cost"); cost.Type == gjson.Number && isCost(cost.Num) {
		t.cost = max(t.cost, cost.Num)
	}
}

func (t *told) addGemini(u gjson.Result) {
	var prompt, tools, said, thought int64
	t.note(u, nil, &prompt, "promptTokenCount")
	t.note(u, nil, &tools, "toolUsePromptTokenCount")
	t.note(u, nil, &said, "candidatesTokenCount")
	t.note(u, nil, &thought, "thoughtsTokenCount")
	t.note(u, nil, &t.read, "cachedContentTokenCount")
	t.input, t.output = max(t.input, prompt+tools), max(t.output, said+thought)
}

// addOpenAI reads the usage of chat completions and responses, and of the many that are
// alike. Cached tokens are part of the input.
func (t *told) addOpenAI(u gjson.Result) {
	var total int64
	t.note(u, &t.final, &t.input, "prompt_tokens", "input_tokens", "tokens.input_tokens", "billed_units.input_tokens")
	t.note(u, &t.final, &t.output, "completion_tokens", "output_tokens", "tokens.output_tokens", "billed_units.output_tokens")
	t.note(u, &t.final, &total, "total_tokens", "billed_units.total_tokens")
	t.note(u, nil, &t.read, "prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens", "cache_read_input_tokens")
	t.note(u, nil, &t.write, "prompt_tokens_details.cache_write_tokens", "input_tokens_details.cache_write_tokens", "cache_creation_input_tokens")
	switch {
	case t.input == 0 && t.output == 0: // embeddings, by some
		t.input = total
	case t.input > 0: // reasoning that is not in the output, by some
		t.output = max(t.output, total-t.input)
	}
}

const maxTokens = 1 << 40 // of one call: more is nonsense

// note raises to to the first of the members that is a number.
func (t *told) note(u gjson.Result, found *bool, to *int64, paths ...string) {
	for _, path := range paths {
		v := u.Get(path)
		if v.Type != gjson.Number || !(v.Num >= 0 && v.Num <= maxTokens) {
			continue
		}
		t.any = true
		if found != nil {
			*found = true
		}
		*to = max(*to, int64(v.Num))
		return
	}
}

func (t *told) usage() Usage {
	input := t.input
	if t.form == formAnthropic {
		input += t.read + t.write
	}
	return Usage{
		Calls: 1, InputTokens: input, OutputTokens: t.output,
		CacheReadTokens: min(t.read, input), CacheWriteTokens: min(t.write, input), Cost: t.cost,
	}
}

// costHeaders are where LiteLLM says what a call cost, the better first: the other is
// without discount and margin.
var costHeaders = []string{"X-Litellm-Response-Cost", "X-Litellm-Response-Cost-Original"}

// toldCost is what the headers of an answer say that it cost, or 0.
func toldCost(h http.Header) float64 {
	for _, name := range costHeaders {
		if cost, err := strconv.ParseFloat(h.Get(name), 64); err == nil && isCost(cost) {
			return cost
		}
	}
	return 0
}

func isCost(cost float64) bool { return cost > 0 && !math.IsInf(cost, 0) }
