package audit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Places of processes outside of sandboxes.
const (
	argvPlace    = "command lines of all processes of this machine"
	environPlace = "environments of all processes of this machine"
	serverPlace  = "environment of lap serve itself"
	gitPlace     = "environments of git that lap serve runs"
	memoryPlace  = "memory of the processes in sandboxes, seen from outside"
)

// gitToken is the variable in which lap gives git on the host its token, which therefore
// is in the environment of that git by design.
const gitToken = "LAP_GIT_TOKEN="

const (
	procDir   = "/proc"
	watchTime = 20 * time.Millisecond // between two looks at which processes there are
	young     = time.Second           // how long a new process is looked at again: it may yet exec
	mostMap   = 1 << 30               // of one mapping, more is none that was filled
)

// A watch looks at the processes of this machine, over and over, so that it sees also
// those that live for a moment.
type watch struct {
	ledger *ledger
	given  []string // what a user put into the environment of the server

	mu      sync.Mutex // guards the following
	since   map[int]time.Time
	server  []byte // command line of the server
	seen    []string
	visible bool
}

// newWatch returns a watch of a server that has the canaries given in its environment.
func newWatch(l *ledger, given []string) *watch {
	return &watch{ledger: l, given: given, since: map[int]time.Time{}}
}

// of says which process is the server.
func (w *watch) of(pid int) {
	argv, err := os.ReadFile(procFile(pid, "cmdline"))
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.server, w.since = argv, map[int]time.Time{}
}

func procFile(pid int, name string) string { return filepath.Join(procDir, strconv.Itoa(pid), name) }

// run looks until ctx ends.
func (w *watch) run(ctx context.Context) {
	tick := time.NewTicker(watchTime)
	defer tick.Stop()
	for {
		w.round()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// round looks at all processes that are new.
func (w *watch) round() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.server == nil {
		return
	}
	entries, err := os.ReadDir(procDir)
	if err != nil {
		return
	}
	now, alive := time.Now(), map[int]time.Time{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		born, known := w.since[pid]
		if !known {
			born = now
		}
		alive[pid] = born
		if now.Sub(born) < young {
			w.look(pid)
		}
	}
	w.since = alive
}

// look looks at one process. One that is just gone, or another user's, shows nothing.
func (w *watch) look(pid int) {
	argv, err := os.ReadFile(procFile(pid, "cmdline"))
	if err != nil || len(argv) == 0 {
		return
	}
	w.visible = true
	w.ledger.lookAt(argvPlace, argv)
	env, err := os.ReadFile(procFile(pid, "environ"))
	if err != nil {
		return
	}
	again, err := os.ReadFile(procFile(pid, "cmdline"))
	switch {
	case err != nil || !bytes.Equal(argv, again):
		// another program by now, to be looked at again
	case bytes.Equal(argv, w.server): // or a child of it that is about to be another program
		w.seen = append(w.seen, w.ledger.lookAt(serverPlace, env, w.given...)...)
	case bytes.Contains(env, []byte(gitToken)):
		w.ledger.lookAt(gitPlace, env, operatorGit)
	default:
		w.ledger.lookAt(environPlace, env)
	}
}

// sawServer reports whether processes can be seen at all here, and whether what is in the
// environment of the server was found there.
func (w *watch) sawServer() (visible, found bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.visible, len(w.seen) > 0
}

// lookAtMemory looks at all memory of a process that it can read.
func (l *ledger) lookAtMemory(pid int) error {
	maps, err := os.ReadFile(procFile(pid, "maps"))
	if err != nil {
		return err
	}
	mem, err := os.Open(procFile(pid, "mem"))
	if err != nil {
		return err
	}
	defer mem.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || mode[0] != 'r' || to-from > mostMap {
			continue
		}
		if strings.HasPrefix(mode, "r-xp") || strings.Contains(line, "[v") { // code, which is in a file, and what the kernel shows
			continue
		}
		if _, err := l.look(memoryPlace, &mapping{io.NewSectionReader(mem, from, to-from)}); err != nil {
			return err
		}
	}
	return nil
}

// A mapping is memory that ends where it cannot be read.
type mapping struct{ io.Reader }

func (m *mapping) Read(b []byte) (int, error) {
	n, err := m.Reader.Read(b)
	if _, ok := err.(*fs.PathError); ok { //nolint:errorlint // a file's own
		err = io.EOF
	}
	return n, err
}
