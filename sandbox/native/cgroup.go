//go:build linux

package native

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lap/sandbox"
)

// A cgroup is the control groups of one sandbox: folders, of which each may be missing.
type cgroup struct {
	Unified string `json:"unified,omitempty"` // of version 2: freezes, and may limit
	Memory  string `json:"memory,omitempty"`
	PIDs    string `json:"pids,omitempty"`
	CPU     string `json:"cpu,omitempty"`
}

// folders are those of a cgroup, each once.
func (c cgroup) folders() []string {
	var list []string
	for _, dir := range []string{c.Unified, c.Memory, c.PIDs, c.CPU} {
		if dir != "" && !slices.Contains(list, dir) {
			list = append(list, dir)
		}
	}
	return list
}

// cpuPeriod is in how many microseconds a sandbox gets its share of the cores.
const cpuPeriod = 100_000

// limit sets what the sandbox may take.
func (c cgroup) limit(l sandbox.Limits) error {
	quota := strconv.FormatInt(max(int64(l.CPUs*cpuPeriod), 1000), 10) // the kernel's least
	var errs []error
	set := func(on bool, dir, name, value string) {
		if on && dir != "" {
			errs = append(errs, os.WriteFile(filepath.Join(dir, name), []byte(value), 0))
		}
	}
	optional := func(on bool, dir, name, value string) {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil { // swap may not be counted
			set(on, dir, name, value)
		}
	}
	memory, pids := strconv.FormatInt(l.Memory, 10), strconv.FormatInt(l.PIDs, 10)
	if c.Memory == c.Unified {
		set(l.Memory > 0, c.Memory, "memory.max", memory)
		optional(l.Memory > 0, c.Memory, "memory.swap.max", "0")
	} else {
		set(l.Memory > 0, c.Memory, "memory.limit_in_bytes", memory)
		optional(l.Memory > 0, c.Memory, "memory.memsw.limit_in_bytes", memory)
	}
	set(l.PIDs > 0, c.PIDs, "pids.max", pids)
	if c.CPU == c.Unified {
		set(l.CPUs > 0, c.CPU, "cpu.max", quota+" "+strconv.Itoa(cpuPeriod))
	} else {
		set(l.CPUs > 0, c.CPU, "cpu.cfs_period_us", strconv.Itoa(cpuPeriod))
		set(l.CPUs > 0, c.CPU, "cpu.cfs_quota_us", quota)
	}
	return errors.Join(errs...)
}

// open returns the folder that a process can be born in, nil when there is none.
func (c cgroup) open() (*os.File, error) {
	if c.Unified == "" {
		return nil, nil
	}
	return os.Open(c.Unified)
}

// enter puts a process, which was born in the folder of open, into the others.
func (c cgroup) enter(pid int) error {
	for _, dir := range c.folders() {
		if dir == c.Unified {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return err
		}
	}
	return nil
}

// frozen reports whether the sandbox is paused, or about to be.
func (c cgroup) frozen() bool {
	if c.Unified == "" {
		return false
	}
	text, err := os.ReadFile(filepath.Join(c.Unified, "cgroup.freeze"))
	return err == nil && strings.TrimSpace(string(text)) == "1"
}

// freeze pauses the sandbox, or lets it go on, and waits until that is so.
func (c cgroup) freeze(ctx context.Context, on bool) error {
	value := "0"
	if on {
		value = "1"
	}
	write := func(value string) error {
		return os.WriteFile(filepath.Join(c.Unified, "cgroup.freeze"), []byte(value), 0)
	}
	if err := write(value); err != nil {
		return err
	}
	for wait := 100 * time.Microsecond; ; wait = min(2*wait, 10*time.Millisecond) {
		if is, err := c.event(c.Unified, "cgroup.events", "frozen"); err != nil {
			return err
		} else if (is == 1) == on {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			if on {
				return errors.Join(context.Cause(ctx), write("0"))
			}
			return context.Cause(ctx)
		}
	}
}

// ranOut reports whether something in it was killed for want of memory.
func (c cgroup) ranOut() bool {
	if c.Memory == "" {
		return false
	}
	file := "memory.oom_control"
	if c.Memory == c.Unified {
		file = "memory.events"
	}
	kills, err := c.event(c.Memory, file, "oom_kill")
	return err == nil && kills > 0
}

// event reads a number from a file of lines with a key and a value.
func (c cgroup) event(dir, file, key string) (int64, error) {
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, key+" "); ok {
			return strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, key)
}

// remove removes the groups of a sandbox that has ended.
func (c cgroup) remove() error {
	var errs []error
	for _, dir := range c.folders() {
		err := unix.Rmdir(dir)
		for range 100 { // the kernel may not be done with the last process
			if !errors.Is(err, unix.EBUSY) {
				break
			}
			time.Sleep(time.Millisecond)
			err = unix.Rmdir(dir)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, &os.PathError{Op: "rmdir", Path: dir, Err: err})
		}
	}
	return errors.Join(errs...)
}
