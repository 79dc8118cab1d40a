package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	"lap/sandbox/pipe"
)

const (
	maxBody = 96 << 20  // bytes of one request: ten images of 5 MiB are 67 MiB of base64
	maxHeld = 256 << 20 // bytes of all requests of one sandbox at a time
	freely  = 64 << 10  // bytes of a request that are not counted

	tapeCost     = 8 // bytes of memory that it takes to look for a recorded call, for each byte of its request
	keepCost     = 4 // and to record an answer, for each byte of that
	scriptedCost = 8 // bytes of memory that a scripted model takes, for each byte beside images
)

// memory counts what the bodies of a sandbox's requests hold, so that one sandbox
// cannot take the host's memory.
type memory struct {
	mu   sync.Mutex // guards held
	held map[string]int
}

// take reports whether n more bytes, or fewer for negative n, are granted.
func (m *memory) take(owner string, n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held == nil {
		m.held = map[string]int{}
	}
	if n > 0 && m.held[owner]+n > maxHeld {
		return false
	}
	if m.held[owner] += n; m.held[owner] == 0 {
		delete(m.held, owner)
	}
	return true
}

// body is a request's whole body.
type body struct {
	data    []byte
	owner   string
	memory  *memory
	counted int
}

// read reads the whole body: which model is asked for may stand at its end.
func (m *memory) read(w http.ResponseWriter, r *http.Request) (*body, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, &apiError{
			Status: http.StatusUnsupportedMediaType, Type: "invalid_request_error", Code: "content_encoding",
			Message: "compressed request bodies are not accepted: send it without Content-Encoding",
		}
	}
	b := &body{owner: pipe.Owner(r.Context()), memory: m}
	src := http.MaxBytesReader(w, r.Body, maxBody)
	for {
		if len(b.data) == cap(b.data) && !b.grow(r.ContentLength) {
			b.release()
			return nil, errBusy
		}
		n, err := src.Read(b.data[len(b.data):cap(b.data)])
		b.data = b.data[:len(b.data)+n]
		if errors.Is(err, io.EOF) {
			return b, nil
		}
		if err != nil {
			b.release()
			return nil, err
		}
	}
}

// grow makes room, or reports that the sandbox may not have more. Once a body has shown
// to be a large one, that is as much as it was announced to be; -1 is unknown.
func (b *body) grow(announced int64) bool {
	more := max(freely, cap(b.data)/2)
	if cap(b.data) > 0 {
		if rest := announced + 1 - int64(cap(b.data)); rest > 0 { // 1: to see the end without growing
			more = int(min(rest, maxBody))
		}
		more = max(1, min(more, maxBody+1-cap(b.data)))
		if !b.memory.take(b.owner, more) {
			return false
		}
		b.counted += more
	}
	larger := make([]byte, len(b.data), cap(b.data)+more)
	copy(larger, b.data)
	b.data = larger
	return true
}

// release gives the memory back.
func (b *body) release() { b.memory.take(b.owner, -b.counted) }

var errBusy = &apiError{
	Status: http.StatusServiceUnavailable, Type: "server_error", Code: "too_much_at_once", RetryAfter: time.Second,
	Message: "this sandbox has too many large requests under way: wait for one to end",
}

// asked is what a body asks for, as far as that is looked at.
type asked struct {
	models     names
	background truth
	others     truth // models that may take the place of the one that is named
	streams    int   // how often it says whether to stream
}

// asks reads what the body asks for: of every top-level member called model, in any
// case, as a reader might take any of several. The body must be JSON or empty, or what
// it asks for could not be told.
func (b *body) asks() (asked, error) {
	if len(b.data) == 0 {
		return asked{}, nil
	}
	var top struct {
		Model      names `json:"model"`
		Background truth `json:"background"`
		Stream     times `json:"stream"`

		Models           truth `json:"models"`
		Fallbacks        truth `json:"fallbacks"`
		ContextFallbacks truth `json:"context_window_fallbacks"`
		PolicyFallbacks  truth `json:"content_policy_fallbacks"`
	}
	if err := json.Unmarshal(b.data, &top); err != nil {
		return asked{}, &apiError{
			Status: http.StatusBadRequest, Type: "invalid_request_error", Code: "invalid_json",
			Message: "the request body is no JSON object: " + err.Error(),
		}
	}
	return asked{
		models: top.Model, background: top.Background, streams: int(top.Stream),
		others: top.Models || top.Fallbacks || top.ContextFallbacks || top.PolicyFallbacks,
	}, nil
}

// truth is whether a member, wherever it comes, is anything but false, null or empty.
type truth bool

func (t *truth) UnmarshalJSON(data []byte) error {
	switch strings.Join(strings.Fields(string(data[:min(len(data), 64)])), "") {
	case "false", "null", "[]", "{}", `""`:
	default:
		*t = true
	}
	return nil
}

// times is how often a member comes, in any case.
type times int

func (n *times) UnmarshalJSON([]byte) error { *n++; return nil }

// names collects the strings that one member, however often it comes, holds.
type names []string

func (n *names) UnmarshalJSON(data []byte) error {
	var name string
	if json.Unmarshal(data, &name) == nil { // anything else names no model
		*n = append(*n, name)
	}
	return nil
}

// into returns a request like r with the body that was read from it, changed by change.
func (b *body) into(r *http.Request, change *splice) *http.Request {
	out := r.WithContext(r.Context())
	out.ContentLength, out.TransferEncoding = int64(len(b.data)+change.growth()), nil
	open := func() io.ReadCloser { return io.NopCloser(change.reader(b.data)) }
	// Repeated on a new connection if an idle one turns out to be dead.
	out.GetBody = func() (io.ReadCloser, error) { return open(), nil }
	out.Body = open()
	return out
}

func isMultipart(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "multipart/form-data"
}
