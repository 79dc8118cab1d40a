//go:build linux

package guest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"lap/sandbox"
	"lap/sandbox/agent"
)

func (f *fixture) turn(id, path, body string) {
	f.t.Helper()
	f.send(http.MethodPost, "/turns", fmt.Sprintf(`{"id":%q,"path":%q,"body":%s}`, id, path, body), http.StatusAccepted)
}

func TestTurnRunsOnce(t *testing.T) {
	t.Parallel()
	release, calls := make(chan struct{}), make(chan string, 8)
	h := newFakeHarness(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls <- r.Method + " " + r.URL.String() + " " + string(body)
		<-release
		fmt.Fprint(w, "{\"x\":\n1}")
	})
	f := booted(t, h)
	frames := <-h.streams
	f.turn("t1", "/session/s1/message?x=1", `{"a": 1}`)
	f.turn("t1", "/session/s1/message?x=1", `{"a": 1}`)
	if got, want := <-calls, `POST /session/s1/message?x=1 {"a": 1}`; got != want {
		t.Errorf("harness got %q, want %q", got, want)
	}
	frames <- `{"type":"session.idle","properties":{"sessionID":"s1"}}`
	frames <- `{"type":"x"}`
	close(release)
	j := f.journal(0)
	if got, want := j.until("x"), []string{`result t1 200 {"x":1}`, "session.idle", "x"}; !slices.Equal(got, want) {
		t.Errorf("journal = %q, want %q", got, want)
	}
	f.turn("t1", "/session/s1/message", `{}`)
	f.turn("t2", "/session/s1/message", `{}`)
	if got := j.short(); got != `result t2 200 {"x":1}` || len(calls) != 1 {
		t.Errorf("journal = %q", got)
	}
}

func TestTurnsThatAreRefused(t *testing.T) {
	t.Parallel()
	f := booted(t, newFakeHarness(func(http.ResponseWriter, *http.Request) { t.Error("the harness was asked") }))
	for _, path := range []string{
		"", "/", "/session", "/session/", "/event", "session/s/message", "/session/../event", "/session/s/./message", "/session/s//message",
		"/session/%2e%2e/event", "/session/a%2f..%2fb", "//session/s/message", "http://x/session/s/message", "/session/s/message#x", "/session/%zz",
	} {
		body, _ := json.Marshal(sandbox.Turn{ID: "t", Path: path, Body: json.RawMessage("{}")})
		f.send(http.MethodPost, "/turns", string(body), http.StatusBadRequest)
	}
	for _, body := range []string{"", "{", `{"path":"/session/s/message"}`, `{"id":"` + strings.Repeat("x", 300) + `","path":"/session/s/message"}`} {
		f.send(http.MethodPost, "/turns", body, http.StatusBadRequest)
	}
}

func TestTurnWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	f := booted(t, newFakeHarness(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/session/none/message":
			panic(http.ErrAbortHandler)
		case "/session/half/message":
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "half")
		case "/session/text/message":
			http.Error(w, "no <luck>", http.StatusTeapot)
		case "/session/large/message":
			piece := make([]byte, 1<<20)
			for range 65 {
				_, _ = w.Write(piece)
			}
		}
	}))
	j := f.journal(0)
	for session, want := range map[string]string{
		"none":  "result none 0 the harness gave no answer: EOF",
		"half":  "result half 0 the harness's answer broke off: unexpected EOF",
		"text":  `result text 418 "no <luck>\n"`,
		"large": "result large 200 the harness's answer is larger than 64 MiB",
		"empty": "result empty 200 ",
	} {
		f.turn(session, "/session/"+session+"/message", "{}")
		if got := j.short(); got != want {
			t.Errorf("journal = %q, want %q", got, want)
		}
	}
}

// lateReader is a body that tells when it is read.
type lateReader struct {
	io.Reader
	read chan struct{}
}

func (r *lateReader) Read(p []byte) (int, error) {
	select {
	case <-r.read:
	default:
		close(r.read)
	}
	return r.Reader.Read(p)
}

