package fault

import (
	"context"
	"runtime"
	"strings"
)

// Commits are the points around every commit, such as commit.AddTurn:before. A commit
// that holds several writes has as many names.
type Commits struct{ orders Orders }

// NewCommits returns what to hand to a db.Store.
func NewCommits(o Orders) Commits { return Commits{orders: o} }

// Commit passes a point before the commit and one after it. When the first fails nothing
// is committed; when the second does, all is, but who wrote is told that it was not.
func (c Commits) Commit(writes []string, commit func() error) error {
	if err := c.orders.At(context.Background(), pointNames(writes, ":before")...); err != nil {
		return err
	}
	if err := commit(); err != nil {
		return err
	}
	return c.orders.At(context.Background(), pointNames(writes, ":after")...)
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
