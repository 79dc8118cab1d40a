package agent_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"lap/sandbox/agent"
)

func TestTurnsRunOneAtATime(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	const clients = 12
	for range clients {
		f.play(use("bash", `{"command":"mkdir busy && echo x >> count && rmdir busy"}`), say("done"))
	}
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() { f.send(fmt.Sprint("message ", i)) })
	}
	all.Wait()
	for _, s := range f.tools() {
		if *s.Metadata.Exit != 0 {
			t.Errorf("two turns ran at once: %s", *s.Output)
		}
	}
	thread := f.thread()
	if len(thread) != 3*clients {
		t.Fatalf("%d messages, want %d", len(thread), 3*clients)
	}
	for i := 0; i < len(thread); i += 3 {
		if thread[i].Info.Role != "user" || thread[i+1].Info.ParentID != thread[i].Info.ID || thread[i+2].Info.ParentID != thread[i].Info.ID {
			t.Fatalf("turn %d is mixed up", i/3)
		}
	}
}

func TestAbortWhileModelTalks(t *testing.T) {
	t.Parallel()
	left := make(chan struct{})
	f := start(t, nil, hang("partial", left))
	stream := f.subscribe()
	reply := f.sendInBackground("go")
	stream.until(`delta "partial"`)
	begun := time.Now()
	f.do(http.MethodPost, "/session/"+f.session+"/abort", "{}", http.StatusOK, nil)
	m := <-reply
	if took := time.Since(begun); took > 500*time.Millisecond {
		t.Errorf("abort took %s", took)
	}
	if m.failure().Name != "MessageAbortedError" || m.text() != "partial" || m.Info.Time.Completed == 0 {
		t.Errorf("answer = %+v", m)
	}
	<-left // the model's connection is closed
	var got []string
	for _, e := range stream.until("session.idle") {
		got = append(got, e.String())
	}
	want := []string{`part text "partial"`, "message assistant", "session.updated", "session.error", "status idle", "session.idle"}
	if !slices.Equal(got, want) {
		t.Errorf("events = %q, want %q", got, want)
	}
	f.send("and now?")
	messages := f.requests()[1].Messages
	if len(messages) != 4 || messages[2].text() != "partial" {
		t.Errorf("the model does not know what it said: %+v", messages)
	}
}

func TestAbortKillsTheWholeTree(t *testing.T) {
	t.Parallel()
	f := start(t, nil, use("bash", `{"command":"setsid sh -c 'echo $$ > pid; echo started; exec sleep 300' & wait"}`, "bash", `{"command":"echo never"}`))
	stream := f.subscribe()
	reply := f.sendInBackground("go")
	f.waitForOutput(stream, "started")
	begun := time.Now()
	f.do(http.MethodPost, "/session/"+f.session+"/abort", "", http.StatusOK, nil)
	m := <-reply
	if took := time.Since(begun); took > time.Second {
		t.Errorf("abort took %s", took)
	} else {
		t.Logf("abort took %s", took)
	}
	if m.failure().Name != "MessageAbortedError" {
		t.Errorf("error = %+v", m.failure())
	}
	states := f.tools()
	if states[0].Status != "completed" || !strings.Contains(*states[0].Output, "User aborted the command") || !strings.HasPrefix(*states[0].Output, "started") {
		t.Errorf("first call = %+v", states[0])
	}
	if states[1].Status != "error" {
		t.Errorf("second call = %+v", states[1])
	}
	if pid := f.pid(); alive(pid) {
		t.Errorf("process %d outlived the abort", pid)
	}
	f.send("go on")
	for i, m := range f.requests()[1].Messages {
		if len(m.ToolCalls) == 2 && f.requests()[1].Messages[i+2].ToolCallID != "call_1" {
			t.Error("a call has no result")
		}
	}
}

func TestAbortEndsWaitingTurnsToo(t *testing.T) {
	t.Parallel()
	f := start(t, nil, hang("first", make(chan struct{})))
	stream := f.subscribe()
	first := f.sendInBackground("one")
	stream.until(`delta "first"`)
	// Accepted means queued: the answer comes before the turn runs.
	f.do(http.MethodPost, "/session/"+f.session+"/prompt_async", ask("two"), http.StatusNoContent, nil)
	f.do(http.MethodPost, "/session/"+f.session+"/abort", "", http.StatusOK, nil)
	<-first
	stream.until("session.idle")
	stream.until("session.idle")
	thread := f.thread()
	if len(thread) != 4 || thread[3].failure().Name != "MessageAbortedError" || len(f.requests()) != 1 {
		t.Errorf("thread = %+v", thread)
	}
}

func TestClientThatLeavesDoesNotEndTheTurn(t *testing.T) {
	t.Parallel()
	talk := make(chan struct{})
	f := start(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		chunk(w, `{"content":"half"}`, "")
		<-talk
		chunk(w, `{"content":" whole"}`, "")
		end(w, "stop")
	})
	stream := f.subscribe()
	ctx, leave := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url+"/session/"+f.session+"/message", strings.NewReader(ask("hi")))
	if err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if res, err := http.DefaultClient.Do(req); err == nil {
			res.Body.Close()
		}
	}()
	stream.until(`delta "half"`)
	var busy map[string]agent.Status
	f.do(http.MethodGet, "/session/status", "", http.StatusOK, &busy)
	if busy[f.session].Type != "busy" {
		t.Errorf("status = %v", busy)
	}
	if m := f.thread()[1]; m.text() != "half" || m.Info.Finish != "" {
		t.Errorf("answer in the middle of the turn = %+v", m)
	}
	leave()
	<-gone
	close(talk)
	stream.until("session.idle")
	if text := f.thread()[1].text(); text != "half whole" {
		t.Errorf("text = %q", text)
	}
}

