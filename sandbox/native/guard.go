//go:build linux

package native

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// guardEvery is how often sandboxes are looked at whose limits the kernel does not know.
const guardEvery = time.Second

// guardLocked makes sure that somebody looks at the sandboxes that run.
func (n *Native) guardLocked() {
	if n.guarding || n.ctx.Err() != nil {
		return
	}
	n.guarding = true
	n.work.Go(n.guard)
}

// guard enforces limits for as long as sandboxes run.
func (n *Native) guard() {
	tick := time.NewTicker(guardEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-n.ctx.Done():
			return
		}
		n.mu.Lock()
		list := make([]*followed, 0, len(n.followed))
		for _, f := range n.followed {
			list = append(list, f)
		}
		n.guarding = len(list) > 0
		n.mu.Unlock()
		if len(list) == 0 {
			return
		}
		n.report(n.guardProcesses(list))
		if n.measuring.CompareAndSwap(false, true) { // millions of files take long to count, and memory is to be looked at meanwhile
			n.work.Go(func() {
				defer n.measuring.Store(false)
				n.report(n.guardDisk(list))
			})
		}
	}
}

func (n *Native) report(err error) {
	if err != nil && n.ctx.Err() == nil {
		n.cfg.Log.WarnContext(n.ctx, "limits of sandboxes cannot be looked at", "err", err)
	}
}

// guardProcesses looks at memory and processes where no control group does.
func (n *Native) guardProcesses(list []*followed) error {
	var t table
	var errs []error
	for _, f := range list {
		g, l := f.record.Run.Groups, f.record.Spec.Limits
		memory, pids := g.Memory == "" && l.Memory > 0, g.PIDs == "" && l.PIDs > 0
		if !memory && !pids {
			continue
		}
		if t == nil {
			var err error
			if t, err = processes(); err != nil {
				return err
			}
		}
		all := t.below(f.record.Run.process)
		if memory {
			errs = append(errs, n.guardMemory(f, all))
		}
		if pids {
			errs = append(errs, n.guardCount(f, all))
		}
	}
	return errors.Join(errs...)
}

// guardMemory kills the biggest process of a sandbox that has too much, as the kernel would.
func (n *Native) guardMemory(f *followed, all []status) error {
	r := f.record.Run
	used := resident(r.PID) + tempUsed(r.PID)
	biggest, most := r.process, int64(0)
	for _, s := range all {
		size := resident(s.pid)
		used += size
		if size > most {
			biggest, most = s.process(r.process), size
		}
	}
	if used <= f.record.Spec.Limits.Memory {
		return nil
	}
	n.tell(f, "a sandbox ran out of memory: its biggest process was ended", "used", used, "limit", f.record.Spec.Limits.Memory)
	if err := n.markOOM(f); err != nil {
		return err
	}
	return biggest.signal(unix.SIGKILL)
}

// markOOM keeps that a sandbox ran out of memory.
func (n *Native) markOOM(f *followed) error {
	unlock, err := n.locks.lock(n.ctx, f.box.id)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := f.box.read()
	if err != nil || r.Run == nil || r.Run.process != f.record.Run.process || r.Run.OOM {
		return nil // it was removed
	}
	r.Run.OOM = true
	return f.box.write(r)
}

// guardCount ends the processes of a sandbox that has too many. A limit that the kernel
// knows counts for each user of it alone.
func (n *Native) guardCount(f *followed, all []status) error {
	count := int64(0)
	for _, s := range all {
		count += int64(s.threads)
	}
	if count <= f.record.Spec.Limits.PIDs {
		return nil
	}
	n.tell(f, "a sandbox had too many processes: they were ended", "count", count, "limit", f.record.Spec.Limits.PIDs)
	return f.endProcesses()
}

// endProcesses kills all processes of a sandbox but the first.
func (f *followed) endProcesses() error {
	t, err := processes()
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range t.below(f.record.Run.process) {
		errs = append(errs, s.process(f.record.Run.process).signal(unix.SIGKILL))
	}
	return errors.Join(errs...)
}

func (n *Native) tell(f *followed, what string, args ...any) {
	n.cfg.Log.WarnContext(n.ctx, what, append([]any{"session", f.record.Spec.Session}, args...)...)
}

// resident is how much memory a process has that is no file's, zero when it has ended.
func resident(pid int) int64 {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	var sum int64
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		if name != "RssAnon" && name != "RssShmem" { // what is shared counts for each
			continue
		}
		kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err == nil {
			sum += kilobytes << 10
		}
	}
	return sum
}

// tempUsed is how much memory the files of a sandbox take that are not on a disk.
func tempUsed(first int) (used int64) {
	for _, dir := range []string{"dev/shm", "run"} {
		var st unix.Statfs_t
		err := unix.Statfs(fmt.Sprintf("/proc/%d/root/%s", first, dir), &st)
		if err == nil && st.Type == unix.TMPFS_MAGIC {
			used += int64(st.Blocks-st.Bfree) * st.Bsize
		}
	}
	return used
}
