package api_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"lap/db"
	"lap/server/api"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// A listener reads an event stream.
type listener struct {
	tb   testing.TB
	res  *http.Response
	body *bufio.Reader
}

// listen opens an event stream. header are pairs of names and values.
func (w *world) listen(tb testing.TB, method, path, body string, header ...string) *listener {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, w.url+path, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	l := &listener{tb: tb, res: res, body: bufio.NewReader(res.Body)}
	timer := time.AfterFunc(patience, l.leave) // a stream that hangs fails its test
	tb.Cleanup(func() { timer.Stop(); l.leave() })
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		tb.Fatalf("status = %d: %s", res.StatusCode, text)
	}
	return l
}

func (l *listener) leave() { _ = l.res.Body.Close() }

// next returns the next frame, without its empty line. Pings are left out.
func (l *listener) next() string {
	l.tb.Helper()
	for {
		var frame strings.Builder
		for {
			line, err := l.body.ReadString('\n')
			if err != nil {
				l.tb.Fatalf("the stream ends with %v after %q", err, frame.String()+line)
			}
			if line == "\n" {
				break
			}
			frame.WriteString(line)
		}
		if frame.String() != ": ping\n" {
			return strings.TrimSuffix(frame.String(), "\n")
		}
	}
}

// want fails the test unless the next frames are as given: an id and data.
func (l *listener) want(frames ...string) {
	l.tb.Helper()
	for _, frame := range frames {
		id, data, _ := strings.Cut(frame, " ")
		if got, want := l.next(), "id: "+id+"\ndata: "+data; got != want {
			l.tb.Fatalf("frame = %q, want %q", got, want)
		}
	}
}

// end fails the test unless the stream ends here.
func (l *listener) end() {
	l.tb.Helper()
	if rest, err := io.ReadAll(l.body); err != nil || strings.ReplaceAll(string(rest), ": ping\n\n", "") != "" {
		l.tb.Fatalf("the stream does not end: %q, %v", rest, err)
	}
}

func event(kind string) string {
	return `{"type":"` + kind + `","properties":{"sessionID":"harness-1"}}`
}

func wrapped(kind string) string { return `{"type":"harness_event","event":` + event(kind) + `}` }

func TestStreamBytes(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	w.engine.emit(t, id, "old")
	tests := []struct{ path, hello, want string }{
		{
			"/stream", "id: %d\ndata: {\"type\":\"stream.opened\"}\n\n",
			"id: %d\ndata: {\"type\":\"a\",\"n\":1.0}\n\nid: %d\ndata: " + event("session.idle") + "\n\n",
		},
		{
			"/events", "id: %d\ndata: {\"type\":\"ready\"}\n\n",
			"id: %d\ndata: {\"type\":\"harness_event\",\"event\":{\"type\":\"a\",\"n\":1.0}}\n\nid: %d\ndata: " + wrapped("session.idle") +
				"\n\nid: %[2]d\ndata: {\"type\":\"done\"}\n\n",
		},
	}
	newest := 1
	for _, tt := range tests {
		l := w.listen(t, "GET", sessions+"/"+id+tt.path, "")
		for name, want := range map[string]string{
			"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no",
		} {
			if got := l.res.Header.Get(name); got != want {
				t.Errorf("%s: %s = %q, want %q", tt.path, name, got, want)
			}
		}
		hello := fmt.Sprintf(tt.hello, newest)
		got := make([]byte, len(hello))
		if _, err := io.ReadFull(l.body, got); err != nil || string(got) != hello {
			t.Fatalf("%s begins with %q, %v", tt.path, got, err)
		}
		w.engine.emit(t, id, `{"type":"a","n":1.0}`, "session.idle", "later")
		rest, err := io.ReadAll(l.body)
		if want := fmt.Sprintf(tt.want, newest+1, newest+2); err != nil || string(rest) != want {
			t.Errorf("%s: %q, %v, want %q", tt.path, rest, err, want)
		}
		newest += 3
	}
}

func TestFollow(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	l := w.listen(t, "GET", sessions+"/"+id+"/stream?follow=1", "")
	l.want(`0 {"type":"stream.opened"}`)
	for turn := range 3 {
		w.engine.emit(t, id, "a", "session.idle", "b")
		l.want(fmt.Sprint(turn*3+1, " ", event("a")), fmt.Sprint(turn*3+2, " ", event("session.idle")), fmt.Sprint(turn*3+3, " ", event("b")))
	}
	w.do(t, "POST", sessions+"/"+id+"/stop", nil).want(t, 200)
	l.want(`9 {"type":"error","message":"event stream interrupted"}`)
	l.end()
}

