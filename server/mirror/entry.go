package mirror

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// Modes of entries, as git writes them.
const (
	modeExec = "100755"
	modeLink = "120000"
	modeRepo = "160000" // a submodule
)

// An entry is one file, link or submodule of a working tree.
type entry struct {
	mode, object, path string
	file               string // where git wrote it, if it is not in the working tree as the object is
}

// entries lists the index, whose paths git has checked.
func (m *mirror) entries(ctx context.Context, env []string) ([]entry, error) {
	var out bytes.Buffer
	if _, err := m.git.run(ctx, command{dir: m.bare(), env: env, args: []string{"ls-files", "--stage", "-z"}, stdout: &out}); err != nil {
		return nil, err
	}
	var all []entry
	for record := range strings.SplitSeq(strings.TrimSuffix(out.String(), "\x00"), "\x00") {
		if record == "" {
			continue // a tree without files
		}
		head, path, _ := strings.Cut(record, "\t")
		fields := strings.Fields(head)
		if path == "" || len(fields) != 3 {
			return nil, fmt.Errorf("git ls-files: %s", cutLine(record))
		}
		all = append(all, entry{mode: fields[0], object: fields[1], path: path})
	}
	return all, nil
}

// convert has git write the files whose line ends, encoding or $Id$ differ between object
// and working tree. They are few, if any; the others never touch the disk, where making
// and removing thousands of files takes longer than all the rest.
func (m *mirror) convert(ctx context.Context, env []string, dir string, all []entry) error {
	var paths strings.Builder
	attributes := false
	for _, e := range all {
		attributes = attributes || e.path == ".gitattributes" || strings.HasSuffix(e.path, "/.gitattributes")
		paths.WriteString(e.path + "\x00")
	}
	if !attributes {
		return nil
	}
	var out bytes.Buffer
	_, err := m.git.run(ctx, command{
		dir: m.bare(), env: env, stdin: paths.String(), stdout: &out,
		args: []string{"check-attr", "--cached", "--stdin", "-z", "eol", "ident", "working-tree-encoding"},
	})
	if err != nil {
		return err
	}
	chosen := converted(out.String())
	paths.Reset()
	for i, e := range all {
		if chosen[e.path] && e.mode != modeLink && e.mode != modeRepo {
			all[i].file = dir + "/" + e.path
			paths.WriteString(e.path + "\x00")
		}
	}
	if paths.Len() == 0 {
		return nil
	}
	_, err = m.git.run(ctx, command{
		dir: m.bare(), env: env, stdin: paths.String(), args: []string{"checkout-index", "--quiet", "--stdin", "-z"},
	})
	return err
}

// converted reads the answer of check-attr: path, attribute and value, over and over.
func converted(out string) map[string]bool {
	chosen := make(map[string]bool)
	fields := strings.Split(out, "\x00")
	for ; len(fields) >= 3; fields = fields[3:] {
		path, attribute, value := fields[0], fields[1], fields[2]
		switch {
		case value == "unspecified" || value == "unset":
		case attribute == "eol" && value != "crlf":
		default:
			chosen[path] = true
		}
	}
	return chosen
}
