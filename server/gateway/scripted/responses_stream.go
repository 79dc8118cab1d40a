package scripted

import (
	"cmp"
	"net/http"
)

// Events of a response. Each says its type once more, and has a number.
type (
	eventHead struct {
		Type     string `json:"type"`
		Sequence int    `json:"sequence_number"`
	}
	responseEvent struct {
		eventHead
		Response response `json:"response"`
	}
	itemEvent struct {
		eventHead
		Index int `json:"output_index"`
		Item  any `json:"item"`
	}
	partEvent struct {
		eventHead
		place
		Part any `json:"part"`
	}
	textEvent struct {
		eventHead
		place
		Delta     *string `json:"delta,omitempty"`
		Text      *string `json:"text,omitempty"`
		Arguments *string `json:"arguments,omitempty"`
		Input     *string `json:"input,omitempty"`
		Logprobs  *[]any  `json:"logprobs,omitempty"`
	}
	errorEvent struct {
		eventHead
		Code    string  `json:"code"`
		Message string  `json:"message"`
		Param   *string `json:"param"`
	}
)

// place is where in the output a text belongs. What it is a part of has one part only.
type place struct {
	ItemID  string `json:"item_id"`
	Index   int    `json:"output_index"`
	Content *int   `json:"content_index,omitempty"`
	Summary *int   `json:"summary_index,omitempty"`
}

// next starts the next event of the stream.
func (s *stream) next(kind string) eventHead {
	return eventHead{Type: "response." + kind, Sequence: s.sent}
}

func (responses) stream(s *stream, a answer) {
	begun := newResponse(s.req, statusInProgress)
	for _, kind := range []string{"created", statusInProgress} {
		s.send("response."+kind, responseEvent{s.next(kind), begun})
	}
	output := []any{}
	for i, item := range a.items(s.req) {
		s.send("response.output_item.added", itemEvent{s.next("output_item.added"), i, item.begun})
		item.play(s, i)
		s.send("response.output_item.done", itemEvent{s.next("output_item.done"), i, item.done})
		output = append(output, item.done)
	}
	s.end()
	ended := a.ended(s.req, output)
	s.send("response."+ended.Status, responseEvent{s.next(ended.Status), ended})
}

// play sends the text of the item at index.
func (i outputItem) play(s *stream, index int) {
	at := place{ItemID: i.id, Index: index}
	switch i.kind {
	case kindWhole:
	case kindReasoning:
		at.Summary = new(0)
		s.part("reasoning_summary_part.added", at, summaryPart{Type: "summary_text"})
		i.say(s, at, "reasoning_summary_text", textEvent{Text: &i.text})
		s.part("reasoning_summary_part.done", at, summaryPart{"summary_text", i.text})
	case kindMessage:
		at.Content = new(0)
		s.part("content_part.added", at, newOutputText(""))
		i.say(s, at, "output_text", textEvent{Text: &i.text, Logprobs: &[]any{}})
		s.part("content_part.done", at, newOutputText(i.text))
	case kindFunction:
		i.say(s, at, "function_call_arguments", textEvent{Arguments: &i.text})
	case kindInput:
		i.say(s, at, "custom_tool_call_input", textEvent{Input: &i.text})
	}
}

func (s *stream) part(kind string, at place, part any) {
	s.send("response."+kind, partEvent{s.next(kind), at, part})
}

// say sends the text in deltas, and then whole as done has it.
func (i outputItem) say(s *stream, at place, kind string, done textEvent) {
	for piece := range s.pieces(i.text) {
		s.send("response."+kind+".delta", textEvent{eventHead: s.next(kind + ".delta"), place: at, Delta: &piece, Logprobs: done.Logprobs})
	}
	done.eventHead, done.place = s.next(kind+".done"), at
	s.send("response."+kind+".done", done)
}

// fail sends the error, and the response that came to nothing by it.
func (responses) fail(s *stream, e *Error) {
	code := cmp.Or(e.Code, responsesCode(e.Status))
	s.send("error", errorEvent{eventHead{"error", s.sent}, code, e.Message, nil})
	failed := newResponse(s.req, statusFailed)
	failed.Error = &responseError{code, e.Message}
	s.send("response.failed", responseEvent{s.next(statusFailed), failed})
}

// responsesCode is what a response that fails calls a status.
func responsesCode(status int) string {
	switch {
	case status == http.StatusTooManyRequests:
		return "rate_limit_exceeded"
	case status >= http.StatusInternalServerError:
		return "server_error"
	default:
		return "invalid_prompt"
	}
}