func TestMessageSentTwiceRunsOnce(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	body := `{"messageID":"msg_1","model":{"modelID":"m"},"parts":[{"type":"text","text":"hi"}]}`
	var first, second message
	f.do(http.MethodPost, "/session/"+f.session+"/message", body, http.StatusOK, &first)
	f.do(http.MethodPost, "/session/"+f.session+"/message", body, http.StatusOK, &second)
	if first.Info.ID != second.Info.ID || first.Info.ParentID != "msg_1" || len(f.requests()) != 1 {
		t.Errorf("first %+v, second %+v", first.Info, second.Info)
	}
}

func TestNoReplyOnlyRemembers(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	var m message
	f.do(http.MethodPost, "/session/"+f.session+"/message",
		`{"noReply":true,"model":{"modelID":"m"},"parts":[{"type":"text","text":"before","synthetic":true,"mine":1}]}`, http.StatusOK, &m)
	if m.Info.Role != "user" || m.text() != "before" || !m.Parts[0].Synthetic || len(f.requests()) != 0 {
		t.Errorf("answer = %+v", m)
	}
	f.send("now")
	var said []string
	for _, m := range f.requests()[0].Messages[1:] {
		said = append(said, m.text())
	}
	if want := []string{"before", "now"}; !slices.Equal(said, want) {
		t.Errorf("the model got %q, want %q", said, want)
	}
}

func TestDeleteEndsTheSession(t *testing.T) {
	t.Parallel()
	left := make(chan struct{})
	f := start(t, nil, hang("talk", left))
	stream := f.subscribe()
	reply := f.sendInBackground("hi")
	stream.until(`delta "talk"`)
	f.do(http.MethodDelete, "/session/"+f.session, "", http.StatusOK, nil)
	if m := <-reply; m.failure().Name != "MessageAbortedError" {
		t.Errorf("answer = %+v", m)
	}
	<-left
	f.do(http.MethodDelete, "/session/"+f.session, "", http.StatusNotFound, nil)
	f.do(http.MethodPost, "/session/"+f.session+"/message", ask("hi"), http.StatusNotFound, nil)
}

func TestSlowReaderIsDropped(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	slow, quick := f.subscribe(), f.subscribe()
	body := `{"noReply":true,"model":{"modelID":"m"},"parts":[{"type":"text","text":"` + strings.Repeat("x", 1<<20) + `"}]}`
	for range 5 { // the queue takes 2 MiB and one frame, the kernel little
		f.do(http.MethodPost, "/session/"+f.session+"/message", body, http.StatusOK, nil)
		quick.until("session.updated")
	}
	if n, err := io.Copy(io.Discard, slow.r); n > 5<<20 {
		t.Errorf("the slow reader got %d bytes, then %v", n, err)
	}
}

// One frame may be larger than the queue: whoever reads on is not slow.
func TestBigMessageDropsNobody(t *testing.T) {
	t.Parallel()
	f := start(t, nil)
	stream := f.subscribe()
	f.send(strings.Repeat("x", 5<<19))
	stream.until("session.idle")
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	var pid int
	t.Run("work", func(t *testing.T) {
		f := start(t, nil, use("bash", `{"command":"(sleep 300 & echo $! > pid); echo started; sleep 300"}`))
		other := f.open(`{}`)
		f.play(hang("talk", make(chan struct{})))
		stream := f.subscribe()
		reply := f.sendInBackground("go")
		f.waitForOutput(stream, "started")
		f.do(http.MethodPost, "/session/"+other+"/prompt_async", ask("hi"), http.StatusNoContent, nil)
		stream.until(`delta "talk"`)
		f.agent.Close()
		<-reply
		pid = f.pid()
		f.do(http.MethodPost, "/session/"+f.session+"/message", ask("late"), http.StatusNotFound, nil)
	})
	if alive(pid) {
		t.Errorf("process %d outlived Close", pid)
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

func TestBashShowsOutputWhileItRuns(t *testing.T) {
	t.Parallel()
	f := start(t, nil, use("bash", `{"command":"echo first; while [ ! -e go ]; do sleep 0.01; done; echo second","description":"Say two things"}`))
	stream := f.subscribe()
	reply := f.sendInBackground("go")
	f.waitForOutput(stream, "first\n")
	f.write("go", "")
	<-reply
	s := f.tools()[0]
	if *s.Output != "first\nsecond\n" || s.Title != "Say two things" {
		t.Errorf("state = %+v", s)
	}
}

func (f *fixture) sendInBackground(text string) <-chan message {
	done := make(chan message, 1)
	body := ask(text)
	go func() {
		var m message
		defer func() { done <- m }()
		f.do(http.MethodPost, "/session/"+f.session+"/message", body, http.StatusOK, &m)
	}()
	return done
}

// waitForOutput reads events until the running command has shown text.
func (f *fixture) waitForOutput(stream *events, text string) {
	f.t.Helper()
	for {
		e := stream.next()
		if s := e.Properties.Part.State; s != nil && s.Status == "running" && s.Metadata != nil && strings.Contains(*s.Metadata.Output, text) {
			return
		}
	}
}

// pid is what a command wrote to the file pid.
func (f *fixture) pid() int {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(f.dir, "pid"))
	if err != nil {
		f.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		f.t.Fatal(err)
	}
	return pid
}

// alive reports whether a process runs; one that only waits for its parent does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}
