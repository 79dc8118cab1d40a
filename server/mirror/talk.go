package mirror

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"time"
)

const (
	mostLine = 1 << 10
	mostTalk = 16 << 10 // of the lines that are no progress, the last are kept

	tellEvery = 200 * time.Millisecond
)

// A talk is what git writes to its standard error: progress, which is passed on and
// forgotten, and words, which are kept.
type talk struct {
	alive    func()              // called for each line; nil: nobody asked
	progress func(detail string) // nil: nobody asked
	told     time.Time
	line     []byte
	words    []byte
}

// progressLine matches "Receiving objects:  45% (9/20), 1.2 MiB | 2 MiB/s", alone or
// relayed from the remote side.
var progressLine = regexp.MustCompile(`^(?:remote: )?([A-Z][a-z]+ [a-z]+): +(\d+%)`)

func (t *talk) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		end := bytes.IndexAny(rest, "\r\n")
		if end < 0 {
			t.add(rest)
			break
		}
		t.add(rest[:end])
		t.end()
		rest = rest[end+1:]
	}
	return len(p), nil
}

func (t *talk) add(p []byte) {
	t.line = append(t.line, p[:min(len(p), mostLine-len(t.line))]...)
}

func (t *talk) end() {
	line := strings.TrimSpace(string(t.line))
	t.line = t.line[:0]
	found := progressLine.FindStringSubmatch(line)
	if found == nil {
		t.words = append(append(t.words, line...), '\n')
		for len(t.words) > mostTalk {
			t.words = t.words[bytes.IndexByte(t.words, '\n')+1:]
		}
	}
	if t.alive != nil {
		t.alive()
	}
	if found != nil && t.progress != nil && time.Since(t.told) >= tellEvery {
		t.told = time.Now()
		t.progress(strings.ToLower(found[1]) + " " + found[2])
	}
}

// String is what was kept, the last line included.
func (t *talk) String() string { return string(t.words) + string(t.line) }

// A bounded writer passes on the first bytes, and swallows the rest.
type bounded struct {
	w    io.Writer
	left int
}

func (b *bounded) Write(p []byte) (int, error) {
	part := p[:min(len(p), b.left)]
	b.left -= len(part)
	if _, err := b.w.Write(part); err != nil {
		return 0, err
	}
	return len(p), nil
}
