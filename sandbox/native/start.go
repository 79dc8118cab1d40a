//go:build linux

package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"lap/sandbox/native/cell"
)

// startTimeout is how long a process may take to enter its sandbox.
const startTimeout = time.Minute

// Start runs the guest of a sandbox, whose standard streams are its first pipe.
func (n *Native) Start(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("it took longer than %s", startTimeout))
	defer cancel()
	b, unlock, err := n.hold(ctx, id)
	if err != nil {
		return nil, wrap("start", id, err)
	}
	defer unlock()
	pipe, err := n.start(ctx, b)
	if err != nil {
		return nil, wrap("start", id, err)
	}
	return pipe, nil
}

func (n *Native) start(ctx context.Context, b *box) (net.Conn, error) {
	r, err := b.read()
	if err != nil {
		return nil, err
	}
	if d := b.detail(r); d.Running() {
		return nil, fmt.Errorf("it is %s already", d.State)
	}
	base, err := n.ready(ctx, func(string) {})
	if err != nil {
		return nil, err
	}
	if r.Run != nil {
		if err := errors.Join(r.Run.Groups.remove(), b.renewWork(ctx)); err != nil {
			return nil, err
		}
	}
	if err := b.addLayers(base); err != nil {
		return nil, err
	}
	l, err := n.newLaunch(b.dir, base)
	if err != nil {
		return nil, err
	}
	defer l.close()
	limits := r.Spec.Limits
	if l.groups, err = n.makeGroup(b.id, limits); err != nil {
		return nil, err
	}
	l.plan = newPlan(b, base, l)
	l.plan.Disk, l.plan.PIDs, l.plan.Temp = limits.Disk, limits.PIDs, tempSize(limits.Memory)
	if l.groups.Memory == "" {
		l.plan.Data = limits.Memory
	}
	now := r
	l.born = func(p process) error {
		now.Run = &run{process: p, Groups: l.groups, Started: time.Now().UTC()}
		return b.write(now)
	}
	conn, c, err := l.run(ctx)
	if err != nil {
		return nil, errors.Join(err, b.write(r), l.groups.remove())
	}
	n.follow(b, now, c)
	return conn, nil
}

// newLaunch opens what the first process of a sandbox gets. The caller closes it.
func (n *Native) newLaunch(dir string, base *base) (_ *launch, err error) {
	l := &launch{log: filepath.Join(dir, "guest.log"), born: func(process) error { return nil }}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.guest, err = n.guest(); err != nil {
		return nil, err
	}
	if l.calls, err = cell.SystemCalls(); err != nil {
		return nil, err
	}
	if l.pipes, err = listen(dir); err != nil {
		return nil, err
	}
	if l.base, err = base.lock.again(); err != nil {
		return nil, err
	}
	if n.cfg.Tied {
		if l.life, err = n.lifeline(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// close closes what the process has of its own by now.
func (l *launch) close() {
	for _, f := range []*os.File{l.pipes, l.base} {
		if f != nil {
			_ = f.Close() // nothing was written
		}
	}
}

// newPlan says what a sandbox is made of.
func newPlan(b *box, base *base, l *launch) cell.Plan {
	p := cell.Plan{
		Base: filepath.Join(base.dir, "root"), Guest: l.guest, Tied: l.life != nil, Chown: ids().count > 1, Calls: l.calls,
		Upper: filepath.Join(b.layer("root"), "upper"), Work: filepath.Join(b.layer("root"), "work"),
	}
	for _, dir := range base.system {
		p.System = append(p.System, cell.Layer{
			Path: dir, Lower: dir, Skel: filepath.Join(base.dir, "skel", dir),
			Upper: filepath.Join(b.layer(dir), "upper"), Work: filepath.Join(b.layer(dir), "work"),
		})
	}
	return p
}

// tempSize is how much of a sandbox's memory may be files.
func tempSize(memory int64) int64 {
	if memory == 0 {
		return 1 << 30
	}
	return memory / 2
}
