package docker_test

import (
	"net/http"
	"sync"
	"testing"
)

// A pause that freezes a process which is just starting leaves the container locked in
// the engine for good.
func TestPauseWaitsForProcessesThatStart(t *testing.T) {
	e, d := newEngine(t)
	e.set(func() { e.state = "running" })
	var mu sync.Mutex
	var calls []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, what)
	}
	attached, started := make(chan struct{}), make(chan struct{})
	e.HandleFunc("POST "+api+"/containers/{id}/exec", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"Id":"exec"}`))
	})
	e.HandleFunc("POST "+api+"/exec/{id}/start", func(w http.ResponseWriter, _ *http.Request) {
		close(attached)
		<-started
		note("started")
		_ = echo(w)
	})
	e.HandleFunc("POST "+api+"/containers/{id}/pause", func(w http.ResponseWriter, _ *http.Request) {
		note("paused")
		w.WriteHeader(http.StatusNoContent)
	})
	id, err := d.Create(t.Context(), spec("one"))
	if err != nil {
		t.Fatal(err)
	}
	var work sync.WaitGroup
	work.Go(func() {
		pipe, err := d.Dial(t.Context(), id)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := pipe.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if _, err := pipe.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		_ = pipe.Close() // what is tested comes before
	})
	<-attached
	work.Go(func() {
		if err := d.Pause(t.Context(), id); err != nil {
			t.Error(err)
		}
	})
	close(started)
	work.Wait()
	if len(calls) != 2 || calls[0] != "started" {
		t.Errorf("the engine was called to %v", calls)
	}
}
