package pipe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// ErrViolation says that a pipe was ended because its guest did what no guest of lap
// does.
var ErrViolation = errors.New("the sandbox broke the rules of its pipe")

// lastRead is how long a failed Write waits for Read to say why the pipe has ended.
const lastRead = time.Second

// An inflow is the host's end of a pipe below the multiplexer. It lets nothing up that
// the multiplexer would take but no guest of lap sends, and knows why the pipe ended.
type inflow struct {
	io.ReadWriteCloser
	frames frames
	read   chan struct{} // closed when Read has failed

	mu     sync.Mutex // guards cause and closed
	cause  error      // what ended the pipe; nil when that was Close
	closed bool
}

func newInflow(conn io.ReadWriteCloser) *inflow {
	return &inflow{ReadWriteCloser: conn, read: make(chan struct{})}
}

// Read reads what the guest sends, unchanged. Its first error is its last: the
// multiplexer asks again after some.
func (f *inflow) Read(b []byte) (int, error) {
	select {
	case <-f.read:
		return 0, io.ErrClosedPipe
	default:
	}
	n, err := f.ReadWriteCloser.Read(b)
	if bad := f.frames.check(b[:n]); bad != nil {
		n, err = 0, bad
	}
	if err != nil {
		f.end(err)
		close(f.read)
		err = f.why(err)
	}
	return n, err
}

// Write writes to the guest. A guest that has gone fails Write before Read has come to
// the end, which has the reason.
func (f *inflow) Write(b []byte) (int, error) {
	n, err := f.ReadWriteCloser.Write(b)
	if err != nil && !f.ended() {
		late := time.NewTimer(lastRead)
		defer late.Stop()
		select {
		case <-f.read:
		case <-late.C:
		}
		f.end(err)
	}
	return n, f.why(err)
}

// why is what the multiplexer is told of a failure: one that comes of Close is the end it
// has itself when it is closed.
func (f *inflow) why(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && f.closed {
		return yamux.ErrSessionShutdown
	}
	return err
}

// Close closes the connection, once. Errors that come of it are not the cause of the end.
func (f *inflow) Close() error {
	f.mu.Lock()
	again := f.closed
	f.closed = true
	f.mu.Unlock()
	if again {
		return nil
	}
	return f.ReadWriteCloser.Close()
}

// end records the cause of the end, unless Close came first.
func (f *inflow) end(cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cause == nil && !f.closed {
		f.cause = cause
	}
}

// explain records the cause of an end that has none yet.
func (f *inflow) explain(cause error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cause == nil {
		f.cause = cause
	}
}

func (f *inflow) ended() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed || f.cause != nil
}

func (f *inflow) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cause
}

// The multiplexer's frames: a header of version, type, flags (16 bits), stream (32) and
// length (32), all big-endian, and after a data frame's header its payload.
const (
	headerSize   = 12
	dataFrame    = 0
	windowFrame  = 1
	synFlag      = 1
	knownFlags   = 0xf
	streamWindow = 256 << 10 // bytes in flight per stream; the least that yamux takes
)

// frames follows the frames in a byte stream that comes in parts of any size.
type frames struct {
	header [headerSize]byte
	have   int // bytes of header
	left   int // bytes of payload to come
}

// check follows b. Its error is final.
func (f *frames) check(b []byte) error {
	for len(b) > 0 {
		if f.left > 0 {
			n := min(f.left, len(b))
			f.left -= n
			b = b[n:]
			continue
		}
		n := copy(f.header[f.have:], b)
		f.have += n
		b = b[n:]
		if f.have < headerSize {
			return nil
		}
		f.have = 0
		if err := f.begin(); err != nil {
			return err
		}
	}
	return nil
}

// begin judges the header that is complete. Guests of lap send neither pings, each of
// which costs the host a goroutine, nor go-aways, after which a pipe is of no use but
// stays.
func (f *frames) begin() error {
	version, kind := f.header[0], f.header[1]
	flags := binary.BigEndian.Uint16(f.header[2:])
	stream, length := binary.BigEndian.Uint32(f.header[4:]), binary.BigEndian.Uint32(f.header[8:])
	switch {
	case version != 0 || flags&^knownFlags != 0:
		return fmt.Errorf("%w: frame of version %d with flags %#x", ErrViolation, version, flags)
	case kind != dataFrame && kind != windowFrame:
		return fmt.Errorf("%w: frame of type %d", ErrViolation, kind)
	case flags&synFlag != 0 && (stream == 0 || stream%2 != 0): // those are the host's own
		return fmt.Errorf("%w: it opened stream %d", ErrViolation, stream)
	case kind == dataFrame && length > streamWindow:
		return fmt.Errorf("%w: frame of %d bytes", ErrViolation, length)
	case kind == dataFrame:
		f.left = int(length)
	}
	return nil
}
