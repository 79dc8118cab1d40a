package swap

import (
	"cmp"
	"slices"
)

// maxSpan bounds how far a matcher jumps. The more pairs of bytes are inside patterns, the
// more often it must look closer, so that a longer jump does not pay.
const maxSpan = 8

// A matcher finds the leftmost-longest occurrence of any of its patterns. Most positions
// are passed over in jumps by a look at one pair of bytes; a tree of the patterns judges
// the rest, so that many patterns with a common beginning cost no more than one.
type matcher struct {
	starts  pairs // the first two bytes of each pattern
	inside  pairs // all pairs within the first span bytes
	span    int   // at most the shortest pattern
	longest int
	roots   [256]*node
}

// pairs is a set of pairs of bytes.
type pairs [1 << 16 / 64]uint64

func (p *pairs) add(a, b byte) {
	p[uint(a)<<2|uint(b)>>6] |= 1 << (b & 63)
}

func (p *pairs) has(a, b byte) bool {
	return p[uint(a)<<2|uint(b)>>6]&(1<<(b&63)) != 0
}

// A node is a part of one or more patterns.
type node struct {
	label string
	id    int // of the pattern that ends after label, or -1
	kids  []*node
}

// A pattern is a literal with its place in the list of all.
type pattern struct {
	text string
	id   int
}

// newMatcher returns a matcher whose ids are indexes of texts, or nil when there is
// nothing to find. Of equal texts the first counts; texts of less than two bytes do not.
func newMatcher(texts []string) *matcher {
	var list []pattern
	for id, text := range texts {
		if len(text) >= 2 {
			list = append(list, pattern{text, id})
		}
	}
	if len(list) == 0 {
		return nil
	}
	slices.SortStableFunc(list, func(a, b pattern) int { return cmp.Compare(a.text, b.text) })
	list = slices.CompactFunc(list, func(a, b pattern) bool { return a.text == b.text })

	m := &matcher{span: maxSpan}
	for _, p := range list {
		m.span = min(m.span, len(p.text))
		m.longest = max(m.longest, len(p.text))
	}
	for _, p := range list {
		m.starts.add(p.text[0], p.text[1])
		for i := range m.span - 1 {
			m.inside.add(p.text[i], p.text[i+1])
		}
	}
	for _, n := range grow(list, 0) {
		m.roots[n.label[0]] = n
	}
	return m
}

// grow returns the trees of list, which is sorted and agrees in its first depth bytes.
func grow(list []pattern, depth int) []*node {
	var trees []*node
	for len(list) > 0 {
		first := list[0].text
		size := 1
		for size < len(list) && list[size].text[depth] == first[depth] {
			size++
		}
		group := list[:size]
		list = list[size:]

		end, far := depth, group[size-1].text // what first and last share, all share
		for end < len(first) && end < len(far) && first[end] == far[end] {
			end++
		}
		n := &node{label: first[depth:end], id: -1}
		if len(first) == end {
			n.id = group[0].id
			group = group[1:]
		}
		n.kids = grow(group, end)
		trees = append(trees, n)
	}
	return trees
}

// find returns where in b the first match begins, its length and its id. Without a match n
// is 0, and what is before at is surely in none: b[at:] is a proper prefix of a pattern,
// and empty when last says that nothing follows b.
func (m *matcher) find(b []byte, last bool) (at, n, id int) {
	for at = 0; ; at++ {
		at = m.skip(b, at)
		if at == len(b) {
			return at, 0, -1
		}
		id, n, open := m.walk(b[at:])
		if open && !last {
			return at, 0, -1
		}
		if n > 0 {
			return at, n, id
		}
	}
}

// skip returns the first position from i on where a pattern may begin.
func (m *matcher) skip(b []byte, i int) int {
	span := m.span
	for i+span <= len(b) {
		end := i + span - 1
		if !m.inside.has(b[end-1], b[end]) { // each pattern that begins before end has this pair
			i = end
			continue
		}
		for ; i < end; i++ {
			if m.starts.has(b[i], b[i+1]) {
				return i
			}
		}
	}
	for ; i+1 < len(b); i++ {
		if m.starts.has(b[i], b[i+1]) {
			return i
		}
	}
	if i < len(b) && m.roots[b[i]] == nil {
		i++
	}
	return i
}

// walk returns the longest pattern that b begins with. It is open when more bytes could
// make that a longer one.
func (m *matcher) walk(b []byte) (id, n int, open bool) {
	id = -1
	depth := 0
	for at := m.roots[b[0]]; at != nil; at = at.next(b[depth]) {
		rest := b[depth:]
		if len(rest) < len(at.label) {
			return id, n, at.label[:len(rest)] == string(rest)
		}
		if string(rest[:len(at.label)]) != at.label {
			return id, n, false
		}
		depth += len(at.label)
		if at.id >= 0 {
			id, n = at.id, depth
		}
		if depth == len(b) {
			return id, n, len(at.kids) > 0
		}
	}
	return id, n, false
}

func (n *node) next(c byte) *node {
	for _, kid := range n.kids {
		if kid.label[0] == c {
			return kid
		}
	}
	return nil
}
