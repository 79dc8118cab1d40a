package mirror

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

const mostNames = 5 // of other branches in an error

// missing says why a branch was not found: which there are, or that there is none.
func (m *mirror) missing(ctx context.Context, repo Repo, progress func(string)) error {
	out, err := m.git.run(ctx, repo.credential(command{
		remote: progress, args: []string{"ls-remote", "--symref", "--", repo.URL, "HEAD", "refs/heads/*"},
	}))
	if err != nil {
		return err
	}
	main, names := branches(out)
	if len(names) == 0 {
		return failf(ErrEmpty, "repository %s is empty: push a first commit to it", repo)
	}
	hint := ""
	if main != "" {
		hint = fmt.Sprintf(": its default branch is %q", main)
		names = slices.DeleteFunc(names, func(name string) bool { return name == main })
	}
	more := len(names) - mostNames
	names = names[:min(len(names), mostNames)]
	for i, name := range names {
		names[i] = fmt.Sprintf("%q", cutLine(name))
	}
	if len(names) > 0 {
		hint += ", others are " + strings.Join(names, ", ")
	}
	if more > 0 {
		hint += fmt.Sprintf(" and %d more", more)
	}
	return failf(ErrNoBranch, "repository %s has no branch %q%s", repo, repo.Branch, hint)
}

// branches reads the answer of ls-remote: the default branch, and all of them.
func branches(out string) (main string, names []string) {
	for line := range strings.Lines(out) {
		value, ref, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if target, ok := strings.CutPrefix(value, "ref: refs/heads/"); ok && ref == "HEAD" {
			main = target
		} else if name, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
			names = append(names, name)
		}
	}
	return main, names
}
