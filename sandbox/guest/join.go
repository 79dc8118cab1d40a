//go:build linux

package guest

import (
	"context"
	"io"
	"net"
	"sync"
	"time"

	"lap/sandbox/pipe"
)

// lingerTimeout is for a local program to hang up once the host has: until then its
// connection counts.
const lingerTimeout = 10 * time.Second

// past is the deadline that ends what waits.
var past = time.Unix(1, 0)

// join carries bytes between a local connection and a stream until both directions have
// ended or ctx does. Both are the caller's to close.
func join(ctx context.Context, local, remote net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = local.SetDeadline(past); _ = remote.SetDeadline(past) })
	defer stop()
	var both sync.WaitGroup
	both.Go(func() {
		err := pump(remote, local)
		closeWrite(remote) // the answer can still come
		if err != nil {    // but to nobody
			_ = remote.SetReadDeadline(past)
		}
	})
	both.Go(func() {
		err := pump(local, remote)
		if err != nil || pipe.Broken(streamOf(remote)) { // what came is not all there was
			reset(local)
			return
		}
		closeWrite(local)
		_ = local.SetReadDeadline(time.Now().Add(lingerTimeout))
		_ = remote.SetWriteDeadline(time.Now().Add(lingerTimeout))
	})
	both.Wait()
}

// chunk is how much is copied at once.
const chunk = 64 << 10 // as much as a pipe of the kernel holds

var chunks = sync.Pool{New: func() any { return new([chunk]byte) }}

// chunkPool is the chunks as an httputil.BufferPool.
type chunkPool struct{}

func (chunkPool) Get() []byte  { return chunks.Get().(*[chunk]byte)[:] }
func (chunkPool) Put(b []byte) { chunks.Put((*[chunk]byte)(b)) }

// pump copies until from ends.
func pump(to io.Writer, from io.Reader) error {
	buf := chunks.Get().(*[chunk]byte)
	defer chunks.Put(buf)
	_, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, buf[:]) // their own ways have smaller buffers
	return err
}

// streamOf is the stream below a connection to the host.
func streamOf(conn net.Conn) net.Conn {
	if o, ok := conn.(*outward); ok {
		return o.Conn
	}
	return conn
}

// closeWrite ends the direction away from here. A stream's Close does no more than that.
func closeWrite(conn net.Conn) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the other end may be gone
		return
	}
	_ = conn.Close()
}

// reset ends a connection so that the other end takes it for broken, not complete.
func reset(conn net.Conn) {
	if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
		_ = tcp.SetLinger(0) // fails only for what is closed
	}
	_ = conn.Close()
}