func TestResume(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	w.engine.emit(t, id, "a", "b", "c", "d", "session.idle")
	tests := []struct {
		name, query, header string
		first               int // id of the first event
	}{
		{"query", "?after=2", "", 3},
		{"header", "", "4", 5},
		{"query wins", "?after=1", "4", 2},
		{"from the start", "?after=0", "", 1},
		{"zeros", "?after=0003", "", 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, route := range []string{"/stream", "/events"} {
				var header []string
				if tt.header != "" {
					header = []string{"Last-Event-ID", tt.header}
				}
				l := w.listen(t, "GET", sessions+"/"+id+route+tt.query, "", header...)
				if got, want := l.next(), fmt.Sprintf("id: %d\n", tt.first-1); !strings.HasPrefix(got, want) {
					t.Errorf("%s: first frame = %q, want %q", route, got, want)
				}
				for seq := tt.first; seq <= 5; seq++ {
					if got, want := l.next(), fmt.Sprintf("id: %d\n", seq); !strings.HasPrefix(got, want) {
						t.Errorf("%s: frame = %q, want %q", route, got, want)
					}
				}
				l.leave()
			}
		})
	}
	for _, bad := range []string{"x", "-1", "+1", "1.0", " 1", "", "1_0", "9223372036854775808", "0x1", "6"} {
		for _, route := range []string{"/stream", "/events"} {
			w.do(t, "GET", sessions+"/"+id+route+"?after="+strings.ReplaceAll(strings.ReplaceAll(bad, " ", "%20"), "+", "%2B"), nil).wantError(t, 400, "after: ")
			if bad == "" || bad == " 1" { // no header; HTTP cuts the blank off
				continue
			}
			header := map[string]string{"Authorization": "Bearer " + masterKey, "Last-Event-ID": bad}
			w.send(t, "GET", sessions+"/"+id+route, nil, header).wantError(t, 400, "Last-Event-ID: ")
		}
		w.do(t, "POST", sessions+"/"+id+"/message_stream?after="+strings.ReplaceAll(strings.ReplaceAll(bad, " ", "%20"), "+", "%2B"), `{"text":"x"}`).wantError(t, 400, "after: ")
	}
	if n := w.engine.sent(); n != 0 {
		t.Errorf("%d turns were sent all the same", n)
	}
}

func TestStreamPreconditions(t *testing.T) {
	w := newWorld(t)
	w.api.Hurry(api.Timing{Ready: 50 * time.Millisecond, Poll: 5 * time.Millisecond})
	agent := w.newAgent(t)
	creating := w.do(t, "POST", agents+"/"+agent+"/session", nil).want(t, 201).get("id").String()
	w.do(t, "GET", sessions+"/"+creating+"/events", nil).wantError(t, 409, "session not ready, status=creating")
	w.do(t, "GET", sessions+"/"+creating+"/stream", nil).wantError(t, 504, "session "+creating+" not ready within 0.05s")
	w.do(t, "GET", sessions+"/"+creating+"/stream?after=x", nil).wantError(t, 400, "after: ")

	failed := w.do(t, "POST", agents+"/"+agent+"/session", nil).want(t, 201).get("id").String()
	if err := w.store.MarkFailed(t.Context(), failed, 1, "no"); err != nil {
		t.Fatal(err)
	}
	lost := w.newSession(t, agent)
	if err := w.store.MarkDead(t.Context(), lost, 1, "task disappeared", true); err != nil {
		t.Fatal(err)
	}
	for id, status := range map[string]string{failed: "failed", lost: "dead"} {
		w.do(t, "GET", sessions+"/"+id+"/events", nil).wantError(t, 409, "session not ready, status="+status)
		w.do(t, "GET", sessions+"/"+id+"/stream", nil).wantError(t, 410, "session "+id+" is "+status)
	}
}

