package process

import (
	"strings"
	"sync"
)

// A Transcript is what servers have said, one after the other.
type Transcript struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (t *Transcript) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.WriteString(line + "\n")
}

// String returns every line so far.
func (t *Transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
