package docker_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"lap/sandbox"
	"lap/sandbox/docker"
)

func TestEngineThatHangs(t *testing.T) {
	e, d := newEngine(t)
	_, gone := e.hang("/_ping")
	docker.SetCallTimeout(d, 20*time.Millisecond)
	errs := make(chan error)
	calls := []func() error{
		func() error { _, err := d.Ping(t.Context()); return err },
		func() error { _, err := d.Build(t.Context()); return err },
		func() error { _, err := d.Image(t.Context(), "i"); return err },
		func() error { _, err := d.Inspect(t.Context(), "c"); return err },
		func() error { return d.Pause(t.Context(), "c") },
		func() error { return d.Unpause(t.Context(), "c") },
		func() error { _, err := d.List(t.Context()); return err },
		func() error { return d.Ensure(t.Context(), "i", func(string) {}) },
		func() error { _, err := d.Create(t.Context(), spec("s")); return err },
		func() error { return d.Remove(t.Context(), "c") },
		func() error { return d.Sweep(t.Context()) },
	}
	for _, call := range calls {
		go func() { errs <- call() }()
	}
	for range calls {
		if err := <-errs; !errors.Is(err, sandbox.ErrUnavailable) || !strings.Contains(err.Error(), "not answered within") {
			t.Errorf("error = %v", err)
		}
	}
	<-gone
}

func TestCallThatWaitsForAnotherIsGivenUp(t *testing.T) {
	e, d := newEngine(t)
	asked, _ := e.hang("/_ping")
	first, cancelFirst := context.WithCancel(t.Context())
	errs := make(chan error)
	go func() { errs <- d.Remove(first, "c") }() // does not end with first
	<-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancelFirst()
	cancel()
	if _, err := d.List(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	e.wake()
	if err := <-errs; err != nil {
		t.Error(err)
	}
}

func TestGivenUpCreateLeavesNothing(t *testing.T) {
	e, d := newEngine(t)
	if _, err := d.Create(t.Context(), spec("first")); err != nil { // makes the guest
		t.Fatal(err)
	}
	asked, answer := make(chan struct{}), make(chan struct{})
	e.HandleFunc("POST "+api+"/containers/create", func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-answer
		e.set(func() { e.create(w, r) })
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := d.Create(ctx, spec("late")); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	close(answer)
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if left := e.left(); len(left) != 1 || left[0] != "lap-first-1" {
		t.Errorf("left: %v", left)
	}
}

func TestCreateAfterItsContext(t *testing.T) {
	e, d := newEngine(t)
	ctx, cancel := context.WithCancel(t.Context())
	e.HandleFunc("POST "+api+"/volumes/create", func(http.ResponseWriter, *http.Request) { cancel() })
	if _, err := d.Create(ctx, spec("s")); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v", err)
	}
	if left := e.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestCreateFromAnEngineThatGoesAway(t *testing.T) {
	e, d := newEngine(t)
	if _, err := d.Create(t.Context(), spec("first")); err != nil {
		t.Fatal(err)
	}
	cut := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	e.HandleFunc("POST "+api+"/containers/create", cut)
	e.HandleFunc("DELETE "+api+"/containers/{id}", cut)
	_, err := d.Create(t.Context(), spec("s"))
	if !errors.Is(err, sandbox.ErrUnavailable) || strings.Count(err.Error(), "start Docker") != 1 || strings.Contains(err.Error(), "\n") {
		t.Errorf("error = %v", err)
	}
}

func TestCreateKeepsAnothersContainerOfTheName(t *testing.T) {
	e, d := newEngine(t)
	e.containers["lap-s-1"] = map[string]string{"dev.lap.owner": "you"}
	_, err := d.Create(t.Context(), spec("s"))
	if err == nil || errors.Is(err, sandbox.ErrGone) || !strings.Contains(err.Error(), "docker rm -f lap-s-1") {
		t.Errorf("error = %v", err)
	}
	if e.containers["lap-s-1"]["dev.lap.owner"] != "you" {
		t.Errorf("left: %v", e.containers)
	}
}

func TestCreateReplacesWhatACrashLeft(t *testing.T) {
	e, d := newEngine(t)
	e.containers["lap-s-1"] = map[string]string{"dev.lap.owner": "me", "left": "by a crash"}
	if _, err := d.Create(t.Context(), spec("s")); err != nil {
		t.Fatal(err)
	}
	if c := e.containers["lap-s-1"]; c == nil || c["left"] != "" {
		t.Errorf("left: %v", e.containers)
	}
}

func TestCreateGivesUpOnANameThatStaysTaken(t *testing.T) {
	e, d := newEngine(t)
	if _, err := d.Create(t.Context(), spec("s")); err != nil {
		t.Fatal(err)
	}
	tries := 0
	e.HandleFunc("POST "+api+"/containers/create", func(w http.ResponseWriter, _ *http.Request) {
		tries++
		refuse(w, http.StatusConflict, "in use")
	})
	if _, err := d.Create(t.Context(), spec("s")); err == nil || tries != 2 {
		t.Errorf("error %v after %d tries", err, tries)
	}
}
