package scripted

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"time"
	"unicode/utf8"
)

const (
	maxPieces = 64 // of one text: a long one comes in larger pieces
	minPiece  = 8  // bytes
)

// Why a stream ends before its end.
var (
	errCut    = errors.New("the script cuts the answer")
	errFailed = errors.New("the script lets the answer fail")
)

// stream writes one answer as server-sent events. Once it has ended, early or not, what
// is sent is dropped, so that a wire need not look.
type stream struct {
	ctx     context.Context
	w       http.ResponseWriter
	ctrl    *http.ResponseController
	req     *request
	between time.Duration
	fault   *fault
	left    int  // characters until the fault; negative: none is to come
	spoilt  bool // the next event is malformed
	sent    int  // events so far
	err     error
}

// play sends the answer to req on a wire. It ends early when the client leaves.
func play(ctx context.Context, w http.ResponseWriter, on wire, req *request, a answer) {
	s := &stream{ctx: ctx, w: w, ctrl: http.NewResponseController(w), req: req, between: a.between, fault: a.fault, left: -1}
	if a.fault != nil {
		s.left = a.fault.after
	}
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	on.stream(s, a)
	switch {
	case errors.Is(s.err, errCut):
		breakOff(w)
	case errors.Is(s.err, errFailed):
		s.err = nil
		on.fail(s, s.fault.failure)
	}
}

// pieces splits a text between characters, and at a fault, and takes its time.
func (s *stream) pieces(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		size := max(minPiece, (len(text)+maxPieces-1)/maxPieces)
		for text != "" && s.err == nil {
			if s.err = wait(s.ctx, s.between); s.err != nil {
				return
			}
			piece := firstPiece(text, size)
			if s.left > 0 {
				piece = firstRunes(piece, s.left)
				s.left -= utf8.RuneCountInString(piece)
			}
			if !yield(piece) {
				return
			}
			text = text[len(piece):]
		}
	}
}

// firstPiece is the start of text, of size bytes and as many more as its last character has.
func firstPiece(text string, size int) string {
	for ; size < len(text); size++ {
		if utf8.RuneStart(text[size]) {
			return text[:size]
		}
	}
	return text
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

// end says that all pieces have been sent. A fault that is still to come comes now.
func (s *stream) end() {
	if s.left > 0 {
		s.strike()
	}
}

// send writes an event; name is "" on a wire whose events have none.
func (s *stream) send(name string, data any) {
	if s.err != nil {
		return
	}
	s.write(s.frame(name, marshal(data)))
	s.sent++
	if s.left == 0 {
		s.strike()
	}
}

func (s *stream) frame(name string, data []byte) []byte {
	var event []byte
	if name != "" {
		event = append(event, "event: "+name+"\n"...)
	}
	end := "\n\n"
	if s.spoilt {
		s.spoilt = false
		if s.fault.kind == faultFraming {
			end = "\n"
		} else {
			data = half(data)
		}
	}
	event = append(append(event, "data: "...), data...)
	return append(event, end...)
}

// strike lets the fault happen, once.
func (s *stream) strike() {
	s.left = -1
	switch {
	case s.err != nil: // the client has left
	case s.fault.kind == faultCut:
		s.err = errCut
	case s.fault.kind == faultError:
		s.err = errFailed
	default:
		s.spoilt = true
	}
}

// write ends the stream when the client is gone.
func (s *stream) write(event []byte) {
	if s.err != nil {
		return
	}
	if _, s.err = s.w.Write(event); s.err != nil {
		return
	}
	if err := s.ctrl.Flush(); !errors.Is(err, http.ErrNotSupported) {
		s.err = err
	}
}
