//go:build linux

package guest

import (
	"context"
	"errors"
	"net"
	"time"
)

// acceptPause is how long to leave a listener alone that has failed to accept, which it
// does while the sandbox is out of files or memory.
const acceptPause = 200 * time.Millisecond

// accept runs handle for every connection of l until l is closed or ctx ends, for at
// most limit at once. Further ones wait with the kernel.
func (g *Guest) accept(ctx context.Context, l net.Listener, limit int, handle func(net.Conn)) {
	slots := make(chan struct{}, limit)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		conn, err := l.Accept()
		if err == nil {
			g.work.Go(func() {
				defer func() { <-slots }()
				handle(conn)
			})
			continue
		}
		<-slots
		if errors.Is(err, net.ErrClosed) {
			return
		}
		g.log.Warn("connection not accepted", "addr", l.Addr().String(), "err", err)
		select {
		case <-time.After(acceptPause):
		case <-ctx.Done():
			return
		}
	}
}
