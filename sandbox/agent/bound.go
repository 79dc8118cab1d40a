package agent

import (
	"fmt"
	"io"
	"net/http"
)

// What a gateway may make the agent hold. Models end long before.
const (
	eventLimit  = 2 << 20 // bytes of one event of an answer
	answerLimit = 4 << 20 // bytes of one answer: its texts, its calls and their arguments
	partCost    = 8 << 10 // bytes of answerLimit that each part of an answer uses up
)

// endless is why an answer is given up. It is not asked for again.
func endless(format string, args ...any) *modelError {
	e := failed(0, "", fmt.Sprintf(format, args...))
	e.wire.Data.IsRetryable = new(false)
	return e
}

// meter fails a stream that comes to no event, or to none that is small enough.
type meter struct {
	io.ReadCloser
	left int
}

// newMeter puts a meter in front of the body of res.
func newMeter(res *http.Response) *meter {
	m := &meter{ReadCloser: res.Body, left: eventLimit}
	res.Body = m
	return m
}

// reset is told of each event.
func (m *meter) reset() { m.left = eventLimit }

// Read reads what the next event has left.
func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, endless("the model's answer has an event of more than %d MiB", eventLimit>>20)
	}
	n, err := m.ReadCloser.Read(p[:min(len(p), m.left)])
	m.left -= n
	return n, err
}

// count adds n bytes of a kind of text to the size of the answer. A change of kind
// begins a part.
func (c *completion) count(kind string, n int) {
	if n == 0 {
		return
	}
	if kind != c.kind {
		c.kind = kind
		c.size += partCost
	}
	c.size += n
}
