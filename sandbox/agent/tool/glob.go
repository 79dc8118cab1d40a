package tool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
)

const (
	globLimit = 200     // files that glob names
	walkLimit = 500_000 // files and directories in one search
)

type globArgs struct {
	Pattern string `json:"pattern"`
	Path    string `json:"path"`
}

// glob is the glob tool.
func (b *Box) glob(ctx context.Context, args globArgs) (Result, error) {
	root, pattern := b.resolve(args.Path), args.Pattern
	if filepath.IsAbs(pattern) {
		root, pattern = doublestar.SplitPattern(pattern)
	}
	match, err := matcher(pattern)
	if err != nil {
		return Result{}, err
	}
	type found struct {
		path string
		time time.Time
	}
	var files []found
	cut, err := walk(ctx, root, pattern, func(path, rel string, e fs.DirEntry) error {
		if !match(rel) {
			return nil
		}
		if info, err := e.Info(); err == nil { // else it is gone
			files = append(files, found{path, info.ModTime()})
		}
		return nil
	})
	if err != nil {
		return Result{}, err
	}
	slices.SortFunc(files, func(a, b found) int { return cmp.Or(b.time.Compare(a.time), cmp.Compare(a.path, b.path)) })
	var text strings.Builder
	for _, f := range files[:min(len(files), globLimit)] {
		text.WriteString(b.short(f.path) + "\n")
	}
	switch {
	case len(files) == 0:
		text.WriteString("No file matches.")
	case len(files) > globLimit:
		fmt.Fprintf(&text, "[%d more: narrow the pattern]", len(files)-globLimit)
	case cut:
		text.WriteString("[too many files to look at all: narrow the path]")
	}
	return Result{Title: args.Pattern, Output: text.String(), Truncated: cut || len(files) > globLimit}, nil
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

// walk calls fn for every file under root, or for root itself if it is a file, in order
// until fn returns an error; fs.SkipAll just ends it. .git and node_modules are left out
// unless root or pattern names them. cut is true when there was too much to see everything.
func walk(ctx context.Context, root, pattern string, fn func(path, rel string, e fs.DirEntry) error) (cut bool, err error) {
	info, err := os.Stat(root)
	if err != nil {
		return false, err
	}
	if info.IsDir() && root != "/" {
		root += "/" // else a link to a directory is not entered
	}
	seen := 0
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		seen++
		switch {
		case seen > walkLimit:
			cut = true
			return fs.SkipAll
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fs.SkipDir // it is unreadable, which does not spoil the search
		case !e.IsDir():
			rel := cmp.Or(strings.TrimPrefix(path, root), e.Name())
			return fn(path, filepath.ToSlash(rel), e)
		case path != root && (e.Name() == ".git" || e.Name() == "node_modules") && !strings.Contains(pattern, e.Name()):
			return fs.SkipDir
		}
		return nil
	})
	return cut, err
}
