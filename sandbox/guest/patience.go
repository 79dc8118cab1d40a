//go:build linux

package guest

import (
	"context"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// halfPatience is for how many more seconds a program waits that has said all it has to
// say. It cannot be told from one that has gone.
const halfPatience = 30

// States of a TCP connection.
const (
	tcpEstablished = 1
	tcpCloseWait   = 8
)

// patient returns a context that ends with ctx, or when the program at the other end of
// conn has gone. done ends it, too, and must be called.
func patient(ctx context.Context, conn *net.TCPConn) (patience context.Context, done func()) {
	patience, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		defer cancel()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for left := halfPatience; left > 0; {
			select {
			case <-tick.C:
			case <-patience.Done():
				return
			}
			switch stateOf(conn) {
			case tcpEstablished:
			case tcpCloseWait:
				left--
			default:
				return
			}
		}
	})
	return patience, func() { cancel(); watch.Wait() }
}

// stateOf is the kernel's state of a connection, 0 when it has none.
func stateOf(conn *net.TCPConn) (state uint8) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { // fails for what is closed, and then there is none
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			state = info.State
		}
	})
	return state
}
