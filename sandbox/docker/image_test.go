package docker_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
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
