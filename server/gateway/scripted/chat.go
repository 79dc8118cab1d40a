package scripted

import (
	"net/http"
	"strconv"
)

// Created is the time of every answer, Unix seconds: the same request gets the same bytes.
const Created = 1735689600 // 2025-01-01T00:00:00Z

// head starts each object of the chat completions wire.
type head struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Created     int64  `json:"created"`
	Model       string `json:"model"`
	Fingerprint string `json:"system_fingerprint"`
}

func newHead(req *request, object string) head {
	return head{ID: req.id(), Object: object, Created: Created, Model: req.model, Fingerprint: "scripted"}
}

type completion struct {
	head
	Choices []choice  `json:"choices"`
	Usage   wireUsage `json:"usage"`
}

type choice struct {
	Index    int         `json:"index"`
	Message  wireMessage `json:"message"`
	Logprobs *struct{}   `json:"logprobs"`
	Finish   string      `json:"finish_reason"`
}

type wireMessage struct {
	Role      string     `json:"role"`
	Content   *string    `json:"content"`
	Reasoning string     `json:"reasoning_content,omitempty"`
	Refusal   *string    `json:"refusal"`
	Calls     []wireCall `json:"tool_calls,omitempty"`
}

type wireCall struct {
	Index    *int         `json:"index,omitempty"` // in a stream only
	ID       string       `json:"id,omitempty"`
	Type     string       `json:"type,omitempty"`
	Function wireFunction `json:"function"`
}

type wireFunction struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"`
}

type wireUsage struct {
	Prompt        int `json:"prompt_tokens"`
	Completion    int `json:"completion_tokens"`
	Total         int `json:"total_tokens"`
	PromptDetails struct {
		Cached int `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		Reasoning int `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
}

func (u Usage) wire() wireUsage {
	out := wireUsage{Prompt: u.Prompt, Completion: u.Completion, Total: u.Prompt + u.Completion}
	out.PromptDetails.Cached, out.CompletionDetails.Reasoning = u.Cached, u.Reasoning
	return out
}

// writeWhole answers a request that does not stream. A cut answer announces its whole
// length and breaks off.
func writeWhole(w http.ResponseWriter, req *request, a answer) error {
	msg := wireMessage{Role: "assistant", Reasoning: a.reasoning}
	if a.text != "" || len(a.calls) == 0 {
		msg.Content = &a.text
	}
	for i, c := range a.calls {
		msg.Calls = append(msg.Calls, wireCall{ID: req.callID(i), Type: "function", Function: wireFunction{Name: c.name, Arguments: c.arguments}})
	}
	body := marshal(completion{
		head: newHead(req, "chat.completion"), Choices: []choice{{Message: msg, Finish: a.reason()}}, Usage: a.used(req).wire(),
	})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if a.cut == nil {
		_, _ = w.Write(body) // a client that left needs no answer
		return nil
	}
	_, _ = w.Write(body[:min(*a.cut, len(body)-1)])
	breakOff(w)
	return nil
}

// breakOff ends the connection as a crash of the model's server would. What was written
// reaches the client first.
func breakOff(w http.ResponseWriter) {
	_ = http.NewResponseController(w).Flush() // the connection ends either way
	panic(http.ErrAbortHandler)
}
