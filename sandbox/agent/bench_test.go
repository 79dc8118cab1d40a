package agent_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"lap/sandbox/agent"
)

// BenchmarkTurn is one message and its answer, without tools, over HTTP on both sides.
// A watched turn has a client on the event stream, as the server is.
func BenchmarkTurn(b *testing.B) {
	for _, watched := range []bool{false, true} {
		b.Run(fmt.Sprint("watched=", watched), func(b *testing.B) { runTurns(b, watched) })
	}
}

func runTurns(b *testing.B, watched bool) {
	b.Helper()
	script := httptest.NewRecorder()
	say("hello there")(script, nil)
	answer := script.Body.Bytes()
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write(answer)
	}))
	b.Cleanup(gateway.Close)
	a := agent.New(agent.Config{GatewayURL: gateway.URL + "/v1", Dir: b.TempDir(), Home: b.TempDir(), Scratch: b.TempDir()})
	server := httptest.NewServer(a)
	b.Cleanup(func() { a.Close(); server.Close() })
	if watched {
		watch(b, server.URL)
	}
	body := ask("hi")
	b.ReportAllocs()
	for b.Loop() {
		session := openSession(b, a) // a new one each time, so that all turns are equal
		res, err := http.Post(server.URL+"/session/"+session+"/message", "application/json", strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || !strings.Contains(string(text), `"finish":"stop"`) {
			b.Fatalf("%s, %v", text, err)
		}
		a.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodDelete, "/session/"+session, nil))
	}
}

// watch reads events until the benchmark ends.
func watch(b *testing.B, url string) {
	b.Helper()
	res, err := http.Get(url + "/event")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, res.Body)
	}()
	b.Cleanup(func() { res.Body.Close(); <-done })
}

func openSession(b *testing.B, a *agent.Agent) string {
	b.Helper()
	w := httptest.NewRecorder()
	a.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/session", nil))
	var s agent.Session
	if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil {
		b.Fatal(fmt.Errorf("%s: %w", w.Body, err))
	}
	return s.ID
}
