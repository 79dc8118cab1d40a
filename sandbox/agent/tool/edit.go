package tool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// editLimit bounds the files that edit changes, in bytes.
const editLimit = 16 << 20

type writeArgs struct {
	Path    string  `json:"path"`
	Content *string `json:"content"`
}

// write is the write tool.
func (b *Box) write(_ context.Context, args writeArgs) (Result, error) {
	if args.Path == "" || args.Content == nil {
		return Result{}, errors.New("path or content is missing")
	}
	path := b.resolve(args.Path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return Result{}, err
	}
	if err := replaceFile(path, *args.Content); err != nil {
		return Result{}, err
	}
	return Result{Title: b.short(path), Output: fmt.Sprintf("Wrote %d bytes to %s.", len(*args.Content), path)}, nil
}

type editArgs struct {
	Path       string `json:"path"`
	Old        string `json:"old"`
	New        string `json:"new"`
	ReplaceAll bool   `json:"replace_all"`
}

// edit is the edit tool.
func (b *Box) edit(_ context.Context, args editArgs) (Result, error) {
	if args.Path == "" {
		return Result{}, errors.New("path is missing")
	}
	path := b.resolve(args.Path)
	f, err := openRegular(path)
	if err != nil {
		return Result{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, editLimit+1))
	if err != nil {
		return Result{}, err
	}
	if len(text) > editLimit {
		return Result{}, fmt.Errorf("%s is larger than %d MiB: change it with a command", path, editLimit>>20)
	}
	changed, n, err := args.apply(string(text))
	if err != nil {
		return Result{}, fmt.Errorf("%s: %w", path, err)
	}
	if err := replaceFile(path, changed); err != nil {
		return Result{}, err
	}
	return Result{Title: b.short(path), Output: fmt.Sprintf("Replaced %d occurrence(s) in %s.", n, path)}, nil
}

// apply returns text with its replacements and how many there are. In a file with CRLF
// line ends, LF in the arguments stands for CRLF.
func (args editArgs) apply(text string) (string, int, error) {
	from, to := args.Old, args.New
	if from == "" {
		return "", 0, errors.New("old is empty; to make a file use write")
	}
	if from == to {
		return "", 0, errors.New("old and new are the same")
	}
	if !strings.Contains(text, from) && strings.Contains(text, "\r\n") {
		from, to = crlf(from), crlf(to)
	}
	switch n := strings.Count(text, from); {
	case n == 0:
		return "", 0, fmt.Errorf("old was not found%s", hint(text, args.Old))
	case n > 1 && !args.ReplaceAll:
		return "", 0, fmt.Errorf("old is there %d times, at lines %s: add lines around it to make it unique, or set replace_all",
			n, places(text, from))
	default:
		return strings.ReplaceAll(text, from, to), n, nil
	}
}

func crlf(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n")
}

// hint says where text has what old means, but for blanks at line ends and indentation.
func hint(text, old string) string {
	have, want := trimmedLines(text), trimmedLines(strings.Trim(old, "\r\n"))
	for i := 0; i+len(want) <= len(have); i++ {
		if slices.Equal(have[i:i+len(want)], want) && strings.Join(want, "") != "" {
			return fmt.Sprintf("; the lines from %d on differ from it only in white space or line ends: read them and copy them exactly", i+1)
		}
	}
	return "; read the file again, it may have changed"
}

func trimmedLines(s string) []string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.Join(strings.Fields(lines[i]), " ")
	}
	return lines
}

// places lists the first lines at which text has s.
func places(text, s string) string {
	const most = 10
	between := strings.Split(text, s)
	line := 1
	var lines []string
	for _, before := range between[:min(len(between)-1, most)] {
		line += strings.Count(before, "\n")
		lines = append(lines, strconv.Itoa(line))
		line += strings.Count(s, "\n")
	}
	if len(between)-1 > most {
		lines = append(lines, "…")
	}
	return strings.Join(lines, ", ")
}

// replaceFile puts content in the place of path in one step, and keeps the mode of what
// was there. A symbolic link stays one: its target is replaced.
func replaceFile(path, content string) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		if !info.Mode().IsRegular() {
			return fmt.Errorf("%s: %w", path, errNotRegular)
		}
		mode = info.Mode().Perm()
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".lap-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
	_, err = f.WriteString(content)
	if err = errors.Join(err, f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
