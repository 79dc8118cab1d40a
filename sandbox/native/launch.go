//go:build linux

package native

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lap/sandbox/native/cell"
)

// namespaces are those that a sandbox has of its own.
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// oomScore makes a sandbox go before all else of this machine when memory runs out.
const oomScore = "500"

// A launch starts the first process of a sandbox.
type launch struct {
	guest  string
	calls  []byte // that it may make
	plan   cell.Plan
	log    string    // takes what the guest says
	pipes  *os.File  // listens for further pipes
	base   *os.File  // locked
	life   *lifeline // nil: it is not tied to this process
	groups cgroup
	born   func(process) error // called before the process goes on

	cmd    *exec.Cmd // nil: not started
	pidfd  *os.File  // of cmd
	tell   *os.File  // takes the plan
	report *os.File  // says how it went
}

// A child is a process that was started.
type child struct {
	cmd   *exec.Cmd
	pidfd *os.File
}

// run starts the process and waits until it has entered the sandbox. On error there is no
// process.
func (l *launch) run(ctx context.Context) (_ net.Conn, _ *child, err error) {
	near, far, err := socketPair()
	if err != nil {
		return nil, nil, err
	}
	err = l.start(far)
	err = errors.Join(err, far.Close())
	if err == nil {
		err = l.release(ctx)
	}
	for _, f := range []*os.File{l.tell, l.report} {
		if f != nil {
			_ = f.Close() // read to its end, or of no use any more
		}
	}
	if err == nil {
		return near, &child{l.cmd, l.pidfd}, nil
	}
	err = errors.Join(err, near.Close())
	if l.cmd != nil {
		err = errors.Join(err, l.cmd.Process.Kill(), ignoreExit(l.cmd.Wait()))
	}
	if l.pidfd != nil {
		err = errors.Join(err, l.pidfd.Close())
	}
	return nil, nil, err
}

// start starts the process, which waits for its plan. It ends without one, should lap
// come to its end first.
func (l *launch) start(stdio *os.File) (err error) {
	plan, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer plan.Close()
	report, told, err := os.Pipe()
	if err != nil {
		return errors.Join(err, tell.Close())
	}
	defer told.Close()
	l.tell, l.report = tell, report
	log, err := os.OpenFile(l.log, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	group, err := l.groups.open()
	if err != nil {
		return err
	}
	cmd := exec.Command(l.guest, "cell") //nolint:noctx // it outlives this call, and lap
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdio, stdio, log
	cmd.ExtraFiles = []*os.File{plan, told, l.pipes, l.base}
	start := cmd.Start
	if l.life != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, l.life.read)
		start = func() error { return l.life.fork(cmd) }
	}
	cmd.Env, cmd.Dir = environment(), "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Setsid: true, AmbientCaps: allCapabilities()}
	if group != nil {
		defer group.Close()
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(group.Fd())
	}
	ids().apply(cmd.SysProcAttr)
	if err := start(); err != nil {
		return unavailable(err)
	}
	l.cmd = cmd
	l.pidfd, err = openPidfd(cmd.Process.Pid)
	return err
}

// ignoreExit drops the error that only says that a process was killed.
func ignoreExit(err error) error {
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil
	}
	return err
}

// release remembers the process and lets it go on.
func (l *launch) release(ctx context.Context) error {
	p, err := newProcess(l.cmd.Process.Pid)
	if err == nil {
		err = l.born(p)
	}
	if err != nil {
		return err
	}
	_ = os.WriteFile("/proc/"+strconv.Itoa(p.PID)+"/oom_score_adj", []byte(oomScore), 0) // best effort: it may have ended
	text, err := json.Marshal(l.plan)
	if err == nil {
		_, err = l.tell.Write(text)
	}
	if err != nil && !errors.Is(err, unix.EPIPE) { // if it has ended, its report says why
		return err
	}
	if err := l.tell.Close(); err != nil {
		return err
	}
	if err := l.groups.enter(p.PID); err != nil && !errors.Is(err, unix.ESRCH) { // while it builds its root: the kernel takes its time
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = l.report.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	told, err := io.ReadAll(l.report)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	case len(told) > 0:
		return unavailable(errors.New(string(told)))
	}
	if s, err := stat(p.PID); err != nil || s.state == 'Z' { // it can be killed before it has said anything
		return errors.New("its first process was killed")
	}
	return nil
}

func socketPair() (near net.Conn, far *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	mine := os.NewFile(uintptr(fds[0]), "pipe")
	defer mine.Close()
	far = os.NewFile(uintptr(fds[1]), "pipe")
	near, err = net.FileConn(mine)
	if err != nil {
		return nil, nil, errors.Join(err, far.Close())
	}
	return near, far, nil
}
