package tool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strings"
)

const (
	grepLimit  = 200     // lines that match
	grepWidth  = 400     // bytes of such a line
	grepSize   = 8 << 20 // bytes of a file that is searched
	maxContext = 10      // lines around a match
)

type grepArgs struct {
	Pattern         string `json:"pattern"`
	Path            string `json:"path"`
	Glob            string `json:"glob"`
	CaseInsensitive bool   `json:"case_insensitive"`
	Context         int    `json:"context"`
}

// grep is the grep tool.
func (b *Box) grep(ctx context.Context, args grepArgs) (Result, error) {
	g, err := newSearch(args)
	if err != nil {
		return Result{}, err
	}
	_, err = walk(ctx, b.resolve(args.Path), args.Glob, func(path, rel string, _ fs.DirEntry) error {
		if g.wanted(rel) {
			g.file(path, b.short(path))
		}
		if g.matches == grepLimit {
			return fs.SkipAll
		}
		return nil
	})
	if err != nil {
		return Result{}, err
	}
	full := g.matches == grepLimit
	switch {
	case full:
		fmt.Fprintf(&g.out, "[only the first %d matching lines: narrow the search]", grepLimit)
	case g.matches == 0:
		g.out.WriteString("Nothing matches.")
	}
	return Result{Title: args.Pattern, Output: g.out.String(), Truncated: full}, nil
}

// search is one use of grep.
type search struct {
	pattern *regexp.Regexp
	wanted  func(rel string) bool
	around  int
	matches int
	out     strings.Builder
}

func newSearch(args grepArgs) (*search, error) {
	if args.Pattern == "" {
		return nil, errors.New("pattern is missing")
	}
	expr := args.Pattern
	if args.CaseInsensitive {
		expr = "(?i)" + expr
	}
	pattern, err := regexp.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("pattern: %w (the syntax is RE2: no look-around, no back-references)", err)
	}
	g := &search{pattern: pattern, around: min(max(0, args.Context), maxContext), wanted: func(string) bool { return true }}
	if args.Glob != "" {
		g.wanted, err = matcher(args.Glob)
	}
	return g, err
}

// file searches one file. It passes over what it cannot read.
func (g *search) file(path, name string) {
	f, err := openRegular(path)
	if err != nil {
		return
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() > grepSize {
		return
	}
	r := bufio.NewReader(f)
	if _, text := sniff(r); text {
		g.lines(io.LimitReader(r, grepSize), name)
	}
}

// lines writes name:line:text for a match, and name-line-text for lines around it.
func (g *search) lines(r io.Reader, name string) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20) // the rest of a file with a longer line is passed over
	var before []string
	after := 0
	for n := 1; in.Scan() && g.matches < grepLimit; n++ {
		switch {
		case g.pattern.Match(in.Bytes()):
			for i, line := range before {
				g.line(name, "-", n-len(before)+i, line)
			}
			g.line(name, ":", n, in.Text())
			before, after = before[:0], g.around
			g.matches++
		case after > 0:
			after--
			g.line(name, "-", n, in.Text())
		case g.around > 0:
			before = append(before, clipLine(in.Text()))
			before = before[max(0, len(before)-g.around):]
		}
	}
}

func (g *search) line(name, mark string, n int, text string) {
	fmt.Fprintf(&g.out, "%s%s%d%s%s\n", name, mark, n, mark, clipLine(text))
}

func clipLine(text string) string {
	if len(text) > grepWidth {
		text = text[:grepWidth] + "..."
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
