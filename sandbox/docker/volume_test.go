package docker_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"
)

func TestGuestIsCopiedUntilItIsWhole(t *testing.T) {
	tests := []struct {
		name   string
		size   int64
		copies int
	}{
		{"no file", 0, 1},
		{"part of the file", guestSize - 1, 1},
		{"whole file", guestSize, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, d := newEngine(t)
			e.size = tt.size
			for _, session := range []string{"one", "two"} {
				if _, err := d.Create(t.Context(), spec(session)); err != nil {
					t.Fatal(err)
				}
			}
			copies, size := e.copied()
			if left := e.left(); len(left) != 2 || copies != tt.copies || size != guestSize {
				t.Errorf("%d copies, size %d, containers %v", copies, size, left)
			}
		})
	}
}

func TestGuestIsMadeAgain(t *testing.T) {
	e, d := newEngine(t)
	e.HandleFunc("POST "+api+"/containers/{id}/attach", func(w http.ResponseWriter, _ *http.Request) { _ = echo(w) })
	e.HandleFunc("POST "+api+"/containers/{id}/start", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusBadRequest, "/.lap/lap: no such file")
	})
	create := func(session string, copies int) {
		t.Helper()
		if _, err := d.Create(t.Context(), spec(session)); err != nil {
			t.Fatal(err)
		}
		if got, _ := e.copied(); got != copies {
			t.Errorf("%d copies, want %d", got, copies)
		}
	}
	create("one", 1)
	e.set(func() { e.volume, e.size = false, 0 })
	create("two", 2)
	e.set(func() { e.size = 0 }) // removed after the look, and made anew by the engine
	create("three", 2)
	if _, err := d.Start(t.Context(), "lap-three-1"); err == nil {
		t.Error("a sandbox without lap starts")
	}
	create("four", 3)
}

func TestWaitForTheGuestIsGivenUp(t *testing.T) {
	e, d := newEngine(t)
	copying, _ := e.hang("PUT " + api + "/containers/{id}/archive")
	asked := make(chan struct{}, 1)
	first, giveUp := context.WithCancel(t.Context())
	errs := make(chan error)
	go func() { _, err := d.Create(first, spec("first")); errs <- err }()
	<-copying
	e.HandleFunc("GET "+api+"/info", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"Architecture":"x86_64","NCPU":2}`))
		asked <- struct{}{}
	})
	second, cancel := context.WithCancel(t.Context())
	go func() { _, err := d.Create(second, spec("second")); errs <- err }()
	<-asked
	cancel()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("the wait: %v", err)
	}
	giveUp()
	if err := <-errs; !errors.Is(err, context.Canceled) {
		t.Errorf("the copy: %v", err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if left := e.left(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestBuildIsTheVolumeOfEverySandbox(t *testing.T) {
	e, d := newEngine(t)
	before, err := d.Build(t.Context())
	if err != nil || e.volume {
		t.Fatalf("build %q, error %v, volume made %v", before, err, e.volume)
	}
	var made string
	e.HandleFunc("POST "+api+"/volumes/create", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Name string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		made = in.Name
		_, _ = w.Write([]byte("{}"))
	})
	if _, err := d.Create(t.Context(), spec("s")); err != nil {
		t.Fatal(err)
	}
	e.HandleFunc("GET "+api+"/info", func(w http.ResponseWriter, _ *http.Request) { refuse(w, http.StatusInternalServerError, "asked again") })
	if after, err := d.Build(t.Context()); err != nil || after != before || made != before {
		t.Errorf("build %q, then %q with volume %q, error %v", before, after, made, err)
	}
}

func TestSweepRemovesHelpersOfAnEarlierProcess(t *testing.T) {
	e, d := newEngine(t)
	const one, helper = `{"Id":"one","Names":["/lap-one-1"],"Labels":{"dev.lap.owner":"me","dev.lap.session":"one"}}`, `{"Id":"helper","Names":["/lap-guest-EARLIER-1"],"Labels":{"dev.lap.owner":"me"}}`
	e.HandleFunc("GET "+api+"/containers/json", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "["+one+","+helper+"]")
	})
	e.HandleFunc("GET "+api+"/volumes", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{}`) })
	var removed []string
	e.HandleFunc("DELETE "+api+"/containers/{id}", func(_ http.ResponseWriter, r *http.Request) { removed = append(removed, r.PathValue("id")) })
	if err := d.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(removed) != 1 || removed[0] != "helper" {
		t.Errorf("removed %v, want the helper alone", removed)
	}
}
