package audit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

const (
	window = 8                  // bytes that are looked up at once
	block  = 1 << 20            // bytes that are read at once
	around = 20 + pieceSize     // bytes of context on each side of a find, which may be the rest of the secret
	bits   = 18                 // log2 of the bits of the filter
	odd    = 0x9e3779b97f4a7c15 // spreads windows over the filter
)

// A needle is one piece of a secret in one spelling.
type needle struct {
	secret   string // its name
	spelling string
	end      int // 0: it is of the beginning of the secret, 1: of its end
	text     []byte
}

// A find is a needle in a haystack.
type find struct {
	*needle
	before, after []byte // context, valid until the next find
}

// A Scanner looks for secrets in streams, in all the spellings in which they leak.
//
// It looks up every eighth byte with the seven that follow: a needle is long enough that
// one of these windows lies inside it wherever it begins.
type Scanner struct {
	filter  [1 << bits / 64]uint64
	windows map[uint64][]spot
	longest int
}

// A spot is where in a needle a window is.
type spot struct {
	*needle
	at int
}

// NewScanner returns a Scanner for some secrets by their names. Values need 16 bytes, and
// should be random: what they share is found as each of them.
func NewScanner(secrets map[string][]byte) (*Scanner, error) {
	s := &Scanner{windows: map[uint64][]spot{}}
	for name, value := range secrets {
		if len(value) < pieceSize {
			return nil, errors.New("the secret " + name + " is too short to be looked for")
		}
		for _, n := range needles(name, value) {
			s.add(n)
		}
	}
	return s, nil
}

func (s *Scanner) add(n needle) {
	s.longest = max(s.longest, len(n.text))
	for at := range window {
		key := binary.LittleEndian.Uint64(n.text[at:])
		h := key * odd >> (64 - bits)
		s.filter[h/64] |= 1 << (h % 64)
		s.windows[key] = append(s.windows[key], spot{&n, at})
	}
}

// Scan reads in to its end, reports what it finds, each once, and returns how much it read.
func (s *Scanner) Scan(in io.Reader, found func(find)) (int64, error) {
	keep := s.longest + around // of a block, to be seen again with the next one
	buf := make([]byte, 0, block+keep)
	var total int64
	for seen := 0; ; {
		n, err := io.ReadFull(in, buf[len(buf):min(cap(buf), len(buf)+block)])
		total += int64(n)
		buf = buf[:len(buf)+n]
		last := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !last {
			return total, err
		}
		upTo := len(buf) // finds that end later are left to the next block, for their context
		if !last {
			upTo -= around
		}
		s.search(buf, seen, upTo, found)
		if last {
			return total, nil
		}
		rest := min(keep, len(buf))
		seen = upTo - (len(buf) - rest)
		buf = buf[:copy(buf, buf[len(buf)-rest:])]
	}
}

// search reports the needles in buf whose ends are behind after and not behind upTo.
func (s *Scanner) search(buf []byte, after, upTo int, found func(find)) {
	for i := 0; i+window <= len(buf); i += window {
		key := binary.LittleEndian.Uint64(buf[i:])
		h := key * odd >> (64 - bits)
		if s.filter[h/64]&(1<<(h%64)) == 0 {
			continue
		}
		for _, sp := range s.windows[key] {
			start, end := i-sp.at, i-sp.at+len(sp.text)
			if start >= 0 && end > after && end <= upTo && bytes.Equal(buf[start:end], sp.text) {
				found(find{sp.needle, buf[max(0, start-around):start], buf[end:min(len(buf), end+around)]})
			}
		}
	}
}
