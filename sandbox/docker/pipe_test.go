package docker_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"lap/sandbox"
	"lap/sandbox/docker"
)

func open(d *docker.Docker, how string) func(context.Context, string) (io.ReadWriteCloser, error) {
	if how == "start" {
		return d.Start
	}
	return d.Dial
}

func TestPipeThatIsGivenUp(t *testing.T) {
	for how, pattern := range map[string]string{"start": "/containers/{id}/attach", "dial": "/exec/{id}/start"} {
		t.Run(how, func(t *testing.T) {
			e, d := newEngine(t)
			e.HandleFunc("POST "+api+"/containers/{id}/exec", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"Id":"e"}`) })
			asked, gone := e.hang("POST " + api + pattern)
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-asked; cancel() }()
			if _, err := open(d, how)(ctx, "c"); !errors.Is(err, context.Canceled) {
				t.Errorf("error = %v", err)
			}
			<-gone // the connection is closed
			docker.SetCallTimeout(d, 20*time.Millisecond)
			if _, err := open(d, how)(t.Context(), "c"); !errors.Is(err, sandbox.ErrUnavailable) || !strings.Contains(err.Error(), "not answered within 20ms") {
				t.Errorf("an engine that hangs: %v", err)
			}
			<-gone
		})
	}
}

func TestPipeOutlivesItsContext(t *testing.T) {
	e, d := newEngine(t)
	e.HandleFunc("POST "+api+"/containers/{id}/start", func(http.ResponseWriter, *http.Request) {})
	ended := make(chan error, 1)
	e.HandleFunc("POST "+api+"/containers/{id}/attach", func(w http.ResponseWriter, _ *http.Request) {
		ended <- echo(w)
	})
	ctx, cancel := context.WithCancel(t.Context())
	pipe, err := d.Start(ctx, "c")
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(pipe, "hello")
	if got, err := bufio.NewReader(pipe).ReadString('\n'); got != "hello\n" {
		t.Errorf("read %q, error %v", got, err)
	}
	if err := pipe.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// echo upgrades a connection and sends back each line as standard output.
func echo(w http.ResponseWriter) error {
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprint(conn, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
	for {
		line, err := buf.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		fmt.Fprint(conn, frame(1, line))
	}
}

func TestDialTellsWhatBecameOfTheSandbox(t *testing.T) {
	tests := []struct {
		state  string
		status int
		gone   bool
		text   string
	}{
		{state: "exited", status: http.StatusConflict, gone: true},
		{state: "dead", status: http.StatusConflict, gone: true},
		{state: "removing", status: http.StatusConflict, gone: true},
		{state: "", status: http.StatusNotFound, gone: true},
		{state: "", status: http.StatusConflict, gone: true},
		{state: "paused", status: http.StatusConflict, text: "the sandbox is paused"},
		{state: "restarting", status: http.StatusConflict, text: "not now"},
		{state: "exited", status: http.StatusInternalServerError, text: "not now"},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %d", tt.state, tt.status), func(t *testing.T) {
			e, d := newEngine(t)
			e.state = tt.state
			e.HandleFunc("POST "+api+"/containers/{id}/exec", func(w http.ResponseWriter, _ *http.Request) { refuse(w, tt.status, "not now") })
			_, err := d.Dial(t.Context(), "c")
			if err == nil || errors.Is(err, sandbox.ErrGone) != tt.gone || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("error = %v", err)
			}
		})
	}
}

func TestListTakesAPausedSandboxForRunning(t *testing.T) {
	e, d := newEngine(t)
	states := map[string]bool{"created": false, "running": true, "paused": true, "restarting": true, "removing": false, "exited": false, "dead": false}
	var all []string
	for state := range states {
		all = append(all, fmt.Sprintf(`{"Id":%q,"State":%q}`, state, state))
	}
	e.HandleFunc("GET "+api+"/containers/json", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "[%s]", strings.Join(all, ","))
	})
	infos, err := d.List(t.Context())
	if err != nil || len(infos) != len(states) {
		t.Fatalf("list = %v, error %v", infos, err)
	}
	for _, info := range infos {
		if info.Running != states[info.ID] {
			t.Errorf("%s: running = %v", info.ID, info.Running)
		}
	}
}
