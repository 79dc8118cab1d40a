package audit

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
)

// A Place is somewhere that was looked at.
type Place struct {
	Name     string   `json:"place"`
	Looks    int      `json:"looks"`    // how many times, or at how many things
	Bytes    int64    `json:"bytes"`    // that were looked at
	Expected []string `json:"expected"` // secrets that are there by design, and are
	Note     string   `json:"note,omitempty"`
	Hits     []Hit    `json:"hits"`
}

// A Hit is a secret where none may be.
type Hit struct {
	Canary   string `json:"canary"`
	Spelling string `json:"spelling"`
	Times    int    `json:"times"`
	Context  string `json:"context"` // of the first time, masked

	ends [2]int // how often its beginning and its end were seen
}

// A ledger keeps what was found where. It is safe for concurrent use.
type ledger struct {
	scanner *Scanner

	mu     sync.Mutex // guards places
	places []*Place
}

// look searches what comes from in, and returns the names of the canaries there. Those in
// may are there by design.
func (l *ledger) look(place string, in io.Reader, may ...string) (found []string, err error) {
	p := &Place{Looks: 1}
	seen := map[string]bool{}
	p.Bytes, err = l.scanner.Scan(in, func(f find) {
		seen[f.secret] = true
		switch {
		case f.secret == control:
		case slices.Contains(may, f.secret):
			p.expect(f.secret)
		default:
			h := Hit{Canary: f.secret, Spelling: f.spelling, Context: masked(f.before) + "***" + masked(f.after)}
			h.ends[f.end]++
			p.hit(h)
		}
	})
	for name := range seen {
		found = append(found, name)
	}
	l.enter(place, p)
	if err != nil {
		err = fmt.Errorf("look at %s: %w", place, err)
	}
	return found, err
}

func (l *ledger) lookAt(place string, text []byte, may ...string) []string {
	found, _ := l.look(place, bytes.NewReader(text), may...) // memory can be read
	return found
}

func (l *ledger) lookAtFile(place, path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return l.look(place, f)
}

// note says something about a place.
func (l *ledger) note(place, text string) { l.enter(place, &Place{Note: text}) }

// fault enters a hit that no search has found.
func (l *ledger) fault(place, canary, what string) {
	l.enter(place, &Place{Hits: []Hit{{Canary: canary, Spelling: "seen", Context: what, ends: [2]int{1, 0}}}})
}

// sorted returns all places in the order of their names.
func (l *ledger) sorted() []*Place {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(slices.Values(l.places), func(a, b *Place) int { return strings.Compare(a.Name, b.Name) })
}

// enter adds what was found in a place to what is known of it.
func (l *ledger) enter(name string, more *Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(l.places, func(p *Place) bool { return p.Name == name })
	if i < 0 {
		i = len(l.places)
		l.places = append(l.places, &Place{Name: name, Expected: []string{}, Hits: []Hit{}})
	}
	p := l.places[i]
	p.Looks += more.Looks
	p.Bytes += more.Bytes
	if more.Note != "" {
		p.Note = more.Note
	}
	for _, name := range more.Expected {
		p.expect(name)
	}
	for _, h := range more.Hits {
		p.hit(h)
	}
}

func (p *Place) expect(name string) {
	if !slices.Contains(p.Expected, name) {
		p.Expected = append(p.Expected, name)
	}
}

func (p *Place) hit(h Hit) {
	i := slices.IndexFunc(p.Hits, func(o Hit) bool { return o.Canary == h.Canary && o.Spelling == h.Spelling })
	if i < 0 {
		i = len(p.Hits)
		p.Hits = append(p.Hits, Hit{Canary: h.Canary, Spelling: h.Spelling, Context: h.Context})
	}
	old := &p.Hits[i]
	old.ends[0] += h.ends[0]
	old.ends[1] += h.ends[1]
	old.Times = max(old.ends[0], old.ends[1])
}

// longWord is how many letters and digits in a row may be part of a secret.
const longWord = 8

// masked makes a piece of context fit to be shown.
func masked(context []byte) string {
	var b strings.Builder
	for i := 0; i < len(context); {
		n := 0
		for i+n < len(context) && isWord(context[i+n]) {
			n++
		}
		switch c := context[i]; {
		case n >= longWord:
			b.WriteString("***")
		case n > 0:
			b.Write(context[i : i+n])
		case c < ' ' || c > '~':
			b.WriteByte('.')
			n = 1
		default:
			b.WriteByte(c)
			n = 1
		}
		i += n
	}
	return b.String()
}

func isWord(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '+' || c == '_'
}
