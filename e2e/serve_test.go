package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s := serve(t, options{dir: dir, env: []string{"MASTER_KEY="}})
	want := map[string]os.FileMode{".": os.ModeDir | 0o700, "lap.db": 0o600, "lap.db-wal": 0o600, "lap.db-shm": 0o600, "master.key": 0o600, "secret.key": 0o600, "lock": 0o600}
	for name, mode := range want {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		} else if info.Mode() != mode {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), mode)
		}
	}
	key, err := os.ReadFile(filepath.Join(dir, "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	talk := s.talk.String()
	if !strings.Contains(talk, filepath.Join(dir, "master.key")) || strings.Contains(talk, strings.TrimSpace(string(key))) {
		t.Errorf("the start-up text must say where the key is, and not the key:\n%s", talk)
	}
	if got := status(t, s.url+"/api/v1/managed_agents/agents", "Bearer "+strings.TrimSpace(string(key))); got != 200 {
		t.Errorf("the kept key gets %d", got)
	}
	s.stop(t, syscall.SIGTERM)
	again := serve(t, options{dir: dir, env: []string{"MASTER_KEY="}})
	if got := status(t, again.url+"/api/v1/managed_agents/agents", "Bearer "+strings.TrimSpace(string(key))); got != 200 {
		t.Errorf("after a restart the kept key gets %d", got)
	}
}

func TestSecondServerIsRefused(t *testing.T) {
	first := serve(t, options{})
	second, err := tryServe(t, options{dir: first.dir})
	if err == nil {
		t.Fatal("a second server runs on the same data directory")
	}
	if talk := second.talk.String(); !strings.Contains(talk, "already using "+first.dir) || !strings.Contains(talk, itoa(first.process.Pid())) {
		t.Errorf("it said:\n%s", talk)
	}
}

func TestRefusedToStart(t *testing.T) {
	for name, tt := range map[string]struct {
		o    options
		want string
	}{
		"short key":            {options{env: []string{"MASTER_KEY=seven77"}}, "MASTER_KEY: needs at least 8"},
		"key too short public": {options{env: []string{"MASTER_KEY=fifteen-chars.."}, args: []string{"--listen", "0.0.0.0:0"}}, "fewer than 16"},
		"bad encryption key":   {options{env: []string{"ENCRYPTION_KEY=abc"}}, "ENCRYPTION_KEY: needs base64"},
		"unknown flag":         {options{args: []string{"--port", "1"}}, "unknown flag: --port"},
		"argument":             {options{args: []string{"now"}}, "unknown command"},
		"foreign directory":    {options{dir: ".."}, "not lap's"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.o.dir == "" {
				tt.o.dir = t.TempDir()
			}
			s, err := tryServe(t, tt.o)
			if err == nil || !strings.Contains(s.talk.String(), tt.want) {
				t.Errorf("error %v, said %q, want %q", err, s.talk, tt.want)
			}
		})
	}
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	s := serve(t, options{})
	s.stop(t, syscall.SIGTERM)
	path := filepath.Join(s.dir, "lap.db")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[60], b[61], b[62], b[63] = 0, 0, 255, 255 // user_version, in the file's header
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if again, err := tryServe(t, options{dir: s.dir}); err == nil || !strings.Contains(again.talk.String(), "newer lap") {
		t.Errorf("error %v, said %q", err, again.talk)
	}
}

func TestForeignBrowsersAreRefused(t *testing.T) {
	s := serve(t, options{env: []string{"LAP_ALLOWED_HOSTS=lap.example.com"}})
	for _, tt := range []struct {
		host, origin string
		want         int
	}{
		{"", "", 200},
		{"localhost:3000", "", 200},
		{"lap.example.com", "", 200},
		{"evil.example.com", "", 403},
		{"evil.example.com:3000", "", 403},
		{"", "https://evil.example.com", 403},
		{"", "null", 403},
		{"", s.url, 200},
		{"", "https://lap.example.com", 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = tt.host
		if tt.origin != "" {
			req.Header.Set("Origin", tt.origin)
		}
		if got := do(t, req).status; got != tt.want {
			t.Errorf("Host %q, Origin %q: %d, want %d", tt.host, tt.origin, got, tt.want)
		}
	}
}

func TestStopDrains(t *testing.T) {
	s := serve(t, options{})
	if got := status(t, s.url+"/healthz", ""); got != 200 {
		t.Fatalf("healthz = %d", got)
	}
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/api/v1/skills", r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+masterKey)
	req.Header.Set("Expect", "100-continue") // the body is asked for by the running handler
	patient := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
	answered := make(chan int, 1)
	go func() {
		res, err := patient.Do(req)
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		res.Body.Close()
		answered <- res.StatusCode
	}()
	if _, err := io.WriteString(w, `{"name":"n",`); err != nil { // the request runs now
		t.Fatal(err)
	}
	if err := s.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server takes no new requests", func() bool {
		_, err := (&http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Get(s.url + "/healthz")
		return err != nil
	})
	if _, err := io.WriteString(w, `"content":"c"}`); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-answered; got != 201 {
		t.Errorf("the running request got %d, want 201", got)
	}
	if err := s.process.Wait(); err != nil {
		t.Errorf("the server ended with %v\n%s", err, s.talk)
	}
}

// status gets a URL and returns the status.
func status(t *testing.T, url, authorization string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", authorization)
	return do(t, req).status
}
