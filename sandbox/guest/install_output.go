//go:build linux

package guest

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

const (
	maxDetail = 300     // characters of a line that is reported
	maxSaid   = 1500    // characters of output that an error tells
	keepEnd   = 8 << 10 // bytes of the end of the output that are kept for both
)

// printed takes the output of a step in bounded memory, and passes it on in whole lines.
type printed struct {
	log    io.Writer
	prefix string // of lines that tell an error; "": none does

	mu     sync.Mutex // guards the rest
	line   []byte     // the beginning of one, for log
	end    []byte     // of the output, at most twice keepEnd
	errors []byte     // of the lines with prefix, likewise
}

// Write never fails: a program is not to notice what becomes of its output.
func (o *printed) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.end = appendEnd(o.end, p)
	for line := range bytes.Lines(p) {
		for len(line) > 0 {
			n := min(len(line), maxLine-1-len(o.line)) // with a line end, it is one line to log, too
			o.line = append(o.line, line[:n]...)
			if line = line[n:]; len(o.line) == maxLine-1 || o.line[len(o.line)-1] == '\n' {
				o.pass()
			}
		}
	}
	return len(p), nil
}

// flush passes on a line that has not ended.
func (o *printed) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.line) > 0 {
		o.pass()
	}
}

// pass ends a line, or a piece of one.
func (o *printed) pass() {
	if o.line[len(o.line)-1] != '\n' {
		o.line = append(o.line, '\n')
	}
	if o.prefix != "" && bytes.HasPrefix(o.line, []byte(o.prefix)) {
		o.errors = appendEnd(o.errors, o.line)
	}
	_, _ = o.log.Write(o.line) // it cannot fail
	o.line = o.line[:0]
}

// last is the last line that says anything, whole or not.
func (o *printed) last() string {
	o.mu.Lock()
	text := string(o.end)
	o.mu.Unlock()
	for {
		at := strings.LastIndexAny(text, "\r\n")
		if line := printable(text[at+1:]); line != "" || at < 0 {
			return start(line, maxDetail)
		}
		text = text[:at]
	}
}

// reason is what an error tells of the output: the lines with prefix, else its end.
func (o *printed) reason() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := o.errors
	if len(text) == 0 {
		text = o.end
	}
	said := []rune(printable(string(text)))
	if len(said) > maxSaid {
		return "…" + string(said[len(said)-maxSaid+1:])
	}
	return string(said)
}

// appendEnd appends p and forgets the beginning of what is too long.
func appendEnd(b, p []byte) []byte {
	p = p[max(0, len(p)-keepEnd):]
	if len(b)+len(p) > 2*keepEnd {
		b = b[:copy(b, b[max(0, len(b)-keepEnd):])]
	}
	return append(b, p...)
}

// controls are the terminal's: colours and the like, and titles.
var controls = regexp.MustCompile(`\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*)`)

// printable is text on one line, without what does not print.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r) || r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, controls.ReplaceAllString(text, ""))
	return strings.Join(strings.Fields(text), " ")
}

// start is text, cut at n characters.
func start(text string, n int) string {
	if runes := []rune(text); len(runes) > n {
		return string(runes[:n-1]) + "…"
	}
	return text
}
