package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"unsafe"

	"github.com/tidwall/gjson"
)

// A stream of chat completions tells what it used when it is asked to only. So it is,
// and the chunk that tells is taken out of what a sandbox sees that did not ask.

// splice is a change of a text: what stands from one place to another is replaced. Nil
// changes nothing.
type splice struct {
	from, to int
	with     string
}

func (s *splice) growth() int {
	if s == nil {
		return 0
	}
	return len(s.with) - (s.to - s.from)
}

// reader reads the changed text. It is not copied: it may be large.
func (s *splice) reader(text []byte) io.Reader {
	if s == nil {
		return bytes.NewReader(text)
	}
	return io.MultiReader(bytes.NewReader(text[:s.from]), strings.NewReader(s.with), bytes.NewReader(text[s.to:]))
}

// addUsage asks for the usage where the call does not.
func (c *call) addUsage() {
	if c.meter != nil && c.body != nil && (c.path == "chat/completions" || c.path == "completions") {
		c.added = includeUsage(c.body.data)
	}
}

// includeUsage is the change that makes a request ask for its usage, or nil.
func includeUsage(request []byte) *splice {
	text := unsafe.String(unsafe.SliceData(request), len(request)) // a copy of a value may be as large as the request
	if gjson.Get(text, "stream").Type != gjson.True {
		return nil
	}
	options := gjson.Get(text, "stream_options")
	include := options.Get("include_usage")
	switch {
	case include.Type == gjson.True:
		return nil
	case !options.Exists():
		start := bytes.IndexByte(request, '{') + 1
		return &splice{start, start, `"stream_options":{"include_usage":true},`}
	case include.Exists():
		return replace(request, include, "true")
	case !options.IsObject() || strings.TrimSpace(options.Raw[1:]) == "}":
		return replace(request, options, `{"include_usage":true}`)
	default:
		return replace(request, gjson.Result{Index: options.Index, Raw: "{"}, `{"include_usage":true,`)
	}
}

// replace puts a text in place of a value, or changes nothing when it is not found where
// it should be.
func replace(request []byte, v gjson.Result, with string) *splice {
	if v.Index <= 0 || v.Index > len(request) || !bytes.HasPrefix(request[v.Index:], []byte(v.Raw)) {
		return nil
	}
	return &splice{v.Index, v.Index + len(v.Raw), with}
}

// sender is the transport of one call.
type sender struct {
	*upstream
	call *call
}

// RoundTrip sends a call once more, as it was, when the model gateway does not know what
// has been added to it.
func (s *sender) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := s.upstream.RoundTrip(r)
	if err != nil || s.call.added == nil || res.StatusCode != http.StatusBadRequest {
		return res, err
	}
	text, err := readError(res)
	if err != nil {
		return nil, errors.Join(err, res.Body.Close())
	}
	if !strings.Contains(text, "stream_options") && !strings.Contains(text, "include_usage") {
		setBody(res, text)
		return res, nil
	}
	if err := res.Body.Close(); err != nil {
		return nil, err
	}
	s.call.added = nil
	return s.upstream.RoundTrip(s.call.body.into(r, nil))
}

// maxChunk bounds the lines of a stream that are looked at before they are passed on. The
// chunk in question is small.
const maxChunk = 64 << 10

// withoutUsage is a stream of chat completions without the chunk that only tells the
// usage. All else passes as it is, line by line.
type withoutUsage struct {
	io.ReadCloser
	buf   []byte
	ready []byte // to hand out
	line  []byte // not yet whole
	long  bool   // the line is passed on as it comes
	event bool   // the event has passed in part
	gone  bool   // a chunk has been taken out; the line that ends it goes too
	err   error
}

func (w *withoutUsage) Read(p []byte) (int, error) {
	if w.buf == nil {
		w.buf = make([]byte, 32<<10)
	}
	for len(w.ready) == 0 && w.err == nil {
		var n int
		n, w.err = w.ReadCloser.Read(w.buf)
		w.ready = w.ready[:0]
		w.take(w.buf[:n])
		if w.err != nil && len(w.line) > 0 {
			w.endLine()
		}
	}
	n := copy(p, w.ready)
	w.ready = w.ready[n:]
	if len(w.ready) > 0 || n > 0 {
		return n, nil
	}
	return 0, w.err
}

func (w *withoutUsage) take(p []byte) {
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n') + 1
		whole := end > 0
		if !whole {
			end = len(p)
		}
		w.line = append(w.line, p[:end]...)
		p = p[end:]
		switch {
		case whole:
			w.endLine()
		case w.long || len(w.line) > maxChunk:
			w.long, w.event = true, true
			w.pass()
		}
	}
}

func (w *withoutUsage) pass() {
	w.ready = append(w.ready, w.line...)
	w.line = w.line[:0]
}

func (w *withoutUsage) endLine() {
	long := w.long
	w.long = false
	switch blank := len(bytes.TrimRight(w.line, "\r\n")) == 0; {
	case blank && w.gone:
		w.gone, w.line = false, w.line[:0]
	case !blank && !long && onlyUsage(w.line):
		w.gone, w.line = !w.event, w.line[:0]
	default:
		w.event, w.gone = !blank, false
		w.pass()
	}
}

// onlyUsage reports whether a line is a chunk that tells the usage and nothing else.
func onlyUsage(line []byte) bool {
	data, ok := bytes.CutPrefix(line, []byte("data:"))
	if !ok || !bytes.Contains(data, []byte(`"usage"`)) {
		return false
	}
	var chunk struct {
		Usage   map[string]json.RawMessage `json:"usage"`
		Choices *[]struct {
			Delta  map[string]json.RawMessage `json:"delta"`
			Text   string                     `json:"text"`
			Finish *string                    `json:"finish_reason"`
		} `json:"choices"`
	}
	if json.Unmarshal(data, &chunk) != nil || chunk.Usage == nil || chunk.Choices == nil {
		return false
	}
	for _, c := range *chunk.Choices { // LiteLLM has one, which is empty
		if c.Text != "" || c.Finish != nil {
			return false
		}
		for _, v := range c.Delta {
			if string(v) != "null" {
				return false
			}
		}
	}
	return true
}
