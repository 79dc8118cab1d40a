//go:build linux

package native

import (
	"context"
	"crypto/rand"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lap/sandbox"
)

// How long an answer of possible is believed.
const (
	possibleFor   = 10 * time.Minute
	impossibleFor = 5 * time.Second
)

// A probe is the last answer of possible.
type probe struct {
	at  time.Time
	err error
}

// possible says what keeps this machine from running sandboxes, by making one that is
// empty, and ends at once.
func (n *Native) possible(ctx context.Context) error {
	n.mu.Lock()
	p := n.probed
	n.mu.Unlock()
	age := time.Since(p.at)
	if age < impossibleFor || p.err == nil && age < possibleFor {
		return p.err
	}
	p.err = n.try(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	p.at = time.Now()
	n.mu.Lock()
	n.probed = p
	n.mu.Unlock()
	return p.err
}

// try makes an empty sandbox.
func (n *Native) try(ctx context.Context) (err error) {
	guest, err := n.guest()
	if err == nil {
		err = static(guest)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", sandbox.ErrUnavailable, err)
	}
	if err := n.makeDir(); err != nil {
		return fmt.Errorf("%w: %w", sandbox.ErrUnavailable, err)
	}
	id := prefix + "probe-" + rand.Text()
	_, unlock, err := n.hold(ctx, id) // from a sweep at the same time
	if err != nil {
		return err
	}
	defer unlock()
	name := half + id
	b := &box{id: name, dir: filepath.Join(n.cfg.Dir, name)}
	defer func() { err = errors.Join(err, n.discard(name)) }()
	base, err := b.makeProbe(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", sandbox.ErrUnavailable, err)
	}
	defer base.lock.Close()
	l, err := n.newLaunch(b.dir, base)
	if err != nil {
		return err
	}
	defer l.close()
	if l.life, err = n.lifeline(); err != nil { // nobody knows of it when lap is killed meanwhile
		return err
	}
	l.plan = newPlan(b, base, l)
	l.plan.Temp = tempSize(0)
	conn, c, err := l.run(ctx)
	if err != nil {
		return err
	}
	return errors.Join(conn.Close(), c.cmd.Process.Kill(), ignoreExit(c.cmd.Wait()), c.pidfd.Close())
}

// makeProbe makes the folders of a sandbox, and a base for it that is nearly empty.
func (b *box) makeProbe(ctx context.Context) (*base, error) {
	base := &base{dir: b.path("base")}
	for _, dir := range []string{b.dir, b.path("layers"), base.dir} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, err
		}
	}
	err := makeFrame(filepath.Join(base.dir, "root"), ids(), base.system)
	if err == nil {
		err = b.addLayers(base)
	}
	if err == nil {
		base.lock, err = lockShared(ctx, base.dir+lockSuffix) // nobody else knows it
	}
	return base, err
}

// static returns an error for a program that needs others' files to run.
func static(path string) error {
	file, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("sandboxes run %s: %w", path, err)
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is dynamically linked and cannot run in sandboxes: build lap with CGO_ENABLED=0", path)
		}
	}
	return nil
}

// unavailable is err, which kept a sandbox from being made, with what to do about it.
func unavailable(err error) error {
	if advice := advise(err); advice != "" {
		return fmt.Errorf("%w: %s (%w)", sandbox.ErrUnavailable, advice, err)
	}
	return fmt.Errorf("%w: this machine cannot run native sandboxes: %w: use Docker", sandbox.ErrUnavailable, err)
}

// advise says what to change. The new process tells its errors as texts that begin with
// what it did.
func advise(err error) string {
	told := err.Error()
	denied := strings.HasSuffix(told, unix.EPERM.Error()) || strings.HasSuffix(told, unix.EACCES.Error())
	switch {
	case number("/proc/sys/user/max_user_namespaces") == 0, errors.Is(err, unix.ENOSPC):
		return "this machine has no user namespaces left: run \"sudo sysctl -w user.max_user_namespaces=15000\", or use Docker"
	case number("/proc/sys/kernel/unprivileged_userns_clone") == 0:
		return "this machine lets only root make user namespaces: run \"sudo sysctl -w kernel.unprivileged_userns_clone=1\", or use Docker"
	case number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1 && os.Geteuid() != 0 && denied:
		return "AppArmor keeps unprivileged programs from making sandboxes: run \"sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0\", run lap as root, or use Docker"
	case errors.Is(err, unix.EACCES):
		return "lap itself is on a file system whose programs may not be run, or in a folder that its user may not enter: move it, for example to /usr/local/bin"
	case errors.Is(err, unix.EPERM):
		return "something around lap, such as a container, forbids new namespaces: run that container with --privileged, or lap on the machine itself, or use Docker"
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return "this kernel lacks namespaces or control groups that sandboxes need: use Linux 5.11 or later, or Docker"
	case strings.HasPrefix(told, "/proc: ") && denied:
		return "lap is in a container that hides parts of /proc: run that container with --privileged or --security-opt systempaths=unconfined, or lap on the machine itself"
	case strings.HasPrefix(told, "root: overlay"):
		return "the folder for lap's data cannot hold sandboxes: it is on a file system such as overlayfs or NFS, or Linux is older than 5.11: choose another with --data-dir, or use Docker"
	case denied:
		return "something around lap, such as a container or a security module, forbids what sandboxes are made with: run lap on the machine itself, or use Docker"
	}
	return ""
}

// number reads a setting of the kernel, -1 when there is none.
func number(path string) int {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return -1
	}
	var n int
	if _, scanned := fmt.Sscan(string(text), &n); err != nil || scanned != nil {
		return -1
	}
	return n
}
