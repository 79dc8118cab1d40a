//go:build unix

package agent

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

type readArgs struct {
	Path   string `json:"path"`
	Offset int    `json:"offset"`
	Limit  int    `json:"limit"`
}

// read is the read tool.
func (w *workspace) read(ctx context.Context, args readArgs) (result, error) {
	if args.Path == "" {
		return result{}, errors.New("path is missing")
	}
	path := w.resolve(args.Path)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return result{}, fmt.Errorf("%s does not exist%s", path, near(path))
	case err != nil:
		return result{}, err
	case info.IsDir():
		return w.list(path)
	}
	f, err := openRegular(path)
	if err != nil {
		return result{}, err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	if start, _ := r.Peek(sniffBytes); bytes.IndexByte(start, 0) >= 0 {
		return result{}, fmt.Errorf("%s is not text: %s, %d bytes", path, http.DetectContentType(start), info.Size())
	}
	text, cut, err := numbered(ctx, r, max(1, args.Offset), args.Limit)
	return result{title: w.short(path), output: text, metadata: Metadata{Truncated: cut}}, err
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

// readLine reads one line without its end; of a long one it keeps lineLimit bytes.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	length := 0
	for {
		piece, err := r.ReadSlice('\n')
		length += len(piece)
		line = append(line, piece[:min(len(piece), lineLimit+2-len(line))]...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && (length == 0 || !errors.Is(err, io.EOF)) {
			return "", err
		}
		break
	}
	text := strings.ToValidUTF8(strings.TrimRight(string(line), "\r\n"), "\uFFFD")
	if length > lineLimit+2 {
		text += fmt.Sprintf("... [line of %d bytes]", length)
	}
	return text, nil
}

// list shows a directory.
func (w *workspace) list(path string) (result, error) {
	d, err := os.Open(path)
	if err != nil {
		return result{}, err
	}
	defer d.Close()
	entries, err := os.ReadDir(path)
	if err != nil {
		return result{}, err
	}
	var b strings.Builder
	for i, e := range entries {
		if i == dirEntries {
			fmt.Fprintf(&b, "[%d more: use glob]\n", len(entries)-i)
			break
		}
		b.WriteString(e.Name())
		if e.IsDir() {
			b.WriteByte('/')
		}
		b.WriteByte('\n')
	}
	if len(entries) == 0 {
		b.WriteString("(the directory is empty)")
	}
	return result{title: w.short(path), output: b.String(), metadata: Metadata{Truncated: len(entries) > dirEntries}}, nil
}

// near suggests files that path may have meant.
func near(path string) string {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return "; neither does its directory"
	}
	want := strings.ToLower(filepath.Base(path))
	stem := strings.TrimSuffix(want, filepath.Ext(want))
	var names []string
	for _, e := range entries {
		name := strings.ToLower(e.Name())
		if len(names) < 5 && stem != "" && (strings.Contains(name, stem) || strings.Contains(want, strings.TrimSuffix(name, filepath.Ext(name)))) {
			names = append(names, e.Name())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "; in the same directory: " + strings.Join(names, ", ")
}
