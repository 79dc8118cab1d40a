package scripted

// chat is the wire of OpenAI's chat completions.
type chat struct{}

// head starts each object of the chat completions wire.
type head struct {
	ID          string `json:"id"`
	Object      string `json:"object"`
	Created     int64  `json:"created"`
	Model       string `json:"model"`
	Fingerprint string `json:"system_fingerprint"`
}

func newHead(req *request, object string) head {
	return head{ID: req.id("chatcmpl-"), Object: object, Created: Created, Model: req.model, Fingerprint: "scripted"}
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

func (u Usage) chat() wireUsage {
	out := wireUsage{Prompt: u.Prompt, Completion: u.Completion, Total: u.Prompt + u.Completion}
	out.PromptDetails.Cached, out.CompletionDetails.Reasoning = u.Cached, u.Reasoning
	return out
}

func (chat) whole(req *request, a answer) any {
	msg := wireMessage{Role: roleAssistant, Reasoning: a.reasoning}
	if a.text != "" || len(a.calls) == 0 {
		msg.Content = &a.text
	}
	for i, c := range a.calls {
		msg.Calls = append(msg.Calls, wireCall{ID: req.partID("call_", i), Type: "function", Function: wireFunction{Name: c.name, Arguments: c.arguments}})
	}
	return completion{
		head: newHead(req, "chat.completion"), Choices: []choice{{Message: msg, Finish: a.reason()}}, Usage: a.used(req).chat(),
	}
}

type chunk struct {
	head
	Choices []chunkChoice `json:"choices"`
	Usage   *wireUsage    `json:"usage,omitempty"`
}

type chunkChoice struct {
	Index    int       `json:"index"`
	Delta    delta     `json:"delta"`
	Logprobs *struct{} `json:"logprobs"`
	Finish   *string   `json:"finish_reason"`
}

type delta struct {
	Role      string     `json:"role,omitempty"`
	Content   *string    `json:"content,omitempty"`
	Reasoning string     `json:"reasoning_content,omitempty"`
	Calls     []wireCall `json:"tool_calls,omitempty"`
}

func (chat) stream(s *stream, a answer) {
	h := newHead(s.req, "chat.completion.chunk")
	send := func(d delta, finish *string) {
		s.send("", chunk{head: h, Choices: []chunkChoice{{Delta: d, Finish: finish}}})
	}
	send(delta{Role: roleAssistant, Content: new("")}, nil)
	for piece := range s.pieces(a.reasoning) {
		send(delta{Reasoning: piece}, nil)
	}
	for piece := range s.pieces(a.text) {
		send(delta{Content: &piece}, nil)
	}
	for i, c := range a.calls {
		send(delta{Calls: []wireCall{{Index: &i, ID: s.req.partID("call_", i), Type: "function", Function: wireFunction{Name: c.name}}}}, nil)
		for piece := range s.pieces(c.arguments) {
			send(delta{Calls: []wireCall{{Index: &i, Function: wireFunction{Arguments: piece}}}}, nil)
		}
	}
	s.end()
	send(delta{}, new(a.reason()))
	if s.req.withUsage {
		s.send("", chunk{head: h, Choices: []chunkChoice{}, Usage: new(a.used(s.req).chat())})
	}
	s.write([]byte("data: [DONE]\n\n"))
}

// fail sends the error where a chunk is due, as OpenAI does.
func (chat) fail(s *stream, e *Error) { s.send("", e.OpenAI()) }
