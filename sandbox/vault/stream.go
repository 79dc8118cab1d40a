package vault

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// counted is a connection that counts its bytes.
type counted struct {
	net.Conn
	read, written atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.written.Add(int64(n))
	return n, err
}

// prefixed is a connection with bytes that were read from it before.
type prefixed struct {
	net.Conn
	in io.Reader
}

func newPrefixed(conn net.Conn, before []byte) net.Conn {
	if len(before) == 0 {
		return conn
	}
	return &prefixed{conn, io.MultiReader(bytes.NewReader(slices.Clone(before)), conn)}
}

func (p *prefixed) Read(b []byte) (int, error) { return p.in.Read(b) }

// CloseWrite ends what is sent, where the connection can do that alone.
func (p *prefixed) CloseWrite() error { return closeWrite(p.Conn) }

// closeWrite ends one direction of a connection. Closing a stream of a pipe does just that.
func closeWrite(conn net.Conn) error {
	switch c := conn.(type) {
	case interface{ CloseWrite() error }:
		return c.CloseWrite()
	case *counted:
		return closeWrite(c.Conn)
	}
	return conn.Close()
}

// How much is copied at once: little at first, since most connections carry little and wait
// for more, and much while there is much.
const (
	chunk    = 16 << 10
	bigChunk = 128 << 10
)

var (
	chunks    = sync.Pool{New: func() any { return new([chunk]byte) }}
	bigChunks = sync.Pool{New: func() any { return new([bigChunk]byte) }}
)

// chunkPool is the chunks as an httputil.BufferPool.
type chunkPool struct{}

// Get and Put implement httputil.BufferPool.
func (chunkPool) Get() []byte  { return chunks.Get().(*[chunk]byte)[:] }
func (chunkPool) Put(b []byte) { chunks.Put((*[chunk]byte)(b)) }

// splice copies in both directions until both have ended, or one has failed. in is what is
// left to read of down.
func splice(down net.Conn, in io.Reader, up net.Conn) {
	abort := sync.OnceFunc(func() {
		_ = down.SetReadDeadline(time.Unix(1, 0)) // a Read that waits ends
		_ = up.Close()
	})
	var both sync.WaitGroup
	copied := func(to net.Conn, from io.Reader) {
		if pump(to, from) != nil || closeWrite(to) != nil { // the other direction may go on after a mere end
			abort()
		}
	}
	both.Go(func() { copied(up, in) })
	both.Go(func() { copied(down, up) })
	both.Wait()
}

// pump copies until from ends.
func pump(to io.Writer, from io.Reader) (err error) {
	little := chunks.Get().(*[chunk]byte)
	defer chunks.Put(little)
	for n := 0; err == nil; n, err = pass(to, from, little[:]) {
		if n == chunk {
			if err = pumpMuch(to, from); err != nil {
				break
			}
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// pumpMuch copies as long as much comes at once.
func pumpMuch(to io.Writer, from io.Reader) (err error) {
	much := bigChunks.Get().(*[bigChunk]byte)
	defer bigChunks.Put(much)
	for n := chunk; err == nil && n >= chunk; {
		n, err = pass(to, from, much[:])
	}
	return err
}

// pass writes what one Read brings. The error of the Read comes after that.
func pass(to io.Writer, from io.Reader, buf []byte) (int, error) {
	n, err := from.Read(buf)
	if n == 0 {
		return 0, err
	}
	if _, failed := to.Write(buf[:n]); failed != nil {
		return n, failed
	}
	return n, err
}
