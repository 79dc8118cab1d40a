//go:build unix

package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// editLimit bounds the files that edit changes, in bytes.
const editLimit = 16 << 20

type writeArgs struct {
	Path    string  `json:"path"`
	Content *string `json:"content"`
}

// write is the write tool.
func (w *workspace) write(_ context.Context, args writeArgs) (result, error) {
	if args.Path == "" || args.Content == nil {
		return result{}, errors.New("path or content is missing")
	}
	path := w.resolve(args.Path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return result{}, err
	}
	if err := replaceFile(path, *args.Content); err != nil {
		return result{}, err
	}
	return result{title: w.short(path), output: fmt.Sprintf("Wrote %d bytes to %s.", len(*args.Content), path)}, nil
}

type editArgs struct {
	Path       string `json:"path"`
	Old        string `json:"old"`
	New        string `json:"new"`
	ReplaceAll bool   `json:"replace_all"`
}

// edit is the edit tool.
func (w *workspace) edit(_ context.Context, args editArgs) (result, error) {
	if args.Path == "" {
		return result{}, errors.New("path is missing")
	}
	path := w.resolve(args.Path)
	f, err := openRegular(path)
	if errors.Is(err, fs.ErrNotExist) {
		return result{}, fmt.Errorf("%s does not exist%s", path, near(path))
	}
	if err != nil {
		return result{}, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, editLimit+1))
	if err != nil {
		return result{}, err
	}
	if len(text) > editLimit {
		return result{}, fmt.Errorf("%s is larger than %d MiB: change it with a command", path, editLimit>>20)
	}
	changed, n, err := args.apply(string(text))
	if err != nil {
		return result{}, fmt.Errorf("%s: %w", path, err)
	}
	if err := replaceFile(path, changed); err != nil {
		return result{}, err
	}
	return result{title: w.short(path), output: fmt.Sprintf("Replaced %d occurrence(s) in %s.", n, path)}, nil
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
		same := 0
		for same < len(want) && have[i+same] == want[same] {
			same++
		}
		if same == len(want) && strings.Join(want, "") != "" {
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
	var lines []string
	line := 1
	for i := strings.Index(text, s); i >= 0; i = strings.Index(text, s) {
		if len(lines) == 10 {
			lines = append(lines, "…")
			break
		}
		line += strings.Count(text[:i], "\n")
		lines = append(lines, fmt.Sprint(line))
		line += strings.Count(text[i:i+len(s)], "\n")
		text = text[i+len(s):]
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
