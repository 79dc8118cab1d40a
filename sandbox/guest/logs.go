//go:build linux

package guest

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"time"

	"lap/sandbox"
)

const (
	logWindow = 100 * time.Millisecond // lines that are printed within it become one entry
	logRate   = 256 << 10              // bytes a second that go into the journal
	maxLine   = 16 << 10               // bytes of a line; a longer one goes in pieces
	maxLog    = 64 << 10               // bytes of lines that make an entry before logWindow is over
	notArmed  = time.Hour              // longer than any wait
)

// logs keeps the end of what was printed, and hands whole lines to a feed, as many as a
// journal can bear. It is a writer for several goroutines that never waits for one.
type logs struct {
	sending sync.Mutex // held while lines are handed over, so that they stay in order

	mu    sync.Mutex         // guards the rest
	kept  []byte             // the last bytes, at most twice sandbox.MaxOutput
	line  []byte             // the beginning of one
	lines []byte             // for the feed
	timer *time.Timer        // calls send
	armed time.Duration      // that the timer was set to; notArmed when it is not
	emit  func(lines string) // is called without mu

	since   time.Time // begin of the second that sent counts
	sent    int
	dropped int
}

func newLogs(emit func(lines string)) *logs {
	l := &logs{emit: emit, armed: notArmed}
	l.timer = time.AfterFunc(logWindow, l.send)
	return l
}

// Write never fails.
func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.keep(p)
	for line := range bytes.Lines(p) {
		for len(line) > 0 {
			n := min(len(line), maxLine-len(l.line))
			l.line = append(l.line, line[:n]...)
			if line = line[n:]; len(l.line) == maxLine || l.line[len(l.line)-1] == '\n' {
				l.finish()
			}
		}
	}
	l.arm()
	return len(p), nil
}

// arm sees to it that lines are sent.
func (l *logs) arm() {
	due := logWindow
	if len(l.lines) > maxLog {
		due = 0
	}
	if len(l.lines)+l.dropped > 0 && due < l.armed {
		l.armed = due
		l.timer.Reset(due)
	}
}

// keep adds p to the last bytes.
func (l *logs) keep(p []byte) {
	p = p[max(0, len(p)-sandbox.MaxOutput):]
	if len(l.kept)+len(p) > 2*sandbox.MaxOutput {
		n := copy(l.kept, l.kept[max(0, len(l.kept)-sandbox.MaxOutput):])
		l.kept = l.kept[:n]
	}
	l.kept = append(l.kept, p...)
}

// finish ends a line, or a piece of one, and passes it on if there is room.
func (l *logs) finish() {
	line := l.line
	l.line = l.line[:0]
	if line[len(line)-1] != '\n' {
		line = append(line, '\n')
	}
	if now := time.Now(); now.Sub(l.since) >= time.Second {
		l.since, l.sent = now, 0
	}
	if l.sent+len(line) > logRate {
		l.dropped += len(line)
		return
	}
	l.sent += len(line)
	l.note()
	l.lines = append(l.lines, line...)
}

// note tells of lines that were dropped.
func (l *logs) note() {
	if l.dropped > 0 {
		l.lines = fmt.Appendf(l.lines, "[%d bytes of output were dropped here: too much at once]\n", l.dropped)
		l.dropped = 0
	}
}

// send hands the lines to the feed.
func (l *logs) send() {
	l.sending.Lock()
	defer l.sending.Unlock()
	l.mu.Lock()
	l.armed = notArmed
	l.note()
	lines := string(l.lines)
	l.lines = nil
	l.mu.Unlock()
	if lines != "" {
		l.emit(lines)
	}
}

// readLogs answers GET /logs.
func (g *Guest) readLogs(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	l := g.logs
	l.mu.Lock()
	text := bytes.Clone(l.kept[max(0, len(l.kept)-sandbox.MaxOutput):])
	l.mu.Unlock()
	_, _ = w.Write(text) // the host may be gone
	return nil
}
