//go:build chaos

package fault

import (
	"runtime"
	"strings"
)

// Commits are the points around every commit, such as commit.AddTurn:before. A commit
// that holds several writes has as many names.
type Commits struct{ points *Points }

// NewCommits returns what to hand to a db.Store.
func NewCommits(p *Points) Commits { return Commits{points: p} }

// Commit passes a point before the commit and one after it. When the first fails nothing
// is committed; when the second does, all is, but who wrote is told that it was not.
func (c Commits) Commit(writes []string, commit func() error) error {
	if err := c.points.pass(pointNames(writes, ":before")...); err != nil {
		return err
	}
	if err := commit(); err != nil {
		return err
	}
	return c.points.pass(pointNames(writes, ":after")...)
}

func pointNames(writes []string, suffix string) []string {
	names := make([]string, len(writes))
	for i, w := range writes {
		names[i] = "commit." + w + suffix
	}
	return names
}

// Name is the method of the store that writes: the outermost of its frames on the stack.
func (Commits) Name() string {
	pc := make([]uintptr, 32)
	frames := runtime.CallersFrames(pc[:runtime.Callers(2, pc)])
	name := "unknown"
	for {
		frame, more := frames.Next()
		if method, ok := strings.CutPrefix(frame.Function, "lap/db.(*Store)."); ok {
			name, _, _ = strings.Cut(method, ".")
		}
		if !more {
			return name
		}
	}
}
