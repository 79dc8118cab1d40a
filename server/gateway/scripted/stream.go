package scripted

import (
	"context"
	"errors"
	"net/http"
	"unicode/utf8"
)

const (
	maxPieces = 64 // of one text: a long one comes in larger pieces
	minPiece  = 8  // bytes
)

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

// stream writes one answer as server-sent events.
type stream struct {
	w    http.ResponseWriter
	ctrl *http.ResponseController
	req  *request
	head head
	left int // characters until the cut; negative: none comes
}

func newStream(w http.ResponseWriter, req *request) *stream {
	return &stream{w: w, ctrl: http.NewResponseController(w), req: req, head: newHead(req, "chat.completion.chunk"), left: -1}
}

// play sends the answer. It ends early when the client leaves.
func (s *stream) play(ctx context.Context, a answer) {
	if a.cut != nil {
		s.left = *a.cut
	}
	s.w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	s.w.Header().Set("Cache-Control", "no-cache")
	for i, d := range s.deltas(a) {
		if i > 0 && wait(ctx, a.between) != nil {
			return
		}
		if s.send(d, nil) != nil {
			return
		}
	}
	if a.cut != nil {
		breakOff(s.w)
	}
	s.finish(a)
}

// deltas are the pieces of the answer, up to where it is cut.
func (s *stream) deltas(a answer) []delta {
	out := []delta{{Role: "assistant", Content: new("")}}
	for _, piece := range s.pieces(a.reasoning) {
		out = append(out, delta{Reasoning: piece})
	}
	for _, piece := range s.pieces(a.text) {
		out = append(out, delta{Content: &piece})
	}
	for i, c := range a.calls {
		if s.left == 0 {
			break
		}
		out = append(out, delta{Calls: []wireCall{{Index: &i, ID: s.req.callID(i), Type: "function", Function: wireFunction{Name: c.name}}}})
		for _, piece := range s.pieces(c.arguments) {
			out = append(out, delta{Calls: []wireCall{{Index: &i, Function: wireFunction{Arguments: piece}}}})
		}
	}
	return out
}

// pieces splits a text between characters, and takes what it hands out off the cut.
func (s *stream) pieces(text string) []string {
	if s.left >= 0 {
		text = firstRunes(text, s.left)
		s.left -= utf8.RuneCountInString(text)
	}
	size := max(minPiece, (len(text)+maxPieces-1)/maxPieces)
	var out []string
	for len(text) > size {
		end := size
		for end < len(text) && !utf8.RuneStart(text[end]) {
			end++
		}
		out, text = append(out, text[:end]), text[end:]
	}
	if text != "" {
		out = append(out, text)
	}
	return out
}

func firstRunes(text string, n int) string {
	for i := range text {
		if n == 0 {
			return text[:i]
		}
		n--
	}
	return text
}

func (s *stream) finish(a answer) {
	if s.send(delta{}, new(a.reason())) != nil {
		return
	}
	if s.req.withUsage {
		if s.event(chunk{head: s.head, Choices: []chunkChoice{}, Usage: new(a.used(s.req).wire())}) != nil {
			return
		}
	}
	_, _ = s.w.Write([]byte("data: [DONE]\n\n")) // a client that left needs no end
}

func (s *stream) send(d delta, finish *string) error {
	return s.event(chunk{head: s.head, Choices: []chunkChoice{{Delta: d, Finish: finish}}})
}

// event fails when the client is gone.
func (s *stream) event(c chunk) error {
	line := append([]byte("data: "), marshal(c)...)
	if _, err := s.w.Write(append(line, "\n\n"...)); err != nil {
		return err
	}
	if err := s.ctrl.Flush(); !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
