//go:build unix

package agent

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

const (
	globLimit  = 200     // files that glob names
	grepLimit  = 200     // lines that match
	grepWidth  = 400     // bytes of such a line
	grepSize   = 8 << 20 // bytes of a file that is searched
	maxContext = 10      // lines around a match
	walkLimit  = 500_000 // files and directories in one search
)

var errEnough = errors.New("enough")

type globArgs struct {
	Pattern string `json:"pattern"`
	Path    string `json:"path"`
}

// glob is the glob tool.
func (w *workspace) glob(ctx context.Context, args globArgs) (result, error) {
	root, pattern := w.resolve(args.Path), args.Pattern
	if filepath.IsAbs(pattern) {
		root, pattern = doublestar.SplitPattern(pattern)
	}
	match, err := matcher(pattern)
	if err != nil {
		return result{}, err
	}
	type found struct {
		path string
		time time.Time
	}
	var files []found
	cut, err := walk(ctx, root, pattern, func(path, rel string, e fs.DirEntry) error {
		if info, err := e.Info(); err == nil && match(rel) {
			files = append(files, found{path, info.ModTime()})
		}
		return nil
	})
	if err != nil {
		return result{}, err
	}
	slices.SortStableFunc(files, func(a, b found) int { return cmp.Or(b.time.Compare(a.time), cmp.Compare(a.path, b.path)) })
	var b strings.Builder
	for _, f := range files[:min(len(files), globLimit)] {
		b.WriteString(w.short(f.path) + "\n")
	}
	switch {
	case len(files) == 0:
		b.WriteString("No file matches.")
	case len(files) > globLimit:
		fmt.Fprintf(&b, "[%d more: narrow the pattern]", len(files)-globLimit)
	case cut:
		b.WriteString("[too many files to look at all: narrow the path]")
	}
	return result{title: args.Pattern, output: b.String(), metadata: Metadata{Truncated: cut || len(files) > globLimit}}, nil
}

// matcher compiles a glob for paths relative to where it starts. One without a slash
// fits names in any directory.
func matcher(pattern string) (func(rel string) bool, error) {
	if pattern == "" {
		return nil, errors.New("pattern is missing")
	}
	if !doublestar.ValidatePattern(pattern) {
		return nil, fmt.Errorf("pattern %q is not a valid glob", pattern)
	}
	if !strings.Contains(pattern, "/") {
		pattern = "**/" + pattern
	}
	return func(rel string) bool { return doublestar.MatchUnvalidated(pattern, rel) }, nil
}

type grepArgs struct {
	Pattern         string `json:"pattern"`
	Path            string `json:"path"`
	Glob            string `json:"glob"`
	CaseInsensitive bool   `json:"case_insensitive"`
	Context         int    `json:"context"`
}

// grep is the grep tool.
func (w *workspace) grep(ctx context.Context, args grepArgs) (result, error) {
	g, err := newGrep(args)
	if err != nil {
		return result{}, err
	}
	root := w.resolve(args.Path)
	_, err = walk(ctx, root, args.Glob, func(path, rel string, _ fs.DirEntry) error {
		if !g.wanted(rel) {
			return nil
		}
		return g.file(path, w.short(path))
	})
	if err != nil && !errors.Is(err, errEnough) {
		return result{}, err
	}
	full := errors.Is(err, errEnough)
	switch {
	case full:
		fmt.Fprintf(&g.out, "[only the first %d matching lines: narrow the search]", grepLimit)
	case g.matches == 0:
		g.out.WriteString("Nothing matches.")
	}
	return result{title: args.Pattern, output: g.out.String(), metadata: Metadata{Truncated: full}}, nil
}

// grep is one search.
type grep struct {
	pattern *regexp.Regexp
	wanted  func(rel string) bool
	around  int
	matches int
	out     strings.Builder
}

func newGrep(args grepArgs) (*grep, error) {
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
	g := &grep{pattern: pattern, around: min(max(0, args.Context), maxContext), wanted: func(string) bool { return true }}
	if args.Glob != "" {
		g.wanted, err = matcher(args.Glob)
	}
	return g, err
}

// file searches one file. It passes over what it cannot read.
func (g *grep) file(path, name string) error {
	f, err := openRegular(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() > grepSize {
		return nil
	}
	r := bufio.NewReader(f)
	if start, _ := r.Peek(sniffBytes); bytes.IndexByte(start, 0) >= 0 {
		return nil
	}
	return g.lines(io.LimitReader(r, grepSize), name)
}

// lines writes name:line:text for a match, and name-line-text for lines around it.
func (g *grep) lines(r io.Reader, name string) error {
	in := bufio.NewScanner(r)
	in.Buffer(nil, 1<<20) // the rest of a file with a longer line is passed over
	var before []string
	after := 0
	for n := 1; in.Scan(); n++ {
		hit := g.pattern.Match(in.Bytes())
		switch {
		case hit:
			for i, line := range before {
				g.line(name, "-", n-len(before)+i, line)
			}
			g.line(name, ":", n, in.Text())
			before, after = before[:0], g.around
			if g.matches++; g.matches == grepLimit {
				return errEnough
			}
		case after > 0:
			after--
			g.line(name, "-", n, in.Text())
		case g.around > 0:
			before = append(before, clipLine(in.Text()))
			before = before[max(0, len(before)-g.around):]
		}
	}
	return nil
}

func (g *grep) line(name, mark string, n int, text string) {
	fmt.Fprintf(&g.out, "%s%s%d%s%s\n", name, mark, n, mark, clipLine(text))
}

func clipLine(text string) string {
	if len(text) > grepWidth {
		text = text[:grepWidth] + "..."
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// walk calls fn for every file under root, or for root itself if it is a file, in
// order. .git and node_modules are left out unless root or pattern names them. cut is
// true when there was too much to see everything.
func walk(ctx context.Context, root, pattern string, fn func(path, rel string, e fs.DirEntry) error) (cut bool, err error) {
	info, err := os.Stat(root)
	if err != nil {
		return false, err
	}
	if info.IsDir() {
		root += "/" // else a link to a directory is not entered
	}
	seen := 0
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if seen++; seen > walkLimit {
			cut = true
			return fs.SkipAll
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fs.SkipDir // it is unreadable, which does not spoil the search
		case e.IsDir():
			if name := e.Name(); path != root && (name == ".git" || name == "node_modules") && !strings.Contains(pattern, name) {
				return fs.SkipDir
			}
			return nil
		}
		rel := e.Name()
		if path != root {
			rel, _ = filepath.Rel(root, path) // path is under root
		}
		return fn(path, filepath.ToSlash(rel), e)
	})
	return cut, err
}
