//go:build linux

package native

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A followed is a run whose end is awaited.
type followed struct {
	box    *box
	record record
	usage  usage
}

// follow remembers how a run ends. c is its first process, nil when an earlier lap has
// started it.
func (n *Native) follow(b *box, r record, c *child) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f := n.followed[b.id]; c == nil && (n.ctx.Err() != nil || f != nil && f.record.Run.process == r.Run.process) {
		return
	}
	f := &followed{box: b, record: r}
	n.followed[b.id] = f
	n.work.Go(func() {
		err := n.await(f, c)
		n.mu.Lock()
		if n.followed[b.id] == f {
			delete(n.followed, b.id)
		}
		n.mu.Unlock()
		if err != nil && n.ctx.Err() == nil {
			n.cfg.Log.WarnContext(n.ctx, "how a sandbox ended is not known", "sandbox", b.id, "err", err)
		}
	})
	n.guardLocked()
}

// await waits for the end of a run and keeps how it ended.
func (n *Native) await(f *followed, c *child) (err error) {
	var pidfd *os.File
	if c != nil {
		pidfd = c.pidfd
	} else if pidfd, err = f.record.Run.open(); err != nil {
		return err
	}
	if pidfd == nil { // it ended before anybody looked
		return nil
	}
	defer pidfd.Close()
	if err := await(n.ctx, pidfd, unix.POLLIN); err != nil {
		if c != nil {
			err = errors.Join(err, c.cmd.Process.Release())
		}
		return err
	}
	var exit int
	if c == nil {
		exit, err = strangerExit(n.ctx, pidfd)
	} else if err = ignoreExit(c.cmd.Wait()); err == nil {
		exit = exitCode(c.cmd.ProcessState.Sys().(syscall.WaitStatus))
	}
	if err != nil {
		return err
	}
	return n.ended(f, exit)
}

// ended keeps how a run ended, unless the sandbox was removed or started again.
func (n *Native) ended(f *followed, exit int) error {
	unlock, err := n.locks.lock(n.ctx, f.box.id)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := f.box.read()
	if err != nil || r.Run == nil || r.Run.process != f.record.Run.process {
		return nil // it was removed
	}
	r.Run.Finished, r.Run.Exit = time.Now().UTC(), exit
	r.Run.OOM = r.Run.OOM || r.Run.Groups.ranOut()
	if err := f.box.write(r); err != nil {
		return err
	}
	return r.Run.Groups.remove()
}

func exitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// reapTimeout is how long it may take until the parent of a process has seen its end. There
// are machines where none ever does.
const reapTimeout = 5 * time.Second

// A pidfdInfo is struct pidfd_info of the kernel, which tells since version 6.15 how the
// process of a pidfd has ended.
type pidfdInfo struct {
	mask uint64
	_    [52]byte
	exit int32
}

const (
	pidfdGetInfo  = 0xc040ff0b // PIDFD_GET_INFO
	pidfdInfoExit = 1 << 3     // PIDFD_INFO_EXIT
)

// strangerExit returns the exit code of a process that ended and is not a child of this one.
func strangerExit(ctx context.Context, pidfd *os.File) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, reapTimeout)
	defer cancel()
	if err := await(ctx, pidfd, unix.POLLHUP); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return unknownExit, err
	}
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return unknownExit, err
	}
	exit := unknownExit
	err = conn.Control(func(fd uintptr) {
		info := pidfdInfo{mask: pidfdInfoExit}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, pidfdGetInfo, uintptr(unsafe.Pointer(&info)))
		if errno == 0 && info.mask&pidfdInfoExit != 0 {
			exit = exitCode(syscall.WaitStatus(uint32(info.exit)))
		}
	})
	return exit, err
}
