package docker_test

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"lap/sandbox"
)

func TestPullWithoutItsCredentialHelper(t *testing.T) {
	e, d := newEngine(t)
	write(t, filepath.Join(configDir(t), "config.json"), `{"credsStore":"not-installed"}`)
	answer := `{"status":"Pull complete","id":"a"}`
	e.HandleFunc("GET "+api+"/images/{name}/json", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, "no such image")
	})
	e.HandleFunc("POST "+api+"/images/create", func(w http.ResponseWriter, r *http.Request) {
		if auth := r.Header.Get("X-Registry-Auth"); auth != "" {
			t.Errorf("credentials %q", auth)
		}
		_, _ = w.Write([]byte(answer))
	})
	if err := d.Ensure(t.Context(), "debian", func(string) {}); err != nil {
		t.Error(err)
	}
	answer = `{"error":"denied","errorDetail":{"message":"denied"}}`
	err := d.Ensure(t.Context(), "debian", func(string) {})
	if err == nil || !strings.Contains(err.Error(), "denied") || !strings.Contains(err.Error(), "docker-credential-not-installed") {
		t.Errorf("error = %v", err)
	}
}

func TestImage(t *testing.T) {
	e, d := newEngine(t)
	e.HandleFunc("GET "+api+"/images/{name}/json", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("name") != "here" {
			refuse(w, http.StatusNotFound, "no such image")
			return
		}
		_, _ = w.Write([]byte(`{"Id":"sha256:1","Size":5}`))
	})
	if got, err := d.Image(t.Context(), "here"); err != nil || got != (sandbox.Image{ID: "sha256:1", Size: 5}) {
		t.Errorf("image %v, error %v", got, err)
	}
	if _, err := d.Image(t.Context(), "there"); !errors.Is(err, sandbox.ErrNoImage) || !strings.Contains(err.Error(), "there") {
		t.Errorf("error = %v", err)
	}
}
