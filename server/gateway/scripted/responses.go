package scripted

import (
	"encoding/json"
)

// responses is the wire of OpenAI's responses.
type responses struct{}

type response struct {
	ID                string             `json:"id"`
	Object            string             `json:"object"`
	CreatedAt         int64              `json:"created_at"`
	Status            string             `json:"status"`
	Background        bool               `json:"background"`
	Error             *responseError     `json:"error"`
	IncompleteDetails *incompleteDetails `json:"incomplete_details"`
	Instructions      *string            `json:"instructions"`
	MaxOutputTokens   *int               `json:"max_output_tokens"`
	Model             string             `json:"model"`
	Output            []any              `json:"output"`
	ParallelToolCalls bool               `json:"parallel_tool_calls"`
	PreviousID        *string            `json:"previous_response_id"`
	Store             bool               `json:"store"`
	Temperature       float64            `json:"temperature"`
	ToolChoice        string             `json:"tool_choice"`
	Tools             []any              `json:"tools"`
	TopP              float64            `json:"top_p"`
	Truncation        string             `json:"truncation"`
	Usage             *responsesUsage    `json:"usage"`
	Metadata          struct{}           `json:"metadata"`
}

type responseError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

type incompleteDetails struct {
	Reason string `json:"reason"`
}

type responsesUsage struct {
	Input        int `json:"input_tokens"`
	InputDetails struct {
		Cached int `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	Output        int `json:"output_tokens"`
	OutputDetails struct {
		Reasoning int `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
	Total int `json:"total_tokens"`
}

func (u Usage) responses() *responsesUsage {
	out := &responsesUsage{Input: u.Prompt, Output: u.Completion, Total: u.Prompt + u.Completion}
	out.InputDetails.Cached, out.OutputDetails.Reasoning = u.Cached, u.Reasoning
	return out
}

// Status of a response and of its items.
const (
	statusInProgress = "in_progress"
	statusCompleted  = "completed"
	statusIncomplete = "incomplete"
	statusFailed     = "failed"
)

func newResponse(req *request, status string) response {
	return response{
		ID: req.id("resp_"), Object: "response", CreatedAt: Created, Status: status, Model: req.model, Output: []any{},
		ParallelToolCalls: true, Temperature: 1, ToolChoice: "auto", Tools: []any{}, TopP: 1, Truncation: "disabled",
	}
}

// ended is the response once its output is complete, or not quite.
func (a answer) ended(req *request, output []any) response {
	r := newResponse(req, statusCompleted)
	switch a.reason() {
	case finishLength:
		r.Status, r.IncompleteDetails = statusIncomplete, &incompleteDetails{"max_output_tokens"}
	case finishFilter:
		r.Status, r.IncompleteDetails = statusIncomplete, &incompleteDetails{"content_filter"}
	}
	r.Output, r.Usage = output, a.used(req).responses()
	return r
}

func (responses) whole(req *request, a answer) any {
	output := []any{}
	for _, part := range a.items(req) {
		output = append(output, part.done)
	}
	return a.ended(req, output)
}

func countedResponses(tokens int) any {
	return struct {
		Object string `json:"object"`
		Input  int    `json:"input_tokens"`
	}{"response.input_tokens", tokens}
}

// Items of a response's output.
type (
	reasoningItem struct {
		ID        string        `json:"id"`
		Type      string        `json:"type"`
		Summary   []summaryPart `json:"summary"`
		Encrypted *string       `json:"encrypted_content,omitempty"`
	}
	messageItem struct {
		ID      string       `json:"id"`
		Type    string       `json:"type"`
		Status  string       `json:"status"`
		Role    string       `json:"role"`
		Content []outputText `json:"content"`
	}
	functionItem struct {
		ID        string `json:"id"`
		Type      string `json:"type"`
		Status    string `json:"status"`
		Arguments string `json:"arguments"`
		CallID    string `json:"call_id"`
		Name      string `json:"name"`
		Namespace string `json:"namespace,omitempty"`
	}
	customItem struct {
		ID        string `json:"id"`
		Type      string `json:"type"`
		Status    string `json:"status"`
		CallID    string `json:"call_id"`
		Input     string `json:"input"`
		Name      string `json:"name"`
		Namespace string `json:"namespace,omitempty"`
	}
	shellItem struct {
		ID     string      `json:"id"`
		Type   string      `json:"type"`
		Status string      `json:"status"`
		CallID string      `json:"call_id"`
		Action shellAction `json:"action"`
	}
)

type summaryPart struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

type outputText struct {
	Type        string `json:"type"`
	Annotations []any  `json:"annotations"`
	Logprobs    []any  `json:"logprobs"`
	Text        string `json:"text"`
}

func newOutputText(text string) outputText {
	return outputText{Type: "output_text", Annotations: []any{}, Logprobs: []any{}, Text: text}
}

type shellAction struct {
	Type    string            `json:"type"`
	Command []string          `json:"command"`
	Env     map[string]string `json:"env"`
}

// itemKind says by which events an item streams.
type itemKind int

const (
	kindWhole itemKind = iota // it comes at once
	kindReasoning
	kindMessage
	kindFunction
	kindInput
)

// outputItem is an item before and after its text has been streamed.
type outputItem struct {
	kind        itemKind
	id, text    string
	begun, done any
}

func (a answer) items(req *request) []outputItem {
	var items []outputItem
	if a.reasoning != "" {
		begun := reasoningItem{ID: req.id("rs_"), Type: "reasoning", Summary: []summaryPart{}}
		if req.sealed {
			begun.Encrypted = new(req.signature())
		}
		done := begun
		done.Summary = []summaryPart{{"summary_text", a.reasoning}}
		items = append(items, outputItem{kindReasoning, begun.ID, a.reasoning, begun, done})
	}
	if a.text != "" || len(a.calls) == 0 {
		begun := messageItem{ID: req.id("msg_"), Type: "message", Status: statusInProgress, Role: roleAssistant, Content: []outputText{}}
		done := begun
		done.Status, done.Content = statusCompleted, []outputText{newOutputText(a.text)}
		if r := a.reason(); len(a.calls) == 0 && (r == finishLength || r == finishFilter) {
			done.Status = statusIncomplete
		}
		items = append(items, outputItem{kindMessage, begun.ID, a.text, begun, done})
	}
	for i, c := range a.calls {
		items = append(items, c.item(req, i))
	}
	return items
}

// item is the call in the form of the tool that is on offer.
func (c call) item(req *request, index int) outputItem {
	callID := req.partID("call_", index)
	offered := req.tool(c.name)
	if offered == nil {
		offered = &tool{}
	}
	switch offered.kind {
	case kindCustom:
		begun := customItem{ID: req.partID("ctc_", index), Type: "custom_tool_call", Status: statusInProgress, CallID: callID, Name: c.name, Namespace: offered.namespace}
		done := begun
		done.Status, done.Input = statusCompleted, c.plainInput()
		return outputItem{kindInput, begun.ID, done.Input, begun, done}
	case kindLocalShell:
		begun := shellItem{
			ID: req.partID("lsh_", index), Type: "local_shell_call", Status: statusInProgress, CallID: callID,
			Action: shellAction{Type: "exec", Command: c.command(), Env: map[string]string{}},
		}
		done := begun
		done.Status = statusCompleted
		return outputItem{kindWhole, begun.ID, "", begun, done}
	}
	begun := functionItem{ID: req.partID("fc_", index), Type: "function_call", Status: statusInProgress, CallID: callID, Name: c.name, Namespace: offered.namespace}
	done := begun
	done.Status, done.Arguments = statusCompleted, c.arguments
	return outputItem{kindFunction, begun.ID, c.arguments, begun, done}
}

// plainInput is what a tool gets that takes text: the arguments, or their input if they
// have nothing else.
func (c call) plainInput() string {
	var args map[string]string
	if json.Unmarshal([]byte(c.arguments), &args) == nil && len(args) == 1 {
		if input, ok := args["input"]; ok {
			return input
		}
	}
	return c.arguments
}

// command is what the local shell runs: the command of the arguments, a list or a line.
func (c call) command() []string {
	var list struct {
		Command []string `json:"command"`
	}
	var line struct {
		Command string `json:"command"`
	}
	if json.Unmarshal([]byte(c.arguments), &list) == nil && list.Command != nil {
		return list.Command
	}
	if json.Unmarshal([]byte(c.arguments), &line) == nil && line.Command != "" {
		return []string{"bash", "-lc", line.Command}
	}
	return []string{c.arguments}
}
