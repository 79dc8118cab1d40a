package audit

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"lap/sandbox/native"
)

// Places of native sandboxes.
const (
	recordPlace = "records and logs that lap keeps of sandboxes"
	layerPlace  = "file systems of sandboxes, as they are on this machine"
	basePlace   = "base that all sandboxes lie on"
	insidePlace = "command lines and environments of the processes in sandboxes, seen from outside"
)

// An onlooker looks at native sandboxes as anybody on this machine could who is their owner.
type onlooker struct {
	*native.Native
	ledger *ledger
	dir    string // of all sandboxes
}

// sandbox looks at the files that lap keeps of a sandbox, and at its processes.
func (o onlooker) sandbox(_ context.Context, id string) error {
	entries, err := os.ReadDir(filepath.Join(o.dir, id))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			if _, err := o.ledger.lookAtFile(recordPlace, filepath.Join(o.dir, id, e.Name())); err != nil {
				return err
			}
		}
	}
	return o.processes(id)
}

// processes looks at what the kernel tells of the processes in a sandbox, and at their
// memory if this process may.
func (o onlooker) processes(id string) error {
	all, err := o.inside(id)
	if err != nil {
		return err
	}
	for _, pid := range all {
		for _, name := range []string{"cmdline", "environ"} {
			if text, err := os.ReadFile(procFile(pid, name)); err == nil { // it may have ended, or be closed
				o.ledger.lookAt(insidePlace, text)
			}
		}
		if err := o.ledger.lookAtMemory(pid); err != nil {
			o.ledger.note(memoryPlace, "not all of it can be read from here: run the audit as root")
		}
	}
	return nil
}

// inside returns the processes in a sandbox. The first has its log open, and all others
// are in its namespace of process numbers.
func (o onlooker) inside(id string) (all []int, err error) {
	logs, err := filepath.Glob(procDir + "/[0-9]*/fd/2")
	if err != nil {
		return nil, err
	}
	space := ""
	for _, path := range logs {
		if file, err := os.Readlink(path); err == nil && strings.HasPrefix(file, filepath.Join(o.dir, id)+"/") {
			space, _ = os.Readlink(strings.TrimSuffix(path, "fd/2") + "ns/pid")
		}
	}
	if space == "" {
		return nil, nil
	}
	entries, err := os.ReadDir(procDir)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if its, err := os.Readlink(procFile(pid, "ns/pid")); err == nil && its == space {
			all = append(all, pid)
		}
	}
	return all, err
}

// files looks at all that a sandbox has written.
func (o onlooker) files(_ context.Context, id string) ([]string, error) {
	return o.ledger.lookAtTree(layerPlace, filepath.Join(o.dir, id, "layers"))
}

// shared looks at the files that sandboxes have in common, beside the programs of this
// machine.
func (o onlooker) shared(context.Context, string) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	roots, err := filepath.Glob(filepath.Join(cache, "lap", "native", "*", "root"))
	if err != nil {
		return err
	}
	for _, dir := range roots {
		if _, err := o.ledger.lookAtTree(basePlace, dir); err != nil {
			return err
		}
	}
	return nil
}

func (o onlooker) search() string { return searchOwn }

// remove removes all sandboxes: those of the agents are all that there are.
func (o onlooker) remove(ctx context.Context, _ []string) error {
	all, err := o.List(ctx)
	errs := []error{err}
	for _, b := range all {
		errs = append(errs, o.Remove(ctx, b.ID))
	}
	return errors.Join(errs...)
}

// lookAtTree looks at all files in a folder that this process may read.
func (l *ledger) lookAtTree(place, dir string) (found []string, err error) {
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var there []string
			there, err = l.lookAtFile(place, path)
			found = append(found, there...)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist): // a file that has just gone
			return nil
		case errors.Is(err, fs.ErrPermission):
			l.note(place, "not all of it can be read by this user: run the audit as root")
			return nil
		}
		return err
	})
	return found, err
}
