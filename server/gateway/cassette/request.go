package cassette

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

const (
	maxDepth = 64 // of objects and arrays in a request
	// minBlob is the length from which a string of base64 is kept as its hash only.
	minBlob = 1 << 10
	// aModel stands for the name of the model that was asked for.
	aModel = "<model>"
)

// ownMembers of a request's body say who asks, or how the answer is told, but not what is
// asked. They are not kept.
var ownMembers = []string{
	"model", "user", "metadata", "client_metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
	"session_id", "stream_options",
}

// A Request is what was asked, in a form that is the same from run to run.
type Request struct {
	Text string // for people: YAML of what follows
	line string // method, path and query
	body any    // as of JSON, with json.Number; nil: there was none
}

// Canonical makes a Request of one that is on its way. line is its method and path, with
// the query; body is JSON, or empty. model is the name that stands in either for the
// model that is asked for. An error is an *Error.
func Canonical(line string, body []byte, model string) (Request, error) {
	if len(body) > MaxRequest {
		return Request{}, failed(CodeRequest, "the request has %d MiB: at most %d MiB can be recorded or replayed", len(body)>>20, MaxRequest>>20)
	}
	r := Request{line: strings.ReplaceAll(line, model, aModel)}
	if len(bytes.TrimSpace(body)) > 0 {
		in := json.NewDecoder(bytes.NewReader(body))
		in.UseNumber()
		if err := in.Decode(&r.body); err != nil {
			return Request{}, failed(CodeRequest, "the request body is no JSON: %v", err)
		}
	}
	return r, r.settle(model)
}

// settle brings the request into its form, and writes the text.
func (r *Request) settle(model string) error {
	r.line = settle(r.line)
	if top, ok := r.body.(map[string]any); ok {
		for name := range top {
			if slices.ContainsFunc(ownMembers, func(own string) bool { return strings.EqualFold(own, name) }) {
				delete(top, name)
			}
		}
	}
	s := settler{model: model}
	r.body = s.value(r.body, 0)
	if s.deep {
		return failed(CodeRequest, "the request is nested deeper than %d: it cannot be recorded or replayed", maxDepth)
	}
	text, err := encode(mapping("request", r.line, "body", r.body))
	if err != nil {
		return failed(CodeRequest, "the request cannot be written as YAML: %v", err)
	}
	r.Text = text
	return nil
}

// settler settles all strings of a value.
type settler struct {
	model string // "": none is looked for
	deep  bool   // it was nested too deep
}

func (s *settler) value(v any, depth int) any {
	if depth > maxDepth {
		s.deep = true
		return nil
	}
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, name := range slices.Sorted(maps.Keys(v)) { // two may become one
			out[s.text(name)] = s.value(v[name], depth+1)
		}
		return out
	case []any:
		for i := range v {
			v[i] = s.value(v[i], depth+1)
		}
		return v
	case string:
		return s.text(v)
	case json.Number:
		if settled := settle(v.String()); settled != v.String() {
			return settled
		}
	}
	return v
}

func (s *settler) text(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if s.model != "" {
		text = strings.ReplaceAll(text, s.model, aModel)
	}
	if isBlob(text) {
		return fmt.Sprintf("<%d bytes, sha256_%.20x>", len(text), sha256.Sum256([]byte(text))) // which is no hex that differs
	}
	return settle(text)
}

var base64Text = regexp.MustCompile(`^(?:data:[a-z]+/[A-Za-z0-9.+-]+;base64,)?[A-Za-z0-9+/_-]+={0,2}$`)

func isBlob(text string) bool { return len(text) >= minBlob && base64Text.MatchString(text) }
