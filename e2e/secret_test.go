package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"

	"lap/client"
)

// upstream is a model gateway on loopback that keeps what it was sent.
func upstream(t *testing.T) (url string, seen func() []string) {
	t.Helper()
	requests := make(chan string, 100)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.Method == http.MethodGet { // what models cost is not known to this gateway
			http.NotFound(w, r)
			return
		}
		requests <- r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization") + "\n" + string(body)
		w.Header().Set("Content-Type", "text/event-stream")
		for _, frame := range []string{
			`{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"from "},"finish_reason":null}]}`,
			`{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"upstream"},"finish_reason":"stop"}]}`,
			`[DONE]`,
		} {
			if _, err := io.WriteString(w, "data: "+frame+"\n\n"); err != nil {
				t.Error(err)
			}
		}
	}))
	t.Cleanup(srv.Close)
	return srv.URL, func() []string {
		var all []string
		for {
			select {
			case r := <-requests:
				all = append(all, r)
			default:
				return all
			}
		}
	}
}

func TestGatewayAddsTheRealKey(t *testing.T) { onEach(t, testGatewayAddsTheRealKey) }

func testGatewayAddsTheRealKey(t *testing.T, on runtime) {
	url, seen := upstream(t)
	s := on.serve(t, options{env: []string{"LITELLM_API_BASE=" + url + "/v1/", "LITELLM_API_KEY=" + gatewayKey}})
	agent := s.agent(t, client.NewAgent{Model: "vendor/some-model", Prompt: promptText})
	sess := s.session(t, agent.ID, client.NewSession{})
	reply, err := s.Send(t.Context(), sess.ID, "hello")
	if err != nil {
		t.Fatal(err)
	}
	if reply.Text() != "from upstream" {
		t.Errorf("reply = %q, error %s", reply.Text(), reply.Info.Error)
	}
	requests := seen()
	if len(requests) != 1 || !strings.HasPrefix(requests[0], "POST /v1/chat/completions Bearer "+gatewayKey+"\n") {
		t.Fatalf("upstream got %q", requests)
	}
	for _, want := range []string{`"model":"vendor/some-model"`, promptText, sess.ID, agent.ID, "=== AGENT MEMORY ==="} {
		if !strings.Contains(requests[0], want) {
			t.Errorf("the model was not told %q", want)
		}
	}
}

func TestSecretsStayOutOfSight(t *testing.T) { onEach(t, testSecretsStayOutOfSight) }

func testSecretsStayOutOfSight(t *testing.T, on runtime) {
	url, _ := upstream(t)
	s := on.serve(t, options{
		args: []string{"--log-level", "debug"},
		env:  []string{"LITELLM_API_BASE=" + url, "LITELLM_API_KEY=" + gatewayKey},
	})
	agent := s.agent(t, client.NewAgent{Prompt: promptText, EnvVars: map[string]string{"TOKEN": secretValue}})
	sess := s.session(t, agent.ID, client.NewSession{EnvVars: map[string]string{"OTHER": sessionValue}})
	if got := s.sh(t, sess.ID, "test -n \"$TOKEN$OTHER\" && echo set"); got != "set" {
		t.Fatalf("the sandbox has no env_vars: %q", got)
	}
	env := s.sh(t, sess.ID, "cat /proc/*/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c "+gatewayKey[:12]+"[-]4714")
	if firstLine(env) != "0" {
		t.Errorf("the gateway key is in %s places inside the sandbox", env)
	}
	cmdline, err := os.ReadFile("/proc/" + itoa(s.process.Pid()) + "/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	places := s.shown(t, sess)
	for where, text := range places {
		if strings.Contains(text, promptText) {
			t.Errorf("the prompt is in %s", where)
		}
	}
	places["the server's log"], places["the command line"] = s.talk.String(), string(cmdline)
	for _, name := range []string{"lap.db", "lap.db-wal"} {
		b, err := os.ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		places[name] = string(b)
	}
	for where, text := range places {
		for what, secret := range map[string]string{
			"an agent's env value": secretValue, "a session's env value": sessionValue, "the gateway key": gatewayKey, "the master key": masterKey,
		} {
			if strings.Contains(text, secret) {
				t.Errorf("%s is in %s", what, where)
			}
		}
	}
}

// shown is what can be seen of a session's sandbox without being in it.
func (s *serving) shown(t *testing.T, sess client.Session) map[string]string {
	t.Helper()
	if s.on.engine == nil {
		return s.files(t, *sess.TaskARN)
	}
	_, inspected := inspect(t, s.on.engine, sess)
	logs := ""
	if r, err := s.on.engine.ContainerLogs(t.Context(), *sess.TaskARN, container.LogsOptions{ShowStdout: true, ShowStderr: true}); err == nil {
		b, err := io.ReadAll(r)
		if err != nil && !strings.Contains(err.Error(), "logging driver") {
			t.Error(err)
		}
		logs = string(b)
	}
	return map[string]string{"docker inspect": inspected, "docker logs": logs}
}

// files are what is kept of a native sandbox beside its own file system, and the command
// lines and environments of its first process.
func (s *serving) files(t *testing.T, id string) map[string]string {
	t.Helper()
	dir := filepath.Join(s.dir, "native", id)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	for _, pid := range processesWith(t, dir) {
		paths = append(paths, "/proc/"+itoa(pid)+"/cmdline", "/proc/"+itoa(pid)+"/environ")
	}
	all := map[string]string{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all[path] = string(b)
	}
	if len(all) < 4 {
		t.Errorf("looked only at %d files", len(all))
	}
	return all
}
