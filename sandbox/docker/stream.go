package docker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/docker/docker/api/types"
)

// A stream is the standard input and output of a process on the engine as one byte
// stream. Standard error is drained; its tail explains an early end.
type stream struct {
	types.HijackedResponse
	end   context.CancelFunc // of the connection's context
	begun func()             // called with the first output or end, and after
	left  int                // bytes left in the current frame
	err   bool               // the current frame is standard error
	tail  []byte
}

const tailSize = 2 << 10

func newStream(h types.HijackedResponse, end context.CancelFunc) *stream {
	return &stream{HijackedResponse: h, end: end, begun: func() {}}
}

// Read returns standard output. The engine sends frames of an 8-byte header (stream
// number, three zeros, big-endian length) and a payload.
func (s *stream) Read(b []byte) (int, error) {
	defer s.begun()
	for s.left == 0 || s.err {
		if err := s.next(); err != nil {
			return 0, s.explain(err)
		}
	}
	n, err := s.Reader.Read(b[:min(len(b), s.left)])
	s.left -= n
	return n, err
}

// next finishes a frame of standard error, or begins the next frame.
func (s *stream) next() error {
	if s.left > 0 {
		chunk := make([]byte, min(s.left, tailSize))
		n, err := s.Reader.Read(chunk)
		s.left -= n
		s.tail = append(s.tail, chunk[:n]...)
		s.tail = s.tail[max(0, len(s.tail)-tailSize):]
		return err
	}
	var header [8]byte
	if _, err := io.ReadFull(s.Reader, header[:]); err != nil {
		return err
	}
	s.err = header[0] == 2
	s.left = int(binary.BigEndian.Uint32(header[4:]))
	return nil
}

func (s *stream) explain(err error) error {
	if errors.Is(err, io.EOF) && len(s.tail) > 0 {
		return fmt.Errorf("the sandbox's supervisor ended: %s", s.tail)
	}
	return err
}

func (s *stream) Write(b []byte) (int, error) { return s.Conn.Write(b) }

// Close closes both directions.
func (s *stream) Close() error {
	defer s.begun()
	defer s.end()
	return s.Conn.Close()
}
