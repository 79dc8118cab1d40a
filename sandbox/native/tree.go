//go:build linux

package native

import (
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A table is the processes of this machine, by parent. Some of those that seem to be
// zombies have threads that live.
type table map[int][]status

// processes reads the table. A process that ends meanwhile is left out.
func processes() (table, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	t := table{}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if s, err := stat(pid); err == nil {
			t[s.parent] = append(t[s.parent], s)
		}
	}
	return t, nil
}

// below returns the processes that come of one, children before their own. They are all of
// its sandbox, whose first it is: whoever loses a parent there becomes its child.
// If it lives still when the table was read, all that name it as their parent are its own.
func (t table) below(first process) []status {
	if alive, _ := first.state(); !alive {
		return nil
	}
	list := append([]status{}, t[first.PID]...)
	for i := 0; i < len(list); i++ {
		list = append(list, t[list[i].pid]...)
	}
	return list
}

// stopAll stops a sandbox's processes, the first of them first: then nothing begins others
// that was not seen.
func stopAll(ctx context.Context, first process) error {
	if err := stopOne(ctx, first); err != nil {
		return err
	}
	told := map[process]bool{}
	for again := true; again; {
		again = false
		t, err := processes()
		if err != nil {
			return err
		}
		for _, s := range t.below(first) {
			p := s.process(first)
			if told[p] && s.still() { // one that is not may have been woken by another
				continue
			}
			told[p], again = true, true
			if err := stopOne(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// still reports whether a process does nothing, or nothing before it stops.
func (s status) still() bool { return strings.IndexByte("TtDZX", s.state) >= 0 }

// stopOne stops a process and waits until it does nothing more. One that waits in the kernel
// stops when it comes out of it.
func stopOne(ctx context.Context, p process) error {
	if err := p.signal(unix.SIGSTOP); err != nil {
		return err
	}
	for wait := 50 * time.Microsecond; ; wait = min(2*wait, 10*time.Millisecond) {
		if s, err := stat(p.PID); err != nil || s.since != p.Since || s.still() {
			return nil //nolint:nilerr // it has ended
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// goOnAll undoes stopAll, the first process last: a sandbox of which only a part goes on is
// paused still.
func goOnAll(first process) error {
	t, err := processes()
	if err != nil {
		return err
	}
	list := t.below(first)
	for _, s := range slices.Backward(list) {
		if err := s.process(first).signal(unix.SIGCONT); err != nil {
			return err
		}
	}
	return first.signal(unix.SIGCONT)
}

// process names a process of the sandbox whose first is known.
func (s status) process(first process) process {
	return process{PID: s.pid, Since: s.since, Boot: first.Boot}
}
