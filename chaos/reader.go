package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// An event is one entry of a session's log as a client reads it.
type event struct {
	id   int64
	body string
}

// A reader reads the events of a session from the first on. When its stream breaks off
// it goes on after the last one that it has.
type reader struct {
	lap     *lap
	session string
	cancel  context.CancelFunc
	done    chan struct{}

	mu     sync.Mutex // guards what follows
	events []event
	faults []string
}

func (l *lap) newReader(ctx context.Context, session string) *reader {
	r := &reader{lap: l, session: session, done: make(chan struct{})}
	ctx, r.cancel = context.WithCancel(ctx)
	go func() {
		defer close(r.done)
		for ctx.Err() == nil {
			r.read(ctx)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}()
	return r
}

func (r *reader) close() {
	r.cancel()
	<-r.done
}

// last is the id of the newest event that was read.
func (r *reader) last() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int64(len(r.events))
}

func (r *reader) seen() ([]event, []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events), slices.Clone(r.faults)
}

// read reads one stream to its end.
func (r *reader) read(ctx context.Context) {
	path := sessionPath(r.session) + "/stream?follow=1&after=" + strconv.FormatInt(r.last(), 10)
	res, err := r.lap.send(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return // the server is down
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusBadRequest {
		r.fault("a reader that has event %d is refused: the log is shorter", r.last())
	}
	if res.StatusCode != http.StatusOK {
		return // the session is not ready, or over
	}
	var id int64
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			id, _ = strconv.ParseInt(text, 10, 64) // 0 is no id of an event
		} else if body, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			r.take(id, body)
		}
	}
}

// own are the types of frames that are no events of a session.
var own = []string{"stream.opened", "ready", "done", "error"}

func (r *reader) take(id int64, body string) {
	var frame struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal([]byte(body), &frame); err != nil {
		return // a line that the end of the server cut
	}
	if slices.Contains(own, frame.Type) {
		return
	}
	if next := r.last() + 1; id != next {
		r.fault("event %d came after event %d", id, next-1)
		return
	}
	r.mu.Lock()
	r.events = append(r.events, event{id: id, body: body})
	r.mu.Unlock()
}

func (r *reader) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

// reaches waits until an event was read.
func (r *reader) reaches(id int64, limit time.Duration) bool {
	for end := time.Now().Add(limit); r.last() < id; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
