//go:build linux

package guest_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"lap/sandbox"
	"lap/sandbox/guest"
)

// fakeHarness is a harness that says what it is told to.
type fakeHarness struct {
	streams chan chan string                             // each event stream's frames; closing one ends it
	answer  func(w http.ResponseWriter, r *http.Request) // to a message
	closing chan struct{}
}

func newFakeHarness(answer http.HandlerFunc) *fakeHarness {
	return &fakeHarness{streams: make(chan chan string, 8), answer: answer, closing: make(chan struct{})}
}

func (h *fakeHarness) Close() { close(h.closing) }

func (h *fakeHarness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/event" {
		h.answer(w, r)
		return
	}
	frames := make(chan string)
	fmt.Fprint(w, "data: {\"type\":\"server.connected\",\"properties\":{}}\n\n")
	w.(http.Flusher).Flush()
	h.streams <- frames
	for {
		select {
		case text, open := <-frames:
			if !open {
				return
			}
			fmt.Fprintf(w, "data: %s\n\n", text)
			w.(http.Flusher).Flush()
		case <-h.closing:
			return
		case <-r.Context().Done():
			return
		}
	}
}

// fixture is a guest with a client.
type fixture struct {
	t      *testing.T
	dir    string
	url    string
	guest  guest.TestGuest
	stderr *lockedBuffer
	id     string // of the guest, once it is booted
}

// start makes a guest. A nil harness is the built-in one.
func start(t *testing.T, harness guest.Program) *fixture {
	t.Helper()
	return startAt(t, t.TempDir(), harness)
}

// startAt makes a guest over an existing file system.
func startAt(t *testing.T, dir string, harness guest.Program) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: dir, stderr: &lockedBuffer{}}
	var program func() guest.Program
	if harness != nil {
		program = func() guest.Program { return harness }
	}
	f.guest = guest.NewTest(dir, f.stderr, program)
	server := httptest.NewServer(f.guest)
	t.Cleanup(func() {
		server.CloseClientConnections()
		f.guest.Close()
		server.Close()
	})
	f.url = server.URL
	return f
}

// do makes a request and returns its answer's body, which the test must read.
func (f *fixture) do(ctx context.Context, method, path string, body io.Reader, header ...string) *http.Response {
	f.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, f.url+path, body)
	if err != nil {
		f.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { res.Body.Close() })
	return res
}

// send makes a request, checks its status and returns the body of the answer.
func (f *fixture) send(method, path, body string, want int, header ...string) string {
	f.t.Helper()
	res := f.do(f.t.Context(), method, path, strings.NewReader(body), header...)
	text, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	if res.StatusCode != want {
		f.t.Fatalf("%s %s = %d, want %d: %.300s", method, path, res.StatusCode, want, text)
	}
	return string(text)
}

func (f *fixture) newBoot() sandbox.Boot {
	return sandbox.Boot{
		Session: "session-1", Agent: "agent-1", Harness: sandbox.HarnessLap,
		Env: map[string]string{"HOME": f.dir + "/home", "SECRET": "s3cret"},
		Files: []sandbox.File{
			{Path: "notes/a.txt", Content: []byte("a\n")},
			{Path: f.dir + "/abs/run", Content: []byte("b\n"), Mode: 0o755},
		},
	}
}

// boot boots the guest and returns the events of the answer.
func (f *fixture) boot(b sandbox.Boot) []sandbox.BootEvent {
	f.t.Helper()
	text, err := json.Marshal(b)
	if err != nil {
		f.t.Fatal(err)
	}
	var all []sandbox.BootEvent
	for line := range strings.Lines(f.send(http.MethodPost, "/boot", string(text), http.StatusOK)) {
		var ev sandbox.BootEvent
		if err := json.Unmarshal([]byte(line), &ev); err != nil {
			f.t.Fatalf("%v: %s", err, line)
		}
		all = append(all, ev)
	}
	f.id = all[len(all)-1].Guest
	return all
}

// booted is start and boot.
func booted(t *testing.T, harness guest.Program) *fixture {
	t.Helper()
	f := start(t, harness)
	if events := f.boot(f.newBoot()); !events[len(events)-1].Done {
		t.Fatalf("boot: %+v", events)
	}
	return f
}

// journal is a reader of the journal.
type journal struct {
	t    *testing.T
	r    *bufio.Reader
	last int64
}

func (f *fixture) journal(after int64) *journal {
	f.t.Helper()
	res := f.do(f.t.Context(), http.MethodGet, fmt.Sprintf("/journal?guest=%s&after=%d", f.id, after), nil)
	if res.StatusCode != http.StatusOK {
		f.t.Fatalf("journal = %s", res.Status)
	}
	return &journal{f.t, bufio.NewReader(res.Body), after}
}

// next reads the next entry that is no log.
func (j *journal) next() sandbox.Entry {
	j.t.Helper()
	for {
		line, err := j.r.ReadBytes('\n')
		if err != nil {
			j.t.Fatalf("journal: %v", err)
		}
		var e sandbox.Entry
		if err := json.Unmarshal(line, &e); err != nil {
			j.t.Fatalf("%v: %s", err, line)
		}
		if e.N != j.last+int64(max(1, e.Lost)) {
			j.t.Fatalf("entry %d (lost %d) follows %d", e.N, e.Lost, j.last)
		}
		j.last = e.N
		if e.Log == "" {
			return e
		}
	}
}

// until reads entries up to the first that is want in short.
func (j *journal) until(want string) []string {
	j.t.Helper()
	var list []string
	for {
		list = append(list, j.short())
		if list[len(list)-1] == want {
			return list
		}
	}
}

// short reads the next entry and returns it in short.
func (j *journal) short() string {
	j.t.Helper()
	e := j.next()
	switch {
	case e.Turn != nil:
		return fmt.Sprintf("result %s %d %s%s", e.Turn.ID, e.Turn.Status, e.Turn.Body, e.Turn.Error)
	case e.Lost > 0:
		return fmt.Sprint("lost ", e.Lost)
	}
	var ev struct{ Type string }
	if err := json.Unmarshal(e.Event, &ev); err != nil {
		j.t.Fatal(err)
	}
	return ev.Type
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