func TestStreamWaitsForReady(t *testing.T) {
	w := newWorld(t)
	w.api.Hurry(api.Timing{Poll: time.Millisecond})
	agent := w.newAgent(t)
	creating := func() string {
		return w.do(t, "POST", agents+"/"+agent+"/session", nil).want(t, 201).get("id").String()
	}
	// The session becomes ready, or not, while the request waits or before: both must do.
	id := creating()
	var g errgroup.Group
	g.Go(func() error { return w.store.MarkReady(t.Context(), id, 1, db.Readiness{HarnessSessionID: "h"}) })
	w.listen(t, "GET", sessions+"/"+id+"/stream", "").want(`0 {"type":"stream.opened"}`)
	gone := creating()
	g.Go(func() error { return w.store.MarkFailed(t.Context(), gone, 1, "no") })
	w.do(t, "GET", sessions+"/"+gone+"/stream", nil).wantError(t, 410, "is failed")
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestStreamSignsOfLife(t *testing.T) {
	w := newWorld(t)
	w.api.Hurry(api.Timing{Ping: 5 * time.Millisecond, Touch: 5 * time.Millisecond})
	id := w.newSession(t, w.newAgent(t))
	seen := func() string { return w.do(t, "GET", sessions+"/"+id, nil).get("last_seen_at").String() }
	before := seen()
	l := w.listen(t, "GET", sessions+"/"+id+"/stream", "")
	l.want(`0 {"type":"stream.opened"}`)
	opened := seen()
	if opened <= before {
		t.Errorf("last_seen_at = %s after a stream opened, was %s", opened, before)
	}
	if line, err := l.body.ReadString('\n'); err != nil || line != ": ping\n" {
		t.Errorf("line = %q, %v, want a ping", line, err)
	}
	for deadline := time.Now().Add(patience); seen() <= opened; {
		if time.Now().After(deadline) {
			t.Fatal("an open stream does not refresh last_seen_at")
		}
	}
}

func TestStreamCeilings(t *testing.T) {
	w := newWorld(t)
	w.api.Hurry(api.Timing{Stream: 20 * time.Millisecond, Events: 20 * time.Millisecond, Turn: 20 * time.Millisecond})
	w.engine.set(func() { w.engine.manual = true })
	id := w.newSession(t, w.newAgent(t))
	w.listen(t, "GET", sessions+"/"+id+"/stream?follow=1", "").want(`0 {"type":"stream.opened"}`)
	l := w.listen(t, "GET", sessions+"/"+id+"/stream", "")
	l.want(`0 {"type":"stream.opened"}`)
	l.end()
	l = w.listen(t, "GET", sessions+"/"+id+"/events", "")
	l.want(`0 {"type":"ready"}`, `0 {"type":"error","message":"stream timeout"}`)
	l.end()
}

func TestEndStreams(t *testing.T) {
	w := newWorld(t)
	agent := w.newAgent(t)
	id := w.newSession(t, agent)
	creating := w.do(t, "POST", agents+"/"+agent+"/session", nil).want(t, 201).get("id").String()
	w.engine.set(func() { w.engine.manual = true })
	var g errgroup.Group
	w.api.Hurry(api.Timing{Begin: time.Millisecond})
	follow, events := w.listen(t, "GET", sessions+"/"+id+"/stream?follow=1", ""), w.listen(t, "GET", sessions+"/"+id+"/events", "")
	waiting := w.listen(t, "POST", sessions+"/"+id+"/message_stream", `{"text":"x"}`)
	g.Go(func() error {
		if r := w.do(t, "GET", sessions+"/"+creating+"/stream", nil); r.status != 503 {
			return fmt.Errorf("a stream that waits for its session: %d %s", r.status, r.body)
		}
		return nil
	})
	w.api.EndStreams()
	follow.want(`0 {"type":"stream.opened"}`, `0 {"type":"error","message":"event stream interrupted"}`)
	follow.end()
	events.want(`0 {"type":"ready"}`, `0 {"type":"error","message":"event stream interrupted"}`)
	events.end()
	waiting.want(`0 {"type":"error","message":"event stream interrupted"}`)
	waiting.end()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestStreamThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	w.engine.answer(nil, errors.New("secret detail"))
	for _, route := range []string{"/stream", "/events"} {
		l := w.listen(t, "GET", sessions+"/"+id+route, "")
		l.want(`0 {"type":"error","message":"harness event stream failed"}`)
		l.end()
	}
	if !strings.Contains(w.log.String(), "secret detail") {
		t.Error("the log does not say why")
	}
}

func TestHeadOfAStream(t *testing.T) {
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	for _, route := range []string{"/stream?follow=1", "/events"} {
		r := w.do(t, "HEAD", sessions+"/"+id+route, nil).want(t, 200)
		if got := r.header.Get("Content-Type"); got != "text/event-stream; charset=utf-8" {
			t.Errorf("HEAD %s: Content-Type = %q", route, got)
		}
	}
}

// TestClientThatDoesNotRead leaves its connection open without reading from it.
func TestClientThatDoesNotRead(t *testing.T) {
	w := newWorld(t)
	w.api.Hurry(api.Timing{Write: 50 * time.Millisecond})
	id := w.newSession(t, w.newAgent(t))
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "GET "+sessions+"/"+id+"/stream?follow=1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+masterKey+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	big := `{"type":"a","text":"` + strings.Repeat("x", 1<<20) + `"}`
	for deadline := time.Now().Add(patience); !strings.Contains(w.log.String(), `/stream","status":200`); {
		if time.Now().After(deadline) {
			t.Fatal("the stream of a dead client does not end")
		}
		w.engine.emit(t, id, big)
	}
}

// TestManyReaders lets clients follow one session; each must get every event once, in
// order.
func TestManyReaders(t *testing.T) {
	const readers, events = 100, 50
	w := newWorld(t)
	id := w.newSession(t, w.newAgent(t))
	var g errgroup.Group
	for n := range readers {
		l := w.listen(t, "GET", sessions+"/"+id+"/stream", "")
		l.want(`0 {"type":"stream.opened"}`)
		g.Go(func() error {
			rest, err := io.ReadAll(l.body)
			for seq := 1; seq <= events && err == nil; seq++ {
				_, after, ok := strings.Cut(string(rest), "id: "+strconv.Itoa(seq)+"\ndata: ")
				if rest = []byte(after); !ok {
					err = fmt.Errorf("reader %d misses event %d", n, seq)
				}
			}
			return err
		})
	}
	for range events - 1 {
		w.engine.emit(t, id, "a")
	}
	w.engine.emit(t, id, "session.idle")
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}
