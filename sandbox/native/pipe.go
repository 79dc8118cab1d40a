//go:build linux

package native

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"lap/sandbox"
)

// socketName is where a sandbox takes further pipes, in its folder.
const socketName = "pipe.sock"

// near calls fn with a short name of a folder, which may be deeper than a socket's name can
// be long.
func near(dir string, fn func(dir string) error) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	return fn(fmt.Sprintf("/proc/self/fd/%d", fd))
}

// listen makes the socket in a folder anew.
func listen(dir string) (f *os.File, err error) {
	err = near(dir, func(dir string) error {
		path := dir + "/" + socketName
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			return err
		}
		l.SetUnlinkOnClose(false)
		f, err = l.File()
		return errors.Join(err, l.Close())
	})
	return f, err
}

// Dial opens a further pipe.
func (n *Native) Dial(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	conn, err := n.dial(ctx, id)
	if err != nil {
		return nil, wrap("open a pipe to", id, err)
	}
	return conn, nil
}

func (n *Native) dial(ctx context.Context, id string) (conn net.Conn, err error) {
	b := n.box(id)
	r, err := b.read()
	if err != nil {
		return nil, err
	}
	switch d := b.detail(r); d.State {
	case sandbox.StatePaused:
		return nil, sandbox.ErrPaused
	case sandbox.StateRunning:
	default:
		return nil, fmt.Errorf("%w: it is %s", sandbox.ErrGone, d.State)
	}
	err = near(b.dir, func(dir string) (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", dir+"/"+socketName)
		return err
	})
	return conn, err
}
