package pipe

import (
	"io"
	"time"
)

// NewImpatientHost is NewHost with other timeouts: for a stream's name, for streams that
// the host has closed, and for a guest to read.
func NewImpatientHost(conn io.ReadWriteCloser, name, closed, write time.Duration) (*Host, error) {
	c := config()
	c.StreamCloseTimeout, c.ConnectionWriteTimeout = closed, write
	return newHost(conn, c, name)
}

// NewInflow is the host's end below its multiplexer.
func NewInflow(conn io.ReadWriteCloser) io.ReadWriteCloser { return newInflow(conn) }

// NumStreams is how many streams the host remembers.
func (h *Host) NumStreams() int { return h.mux.NumStreams() }