func TestTurnIsNotSentToAGuestThatIsNotBooted(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	body := &lateReader{strings.NewReader(`{}`), make(chan struct{})}
	res := f.do(t.Context(), http.MethodPost, "/turns", body, "Expect", "100-continue")
	select {
	case <-body.read:
		t.Error("the body was sent")
	default:
	}
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("status = %s", res.Status)
	}
}

func TestTailMarksWhereEventsMayBeMissing(t *testing.T) {
	t.Parallel()
	h := newFakeHarness(nil)
	f := booted(t, h)
	first := <-h.streams
	first <- `{"type":"server.heartbeat"}`
	first <- `no event`
	first <- `{"type":"one"}`
	close(first)
	second := <-h.streams
	second <- `{"type":"two"}`
	if got, want := f.journal(0).until("two"), []string{"one", "lost 1", "two"}; !slices.Equal(got, want) {
		t.Errorf("journal = %q, want %q", got, want)
	}
	if got := f.stderr.String(); !strings.Contains(got, "frames of the harness dropped") || !strings.Contains(got, "broke off") {
		t.Errorf("log = %s", got)
	}
}

func TestJournalReaders(t *testing.T) {
	t.Parallel()
	h := newFakeHarness(nil)
	f := booted(t, h)
	frames := <-h.streams
	for _, kind := range []string{"a", "b", "c"} {
		frames <- `{"type":"` + kind + `"}`
	}
	first := f.journal(0)
	first.until("c")
	second := f.journal(first.last)
	if _, err := first.r.ReadByte(); err == nil {
		t.Error("the first reader is still served")
	}
	frames <- `{"type":"d"}`
	if got := second.short(); got != "d" {
		t.Errorf("journal = %q", got)
	}
	f.send(http.MethodPost, fmt.Sprint("/journal?through=", second.last), "", http.StatusNoContent)
	if third := f.journal(0); third.next().Lost != int(second.last) {
		t.Error("what was forgotten is not lost")
	}
	for path, want := range map[string]int{
		"/journal?guest=x&after=0": http.StatusGone, "/journal?after=0": http.StatusGone,
		"/journal?guest=" + f.id + "&after=99": http.StatusGone, "/journal?guest=" + f.id + "&after=x": http.StatusBadRequest,
	} {
		f.send(http.MethodGet, path, "", want)
	}
	f.send(http.MethodPost, "/journal?through=99", "", http.StatusBadRequest)
}

// gateway answers every model call with a text.
func gateway(t *testing.T, text string) http.Handler {
	t.Helper()
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, word := range strings.SplitAfter(text, " ") {
			fmt.Fprintf(w, `data: {"choices":[{"index":0,"delta":{"content":%q}}]}`+"\n\n", word)
		}
		fmt.Fprint(w, `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
	})
}

func TestTurnOfTheBuiltInAgent(t *testing.T) {
	t.Parallel()
	model := httptest.NewServer(gateway(t, "hello there all"))
	t.Cleanup(model.Close)
	f := booted(t, agent.New(agent.Config{GatewayURL: model.URL, Dir: t.TempDir(), Home: t.TempDir(), Scratch: t.TempDir()}))
	j := f.journal(0)
	var s agent.Session
	if err := json.Unmarshal([]byte(f.send(http.MethodPost, "/harness/session", "{}", http.StatusOK)), &s); err != nil {
		t.Fatal(err)
	}
	if got := j.short(); got != "session.created" {
		t.Errorf("first event = %s", got)
	}
	for i := range 20 {
		id := fmt.Sprint("t", i)
		f.turn(id, "/session/"+s.ID+"/message", `{"model":{"modelID":"m"},"parts":[{"type":"text","text":"hi"}]}`)
		got := j.until("session.idle")
		if !slices.ContainsFunc(got, func(e string) bool {
			return strings.HasPrefix(e, "result "+id+" 200 {") && strings.Contains(e, `"finish":"stop"`)
		}) {
			t.Fatalf("no result of %s before session.idle: %.500q", id, got)
		}
		if !slices.Contains(got, "message.part.delta") {
			t.Errorf("events = %.500q", got)
		}
	}
}
