package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strconv"
	"time"
)

// An Event is one event of a session.
type Event struct {
	ID   int64           // its place in the session's log
	Type string          // such as message.part.delta or session.idle
	Body json.RawMessage // {"type": ..., "properties": ...}
}

// reconnectPause is how long to wait before a stream is opened again.
const reconnectPause = time.Second

// Stream yields a session's events after the given one, -1: from now on. A stream that
// breaks off is opened again where it was, so that every event comes once. It ends with
// the error of ctx, or an Error when the server refuses it: status 410 says that the
// session is over.
func (c *Client) Stream(ctx context.Context, sessionID string, after int64) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			err := c.streamOnce(ctx, sessionID, &after, yield)
			var refused *Error
			switch {
			case errors.Is(err, errStopped):
				return
			case errors.As(err, &refused) && refused.Status < http.StatusInternalServerError:
				yield(Event{}, err)
				return
			}
			select {
			case <-time.After(reconnectPause):
			case <-ctx.Done():
				yield(Event{}, ctx.Err())
				return
			}
		}
	}
}

// errStopped says that nobody wants further events.
var errStopped = errors.New("stopped")

// streamOnce yields events until the stream breaks off, and keeps after up to date.
func (c *Client) streamOnce(ctx context.Context, sessionID string, after *int64, yield func(Event, error) bool) error {
	path := sessionPath(sessionID) + "/stream?follow=1"
	if *after >= 0 {
		path += "&after=" + strconv.FormatInt(*after, 10)
	}
	res, err := c.send(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for {
		e, err := readFrame(lines)
		if err != nil {
			return err
		}
		*after = e.ID
		switch e.Type {
		case "stream.opened", "error": // of the stream, not of the session
		default:
			if !yield(e, nil) {
				return errStopped
			}
		}
	}
}

// readFrame reads one frame. Comments are left out.
func readFrame(lines *bufio.Reader) (Event, error) {
	var e Event
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF && len(line) > 0 { //nolint:errorlint // a Reader's own
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return e, err
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		if len(line) == 0 && e.Body != nil {
			return e, nil
		}
		name, text, _ := bytes.Cut(line, []byte(": "))
		switch string(name) {
		case "id":
			e.ID, err = strconv.ParseInt(string(text), 10, 64)
		case "data":
			e.Body = text
			e.Type, err = typeOf(text)
		}
		if err != nil {
			return e, fmt.Errorf("the stream is not what lap sends: %w", err)
		}
	}
}

func typeOf(frame []byte) (string, error) {
	var f struct {
		Type string `json:"type"`
	}
	err := json.Unmarshal(frame, &f)
	return f.Type, err
}
