package gateway

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// format is how an answer is written.
type format int

const (
	formatOther format = iota // bytes that say nothing
	formatJSON
	formatEvents // server-sent
	formatText
)

func formatOf(h http.Header) format {
	if e := h.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return formatOther // which was not asked for
	}
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	switch {
	case kind == "text/event-stream":
		return formatEvents
	case kind == "" || strings.Contains(kind, "json"):
		return formatJSON
	case strings.HasPrefix(kind, "text/"):
		return formatText
	}
	return formatOther
}

// scan reads what an answer used while it passes, and keeps nothing else of it.
type scan struct {
	format   format
	json     jsonScan
	line     line
	told     told
	text     int64 // bytes of what the model said, more or less
	saying   int64 // of these, in the JSON text that is being read
	failed   bool
	complete bool // the answer has said that it is over, or ended as it should
}

// line is the line of an event stream that is being read.
type line struct {
	field name
	value name // the beginning of data
	size  int  // bytes of the line, without its end
	place place
}

type place int

const (
	inField place = iota
	afterColon
	inData
	inOther
)

func newScan(f form, h http.Header) *scan {
	s := &scan{format: formatOf(h), told: told{form: f}}
	s.json.usage = s.told.add
	s.json.str = func(key, _ []byte, size, _ int) {
		if !slices.Contains(unspoken, string(key)) {
			s.saying += int64(size)
		}
	}
	return s
}

// unspoken are members whose strings a model did not write as tokens.
var unspoken = []string{
	"id", "object", "type", "model", "role", "status", "finish_reason", "stop_reason", "finishReason", "system_fingerprint", "service_tier",
	"item_id", "call_id", "response_id", "responseId", "modelVersion", "obfuscation", "signature", "thoughtSignature",
	"encrypted_content", "data", "b64_json", "url", "mimeType", "provider", "language",
}

func (s *scan) write(p []byte) {
	if s.format == formatText && s.text == 0 && bytes.HasPrefix(p, []byte("{")) {
		s.format = formatJSON // by a server that does not say so
	}
	switch s.format {
	case formatOther:
	case formatText:
		s.text += int64(len(p))
	case formatJSON:
		s.json.write(p)
		if s.json.ended {
			s.event()
			s.complete = true
		}
	case formatEvents:
		for _, b := range p {
			s.stepEvents(b)
		}
	}
}

func (s *scan) stepEvents(b byte) {
	l := &s.line
	if b == '\n' {
		s.endLine()
		return
	}
	if b != '\r' {
		l.size++
	}
	switch l.place {
	case inField:
		if b == ':' {
			l.place = inOther
			if string(l.field.text()) == "data" {
				l.place = afterColon
			}
			return
		}
		l.field.add(b)
	case afterColon, inData:
		if l.place == afterColon && b == ' ' {
			l.place = inData
			return
		}
		l.place = inData
		l.value.add(b)
		if !s.json.ended {
			s.json.step(b)
		}
	case inOther:
	}
}

func (s *scan) endLine() {
	done := bytes.TrimRight(s.line.value.text(), "\r ")
	switch {
	case string(done) == "[DONE]":
		s.complete = true
	case s.json.ended:
		s.event()
	case s.line.size == 0: // an event ends in a line without anything
		s.json.reset()
		s.saying = 0
	}
	s.line = line{}
}

// event takes in a whole JSON text.
func (s *scan) event() {
	s.text += s.said()
	s.saying = 0
	s.failed = s.failed || s.json.failed
	if s.format == formatEvents {
		s.complete = s.complete || slices.Contains(lastEvents, string(s.json.kind.text()))
		s.json.reset()
	}
}

// said is how much the model said in the JSON text that is being read. What comes in
// pieces comes again as a whole when it is done, and is not taken for said then.
func (s *scan) said() int64 {
	kind := string(s.json.kind.text())
	if s.json.failed || strings.HasPrefix(kind, "response.") && !strings.HasSuffix(kind, ".delta") {
		return 0
	}
	return s.saying
}

// lastEvents end a stream. Those of chat completions end in [DONE], Gemini's have no mark.
var lastEvents = []string{"message_stop", "response.completed", "response.incomplete", "response.failed"}

// end says that the answer ended as it should.
func (s *scan) end() {
	if s.format == formatEvents {
		s.endLine()
	}
	s.complete = s.complete || s.format != formatJSON
}

// bytesPerToken is what an estimate goes by: four bytes of English are about one token.
const bytesPerToken = 4

// usage is what the answer told, and where that is not all, an estimate. input estimates
// the request.
func (s *scan) usage(input func() int64) Usage {
	text := s.text + s.said() // the latter of what was cut
	u := s.told.usage()
	told := s.told.any && (u.InputTokens+u.OutputTokens > 0 || text == 0)
	if (s.failed || s.json.failed) && text == 0 && !told {
		return Usage{} // an error in the guise of an answer
	}
	if u.Estimated = !told || !s.complete && !s.told.final; u.Estimated {
		if u.InputTokens == 0 {
			u.InputTokens = input()
		}
		u.OutputTokens = max(u.OutputTokens, (text+bytesPerToken-1)/bytesPerToken)
	}
	return u
}

// watched is an answer's body that is scanned as it passes. It is done before its last
// bytes are handed out where they are known to be the last, so that a client that has
// its answer finds it counted.
type watched struct {
	io.ReadCloser
	scan *scan
	done func() // may be called twice
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.scan.write(p[:n])
	if errors.Is(err, io.EOF) {
		w.scan.end()
	}
	if w.scan.complete || err != nil {
		w.done()
	}
	return n, err
}

// Close is also that of an answer which was not read to its end.
func (w *watched) Close() error {
	w.done()
	return w.ReadCloser.Close()
}
