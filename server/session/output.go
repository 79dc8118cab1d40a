package session

import (
	"strings"
	"sync"

	"lap/sandbox"
)

// An output is the end of what a sandbox printed.
type output struct {
	mu    sync.Mutex // guards what follows
	text  string
	dirty bool // not stored
}

// add takes in whole lines.
func (o *output) add(lines string) {
	if lines == "" {
		return
	}
	if !strings.HasSuffix(lines, "\n") {
		lines += "\n"
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text, o.dirty = tail(o.text+lines), true
}

// tail cuts text to its last whole lines of at most MaxOutput bytes.
func tail(text string) string {
	if len(text) <= sandbox.MaxOutput {
		return text
	}
	text = text[len(text)-sandbox.MaxOutput:]
	if _, rest, ok := strings.Cut(text, "\n"); ok {
		text = rest
	}
	return strings.ToValidUTF8(text, "�")
}

// take returns the text, and whether it is to be stored, which the caller then does.
func (o *output) take() (text string, dirty bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	dirty, o.dirty = o.dirty, false
	return o.text, dirty
}

// keep notes that the text was not stored after all.
func (o *output) keep() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dirty = true
}

// set begins with what an earlier process stored, before anything was added.
func (o *output) set(text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.text == "" {
		o.text = text
	}
}

// now returns the text.
func (o *output) now() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text
}
