package swap

import (
	"io"
	"strings"
)

const (
	bufferSize = 32 << 10
	maxEmpty   = 100 // reads in a row that bring nothing, as in bufio
)

// A replacer is a reader that puts something else in the place of patterns, however its
// source cuts them. It never waits for more while it has bytes that are surely in no match,
// and its memory is a buffer of twice the longest pattern, at least 32 KiB.
type replacer struct {
	src io.Reader
	m   *matcher
	on  func(id int) string // called for each match, in order

	// see, if any, gets all that was read, in order, before on is asked about what follows.
	see func([]byte)

	// early is how many bytes of a possible match are given out before it is decided, for
	// streams in which the other side waits for each byte. Replacements must then be as
	// long as their patterns.
	early int

	buf   []byte
	r, w  int    // buf[r:w] was read and is undecided
	sent  int    // bytes of buf[r:w] that were given out early
	lit   []byte // to give out now: this part of buf,
	rep   string // then this
	fresh bool   // buf[r:w] has to be looked through
	err   error  // of src
}

// Read implements io.Reader. An error of the source comes after all bytes before it.
func (p *replacer) Read(b []byte) (int, error) {
	n := 0
	for n < len(b) {
		switch {
		case len(p.lit) > 0:
			c := copy(b[n:], p.lit)
			p.lit = p.lit[c:]
			n += c
		case p.rep != "":
			c := copy(b[n:], p.rep)
			p.rep = p.rep[c:]
			n += c
		case p.fresh:
			p.scan()
		case n > 0:
			return n, nil
		case p.err != nil:
			return 0, p.err
		default:
			p.fill()
		}
	}
	return n, nil
}

// fill reads more behind what is undecided.
func (p *replacer) fill() {
	if p.buf == nil {
		p.buf = make([]byte, max(bufferSize, 2*p.m.longest))
	}
	p.w = copy(p.buf, p.buf[p.r:p.w])
	p.r = 0
	p.fresh = true
	for range maxEmpty {
		n, err := p.src.Read(p.buf[p.w:])
		p.w += n
		p.err = err
		if n > 0 || err != nil {
			return
		}
	}
	p.err = io.ErrNoProgress
}

// scan decides about the bytes up to and with the next match.
func (p *replacer) scan() {
	at, n, id := p.m.find(p.buf[p.r:p.w], p.err != nil)
	at += p.r
	from := p.r + p.sent
	p.show(p.r, at)
	if n == 0 {
		to := max(from, at+min(p.early, p.w-at))
		p.lit = p.buf[from:to]
		p.sent = to - at
		p.r = at
		p.fresh = false
		return
	}
	p.rep = p.on(id)
	p.show(at, at+n)
	p.r = at + n
	p.sent = 0
	if from <= at {
		p.lit = p.buf[from:at]
		return
	}
	over := min(from-at, len(p.rep))
	p.rep = p.rep[over:]
	p.sent = from - at - over
}

func (p *replacer) show(from, to int) {
	if p.see != nil {
		p.see(p.buf[from:to])
	}
}

// replace returns s with its matches replaced.
func (m *matcher) replace(s string, on func(id int) string) string {
	if m == nil {
		return s
	}
	b := []byte(s)
	at, n, id := m.find(b, true)
	if n == 0 {
		return s
	}
	var out strings.Builder
	for n > 0 {
		out.Write(b[:at])
		out.WriteString(on(id))
		b = b[at+n:]
		at, n, id = m.find(b, true)
	}
	out.Write(b)
	return out.String()
}
