package api

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"lap/db"
)

// An sse writes server-sent events to one client. A frame is a line with the id of an
// event of the session, a line with JSON, and an empty line.
type sse struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	limit  time.Duration // for the client to take one write
	wrap   bool          // events of a harness are members of frames
	last   int64         // id of the newest frame
	opened bool          // the headers are out
	broken bool          // a write failed
}

// errGone says that the client does not take what is written.
var errGone = errors.New("the client is gone")

// streamHeaders are those of every event stream.
func streamHeaders(h http.Header) {
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache, no-transform")
	h.Set("Connection", "keep-alive")
	h.Set("X-Accel-Buffering", "no")
}

// open sends the headers, unless that was done.
func (s *sse) open() error {
	if s.opened {
		return nil
	}
	s.opened = true
	streamHeaders(s.w.Header())
	s.w.WriteHeader(http.StatusOK)
	return s.write(nil)
}

// frames keeps buffers from write to write: a thousand readers get the same events.
var frames = sync.Pool{New: func() any { return &bytes.Buffer{} }}

// events writes frames in one go, to the end of list or to the event of which isLast
// says so: over is true then.
func (s *sse) events(list []db.Event, isLast func(db.Event) bool) (over bool, err error) {
	b := frames.Get().(*bytes.Buffer)
	b.Reset()
	for i := 0; i < len(list) && !over; i++ {
		s.render(b, list[i])
		over = isLast(list[i])
	}
	err = s.write(b.Bytes())
	if b.Cap() < largeReply {
		frames.Put(b)
	}
	return over, err
}

func (s *sse) render(b *bytes.Buffer, e db.Event) {
	s.last = e.Seq
	s.begin(b)
	if s.wrap {
		b.WriteString(`{"type":"harness_event","event":`)
	}
	b.Write(e.Body) // JSON in one line
	if s.wrap {
		b.WriteByte('}')
	}
	b.WriteString("\n\n")
}

func (s *sse) begin(b *bytes.Buffer) {
	b.WriteString("id: ")
	b.Write(strconv.AppendInt(b.AvailableBuffer(), s.last, 10))
	b.WriteString("\ndata: ")
}

// say writes a frame of lap's own, under the id of the one before.
func (s *sse) say(data string) error {
	var b bytes.Buffer
	s.begin(&b)
	b.WriteString(data)
	b.WriteString("\n\n")
	return s.write(b.Bytes())
}

// ping writes a sign of life, which clients ignore.
func (s *sse) ping() error { return s.write([]byte(": ping\n\n")) }

func (s *sse) write(b []byte) error {
	if s.broken {
		return errGone
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(s.limit)) // a connection without deadlines has other ways to end
	_, err := s.w.Write(b)
	if err == nil {
		err = s.rc.Flush()
	}
	if err != nil {
		s.broken = true
		return errGone
	}
	return nil
}
