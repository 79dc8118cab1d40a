//go:build linux

// Package cell makes of a process in new namespaces the first process of a sandbox: it
// builds the sandbox's own root from this machine's system directories, and lets go of
// everything that the sandbox is not to have. Package native starts such processes.
package cell

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Files that a new process has beside its standard streams, in this order from 3. The
// standard input and output are the sandbox's first pipe.
const (
	planFile   = 3 + iota // the Plan, in JSON
	reportFile            // takes one error text; closed without one: the sandbox is entered
	pipesFile             // listening socket for further pipes
	baseFile              // stays open: its lock keeps the base from being removed
	lifeFile              // ends when lap does; only with Plan.Tied
)

// A Plan says what to make the sandbox from. All paths are this machine's.
type Plan struct {
	Base   string // layer of the root, read-only
	Upper  string // what the sandbox changes of the root
	Work   string // empty folder on the file system of Upper
	System []Layer
	Guest  string // the lap binary

	Calls []byte // of SystemCalls

	Disk  int64 // of the largest file, bytes; 0: no limit
	PIDs  int64 // processes and threads of one user inside; 0: no limit
	Data  int64 // of memory that one process has for itself, bytes; 0: no limit
	Temp  int64 // of what is kept in memory as a file system, bytes
	Tied  bool  // to the life of lap
	Chown bool  // user and group ids other than 0 are there
}

// A Layer is a system directory of this machine as the sandbox sees it, with what the
// sandbox changes kept apart.
type Layer struct {
	Path  string // in the sandbox
	Lower string // on this machine
	Skel  string // its directories, owned by the sandbox's root
	Upper string
	Work  string
}

// readPlan takes the plan from the process that started this one. It comes when all is
// ready for this one to go on.
func readPlan() (Plan, error) {
	f := os.NewFile(planFile, "plan")
	defer f.Close()
	var p Plan
	b, err := io.ReadAll(f)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err != nil {
		return Plan{}, fmt.Errorf("read the plan of the sandbox: %w", err)
	}
	return p, nil
}

// opened are folders and files that are held open.
type opened []int

func (o opened) close() {
	for _, fd := range o {
		_ = unix.Close(fd)
	}
}

// open opens all that the plan names, while this process is still who it was started as
// and can reach it, and names it by descriptor. A path may also have characters that mount
// options cannot.
func (p *Plan) open() (opened, error) {
	paths := []*string{&p.Base, &p.Upper, &p.Work, &p.Guest}
	for i := range p.System {
		l := &p.System[i]
		paths = append(paths, &l.Lower, &l.Skel, &l.Upper, &l.Work)
	}
	var all opened
	for _, path := range paths {
		fd, err := unix.Open(*path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			all.close()
			return nil, &os.PathError{Op: "open", Path: *path, Err: err}
		}
		all = append(all, fd)
		*path = fmt.Sprintf("/proc/self/fd/%d", fd)
	}
	return all, nil
}
