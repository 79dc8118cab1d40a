package tool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

const (
	readLines  = 2000     // of a file in one call
	readBytes  = 50 << 10 // of a file in one call
	lineLimit  = 2000     // bytes of one line
	dirEntries = 1000     // of a directory in one call
	sniffBytes = 512      // that tell text from other files
)

var errNotRegular = errors.New("not a regular file")

type readArgs struct {
	Path   string `json:"path"`
	Offset int    `json:"offset"`
	Limit  int    `json:"limit"`
}

// read is the read tool.
func (b *Box) read(ctx context.Context, args readArgs) (Result, error) {
	if args.Path == "" {
		return Result{}, errors.New("path is missing")
	}
	path := b.resolve(args.Path)
	if isDir(path) {
		return b.list(path)
	}
	f, err := openRegular(path)
	if err != nil {
		return Result{}, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	if start, text := sniff(r); !text {
		return Result{}, fmt.Errorf("%s is not text: %s", path, http.DetectContentType(start))
	}
	text, cut, err := numbered(ctx, r, max(1, args.Offset), args.Limit)
	return Result{Title: b.short(path), Output: text, Truncated: cut}, err
}

// openRegular opens a file that reading cannot block on, as it would on a pipe.
func openRegular(path string) (*os.File, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist%s", path, near(path))
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s: %w", path, errNotRegular)
	}
	return os.Open(path)
}

// sniff looks at the first bytes of r and reports whether they are text.
func sniff(r *bufio.Reader) ([]byte, bool) {
	start, _ := r.Peek(sniffBytes) // io.EOF in a short file
	return start, bytes.IndexByte(start, 0) < 0
}

// numbered reads lines from offset on, with their numbers, and says how to go on.
func numbered(ctx context.Context, r *bufio.Reader, offset, limit int) (text string, cut bool, err error) {
	if limit <= 0 || limit > readLines {
		limit = readLines
	}
	var b strings.Builder
	n := 0
	for ctx.Err() == nil {
		line, err := readLine(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", false, err
		}
		if n++; n < offset {
			continue
		}
		if n >= offset+limit || b.Len()+len(line) > readBytes {
			fmt.Fprintf(&b, "\n[more follows: go on with offset %d]", n)
			return b.String(), true, nil
		}
		fmt.Fprintf(&b, "%6d\t%s\n", n, line)
	}
	switch {
	case n == 0:
		return "(the file is empty)", false, ctx.Err()
	case n < offset:
		return "", false, fmt.Errorf("offset %d is beyond the end: the file has %d lines", offset, n)
	}
	return b.String(), false, ctx.Err()
}

// readLine reads one line without its end; of a long one it keeps lineLimit bytes, which
// are less than the buffer of r.
func readLine(r *bufio.Reader) (string, error) {
	piece, more, err := r.ReadLine()
	if err != nil {
		return "", err
	}
	line, length := string(piece[:min(len(piece), lineLimit)]), len(piece)
	for more && err == nil {
		piece, more, err = r.ReadLine() // an error comes again with the next line
		length += len(piece)
	}
	line = strings.ToValidUTF8(line, "\uFFFD")
	if length > lineLimit {
		line += fmt.Sprintf("... [line of %d bytes]", length)
	}
	return line, nil
}

// list shows a directory.
func (b *Box) list(path string) (Result, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return Result{}, err
	}
	var text strings.Builder
	for _, e := range entries[:min(len(entries), dirEntries)] {
		text.WriteString(e.Name())
		if e.IsDir() {
			text.WriteByte('/')
		}
		text.WriteByte('\n')
	}
	more := len(entries) - dirEntries
	switch {
	case len(entries) == 0:
		text.WriteString("(the directory is empty)")
	case more > 0:
		fmt.Fprintf(&text, "[%d more: use glob]\n", more)
	}
	return Result{Title: b.short(path), Output: text.String(), Truncated: more > 0}, nil
}

// near suggests files that path may have meant.
func near(path string) string {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return "; neither does its directory"
	}
	stem := func(name string) string { return strings.ToLower(strings.TrimSuffix(name, filepath.Ext(name))) }
	want := stem(filepath.Base(path))
	var names []string
	for _, e := range entries {
		have := stem(e.Name())
		if len(names) < 5 && want != "" && have != "" && (strings.Contains(have, want) || strings.Contains(want, have)) {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; in the same directory: " + strings.Join(names, ", ")
}
