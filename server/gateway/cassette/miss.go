package cassette

import (
	"strings"
	"unicode/utf8"

	"github.com/aymanbagabas/go-udiff"
)

const (
	maxDiffed = 4000 // lines of each request that are compared
	maxDiff   = 6000 // bytes of the diff that are shown
	longLine  = 160  // bytes from which a line is shown in pieces
)

// miss says that there is no call with the same request, and what the nearest one has
// that is different.
func (f *Folder) miss(t *tape, r Request) error {
	if len(t.calls) == 0 {
		return failed(CodeMiss, "%s has no call: record some with the model record/%s/<model>", f.shown(t.name), t.name)
	}
	n, like := t.nearest(r)
	return failed(CodeMiss, "%s has no call with this request. The nearest of its %d is call %d, which is the same to %d %%. "+
		"Lines with - are what was recorded, with + what was asked now:\n%s"+
		"If the request is meant to be different, record it anew.", f.shown(t.name), len(t.calls), n+1, like, diff(t.calls[n].Request.Text, r.Text))
}

// nearest is the call whose request has the most lines in common, and the share of them in
// percent, which is below 100.
func (t *tape) nearest(r Request) (n, percent int) {
	want, lines := map[string]int{}, 0
	for line := range strings.SplitSeq(r.Text, "\n") {
		want[line]++
		lines++
	}
	best := -1.0
	for i := range t.calls {
		common, other, seen := 0, 0, map[string]int{}
		for line := range strings.SplitSeq(t.calls[i].Request.Text, "\n") {
			other++
			if seen[line]++; seen[line] <= want[line] {
				common++
			}
		}
		if like := 2 * float64(common) / float64(lines+other); like > best {
			n, best = i, like
		}
	}
	return n, min(99, int(100*best))
}

// diff shows where two texts are different, in lines around it, up to a bound.
func diff(recorded, asked string) string {
	a, b := fold(recorded), fold(asked)
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	from := max(0, same-3) // lines that are the same are shown before
	text := udiff.Unified("recorded", "asked", window(a[from:]), window(b[from:]))
	_, text, _ = strings.Cut(text, "@@\n") // numbers of lines that nobody has say nothing
	var out strings.Builder
	for line := range strings.Lines(text) {
		switch {
		case strings.HasPrefix(line, "@@ "):
			line = "...\n"
		case strings.HasPrefix(line, `\`): // about an end without a newline
			continue
		}
		if out.Len()+len(line) > maxDiff {
			out.WriteString("... and more\n")
			break
		}
		out.WriteString(line)
	}
	return out.String()
}

// window is the beginning of a text.
func window(lines []string) string {
	return strings.Join(lines[:min(len(lines), maxDiffed)], "\n") + "\n"
}

// fold returns the lines of a text, long ones in pieces, so that little is shown of one
// that is different in little.
func fold(text string) []string {
	var lines []string
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		for len(line) > longLine {
			end := breakOf(line)
			lines = append(lines, line[:end])
			line = line[end:]
		}
		lines = append(lines, line)
	}
	return lines
}

// breakOf is where a long line is broken: after the first newline that is written as an
// escape, or else the first blank that is not right at the beginning, if there is one.
func breakOf(line string) int {
	begin := line[:min(len(line), 2*longLine)]
	if i := strings.Index(begin, `\n`); i >= 0 {
		return i + len(`\n`)
	}
	if i := strings.IndexByte(begin[longLine/2:], ' '); i >= 0 {
		return longLine/2 + i + 1
	}
	end := longLine
	for end > 1 && !utf8.RuneStart(line[end]) {
		end--
	}
	return end
}
