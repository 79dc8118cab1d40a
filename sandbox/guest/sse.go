//go:build linux

package guest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxFrame bounds a frame of the harness's event stream, in bytes.
const maxFrame = 16 << 20

// errLongFrame says that a frame was skipped because it is larger than maxFrame.
var errLongFrame = errors.New("frame is too long")

// An eventStream reads the data of server-sent events. A line ends with LF or CR LF; a
// lone CR, which the format has too and no harness writes, is part of its line.
type eventStream struct {
	r   *bufio.Reader
	max int
}

func newEventStream(r io.Reader, limit int) *eventStream {
	s := &eventStream{r: bufio.NewReader(r), max: limit}
	if mark, err := s.r.Peek(3); err == nil && string(mark) == "\uFEFF" {
		_, _ = s.r.Discard(3) // it is there
	}
	return s
}

// next returns the data of the next event, which the caller may keep, or errLongFrame.
// After that the following event can be read, after any other error nothing can.
func (s *eventStream) next() ([]byte, error) {
	var data []byte
	begun, long := false, false
	for {
		line, err := s.line(s.max - len(data))
		switch {
		case errors.Is(err, errLongFrame):
			long, data = true, nil
		case err != nil:
			return nil, err // an event without its empty line is not whole
		case len(line) > 0:
			value, ok := dataField(line)
			if !ok || long {
				continue
			}
			if begun {
				data = append(data, '\n')
			}
			data, begun = append(data, value...), true
		case long:
			return nil, errLongFrame
		case begun:
			return data, nil
		}
	}
}

// dataField is the value of a line that is a data field.
func dataField(line []byte) ([]byte, bool) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	return bytes.TrimPrefix(value, []byte(" ")), string(name) == "data"
}

// line reads a line without its end. A line that is longer than limit, and not a
// little, is skipped and errLongFrame. The result is valid until the next call.
func (s *eventStream) line(limit int) ([]byte, error) {
	part, err := s.r.ReadSlice('\n')
	if err == nil {
		return trimEnd(part), nil
	}
	var whole []byte
	for long := false; ; part, err = s.r.ReadSlice('\n') {
		if long = long || len(whole)+len(part) > limit+s.r.Size(); long {
			whole = nil
		} else {
			whole = append(whole, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return nil, err
		case long:
			return nil, errLongFrame
		default:
			return trimEnd(whole), nil
		}
	}
}

func trimEnd(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}
